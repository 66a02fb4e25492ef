"""``xlsr doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from xlsr_cli.cli.console import console, wants_colour
from xlsr_cli.cli.flags import Json, with_flags
from xlsr_cli.cli.help import HELP_OPTIONS, Command

if TYPE_CHECKING:
    from xlsr_cli.doctor import Diagnosis, Finding

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_TITLES = {
    "library": "Libraries",
    "machine": "Machine",
    "pixels": "Pixels around the network",
    "model": "Models on the CPU",
    "provider": "Runtimes",
    "picture": "Pictures and animations",
    "video": "Videos with sound",
    "batch": "Batches",
}
_MARKS = {"ok": ("ok", "32"), "warning": ("note", "33"), "problem": ("WRONG", "31")}


_EXAMPLES = """
xlsr doctor
xlsr doctor --json > doctor.json
"""


@app.command(cls=Command, context_settings=HELP_OPTIONS, epilog=_EXAMPLES)
@with_flags
def doctor(*, shown: Json) -> None:
    """Check that this machine computes the right pixels; if not, say what is wrong and what to do.

    Every bundled model must give its golden answer on every provider: int8 exactly, float32 within a
    stated tolerance. Exit code 0, 5 when a model is wrong, 6 when anything else is.
    """
    from xlsr_cli import __version__
    from xlsr_cli.doctor import examine

    diagnosis = examine()
    if shown.json:
        console.json(diagnosis.data())
    else:
        for line in _lines(diagnosis, __version__):
            console.lines(line)
    if diagnosis.exit_code:
        raise typer.Exit(int(diagnosis.exit_code))


def _lines(diagnosis: Diagnosis, version: str) -> Iterator[str]:
    yield f"xlsr {version}"
    if diagnosis.machine is not None:
        yield f"{diagnosis.machine.system}, Python {diagnosis.machine.python}"
    for subject, title in _TITLES.items():
        findings = [finding for finding in diagnosis.findings if finding.subject == subject]
        if findings:
            yield f"\n{title}"
            yield from (_line(finding) for finding in findings)
    yield ""
    problems = diagnosis.problems
    if not problems:
        yield "Everything works, and this machine computes the right pixels."
    for problem in problems:
        yield f"{problem.name}: {problem.message}\n  what to do: {problem.remedy}"


def _line(finding: Finding) -> str:
    import sys

    word, colour = _MARKS[finding.status]
    mark = f"{word:<6}"
    if wants_colour(sys.stdout):
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    message = {
        "ok": finding.message,
        "warning": f"{finding.message}; {finding.remedy}",
        "problem": "see below",
    }[finding.status]
    return f"  {mark} {finding.name:<24} {message}"
