"""What a user installs: the wheel, its version and its requirements."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

import xlsr_cli
from xlsr_cli.errors import REPORT_AT

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
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
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"xlsr_cli"}
    data = {name.split("/", 1)[1] for name in wheel.namelist() if ".data/" in name}
    assert data == {"data/share/man/man1/xlsr.1"}


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def test_pypi_shows_whole_links_and_pictures(wheel: zipfile.ZipFile) -> None:
    """They lead to the files of the version that is shown."""
    readme = metadata(wheel).get_payload()
    assert isinstance(readme, str)
    targets = re.findall(r"\]\(([^)]+)\)", readme)
    assert len(targets) > 15
    assert not [target for target in targets if not target.startswith("https://")]
    ours = [target for target in targets if "/xlsr/xlsr-cli/" in target]
    version = f"/v{xlsr_cli.__version__}/"
    assert all(version in target for target in ours)
    assert not [target for target in ours if not (ROOT / target.split(version)[1].split("#")[0]).exists()]
    assert (
        f"![Two pictures, shrunk and enlarged again by bicubic and by xlsr, beside the originals](https://raw.githubusercontent.com/xlsr/xlsr-cli{version}docs/before_after.png)"
        in readme
    )


def test_pypi_says_where_the_project_lives_and_what_it_runs_on(wheel: zipfile.ZipFile) -> None:
    found = metadata(wheel)
    urls = dict(line.split(", ", 1) for line in found.get_all("Project-URL", []))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= set(urls)
    assert urls["Issues"] == REPORT_AT
    assert found["Author"]
    classifiers = found.get_all("Classifier", [])
    for python in PYTHONS:
        assert f"Programming Language :: Python :: {python}" in classifiers
    assert found["Requires-Python"] == f">={PYTHONS[0]}"


def test_the_public_ci_runs_what_the_classifiers_promise() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert f"python: {json.dumps(PYTHONS)}" in workflow
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in workflow


def test_the_source_distribution_has_the_tests_and_neither_checkpoints_nor_curves(tmp_path: Path) -> None:
    build = pytest.importorskip("hatchling.builders.sdist", reason="hatchling builds it")
    built = Path(
        next(iter(build.SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    )
    with tarfile.open(built) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert not {name for name in names if name.endswith((".pt", "curve.png", "_x2.png"))}
    assert {
        "README.md",
        "CONTRIBUTING.md",
        "tests/unit/test_packaging.py",
        "tools/smoke.py",
        "docs/xlsr.1",
    } <= names
    assert built.stat().st_size < 10_000_000


def test_forms_for_bugs_ask_for_the_doctor() -> None:
    for form in ("bug.yml", "idea.yml"):
        assert "xlsr doctor --json" in (ROOT / ".github" / "ISSUE_TEMPLATE" / form).read_text("utf-8")


def test_the_image_enlarges_the_folder_that_is_mounted(tmp_path: Path) -> None:
    """What it runs by itself, in a folder of pictures; run again, it does not enlarge its own results."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    program, arguments = (
        json.loads(next(line.split(" ", 1)[1] for line in lines if line.startswith(word)))
        for word in ("ENTRYPOINT", "CMD")
    )
    assert program == ["xlsr"]
    (tmp_path / "deeper").mkdir()
    for name in ("a.png", "deeper/b.png"):
        shutil.copy(ROOT / "docs" / "sample" / "gae-aulenti.png", tmp_path / name)
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "xlsr_cli", *arguments], cwd=tmp_path, check=True, timeout=120)
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert made == {"a.png", "deeper/b.png", "x2/a.png", "x2/deeper/b.png"}


def test_the_models_are_small(wheel: zipfile.ZipFile) -> None:
    sizes = [entry.file_size for entry in wheel.infolist() if entry.filename.endswith(".onnx")]
    assert 0 < sum(sizes) < 4_100_000
    assert sum(entry.compress_size for entry in wheel.infolist()) < 4_000_000


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
