"""An option is one line: its flag, its help, its argument of the API and its check follow from the field."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import typer
import typer.main

from xlsr_cli.cli.app import main
from xlsr_cli.cli.flags import with_flags
from xlsr_cli.declaration import assembled, check_values, declared, option, takes_options_of
from xlsr_cli.errors import UsageError


def parse_even(text: str) -> int:
    if int(text) % 2:
        raise ValueError(f"{text} is odd")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Part:
    taste: Literal["sweet", "sour"] = option("sweet", "How it tastes.", "quality")
    legs: int | None = option(None, "How many legs.", "size", short="-l", parse=parse_even, value="EVEN")

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True, kw_only=True)
class Toy:
    part: Part = field(default_factory=Part)
    names: tuple[str, ...] = option((), "What it is called.", "files")
    shiny: bool = option(True, "Polish it.", "quality")
    hidden: int = 3


def toy_command(*arguments: str) -> Toy:
    """What a command line made of the options hands to its function."""
    found: list[Toy] = []
    app = typer.Typer(rich_markup_mode=None, add_completion=False)

    @app.command()
    @with_flags
    def command(toy: Toy = Toy()) -> None:
        found.append(toy)

    typer.main.get_command(app).main(list(arguments), standalone_mode=False)
    return found[0]


def test_the_options_of_a_dataclass_and_its_parts() -> None:
    assert [each.flag for each in declared(Toy)] == ["--taste", "--legs", "--names", "--no-shiny"]
    assert declared(Toy)[0].choices == ("sweet", "sour")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), Toy()),
        (("--taste", "SOUR"), Toy(part=Part(taste="sour"))),
        (("-l", "4", "--no-shiny"), Toy(part=Part(legs=4), shiny=False)),
        (("--names", "a", "--names", "b"), Toy(names=("a", "b"))),
    ],
)
def test_a_command_line_is_made_of_them(arguments: tuple[str, ...], expected: Toy) -> None:
    assert toy_command(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "says"), [(("--legs", "3"), "3 is odd"), (("--taste", "salty"), "sour")]
)
def test_a_command_line_refuses_with_the_parsers_sentence(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(Exception, match=says):
        toy_command(*arguments)


def test_an_object_is_assembled_from_values_and_checked() -> None:
    assert assembled(Toy, {"taste": "sour", "shiny": False}) == Toy(part=Part(taste="sour"), shiny=False)
    with pytest.raises(UsageError, match="taste must be one of sweet, sour, not 'salty'"):
        assembled(Toy, {"taste": "salty"})
    for name in ("colour", "hidden", "part"):
        with pytest.raises(TypeError, match=f"no option {name}"):
            assembled(Toy, {name: 1})


def test_a_function_has_their_signature() -> None:
    @takes_options_of(Toy)
    def play(name: str, **options: Any) -> Toy:
        return assembled(Toy, options)

    parameters = inspect.signature(play).parameters
    assert list(parameters) == ["name", "taste", "legs", "names", "shiny"]
    assert (parameters["taste"].default, parameters["shiny"].default) == ("sweet", True)
    assert play("ball", legs=2).part.legs == 2


def test_a_choice_that_is_none_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upscale", "in.png", "--codec", "h263"]) == 2
    said = capsys.readouterr().err
    assert "--codec" in said
    assert "hevc" in said
