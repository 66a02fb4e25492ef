"""A control group's memory is a limit: what does not fit is refused before it is begun."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from xlsr_cli.cli.app import main
from xlsr_cli.engine.tiles.tiling import DEFAULT_TILE_MEMORY, tile_budget

Capture = pytest.CaptureFixture[str]
_LIMIT = 256 << 20


def picture(path: Path, side: int) -> Path:
    cv2.imwrite(str(path), np.full((side, side, 3), 99, np.uint8))
    return path


def test_tiles_take_a_part_of_a_small_limit() -> None:
    assert tile_budget(None) == DEFAULT_TILE_MEMORY
    assert tile_budget(64 << 30) == DEFAULT_TILE_MEMORY
    assert tile_budget(_LIMIT) == _LIMIT // 4


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process were in a group with 256 MB."""
    for module in ("engine.upscaler", "engine.cgroup"):
        monkeypatch.setattr(f"xlsr_cli.{module}.memory_limit", lambda *places: _LIMIT)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_picture_that_does_not_fit_is_refused(
    tmp_path: Path, flags: tuple[str, ...], capsys: Capture
) -> None:
    source = picture(tmp_path / "a.png", 5000)
    assert main(["upscale", str(source), str(tmp_path / "b.png"), *flags]) == 6
    assert "this control group grants 256 MB" in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()
    assert main(["upscale", str(picture(tmp_path / "c.png", 500)), str(tmp_path / "d.png"), *flags]) == 0


@pytest.mark.usefixtures("limited")
def test_an_animation_that_does_not_fit_is_refused(tmp_path: Path, capsys: Capture) -> None:
    for side, code in ((3000, 6), (100, 0)):
        frames = [Image.new("L", (side, side), shade) for shade in (0, 255)]
        frames[0].save(tmp_path / f"{side}.gif", save_all=True, append_images=frames[1:])
        output = tmp_path / f"{side}_out.gif"
        assert main(["upscale", str(tmp_path / f"{side}.gif"), str(output)]) == code
        assert output.exists() == (code == 0)
    assert "this control group grants 256 MB" in capsys.readouterr().err


@pytest.mark.usefixtures("limited")
def test_a_batch_stays_below_the_limit(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    picture(tmp_path / "in" / "a.png", 100)
    assert main(["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 6
    assert "a batch takes 260 MB of memory and this control group grants 256 MB" in capsys.readouterr().err
    assert main(["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--jobs", "0"]) == 0


@pytest.fixture
def group() -> Iterator[Path]:
    """The task list of a real group with 256 MB, of version 1."""
    folder = Path(f"/sys/fs/cgroup/memory/xlsr-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(_LIMIT))
    except OSError:
        pytest.skip("control groups cannot be made here")
    yield folder / "cgroup.procs"
    folder.rmdir()


@pytest.mark.slow
def test_in_a_real_group_nothing_is_killed(group: Path, tmp_path: Path) -> None:
    """Every size either fits or is refused with code 6; the system would kill with -9."""
    codes = []
    for side in (300, 1200, 1800, 2400, 3000, 6000):
        source = picture(tmp_path / f"{side}.png", side)
        command = [
            sys.executable,
            "-m",
            "xlsr_cli",
            "upscale",
            str(source),
            str(tmp_path / f"{side}_out.png"),
        ]
        program = f"open({str(group)!r}, 'w').write(str(__import__('os').getpid()));"
        program += f"import os; os.execv({command[0]!r}, {command!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        codes.append(done.returncode)
    assert set(codes) == {0, 6}
    assert codes == sorted(codes)
