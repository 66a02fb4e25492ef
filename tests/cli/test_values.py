"""Plain values are what Typer makes of them, whatever version of it is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from xlsr_cli.cli.app import COMMANDS


def commands() -> Iterator[Any]:
    for name in COMMANDS:
        command: Any = typer.main.get_command(importlib.import_module(f"xlsr_cli.cli.commands.{name}").app)
        yield from getattr(command, "commands", {name: command}).values()


def processed(process: Any, *arguments: Any) -> object:
    """As the command gets it: releases before 0.26 make paths and lists later."""
    try:
        value = process(*arguments)
    except Exception as error:
        return type(error).__name__, str(error)
    return (
        list(map(str, value))
        if isinstance(value, tuple | list)
        else str(value)
        if isinstance(value, Path)
        else value
    )


@pytest.mark.parametrize(
    "value", [None, "a.png", "auto", "AUTO", "2", "2.5", "-1", " ", ("a", "b"), ("a",), ()]
)
def test_values_are_what_typer_makes_of_them(value: object) -> None:
    compared = 0
    for command in commands():
        ctx = command.context_class(command, info_name=command.name)
        for parameter in command.params:
            if "process_value" not in vars(parameter):
                continue
            many = parameter.nargs != 1 or getattr(parameter, "multiple", False)
            given = parameter.get_default(ctx) if value is None else value
            if given is not None and many != isinstance(given, tuple | list):
                continue  # never comes from a command line
            typers = type(parameter).process_value
            assert processed(parameter.process_value, ctx, given) == processed(typers, parameter, ctx, given)
            compared += 1
    assert compared > 3
