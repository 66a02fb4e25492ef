"""``xlsr models list | info NAME | verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.cli.flags import Json, complete_model, with_flags
from xlsr_cli.cli.help import HELP_OPTIONS, Command, Group
from xlsr_cli.cli.tables import table
from xlsr_cli.errors import ModelError, XlsrError

if TYPE_CHECKING:
    from xlsr_cli.engine.models import ModelSpec

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, describe and verify the bundled models.",
    context_settings=HELP_OPTIONS,
)


@app.command("list", cls=Command, epilog="xlsr models list --json")
@with_flags
def list_models(*, shown: Json) -> None:
    """List the bundled models, one per line."""
    from xlsr_cli.engine.models import bundled_models

    if shown.json:
        console.json([_as_json(spec) for spec in bundled_models()])
        return
    sets = sorted({name for spec in bundled_models() for name in spec.psnr}, key=_natural)
    head = ["name", "scale", "colour", "precision", "MAC/pixel", "bytes", *(f"{name}, dB" for name in sets)]
    console.lines(table(head, (_row(spec, sets) for spec in bundled_models())))


@app.command(cls=Command, epilog="xlsr models info xlsr_x2_rgb_int8")
@with_flags
def info(
    name: Annotated[
        str, typer.Argument(help="A bundled model's name.", show_default=False, autocompletion=complete_model)
    ],
    *,
    shown: Json,
) -> None:
    """All facts about one model."""
    from xlsr_cli.engine.models import ModelSpec, find_model

    spec = find_model(name)
    if not isinstance(spec, ModelSpec):
        raise ModelError(f"{name} is no bundled model; 'xlsr models list' shows their names")
    described = _as_json(spec)
    if shown.json:
        console.json(described)
        return
    psnr = described.pop("psnr")
    for key, value in described.items():
        if value != "":
            console.data(f"{key:16} {value:,}" if isinstance(value, int) else f"{key:16} {value}")
    console.lines("\nPSNR in dB on luma, beside OpenCV's filters")
    console.lines(_scores(spec.scale, spec.name, psnr))


@app.command(cls=Command, epilog="xlsr models verify")
@with_flags
def verify(*, shown: Json) -> None:
    """Check the hash and the golden answer of each model.

    The exit code is 5 if a file was changed, or if a model gives other pixels than it should on this machine.
    """
    from xlsr_cli.engine.models import bundled_models

    found = {spec.name: _verdict(spec) for spec in bundled_models()}
    if shown.json:
        console.json(found)
    else:
        for name, verdict in found.items():
            console.data(f"{name:<22} {verdict}")
    wrong = [name for name, verdict in found.items() if verdict != "ok"]
    if wrong:
        raise ModelError(
            f"{len(wrong)} of {len(found)} models are damaged or give wrong pixels: {', '.join(wrong)}"
        )


def _verdict(spec: ModelSpec) -> str:
    """``ok``, or one sentence about what is wrong."""
    from xlsr_cli.engine.golden import answers_golden
    from xlsr_cli.engine.session import Session

    try:
        good = answers_golden(Session.bundled(spec))
    except XlsrError as error:
        return error.in_flags
    return "ok" if good else "gives wrong pixels on this machine; run 'xlsr doctor'"


def _row(spec: ModelSpec, sets: list[str]) -> list[str]:
    scores = [f"{spec.psnr[name]:.2f}" if name in spec.psnr else "–" for name in sets]
    return [
        spec.name,
        f"x{spec.scale}",
        spec.colour,
        spec.precision,
        f"{spec.macs:,}",
        f"{_size(spec):,}",
        *scores,
    ]


def _scores(scale: int, name: str, psnr: dict[str, float]) -> str:
    """The model's scores, and what filters reach on the same pictures."""
    from xlsr_cli.bench.pictures import FILTER_PSNR

    sets = sorted(psnr, key=_natural)
    rows = {name: psnr} | {filter: scores.get(scale, {}) for filter, scores in FILTER_PSNR.items()}
    return table(
        ["", *sets],
        (
            [row, *(f"{scores[set_]:.2f}" if set_ in scores else "–" for set_ in sets)]
            for row, scores in rows.items()
        ),
    )


def _natural(name: str) -> tuple[int, str]:
    """Set5 before Set14."""
    return len(name), name


def _size(spec: ModelSpec) -> int:
    return spec.path.stat().st_size if spec.path.exists() else 0


def _as_json(spec: ModelSpec) -> dict[str, Any]:
    from dataclasses import asdict

    described = asdict(spec)
    described["path"] = str(spec.path)
    described["bytes"] = _size(spec)
    described["data"] = f"freely licensed photographs, each listed in {spec.path.with_name('MODEL_CARD.md')}"
    described["psnr"] = {name: spec.psnr[name] for name in sorted(spec.psnr, key=_natural)}
    described.pop("golden_samples")
    return described
