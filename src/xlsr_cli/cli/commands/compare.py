"""``xlsr compare REFERENCE TEST…`` and ``xlsr compare --self PICTURE``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.cli.flags import with_flags
from xlsr_cli.cli.help import HELP_OPTIONS, Command
from xlsr_cli.declaration import option, same_option
from xlsr_cli.errors import BelowThresholdError, UsageError
from xlsr_cli.options import ColorMode, EngineOptions, RestoreMode, Target

if TYPE_CHECKING:
    from xlsr_cli.quality.compare import Comparison, SelfTest

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_EXAMPLES = """
xlsr compare original.png a.png b.png
xlsr compare --self photo.png --html page.html
"""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is compared, what --self does, and where the result goes."""

    itself: bool = option(
        False, "Shrink REFERENCE, enlarge it again, and measure what the model gains.", "quality",
        named="--self",
    )  # fmt: skip
    scale: int | None = same_option(
        Target, "scale", help="How many times --self shrinks the picture.", least=2, most=16,
        shown="the model's own factor, or 2",
    )  # fmt: skip
    model: str | None = same_option(EngineOptions, "model", help="The model of --self.")
    color: ColorMode = same_option(EngineOptions, "color", help="What the network of --self enlarges.")
    restore: RestoreMode = same_option(
        EngineOptions, "restore", help="How strongly compressed --self assumes the picture to be."
    )
    border: int | None = option(
        None, "Pixels on each side that are left out.", "quality", least=0, shown="0; with --self, the scale"
    )
    fail_under: float | None = option(
        None, "Exit with code 9 if the PSNR on Y′ is lower.", "quality", value="DB"
    )
    html: Path | None = option(None, "Write a before/after page.", "files", value="FILE")
    overwrite: bool = option(False, "Replace an existing page.", "files")
    json: bool = option(False, "Results as JSON on stdout.", "messages")

    @property
    def engine(self) -> EngineOptions:
        """For --self."""
        return EngineOptions(model=self.model, color=self.color, restore=self.restore)

    def check(self, tests: Sequence[Path]) -> None:
        """Raise :class:`UsageError` for what does not go together."""
        if self.itself and tests:
            raise UsageError("--self takes one picture; without it, the first is the reference of the others")
        if not self.itself and not tests:
            raise UsageError(
                "give a reference and at least one picture to compare with it, or --self PICTURE"
            )
        if not self.itself and (self.engine != EngineOptions() or self.scale is not None):
            raise UsageError(
                "--scale, --model, --color and --restore belong to --self; "
                "no other comparison shrinks anything"
            )
        if self.fail_under is not None and math.isnan(self.fail_under):
            raise UsageError("--fail-under needs a number of decibels, such as 30")


@app.command(cls=Command, context_settings=HELP_OPTIONS, epilog=_EXAMPLES)
@with_flags
def compare(
    reference: Annotated[
        Path, typer.Argument(help="The picture to compare with.", metavar="REFERENCE", show_default=False)
    ],
    tests: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures of the same size.", metavar="TEST", show_default=False),
    ] = None,
    *,
    asked: CompareOptions,
) -> None:
    """Compare pictures with a reference: PSNR and SSIM, on Y′ and on RGB.

    Y′ is BT.601 as MATLAB computes it (16 to 235); gray pictures are compared on their own values.
    --self needs no second picture: REFERENCE is shrunk, compressed as it was, and enlarged again.
    """
    from xlsr_cli.quality.compare import compare_files, file_pairs, self_pairs

    asked.check(tests or [])
    if asked.html is not None:
        from xlsr_cli.quality.page import check_page

        check_page(asked.html, overwrite=asked.overwrite)
    if asked.itself:
        test = _self_test(reference, asked)
        rows = list(test.rows)
        judged = rows[:1]
    else:
        rows, notices = compare_files(reference, tests or [], border=asked.border or 0)
        for path, found in notices.items():
            console.notices(str(path), found)
        judged = rows
    if asked.html is not None:
        from xlsr_cli.quality.page import write_page

        pairs = self_pairs(test, reference.name) if asked.itself else file_pairs(reference, rows)
        write_page(asked.html, pairs, title=f"xlsr compare: {reference.name}", overwrite=asked.overwrite)
        console.info(f"wrote {asked.html}")
    _show(rows, json=asked.json, reference=reference)
    _judge(judged, asked.fail_under)


def _self_test(path: Path, asked: CompareOptions) -> SelfTest:
    from xlsr_cli.engine.session import model_scale
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.quality.compare import compare_self

    scale = asked.scale or max(2, model_scale(asked.engine) or 2)
    with Upscaler.from_options(asked.engine, Target(scale=float(scale))) as upscaler:
        test, notices = compare_self(path, scale, upscaler, border=asked.border)
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
