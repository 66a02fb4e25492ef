"""Plain values of a command line, without what Typer loads to convert them.

Typer (0.29) converts each value by Pydantic, even one that was not given: 70 ms more for a small picture,
which takes a quarter of a second. Text, paths, choices and what was not given need no library. Everything
else, and every value that may be wrong, goes to Typer, which has the messages.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

#: Makes a value of what was given; raises ValueError for what is Typer's.
_Convert = Callable[[Any], Any]


def take_plain_values(parameters: list[Any], signature: inspect.Signature) -> None:
    """Let the parameters of a command, made by Typer of its ``signature``, take plain values as they are."""
    for parameter in parameters:
        entry = signature.parameters.get(parameter.name)
        convert = None if entry is None or parameter.callback is not None else _conversion(entry.annotation)
        if convert is not None:
            parameter.process_value = partial(_value, convert, parameter.process_value)


def take_missing_flag(option: Any) -> Any:
    """``option``, a flag that no command sees, such as ``--help``, or None: without a value it is not set."""
    if option is not None and "process_value" not in vars(option):
        process = option.process_value
        option.process_value = lambda ctx, value: process(ctx, False if value is None else value)
    return option


def _value(convert: _Convert, otherwise: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    try:
        return convert(value)
    except ValueError:
        return otherwise(ctx, value)


def _conversion(annotation: Any) -> _Convert | None:
    """For the annotation of a parameter; None where all of its values are Typer's."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    kinds = {annotation}
    if get_origin(annotation) in (Union, UnionType):
        kinds = set(get_args(annotation))
    optional = NoneType in kinds
    kinds -= {NoneType}
    if len(kinds) != 1:
        return None
    return partial(_plain, kinds.pop(), optional)


def _plain(kind: Any, optional: bool, value: Any) -> Any:
    if value is None and optional:
        return () if get_origin(kind) is list else None
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if get_origin(kind) is list and isinstance(value, tuple | list) and value:
        return [_plain(get_args(kind)[0], False, each) for each in value]
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind in (str, bool, int, float) and type(value) is kind:
        return value
    raise ValueError
