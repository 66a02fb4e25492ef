"""Command lines made of declared options.

A command has parameters such as ``options: PictureOptions`` and is decorated with :func:`with_flags`, which
replaces each of them by the flags of that dataclass, and calls the command with the objects made of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.declaration import Declared, assembled, declared, option
from xlsr_cli.errors import UsageError

Command = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Messages:
    """How much a command says."""

    quiet: bool = option(False, "Show errors only.", "messages", short="-q")
    verbose: bool = option(False, "Show more details.", "messages", short="-v")
    debug: bool = option(False, "Show a traceback if something fails.", "messages")

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose exclude each other")


@dataclass(frozen=True, kw_only=True)
class Json:
    """How the results are shown."""

    json: bool = option(False, "Results as JSON on stdout.", "messages")


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page that shows pictures before and after."""

    html: Path | None = option(None, "Write a page that shows before and after.", "files", value="FILE")
    html_full: bool = option(False, "Copy full pictures beside a page of previews, linked.", "files")


def with_flags(command: Command) -> Command:
    """Replace each parameter that is a dataclass of options by its flags, and add those of :class:`Messages`,
    which the console obeys."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    kinds = {each.name: each.annotation for each in own if is_dataclass(each.annotation)}
    combined: list[inspect.Parameter] = []
    for each in own:
        kept = each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        combined += _flags_of(kinds[each.name]) if each.name in kinds else [kept]
    combined += _flags_of(Messages)

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> Any:
        messages = _made(Messages, arguments)
        console.quiet, console.verbose = messages.quiet, messages.verbose or messages.debug
        if console.verbose:
            console.hear_the_engine()
        made = {name: _made(kind, arguments) for name, kind in kinds.items()}
        return command(**arguments, **made)

    wrapper.__signature__ = inspect.Signature(combined)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {entry.name: entry.annotation for entry in combined}
    return wrapper


def _flags_of(kind: Any) -> list[inspect.Parameter]:
    """The parameters, as Typer takes them, for the options of ``kind``."""
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if each.default is True else None if _is_list(each) else each.default,
            annotation=Annotated[_shown_type(each), _typer_option(each)],
        )
        for each in declared(kind)
    ]


def _made(kind: Any, arguments: dict[str, Any]) -> Any:
    """The object ``kind`` made of the values of its flags, which are taken out of ``arguments``."""
    values = {each.name: _value(each, arguments.pop(each.name)) for each in declared(kind)}
    return assembled(kind, values)


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


def _typer_option(each: Declared) -> Any:
    settings: dict[str, Any] = {"help": each.help, "rich_help_panel": each.panel, "metavar": each.value}
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
    names = [name for name in (each.flag, each.short, each.also) if name is not None]
    return typer.Option(*names, min=each.least, max=each.most, **settings)


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
