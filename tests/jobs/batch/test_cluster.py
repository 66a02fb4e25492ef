"""A batch on a Dask scheduler with two worker processes, one of which is killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.batch.dask_processes import Scheduler, running_scheduler, worker
from tests.jobs.batch.folders import COMMAND, deadly_names, fill, tree
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.batch.executors.cluster import silence_dask

pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="kills processes as Unix does"),
]


@pytest.fixture
def scheduler(started_scheduler: Scheduler) -> str:
    """The address of a scheduler."""
    return started_scheduler.address


@pytest.fixture
def started_scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    with running_scheduler(tmp_path) as running:
        yield running


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadly_names(tmp_path, monkeypatch)


OTHER_VERSION = "import xlsr_cli; xlsr_cli.__version__ = '0.0.9'"
OLDER_VERSION = "import xlsr_cli.jobs.batch.executors.cluster as cluster; del cluster.objection"
OTHER_MODELS = "import xlsr_cli.jobs.batch.recipe as recipe; recipe.bundled_hashes = lambda: []"


@pytest.mark.parametrize(
    ("startup", "said"),
    [
        (OTHER_VERSION, "has xlsr 0.0.9, and this machine has"),
        (OLDER_VERSION, "has another version of xlsr than this machine"),
        (OTHER_MODELS, "has other networks"),
    ],
    ids=["other version", "older version", "other models"],
)
def test_a_worker_that_would_make_other_pixels(
    scheduler: str, tmp_path: Path, startup: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "in", "a.png", "b.png")
    process = worker(scheduler, tmp_path, startup=startup)
    try:
        code = main(["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--cluster", scheduler])
    finally:
        process.kill()
        process.wait()
    error = capsys.readouterr().err
    assert code == 6, error
    assert "1 of 1 workers cannot do this batch" in error
    assert said in error
    assert tree(tmp_path / "out") == {}


def test_an_output_on_storage_that_is_not_shared(
    scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("mounting is not permitted here")
    fill(tmp_path / "in", "a.png")
    out = tmp_path / "out"
    out.mkdir()
    hide = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs tmpfs "{out}" && exec "$@"', "sh")
    process = worker(scheduler, tmp_path, wrapper=hide)
    try:
        code = main(["batch", str(tmp_path / "in"), "--out", str(out), "--cluster", scheduler])
    finally:
        process.kill()
        process.wait()
    error = capsys.readouterr().err
    assert code == 6, error
    assert f"does not see {out}; it has to be on storage that all machines share" in error


def test_an_output_that_does_not_arrive(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Storage that is shared at first and loses what is written."""
    monkeypatch.setattr("xlsr_cli.jobs.batch.executors.cluster._SEEN_AFTER", 0.5)
    fill(tmp_path / "in", "a.png", "b.png")
    losing = (
        "import pathlib, xlsr_cli.jobs.batch.executors.cluster as cluster\n"
        "do = cluster.do_item_anywhere\n"
        "def lose(item, terms, timeout):\n"
        "    result = do(item, terms, timeout)\n"
        "    item.job.output.write_bytes(b'something else')\n"
        "    return result\n"
        "cluster.do_item_anywhere = lose\n"
    )
    process = worker(scheduler, tmp_path, startup=losing)
    try:
        code = main(["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--cluster", scheduler])
    finally:
        process.kill()
        process.wait()
    error = capsys.readouterr().err
    assert code == 7, error
    assert error.count("this machine does not see that") == 2


def test_a_scheduler_that_dies(tmp_path: Path, started_scheduler: Scheduler) -> None:
    fill(tmp_path / "in", *(f"{number}.png" for number in range(200)), "hang.png")
    process = worker(started_scheduler.address, tmp_path)
    out = tmp_path / "out"
    try:
        batch = subprocess.Popen(
            [*COMMAND, str(tmp_path / "in"), "--out", str(out), "--cluster", started_scheduler.address],
            stderr=subprocess.PIPE,
            text=True,
        )
        end = time.monotonic() + 90
        while len(list(out.glob("*.png"))) < 5:
            assert time.monotonic() < end
            time.sleep(0.01)
        started_scheduler.process.kill()
        said = batch.communicate(timeout=90)[1]
    finally:
        process.kill()
        process.wait()
    assert batch.returncode == 6, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith(f"error: the scheduler {started_scheduler.address} is gone")


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


def test_no_logger_of_dask_speaks_between_our_sentences(capfd: pytest.CaptureFixture[str]) -> None:
    """Those with a level of their own, those that take it from above, and those that come later."""
    silence_dask()
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    assert {"distributed", "distributed.client", "distributed.utils"} <= set(names)
    for name in [*names, "distributed.some.module"]:
        logging.getLogger(name).exception("it went wrong")
    assert capfd.readouterr().err == ""
