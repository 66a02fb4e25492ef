"""``xlsr models list | info NAME | verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.cli.flags import common_flags
from xlsr_cli.errors import ModelError, XlsrError

if TYPE_CHECKING:
    from xlsr_cli.engine.models import ModelSpec

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, describe and verify the bundled models.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command("list")
@common_flags
def list_models(json: _Json = False) -> None:
    """One line for each bundled model."""
    from xlsr_cli.engine.models import bundled_models

    if json:
        console.json([_as_json(spec) for spec in bundled_models()])
        return
    console.data(
        f"{'name':22} {'scale':>5} {'colour':>6} {'precision':>9} {'MAC/px':>7} {'bytes':>8}  PSNR, dB"
    )
    for spec in bundled_models():
        psnr = "  ".join(f"{name} {value:.2f}" for name, value in spec.psnr.items())
        size = spec.path.stat().st_size if spec.path.exists() else 0
        console.data(
            f"{spec.name:22} {'x' + str(spec.scale):>5} {spec.colour:>6} {spec.precision:>9} "
            f"{spec.macs:>7} {size:>8}  {psnr}"
        )


@app.command()
@common_flags
def info(
    name: Annotated[str, typer.Argument(help="A bundled model's name.", show_default=False)],
    json: _Json = False,
) -> None:
    """Everything that the manifest says of one model."""
    from xlsr_cli.engine.models import ModelSpec, find_model

    spec = find_model(name)
    if not isinstance(spec, ModelSpec):
        raise ModelError(f"{name} is no bundled model; 'xlsr models list' shows their names")
    described = _as_json(spec)
    if json:
        console.json(described)
        return
    for key, value in described.items():
        shown = "  ".join(f"{name} {score}" for name, score in value.items()) if key == "psnr" else value
        console.data(f"{key:16} {shown}")


@app.command()
@common_flags
def verify(json: _Json = False) -> None:
    """Check every file's hash and that it gives its golden answer on this machine (exit 5 if not)."""
    from xlsr_cli.engine.models import bundled_models

    found = {spec.name: _verdict(spec) for spec in bundled_models()}
    if json:
        console.json(found)
    else:
        for name, verdict in found.items():
            console.data(f"{name:22} {verdict}")
    wrong = [name for name, verdict in found.items() if verdict != "ok"]
    if wrong:
        raise ModelError(
            f"{len(wrong)} of {len(found)} models are not what they should be: {', '.join(wrong)}"
        )


def _verdict(spec: ModelSpec) -> str:
    """``ok``, or one sentence about what is wrong."""
    from xlsr_cli.engine.golden import answers_golden
    from xlsr_cli.engine.session import Session

    try:
        good = answers_golden(Session.bundled(spec))
    except XlsrError as error:
        return str(error)
    return "ok" if good else "gives other pixels than it should on this machine; run 'xlsr doctor'"


def _as_json(spec: ModelSpec) -> dict[str, Any]:
    from dataclasses import asdict

    described = asdict(spec)
    described["path"] = str(spec.path)
    described["bytes"] = spec.path.stat().st_size if spec.path.exists() else 0
    described["data"] = "1,756 patches of freely licensed photographs, listed in MODEL_CARD.md"
    described.pop("golden_samples")
    return described
