"""Write ``docs/xlsr.1``, the manual page: the help of every command, out of the code that parses them.

Run ``python docs/make_man.py`` after changing an option; a test compares the page with the code. The wheel
installs it where ``man xlsr`` finds it. Its macros are those of man(7).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

PAGE = Path(__file__).parent / "xlsr.1"


def render() -> str:
    """The whole page, as roff."""
    from typer.main import get_command

    from xlsr_cli.cli.app import app

    root = get_command(app)
    lines = [
        '.\\" Made from the code by docs/make_man.py.',
        '.TH XLSR 1 "" "xlsr"',
        ".SH NAME",
        "xlsr \\- super\\-resolution on the CPU",
        ".SH SYNOPSIS",
        ".B xlsr",
        "COMMAND [OPTIONS] INPUT\\&...",
        ".SH DESCRIPTION",
        *_paragraphs(root.help),
        *_commands(root, "xlsr"),
        ".SH EXIT STATUS",
        *_exit_codes(),
        ".SH SEE ALSO",
        "https://github.com/xlsr/xlsr\\-cli",
    ]
    return "\n".join(lines) + "\n"


def _exit_codes() -> Iterator[str]:
    from xlsr_cli.errors import ExitCode, XlsrError

    meanings = {kind.exit_code: inspect.getdoc(kind) or "" for kind in XlsrError.__subclasses__()}
    meanings |= {
        ExitCode.OK: "Everything that was asked for is done.",
        ExitCode.INTERNAL: "A bug in xlsr.",
        ExitCode.INTERRUPTED: "Interrupted, as by Ctrl-C.",
    }
    for code in ExitCode:
        yield from (".TP", f".B {code.value}", _escaped(meanings[code].splitlines()[0].replace("``", "")))


def _commands(group: Any, path: str) -> Iterator[str]:
    """A section for each command of ``group``, and for those below it."""
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if not command.hidden:
            yield from _command(command, f"{path} {name}")
            if hasattr(command, "list_commands"):
                yield from _commands(command, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    from xlsr_cli.cli.help import argument_usage, arguments_of, help_of, option_names, options_by_panel

    yield f".SH {_escaped(path.upper())}"
    arguments = arguments_of(command)
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = [*(["[OPTIONS]"] if options else []), *map(argument_usage, arguments)]
    if hasattr(command, "list_commands"):
        usage.append("COMMAND …")
    yield f".B {_escaped(path)}"
    yield _escaped(" ".join(usage))
    yield from _paragraphs(command.help)
    for argument in arguments:
        yield from (".TP", f".I {_escaped(argument_usage(argument))}", _escaped(help_of(argument)))
    for panel, members in options_by_panel(options):
        yield f".SS {_escaped(panel.capitalize())}"
        for option in members:
            yield from (".TP", f".B {_escaped(option_names(option))}", _escaped(help_of(option)))
    if command.epilog:
        yield from (".SS Examples", ".nf", *map(_escaped, command.epilog.strip().splitlines()), ".fi")


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text or "").replace("\b\n", "").replace("\f", "").split("\n\n"):
        yield from (".PP", _escaped(" ".join(paragraph.split())))


def _escaped(text: str) -> str:
    """``text`` on one line as roff prints it: hyphens that can be copied, and no line that is a request."""
    escaped = " ".join(text.split()) if "\n" in text else text
    escaped = escaped.replace("\\", "\\e").replace("-", "\\-").replace("…", "\\&...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8", newline="\n")
