"""Ctrl-C and SIGTERM end the program soon, whatever it is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cases import CASES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals as Unix does")


def wait_for_runtime(pid: int) -> None:
    """Until the process has loaded onnxruntime, which takes a busy machine long; where Linux tells."""
    maps = Path(f"/proc/{pid}/maps")
    end = time.monotonic() + 60
    while maps.exists() and "onnxruntime" not in maps.read_text() and time.monotonic() < end:
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "words",
    [
        ("upscale", "in/a.png", "out.png"),
        pytest.param(("upscale", "in/a.png", "out.png", "--dry-run"), marks=pytest.mark.slow),
        pytest.param(("upscale", "in/a.png", "out.png", "--halo", "4"), marks=pytest.mark.slow),
        pytest.param(("batch", "in"), marks=pytest.mark.slow),
        pytest.param(("batch", "in", "--jobs", "0"), marks=pytest.mark.slow),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_network_that_never_ends(tmp_path: Path, words: tuple[str, ...], number: signal.Signals) -> None:
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((6, 8, 3), np.uint8))
    command = [sys.executable, "-m", "xlsr_cli", *words, "--model", str(CASES / "loop.onnx")]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_runtime(process.pid)
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(number)
        said = process.communicate(timeout=10)[1]
    finally:
        process.kill()
    assert (process.returncode, said.splitlines()[-1]) == (130, "error: interrupted")
    assert not (tmp_path / "out.png").exists()
