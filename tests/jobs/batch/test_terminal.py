"""A batch with a bar on a terminal, and its events on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.batch.folders import COMMAND, fill

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals of Unix")


def watched(folder: Path, stdout: Path | None) -> str:
    """What a terminal shows of a batch; stdout goes to a file, or to the terminal as well."""
    leader, follower = os.openpty()
    command = [*COMMAND, str(folder), "--jobs", "0", "--json"]
    with contextlib.ExitStack() as files:
        target = follower if stdout is None else files.enter_context(stdout.open("wb"))
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
        process = subprocess.Popen(command, stdout=target, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so when the last process has closed it
        while data := os.read(leader, 1 << 16):
            shown += data
    os.close(leader)
    assert process.wait() == 0
    return shown.decode()


def test_events_in_a_file_are_all_there_whoever_watches(folder: Path, tmp_path: Path) -> None:
    fill(folder, "a.png", "b.png")
    shown = watched(folder, tmp_path / "events")
    events = [json.loads(line)["event"] for line in (tmp_path / "events").read_text().splitlines()]
    assert events == ["plan", "done", "done", "end"]
    assert "\x1b[2K" in shown  # the bar


def test_events_on_the_terminal_are_not_cut_by_a_bar(folder: Path) -> None:
    fill(folder, "a.png", "b.png")
    shown = watched(folder, None)
    assert "\x1b" not in shown
    events = [json.loads(line)["event"] for line in shown.splitlines() if line.startswith("{")]
    assert events == ["plan", "done", "done", "end"]
