"""Command lines made of declared options.

A command has a parameter such as ``options: PictureOptions`` and is decorated with :func:`taking`, which
replaces it by the flags of that dataclass and calls the command with the object made of them.
:func:`common_flags` adds --quiet, --verbose and --debug. :func:`flag` declares an option of one command.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.declaration import Declared, Panel, assembled, declared, option
from xlsr_cli.errors import UsageError
from xlsr_cli.options import PictureOptions, VideoOptions

Command = Callable[..., Any]


def flag(*names: str, help: str, panel: Panel, **settings: Any) -> Any:
    """An option of one command; ``settings`` are those of :func:`typer.Option`."""
    settings.setdefault("show_default", False)
    return typer.Option(*names, help=help, rich_help_panel=panel, **settings)


def same_flag(kind: type, name: str, **changed: Any) -> Any:
    """The option ``name`` of ``kind`` for a command that does not take all of ``kind``."""
    each = next(each for each in declared(kind) if each.name == name)
    return _typer_option(each, **changed)


#: The flags of commands that write a before/after page.
Html = Annotated[
    Path | None,
    flag("--html", help="Write a page that shows before and after.", panel="files", metavar="FILE"),
]
HtmlFull = Annotated[
    bool,
    flag("--html-full", help="Copy full pictures beside a page of previews, linked.", panel="files"),
]
#: The flag of commands that give their results once.
Json = Annotated[bool, flag("--json", help="Results as JSON on stdout.", panel="messages")]


def taking(kind: type, parameter: str) -> Callable[[Command], Command]:
    """A decorator that replaces ``parameter`` of a command by the flags of the options in ``kind``."""
    entries = {_python_name(each): each for each in declared(kind)}
    flags = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if each.default is True else None if _is_list(each) else each.default,
            annotation=Annotated[_shown_type(each), _typer_option(each)],
        )
        for name, each in entries.items()
    ]

    def make(arguments: dict[str, Any]) -> None:
        values = {each.name: _value(each, arguments.pop(name)) for name, each in entries.items()}
        arguments[parameter] = assembled(kind, values)

    return _replacing(parameter, flags, make)


def common_flags(command: Command) -> Command:
    """Add the flags of :class:`Messages`, which the console obeys."""

    @functools.wraps(command)
    def obeying(*, messages: Messages, **arguments: Any) -> Any:
        console.quiet, console.verbose = messages.quiet, messages.verbose or messages.debug
        if console.verbose:
            console.hear_the_engine()
        return command(**arguments)

    entry = inspect.Parameter("messages", inspect.Parameter.KEYWORD_ONLY, annotation=Messages)
    own = inspect.signature(command, eval_str=True)
    obeying.__signature__ = own.replace(parameters=[*own.parameters.values(), entry])  # type: ignore[attr-defined]
    return taking(Messages, "messages")(obeying)


@dataclass(frozen=True, kw_only=True)
class Messages:
    """How much a command says."""

    quiet: bool = option(False, "Show errors only.", "messages", short="-q")
    verbose: bool = option(False, "Show more details.", "messages", short="-v")
    debug: bool = option(False, "Show a traceback if something fails.", "messages")

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose exclude each other")


def _replacing(
    parameter: str, flags: list[inspect.Parameter], make: Callable[[dict[str, Any]], None]
) -> Callable[[Command], Command]:
    """A decorator that replaces ``parameter`` by ``flags``; ``make`` turns their values back into it."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapper(**arguments: Any) -> Any:
            make(arguments)
            return command(**arguments)

        combined: list[inspect.Parameter] = []
        for name, entry in inspect.signature(command, eval_str=True).parameters.items():
            combined += flags if name == parameter else [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
        wrapper.__signature__ = inspect.Signature(combined)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {entry.name: entry.annotation for entry in combined}
        return wrapper

    return decorate


# From a declaration to Typer


def _python_name(each: Declared) -> str:
    return each.flag.removeprefix("--").replace("-", "_")


def _is_list(each: Declared) -> bool:
    return get_origin(each.kind) is tuple


def _shown_type(each: Declared) -> Any:
    """The type as Typer takes it: choices as a Literal, repeatable options as a list."""
    if _is_list(each):
        return list[str] | None
    if not each.choices:
        return each.kind
    choices: Any = Literal.__getitem__(each.choices)
    return choices | None if each.default is None else choices


def _typer_option(each: Declared, *, called: str | None = None, **changed: Any) -> Any:
    settings: dict[str, Any] = {"help": each.help, "panel": each.panel, "metavar": each.value}
    settings["show_default"] = each.shown or (
        isinstance(each.default, (str, int)) and each.default is not False
    )
    if each.choices:
        settings["metavar"] = "|".join(each.choices)
        settings["case_sensitive"] = False
    if each.parse is not None:
        settings["parser"] = _parser(each.parse)
    if each.completes == "models":
        settings["autocompletion"] = complete_model
    names = (called or each.flag,) if each.short is None else (each.flag, each.short)
    return flag(*names, **{**settings, **changed})


def _value(each: Declared, given: Any) -> Any:
    """The value for the field, from the value that Typer gives."""
    if each.default is True:
        return not given
    return tuple(given or ()) if _is_list(each) else given


def _parser(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def parsed(given: Any) -> Any:
        if not isinstance(given, str):  # a default
            return given
        try:
            return parse(given)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


def complete_model(incomplete: str) -> list[str]:
    """Names of bundled models; if none fits, the shell offers files."""
    from xlsr_cli.engine.models import bundled_models

    return [spec.name for spec in bundled_models() if spec.name.startswith(incomplete)]


picture_flags = taking(PictureOptions, "options")
video_flags = taking(VideoOptions, "video")
