"""A batch on a Dask scheduler with two worker processes, one of which is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.batch.folders import COMMAND, deadly_names, fill, tree
from xlsr_cli.cli.app import main

pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="kills processes as Unix does"),
]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler on loopback."""
    log = tmp_path / "scheduler.log"
    with log.open("w") as target:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "distributed.cli.dask_scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-dashboard",
            ],
            stdout=target,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    try:
        end = time.monotonic() + 60
        while not (found := re.search(r"Scheduler at:\s*(tcp://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield found[1]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadly_names(tmp_path, monkeypatch)


def worker(address: str, folder: Path, nanny: str = "--no-nanny") -> subprocess.Popen[bytes]:
    arguments = [address, "--nthreads", "1", nanny, "--no-dashboard"]
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )


def test_a_worker_is_killed_and_nothing_is_lost(scheduler: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", *(f"{number}.png" for number in range(300)))
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert main(["batch", str(folder), "--out", str(tmp_path / "plain"), "--quiet"]) == 7
    workers = [worker(scheduler, tmp_path), worker(scheduler, tmp_path)]
    out = tmp_path / "out"
    try:
        batch = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(out), "--cluster", scheduler],
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 90
        while len(list(out.glob("*.png"))) < 20:
            assert batch.poll() is None, batch.stderr and batch.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.01)
        workers[0].send_signal(signal.SIGKILL)
        assert batch.stderr is not None
        said = batch.stderr.read()
        assert batch.wait(120) == 7, said
    finally:
        for process in workers:
            process.kill()
            process.wait()
    assert tree(out) == tree(tmp_path / "plain")
    assert "bad.png" in said
    assert "1 file failed" in said


def test_a_deadly_file_costs_itself_and_no_worker(
    scheduler: str, tmp_path: Path, deadly: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Paths are relative, and the worker looks from elsewhere, under a nanny."""
    fill(tmp_path / "in", "a.png", "crash.png", "hang.png", "z.png")
    (tmp_path / "elsewhere").mkdir()
    process = worker(scheduler, tmp_path / "elsewhere", "--nanny")
    relative = [os.path.relpath(tmp_path / name) for name in ("in", "out")]
    try:
        code = main(["batch", relative[0], "--out", relative[1], "--cluster", scheduler, "--timeout", "10"])
    finally:
        process.terminate()
        process.wait(20)
    said = capsys.readouterr().err
    assert code == 7, said
    assert sorted(tree(tmp_path / "out")) == ["a.png", "z.png"]
    assert "crash.png crashed the decoder or ran out of memory (SIGABRT)" in said
    assert "hang.png took longer than --timeout 10 s" in said


def test_what_a_cluster_decides_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "in", "a.png")
    assert main(["batch", str(tmp_path / "in"), "--cluster", "tcp://127.0.0.1:1", "--jobs", "2"]) == 2
    assert "--nworkers" in capsys.readouterr().err


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "in", "a.png")
    code = main(
        ["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--cluster", "tcp://127.0.0.1:1"]
    )
    assert code == 6
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err.splitlines()[-1]
