"""Write ``docs/reference.md``: every command and option, out of the code that parses them.

Run ``python docs/make_reference.py`` after changing an option; a test compares the page with the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

PAGE = Path(__file__).parent / "reference.md"

INTRODUCTION = """\
# Every option

This page is made from the code by `docs/make_reference.py`. `xlsr COMMAND --help` says the same.
"""


def render() -> str:
    """The whole page, as Markdown."""
    from typer.main import get_command

    from xlsr_cli.cli.app import app

    root = get_command(app)
    parts = [INTRODUCTION, *_command(root, "xlsr")]
    return "\n".join(parts).rstrip() + "\n"


def _command(command: Any, path: str) -> Iterator[str]:
    """The section of one command, then those of its subcommands."""
    from xlsr_cli.cli.help import argument_usage, arguments_of, options_by_panel

    yield f"## `{path}`\n" if path.count(" ") < 2 else f"### `{path}`\n"
    if command.help:
        yield inspect.cleandoc(command.help).replace("\b\n", "").replace("\f", "") + "\n"
    parameters = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = arguments_of(command)
    options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    usage = [path, *(["[OPTIONS]"] if options else []), *map(argument_usage, arguments)]
    if hasattr(command, "list_commands"):
        usage.append("COMMAND …")
    yield "```text\n" + " ".join(usage) + "\n```\n"
    if arguments:
        yield from _table("argument", [(f"`{argument_usage(argument)}`", argument) for argument in arguments])
    for panel, members in options_by_panel(options):
        yield from _table(panel, [(_option_names(option), option) for option in members])
    if hasattr(command, "list_commands"):
        context = typer.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if not child.hidden:
                yield from _command(child, f"{path} {name}")


def _table(title: str, rows: list[tuple[str, Any]]) -> Iterator[str]:
    yield f"| {title} | meaning |\n|---|---|"
    for names, parameter in rows:
        yield f"| {names} | {_cell(parameter.help or '')}{_default(parameter)} |"
    yield ""


def _option_names(option: Any) -> str:
    from xlsr_cli.cli.help import value_name

    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: (len(name), name))
    value = "" if option.is_flag else f" `{value_name(option)}`".replace("|", " / ")
    return ", ".join(f"`{name}`" for name in names) + value


def _default(parameter: Any) -> str:
    value = parameter.default
    if isinstance(parameter.show_default, str):
        return f" Default: {parameter.show_default}."
    if callable(value) or value in (None, False, (), []) or value is ...:
        return ""
    return f" Default: `{getattr(value, 'value', value)}`."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8", newline="\n")
