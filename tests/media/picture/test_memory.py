"""How much memory a picture takes from file to file, and whether that was said before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.options import Size

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory was used from /proc")

#: Runs the command and prints the largest memory of the process. Pages of library files belong to the page
#: cache, and the kernel maps 53 to 95 MB of the same libraries, by how they lie there: they count 54 MB.
_RUN = """
import contextlib, io, pathlib, re, sys
from xlsr_cli.bench.memory import peak_memory
from xlsr_cli.cli.app import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["upscale", *sys.argv[1:]]) == 0
mapped = re.search(r"RssFile:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
print(peak_memory() - 1024 * int(mapped[1]) + 54_000_000)
"""
_WIDTH, _HEIGHT = 2000, 1500
_ARRAYS = _WIDTH * _HEIGHT * 3 * (1 + 4)
#: What the process takes beside its pictures, with two threads. A PNG of noise is as large as its pixels: one
#: that is held while it is written takes more than this.
_BESIDE = 205e6


def peak(*arguments: str) -> int:
    """Bytes that ``xlsr upscale`` with ``arguments`` took at most."""
    command = [sys.executable, "-c", _RUN, *arguments, "--threads", "2"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def said(*arguments: str) -> int:
    """Bytes that the dry run of it tells."""
    command = [
        sys.executable,
        "-m",
        "xlsr_cli",
        "upscale",
        *arguments,
        "--threads",
        "2",
        "--dry-run",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)["peak_memory"])


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that no codec makes smaller."""
    pixels = np.random.default_rng(0).integers(0, 256, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    file = tmp_path_factory.mktemp("memory") / "noise.png"
    file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return file


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that codecs find as hard as a photograph."""
    file = tmp_path_factory.mktemp("memory") / "photograph.png"
    file.write_bytes(cv2.imencode(".png", made_picture(Size(width=_WIDTH, height=_HEIGHT)))[1].tobytes())
    return file


@pytest.mark.slow
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_an_encoded_picture_is_not_held(noise: Path, tmp_path: Path, extension: str) -> None:
    arguments = (str(noise), str(tmp_path / f"out.{extension}"))
    taken = peak(*arguments)
    assert taken < _ARRAYS + _BESIDE
    assert 0.75 < taken / said(str(noise), str(tmp_path / f"other.{extension}")) < 1.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extension", "options"), [("jpg", ()), ("webp", ()), ("webp", ("--lossless",)), ("bmp", ())]
)
def test_the_dry_run_tells_what_is_taken(
    photograph: Path, tmp_path: Path, extension: str, options: tuple[str, ...]
) -> None:
    taken = peak(str(photograph), str(tmp_path / f"out.{extension}"), *options)
    assert 0.75 < taken / said(str(photograph), str(tmp_path / f"other.{extension}"), *options) < 1.1
