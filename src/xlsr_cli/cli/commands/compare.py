"""``xlsr compare REFERENCE TEST…`` and ``xlsr compare --self PICTURE``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.cli.flags import Json, common_flags, flag, same_flag
from xlsr_cli.cli.help import HELP_OPTIONS, Command
from xlsr_cli.errors import BelowThresholdError, UsageError
from xlsr_cli.options import ColorMode, EngineOptions, RestoreMode, Target

if TYPE_CHECKING:
    from xlsr_cli.quality.compare import Comparison, SelfTest

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_EXAMPLES = """
xlsr compare original.png a.png b.png
xlsr compare --self photo.png --html page.html
"""


@app.command(cls=Command, context_settings=HELP_OPTIONS, epilog=_EXAMPLES)
@common_flags
def compare(
    reference: Annotated[
        Path, typer.Argument(help="The picture to compare with.", metavar="REFERENCE", show_default=False)
    ],
    tests: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures of the same size.", metavar="TEST", show_default=False),
    ] = None,
    itself: Annotated[
        bool,
        flag(
            "--self",
            help="Shrink REFERENCE, enlarge it again, and measure what the model gains.",
            panel="quality",
        ),
    ] = False,
    scale: Annotated[
        int | None,
        same_flag(
            Target,
            "scale",
            help="How many times --self shrinks the picture.",
            min=2,
            max=16,
            show_default="the model's own factor, or 2",
        ),
    ] = None,
    model: Annotated[str | None, same_flag(EngineOptions, "model", help="The model of --self.")] = None,
    color: Annotated[
        ColorMode, same_flag(EngineOptions, "color", help="What the network of --self enlarges.")
    ] = "auto",
    restore: Annotated[
        RestoreMode,
        same_flag(EngineOptions, "restore", help="How strongly compressed --self assumes the picture to be."),
    ] = "auto",
    border: Annotated[
        int | None,
        flag(
            "--border",
            help="Pixels on each side that are left out.",
            panel="quality",
            min=0,
            show_default="0; with --self, the scale",
        ),
    ] = None,
    fail_under: Annotated[
        float | None,
        flag(
            "--fail-under", help="Exit with code 9 if the PSNR on Y′ is lower.", panel="quality", metavar="DB"
        ),
    ] = None,
    html: Annotated[
        Path | None, flag("--html", help="Write a before/after page.", panel="files", metavar="FILE")
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace an existing page.", panel="files")] = False,
    json: Json = False,
) -> None:
    """Compare pictures with a reference: PSNR and SSIM, on Y′ and on RGB.

    Y′ is BT.601 as MATLAB computes it (16 to 235); gray pictures are compared on their own values.
    --self needs no second picture: REFERENCE is shrunk, compressed as it was, and enlarged again.
    """
    from xlsr_cli.quality.compare import compare_files, file_pairs, self_pairs

    if itself and tests:
        raise UsageError("--self takes one picture; without it, the first is the reference of the others")
    if not itself and not tests:
        raise UsageError("give a reference and at least one picture to compare with it, or --self PICTURE")
    if not itself and (model is not None or color != "auto" or restore != "auto" or scale is not None):
        raise UsageError(
            "--scale, --model, --color and --restore belong to --self; no other comparison shrinks anything"
        )
    if fail_under is not None and math.isnan(fail_under):
        raise UsageError("--fail-under needs a number of decibels, such as 30")
    if html is not None:
        from xlsr_cli.quality.page import check_page

        check_page(html, overwrite=overwrite)
    if itself:
        test = _self_test(reference, scale, EngineOptions(model=model, color=color, restore=restore), border)
        rows = list(test.rows)
        judged = rows[:1]
    else:
        rows, notices = compare_files(reference, tests or [], border=border or 0)
        for path, found in notices.items():
            console.notices(str(path), found)
        judged = rows
    if html is not None:
        from xlsr_cli.quality.page import write_page

        pairs = self_pairs(test, reference.name) if itself else file_pairs(reference, rows)
        write_page(html, pairs, title=f"xlsr compare: {reference.name}", overwrite=overwrite)
        console.info(f"wrote {html}")
    _show(rows, json=json, reference=reference)
    _judge(judged, fail_under)


def _self_test(path: Path, scale: int | None, engine: EngineOptions, border: int | None) -> SelfTest:
    from xlsr_cli.engine.session import model_scale
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.quality.compare import compare_self

    scale = scale or max(2, model_scale(engine) or 2)
    upscaler = Upscaler.from_options(engine, Target(scale=float(scale)))
    try:
        test, notices = compare_self(path, scale, upscaler, border=border)
    finally:
        upscaler.close()
    console.notices(str(path), notices)
    console.info(f"{path} ({test.compression}) shrunk by {scale} to {test.shrunk}, and enlarged again")
    return test


def _show(rows: Sequence[Comparison], *, json: bool, reference: Path) -> None:
    from xlsr_cli.cli.tables import table

    if json:
        results = [{"name": row.name, **_numbers(asdict(row.scores))} for row in rows]
        console.json({"reference": str(reference), "results": results})
        return
    head = ["picture", "PSNR Y′", "SSIM Y′", "PSNR RGB", "SSIM RGB"]
    console.lines(table(head, ([row.name, *_cells(row)] for row in rows)))


def _cells(row: Comparison) -> list[str]:
    from xlsr_cli.quality.compare import decibel

    scores = row.scores
    rgb = ["–", "–"]
    if scores.psnr_rgb is not None and scores.ssim_rgb is not None:
        rgb = [decibel(scores.psnr_rgb), f"{scores.ssim_rgb:.4f}"]
    return [decibel(scores.psnr_y), f"{scores.ssim_y:.4f}", *rgb]


def _numbers(scores: dict[str, float | None]) -> dict[str, Any]:
    """Scores for JSON, which has no infinity and no NaN: null, and a word that says which."""
    identical = scores["psnr_y"] == math.inf and scores["psnr_rgb"] in (math.inf, None)
    finite = {
        name: value if value is not None and math.isfinite(value) else None for name, value in scores.items()
    }
    return {"identical": identical, **finite}


def _judge(rows: Sequence[Comparison], fail_under: float | None) -> None:
    if fail_under is None:
        return
    below = [row for row in rows if row.scores.psnr_y < fail_under]
    if below:
        worst = min(below, key=lambda row: row.scores.psnr_y)
        others = f", and {len(below) - 1} more" if len(below) > 1 else ""
        raise BelowThresholdError(
            f"{worst.name} reaches {worst.scores.psnr_y:.2f} dB, less than {fail_under:g}{others}"
        )
