"""No process that is started takes code from the working folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from xlsr_cli.children import child_environment

#: What a stranger's folder may hold: every name that Python, we or our libraries import.
_NAMES = sorted(
    {name for name in sys.stdlib_module_names if "." not in name}
    | {"numpy", "cv2", "onnxruntime", "PIL", "tifffile", "av", "typer", "click", "rich", "xlsr_cli"}
    | {"sitecustomize", "usercustomize", "distributed", "dask", "tornado", "cloudpickle"}
)


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A folder in which every import leaves a file ``imported-NAME``; its pictures are in ``in``."""
    poisoned = tmp_path / "poisoned"
    (poisoned / "in").mkdir(parents=True)
    for name in _NAMES:
        marker = poisoned / f"imported-{name}"
        (poisoned / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    for number in range(3):
        pixels = np.full((6, 8, 3), number, np.uint8)
        (poisoned / "in" / f"{number}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return poisoned


def imported(poisoned: Path) -> list[str]:
    return sorted(file.name for file in poisoned.glob("imported-*"))


@pytest.mark.parametrize(
    "words",
    [
        ("batch", "in", "--jobs", "2"),
        ("batch", "in", "--jobs", "0"),
        ("upscale", "in/0.png", "out.png"),
        ("upscale", "in/%d.png", "out_%d.png"),
        ("compare", "in/0.png", "in/0.png"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_nothing_is_imported_from_the_working_folder(poisoned: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-P", "-m", "xlsr_cli", *words]
    subprocess.run(command, cwd=poisoned, check=True, capture_output=True)
    assert imported(poisoned) == []


@pytest.mark.parametrize("path", [os.pathsep, f".{os.pathsep}"], ids=["empty", "dot"])
def test_workers_leave_the_working_folder_out_of_the_import_path(poisoned: Path, path: str) -> None:
    """An empty entry in ``PYTHONPATH`` means the working folder, and Python itself obeys it."""
    program = (
        f"import sys; sys.path[:] = [entry for entry in sys.path if entry not in ('', {str(poisoned)!r})]; "
        "from xlsr_cli.__main__ import run; run()"
    )
    command = [sys.executable, "-I", "-c", program, "batch", "in", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, cwd=poisoned, env=environment, check=True, capture_output=True)
    assert imported(poisoned) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("words", [("batch", "in", "--jobs", "2"), ("doctor",)], ids=" ".join)
def test_no_library_or_program_is_looked_for_in_the_working_folder(
    poisoned: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """An empty entry in a search path means the working folder; OpenCV leaves one in LD_LIBRARY_PATH."""
    log = tmp_path / "log"
    strace = ["strace", "-f", "-qq", "--trace=open,openat,openat2,execve", "-o", str(log)]
    program = "import cv2; from xlsr_cli.__main__ import run; run()"
    command = [*strace, sys.executable, "-I", "-c", program, *words]
    environment = child_environment()
    environment.pop("LD_LIBRARY_PATH", None)
    subprocess.run(command, cwd=poisoned, env=environment, check=True, capture_output=True)
    calls = log.read_text("utf-8", "replace").splitlines()
    assert any("execve(" in call for call in calls)
    assert [
        call for call in calls if re.search(r'(open\w*\(AT_FDCWD, |open\(|execve\()"(?!/|in)', call)
    ] == []


def test_search_paths_of_children_leave_the_working_folder_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH"):
        monkeypatch.setenv(name, os.pathsep.join(("", "/usr/bin", ".", str(tmp_path), "")))
        assert child_environment()[name] == "/usr/bin"
        monkeypatch.setenv(name, os.pathsep)
        assert name not in child_environment()
