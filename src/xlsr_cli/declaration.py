"""How an option is declared: once, as a field of a frozen dataclass.

::

    tile: int | None = option(None, "Side of a tile in input pixels.", "machine")

From the field come the flag on every command line with its help and choices, the argument of the same name in
the Python API, and the check that a value is among the choices.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields, is_dataclass
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

from xlsr_cli.errors import UsageError

Value = TypeVar("Value")
Options = TypeVar("Options")
Function = TypeVar("Function", bound=Callable[..., Any])

#: The groups of options in a command's help, in their order.
Panel = Literal["size", "quality", "network", "files", "film", "machine", "messages"]


class Declared(NamedTuple):
    """One option: the ``name`` and ``kind`` (type) of its field, its ``default`` and its ``help``.

    ``short``: a flag of one letter. ``named``: the flag, where the field cannot have its name; ``also``: a
    second one. ``value``: the placeholder for the value in the help. ``shown``: the default in words, where
    the value itself does not tell. ``parse``: makes the value from text, or raises :class:`ValueError` with a
    sentence. ``choices``: those of the type, or more. ``at_least``: smaller numbers are refused;
    ``unit``: what that sentence says behind it. ``least``, ``most``: the same on a command line alone, where
    the help shows the range. ``completes``: what the shell offers.
    """

    name: str
    kind: Any
    default: Any
    help: str
    panel: Panel
    short: str | None = None
    named: str | None = None
    also: str | None = None
    value: str | None = None
    shown: str | None = None
    parse: Callable[[str], Any] | None = None
    choices: tuple[str, ...] = ()
    at_least: int | None = None
    unit: str = ""
    least: int | None = None
    most: int | None = None
    completes: Literal["models"] | None = None

    @property
    def flag(self) -> str:
        """``--max-memory``; of an option that is on by default, the flag that disables it, ``--no-reuse``."""
        name = self.name.replace("_", "-")
        return self.named or (f"--no-{name}" if self.default is True else f"--{name}")


def option(default: Value, help: str, panel: Panel, **more: Any) -> Value:
    """A field's value that declares an option. ``more`` are the other fields of :class:`Declared`."""
    settings = {"help": help, "panel": panel, **more}
    return field(default=default, metadata={"option": settings})


def same_option(kind: Any, name: str, **changed: Any) -> Any:
    """A field's value that declares an option of ``kind`` once more, some of its settings ``changed``."""
    entry = next(entry for entry in fields(kind) if entry.name == name)
    return field(default=entry.default, metadata={"option": {**entry.metadata["option"], **changed}})


@functools.cache
def declared(kind: Any) -> tuple[Declared, ...]:
    """The options of a dataclass, including those of nested dataclasses, in the order of the fields."""
    hints = get_type_hints(kind)
    found: list[Declared] = []
    for entry in fields(kind):
        settings = entry.metadata.get("option")
        if settings is not None:
            found.append(_declared(entry, hints[entry.name], settings))
        elif is_dataclass(hints[entry.name]):
            found.extend(declared(hints[entry.name]))
    return tuple(found)


def _declared(entry: Field[Any], kind: Any, settings: Mapping[str, Any]) -> Declared:
    literal = [part for part in _parts(kind) if get_origin(part) is Literal]
    found = {"choices": get_args(literal[0])} if literal else {}
    return Declared(name=entry.name, kind=kind, default=entry.default, **{**found, **settings})


def _parts(kind: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type, the type itself."""
    return get_args(kind) if get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def assembled(kind: type[Options], values: Mapping[str, Any]) -> Options:
    """The dataclass ``kind`` and its parts, from the values of their options by name.

    Raises :class:`UsageError` where the values are out of range, and :class:`TypeError` for other names.
    """
    unknown = set(values) - {each.name for each in declared(cast(Any, kind))}
    if unknown:
        raise TypeError(f"there is no option {', '.join(sorted(unknown))}")
    return _assembled(kind, values)


def _assembled(kind: type[Options], values: Mapping[str, Any]) -> Options:
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for entry in fields(cast(Any, kind)):
        if "option" in entry.metadata:
            if entry.name in values:
                arguments[entry.name] = values[entry.name]
        elif is_dataclass(hints[entry.name]):
            arguments[entry.name] = _assembled(cast(Any, hints[entry.name]), values)
    return kind(**arguments)


def check_values(options: object) -> None:
    """Convert values of other types that are plain enough: text as on a command line, (width, height).

    Raises :class:`UsageError` for a value of another type, or that is none of its option's choices.
    """
    own = {entry.name for entry in fields(cast(Any, options))}
    for each in declared(cast(Any, type(options))):
        if each.name not in own:
            continue
        value = _meant(each, getattr(options, each.name))
        object.__setattr__(options, each.name, value)  # frozen for everybody else
        if each.choices and value is not None and value not in each.choices:
            raise UsageError(f"{each.flag} must be one of {', '.join(each.choices)}, not {value!r}")
        if each.at_least is not None and value is not None and value < each.at_least:
            bound = f"be at least {each.at_least}{each.unit}" if each.at_least else "not be negative"
            raise UsageError(f"{each.flag} must {bound}, not {value}")


def _meant(option: Declared, value: Any) -> Any:
    """``value`` as the type of its ``option``."""
    kinds = _parts(option.kind)
    if option.choices or not all(isinstance(kind, type) for kind in kinds):
        return value
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    if isinstance(value, str) and option.parse is not None:
        try:
            return option.parse(value)
        except ValueError as error:
            raise UsageError(f"{option.flag}: {error}") from error
    for kind in kinds:
        if (convert := _CONVERTED.get(kind)) is not None and (found := convert(value)) is not None:
            return found
        if is_dataclass(kind) and isinstance(value, tuple) and len(value) == len(fields(kind)):
            names = [entry.name for entry in fields(kind)]
            return cast(Any, kind)(**dict(zip(names, value, strict=True)))
    words = " or ".join(map(_in_words, kinds))
    raise UsageError(f"{option.flag} must be {words}, not {value!r}")


def _whole(value: Any) -> int | None:
    """A whole number of numpy or another library."""
    return None if isinstance(value, bool) or not hasattr(value, "__index__") else operator.index(value)


def _real(value: Any) -> float | None:
    import numbers

    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_number else None


#: What becomes of a value of another type: the same of our type, or None.
_CONVERTED: dict[type, Callable[[Any], Any]] = {
    int: _whole,
    float: _real,
    str: lambda value: os.fspath(value) if isinstance(value, os.PathLike) else None,
}


def _in_words(kind: type) -> str:
    if is_dataclass(kind):
        return f"({', '.join(entry.name for entry in fields(kind))})"
    words = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    return words.get(kind, "None")


def takes_options_of(kind: type) -> Callable[[Function], Function]:
    """Give a function that ends in ``**options`` the signature with every option of ``kind`` spelt out."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function, eval_str=True).parameters.values()
        kept = [each for each in own if each.kind is not inspect.Parameter.VAR_KEYWORD]
        named = {each.name for each in kept}
        added = [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.kind
            )
            for each in declared(kind)
            if each.name not in named
        ]
        signature = inspect.Signature([*kept, *added])
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__annotations__ |= {each.name: each.annotation for each in added}
        return function

    return decorate
