"""The help of every command: by subject, within 80 columns, with examples, and without heavy libraries."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any, get_args

import pytest
import typer
import typer.main

from xlsr_cli.cli.app import COMMANDS, app, main
from xlsr_cli.declaration import Panel

#: What takes long to import: no help needs any of them.
HEAVY = {"numpy", "cv2", "onnxruntime", "av", "PIL", "tifffile", "rich"}

EVERY = [[name] for name in COMMANDS if name != "models"] + [
    ["models", name] for name in ("list", "info", "verify")
]


def command_at(path: list[str]) -> Any:
    command: Any = typer.main.get_command(app)
    for name in path:
        command = command.get_command(typer.Context(command), name)
    return command


def help_text(path: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*path, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("path", [[], ["models"], *EVERY], ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(
    path: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = help_text(path, capsys, monkeypatch)
    assert max(len(line) for line in said.splitlines()) <= 80


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_options_stand_under_their_subject(
    path: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = help_text(path, capsys, monkeypatch)
    titles = re.findall(r"^(\w+):$", said, re.MULTILINE)
    subjects = [panel.capitalize() for panel in get_args(Panel)]
    shown = [title for title in titles if title not in ("Arguments", "Examples")]
    assert shown == [subject for subject in subjects if subject in shown]
    assert "Options" not in titles
    options = [entry for entry in command_at(path).params if entry.param_type_name == "option"]
    assert {entry.rich_help_panel for entry in options} <= set(get_args(Panel))
    for entry in options:
        assert re.search(rf"{re.escape(max(entry.opts, key=len))}\b", said)


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_the_examples_are_command_lines(path: list[str]) -> None:
    command = command_at(path)
    examples = command.epilog.strip().splitlines()
    assert 1 <= len(examples) <= 4
    for example in examples:
        words = shlex.split(example.split(" | ")[-1].split(" > ")[0])
        assert words[: 1 + len(path)] == ["xlsr", *path]
        command.make_context(path[-1], words[1 + len(path) :])


@pytest.mark.parametrize("path", [[], ["models"], *EVERY], ids=" ".join)
def test_help_loads_nothing_heavy(path: list[str]) -> None:
    script = (
        "import sys\nfrom xlsr_cli.cli.app import main\n"
        f"main({[*path, '--help']!r})\nprint({HEAVY!r} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_the_usage_line_is_well_formed(
    path: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = help_text(path, capsys, monkeypatch).split("\n\n")[0]
    assert usage.count("[") == usage.count("]")
    assert "..." not in usage
    assert "……" not in usage
