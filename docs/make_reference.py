"""Write ``docs/reference.md``: every command and option, out of the code that parses them.

Run ``python docs/make_reference.py`` after changing an option; a test compares the page with the code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

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


def _command(command: click.Command, path: str) -> Iterator[str]:
    """The section of one command, then those of its subcommands."""
    yield f"## `{path}`\n" if path.count(" ") < 2 else f"### `{path}`\n"
    if command.help:
        yield inspect.cleandoc(command.help).replace("\b\n", "").replace("\f", "") + "\n"
    parameters = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
    options = [parameter for parameter in parameters if parameter.param_type_name == "option"]
    usage = [path, *(["[OPTIONS]"] if options else []), *map(_argument_usage, arguments)]
    if isinstance(command, click.Group):
        usage.append("COMMAND …")
    yield "```text\n" + " ".join(usage) + "\n```\n"
    if arguments:
        yield from _table("argument", [(f"`{_name(argument)}`", argument) for argument in arguments])
    if options:
        yield from _table("option", [(_option_names(option), option) for option in options])
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            if not child.hidden:
                yield from _command(child, f"{path} {name}")


def _table(title: str, rows: list[tuple[str, Any]]) -> Iterator[str]:
    yield f"| {title} | meaning |\n|---|---|"
    for names, parameter in rows:
        yield f"| {names} | {_cell(getattr(parameter, 'help', None) or '')}{_default(parameter)} |"
    yield ""


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _argument_usage(argument: Any) -> str:
    name = _name(argument) + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option_names(option: Any) -> str:
    names = sorted([*option.opts, *option.secondary_opts], key=lambda name: (len(name), name))
    if option.is_flag:
        return ", ".join(f"`{name}`" for name in names)
    return ", ".join(f"`{name}`" for name in names) + f" `{_value(option)}`"


def _value(option: Any) -> str:
    choices = getattr(option.type, "choices", None)
    if option.metavar:
        return str(option.metavar).replace("|", " / ")
    return " / ".join(map(_plain, choices)) if choices else str(option.type.name).upper()


def _default(parameter: Any) -> str:
    value = parameter.default
    if callable(value) or value in (None, False, (), []) or value is ...:
        return ""
    return f" Default: `{_plain(value)}`."


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8", newline="\n")
