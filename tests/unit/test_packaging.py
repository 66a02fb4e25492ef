"""What a user installs: the wheel, its version and its requirements."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import xlsr_cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    build = pytest.importorskip("hatchling.builders.wheel", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    built = next(iter(build.WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_model(wheel: zipfile.ZipFile) -> None:
    manifest = tomllib.loads(wheel.read("xlsr_cli/models/manifest.toml").decode("utf-8"))
    held = {Path(name).name for name in wheel.namelist() if name.startswith("xlsr_cli/models/")}
    assert manifest["model"]
    assert {model["file"] for model in manifest["model"]} <= held
    assert "MODEL_CARD.md" in held


def test_the_wheel_holds_what_is_not_python(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "src" / "xlsr_cli"
    expected = {
        f"xlsr_cli/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "xlsr_cli/py.typed" in expected
    assert any(name.endswith(".html") for name in expected)
    assert expected <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"xlsr_cli"}


def test_the_models_are_small(wheel: zipfile.ZipFile) -> None:
    sizes = [entry.file_size for entry in wheel.infolist() if entry.filename.endswith(".onnx")]
    assert 0 < sum(sizes) < 2_000_000


def test_the_version_is_the_changelogs_newest(wheel: zipfile.ZipFile) -> None:
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == xlsr_cli.__version__
    assert Path(str(wheel.filename)).name.startswith(f"xlsr_cli-{newest[1]}-py3-")


def test_running_needs_no_training_and_one_opencv(project: dict[str, Any]) -> None:
    names = {re.split(r"[<>=;\[ ]", line)[0] for line in project["project"]["dependencies"]}
    assert "opencv-python-headless" in names
    assert not names & {"opencv-python", "opencv-contrib-python", "torch", "onnx", "matplotlib"}


def test_python_dash_m_is_the_command() -> None:
    command = [sys.executable, "-m", "xlsr_cli", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout == f"xlsr {xlsr_cli.__version__}\n"
    assert answer.stderr == ""


def test_ci_runs_the_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    commands = [line for line in readme.splitlines() if ".venv/bin/pip install" in line]
    assert len(commands) == 2
    for command in commands:
        assert command in script
