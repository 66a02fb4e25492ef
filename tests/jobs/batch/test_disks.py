"""Disks that are small, full or read-only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.jobs.batch.folders import (
    JOURNAL,
    Capture,
    batch,
    tree,
)
from xlsr_cli.jobs.batch import run as batch_jobs


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount")
def test_disks_that_are_small_full_or_read_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for number in range(6):
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    out = folder.with_name("out")
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(out)]).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        batch(folder, code=4)
        assert "MB are needed and" in capsys.readouterr().err
        assert list(out.iterdir()) == []
        monkeypatch.setattr(batch_jobs, "_check_space", lambda plan: None)
        batch(folder, code=4)
        assert "the disk is full" in capsys.readouterr().err
        assert 0 < len(tree(out)) < 6
        subprocess.run(["mount", "-o", "remount,size=6m", str(out)], check=True)
        batch(folder)
        assert sorted(path.name for path in out.iterdir()) == [JOURNAL, *(f"{n}.png" for n in range(6))]
        subprocess.run(["mount", "-o", "remount,ro", str(out)], check=True)
        batch(folder, code=4)
        assert "its folder is read-only" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", str(out)], check=True)
