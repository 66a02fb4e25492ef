"""Libraries that are too old are named in one sentence before they are imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xlsr_cli import installation

ROOT = Path(__file__).resolve().parents[2]


def test_the_installed_libraries_are_enough() -> None:
    assert installation.python_complaint() is None
    assert installation.library_complaint() is None
    assert {"numpy", "av", "typer"} <= set(installation.installed_versions())


def test_an_old_python_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    assert installation.python_complaint() == (
        "xlsr needs Python 3.11 or newer, and this is Python 3.10.4; install it with a newer one"
    )


def environment(folder: Path, **versions: str) -> dict[str, str]:
    """An environment whose path begins with distributions of these ``versions``, by their folders' names."""
    place = folder / "site-packages"
    for name, version in versions.items():
        (place / f"{name}-{version}.dist-info").mkdir(parents=True)
    needs = place / "xlsr_cli-0.1.0.dist-info"
    needs.mkdir()
    lines = ["Name: xlsr-cli", "Requires-Dist: av>=18.0", "Requires-Dist: dask>=2024.8; extra == 'cluster'"]
    (needs / "METADATA").write_text("\n".join(lines))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(ROOT / "src")])}


def test_an_old_library_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xlsr_cli", "upscale", "in.png"],
        env=environment(tmp_path, av="17.1.0", dask="2020.1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert done.stderr == (
        'error: xlsr needs av 18.0 or newer, and 17.1.0 is installed; run: pip install --upgrade "av>=18.0"\n'
    )


def test_two_opencvs_are_a_warning_and_the_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes((ROOT / "docs" / "sample" / "gae-aulenti.png").read_bytes())
    given = environment(tmp_path, opencv_python="4.10.0.84", opencv_python_headless="5.0.0.93", av="19.0.0")
    command = [sys.executable, "-m", "xlsr_cli", "upscale", "in.png"]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "opencv-python 4.10.0.84 and opencv-python-headless 5.0.0.93 are both installed" in done.stderr
    assert "(opencv-clash)" in done.stderr
    assert (tmp_path / "in_x2.png").exists()


@pytest.mark.parametrize(
    ("version", "number"), [("5.0.0.93", (5, 0, 0, 93)), ("2.0rc1", (2, 0)), ("unknown", ())]
)
def test_versions_are_compared_as_numbers(version: str, number: tuple[int, ...]) -> None:
    assert installation._number(version) == number
