"""Nothing phones home: no file below the home folder, no name looked up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SAMPLE = Path(__file__).resolve().parents[2] / "docs" / "sample" / "gae-aulenti.png"
COMMAND = [sys.executable, "-m", "xlsr_cli"]
STRACE = ["strace", "--follow-forks", "--trace=connect,sendto,sendmsg,sendmmsg"]
#: onnxruntime called its host nine seconds after the first network was loaded.
LONG_ENOUGH = 15


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of somebody who has never run anything, and has set nothing."""
    home.mkdir(exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "ORT_")) and name not in ("CI", "GITHUB_ACTIONS")
    }
    return {**kept, "HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home), **more}


@pytest.mark.parametrize("arguments", [["upscale", "in.png"], ["doctor"], ["models", "verify"]])
def test_an_empty_home_stays_empty(arguments: list[str], tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path / "in.png")
    home = tmp_path / "home"
    subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, env=environment(home), check=True, capture_output=True
    )
    assert not list(home.rglob("*"))


def test_the_library_alone_leaves_it_empty_as_well(tmp_path: Path) -> None:
    home = tmp_path / "home"
    script = (
        "import numpy as np\nfrom xlsr_cli import Upscaler\nUpscaler(scale=2)(np.zeros((8, 8, 3), np.uint8))"
    )
    subprocess.run([sys.executable, "-c", script], env=environment(home), check=True)
    assert not list(home.rglob("*"))


def test_whoever_has_set_the_variable_has_decided(tmp_path: Path) -> None:
    script = "import os, xlsr_cli.engine.session\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, found in ((None, "1"), ("0", "0")):
        more = {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(tmp_path / "home", **more),
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_long_batch_looks_no_name_up(tmp_path: Path) -> None:
    folder, home, trace = tmp_path / "photos", tmp_path / "home", tmp_path / "trace"
    folder.mkdir()
    shutil.copy(SAMPLE, folder / "in.png")
    process = subprocess.Popen(
        [*STRACE, f"--output={trace}", *COMMAND, "batch", str(folder), "--watch"],
        env=environment(home),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        time.sleep(LONG_ENOUGH)
        assert (tmp_path / "photos_x2" / "in.png").exists()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert not [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert not list(home.rglob("*"))
