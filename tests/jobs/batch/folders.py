"""Folders of pictures, batches of them, and their results."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from xlsr_cli.cli.app import main

Capture = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "xlsr_cli", "batch"]
NOT_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")
JOURNAL = ".xlsr-batch.sqlite3"


def png(value: int = 0, width: int = 8, height: int = 6) -> bytes:
    pixels = np.full((height, width, 3), (value % 256, value // 256 % 256, 99), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def fill(folder: Path, *names: str) -> Path:
    """Put a picture of its own colour at each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = png(number)
        if path.suffix == ".jpg":
            data = cv2.imencode(".jpg", np.full((6, 8, 3), number, np.uint8))[1].tobytes()
        path.write_bytes(data)
    return folder


def tree(folder: Path) -> dict[str, str]:
    """Every file but the journal, with its hash."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(JOURNAL[:11])
    }


def batch(folder: Path, *options: object, jobs: int = 0, code: int = 0) -> Path:
    """Run in this process, or with ``jobs`` workers; the output folder."""
    out = folder.with_name("out")
    arguments = ["batch", str(folder), "--out", str(out), "--jobs", str(jobs), *map(str, options)]
    assert main(arguments) == code
    return out


def events(capsys: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def told(folder: Path, capsys: Capture, *options: object, code: int = 0) -> dict[str, str]:
    """What the events of a run say of each file."""
    capsys.readouterr()
    batch(folder, "--json", *options, code=code)
    return {str(event["name"]): str(event["event"]) for event in events(capsys) if "name" in event}


def deadly_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes import this first: some names crash, hang or eat memory."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import multiprocessing, os, sys, time\n"
        "def hook(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[0], str):\n"
        "        if arguments[0].endswith('crash.png') and '/in/' in arguments[0]: os.abort()\n"
        "        if arguments[0].endswith('hang.png') and '/in/' in arguments[0]: time.sleep(600)\n"
        "        if arguments[0].endswith('large.png') and '/in/' in arguments[0]: os.kill(os.getpid(), 9)\n"
        "        if arguments[0].endswith('greedy.png') and '/in/' in arguments[0]: raise MemoryError\n"
        "if any('executors.worker' in word for word in sys.orig_argv): sys.addaudithook(hook)\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
