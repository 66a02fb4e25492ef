"""One film on many machines: one of the workers is killed, and the scheduler as well."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.jobs.batch.dask_processes import running_scheduler, worker
from tests.jobs.batch.films_in_folders import contents, film
from tests.jobs.batch.folders import COMMAND, fill
from tests.jobs.video.test_parts import made
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.video.segments import PART_SUFFIX, work_folder

pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="kills processes as Unix does"),
]

FRAMES = 2400


def parts_there(out: Path) -> int:
    """Of the long film."""
    try:
        return sum(path.name.endswith(PART_SUFFIX) for path in work_folder(out / "long.mkv").iterdir())
    except FileNotFoundError:
        return 0


def start(folder: Path, out: Path, address: str) -> subprocess.Popen[str]:
    command = [*COMMAND, str(folder), "--out", str(out), "--cluster", address, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_parts(batch: subprocess.Popen[str], out: Path, count: int) -> None:
    end = time.monotonic() + 120
    while parts_there(out) < count:
        assert batch.poll() is None, batch.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.timeout(600)
def test_workers_and_scheduler_die_and_the_film_is_the_same(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    film(folder / "long.mkv", frames=FRAMES)
    film(folder / "short.mp4", frames=300, seed=1)
    fill(folder, "a.png")
    one = ["batch", str(folder), "--out", str(tmp_path / "one"), "--jobs", "1", "--threads", "1", "--quiet"]
    assert main(one) == 0
    with running_scheduler(tmp_path) as scheduler:
        workers = [worker(scheduler.address, tmp_path) for _ in range(2)]
        try:
            batch = start(folder, out, scheduler.address)
            until_parts(batch, out, 2)
            workers[0].kill()
            until_parts(batch, out, 4)
            scheduler.process.kill()
            said = batch.communicate(timeout=90)[1]
        finally:
            for process in workers:
                process.kill()
                process.wait()
    assert batch.returncode == 6, said
    assert "the same command continues" in said
    made_before = parts_there(out)
    assert made_before >= 4
    with running_scheduler(tmp_path) as scheduler:
        process = worker(scheduler.address, tmp_path)
        try:
            batch = start(folder, out, scheduler.address)
            printed, said = batch.communicate(timeout=300)
        finally:
            process.kill()
            process.wait()
    assert batch.returncode == 0, said
    events = {event["name"]: event for event in map(json.loads, printed.splitlines()) if "name" in event}
    assert set(events) == {"long.mkv", "short.mp4", "a.png"}
    for name in ("long.mkv", "short.mp4"):
        assert contents(out / name) == contents(tmp_path / "one" / name), name
    assert (out / "a.png").read_bytes() == (tmp_path / "one" / "a.png").read_bytes()
    assert not list(out.glob(".*.xlsr-part"))


def test_a_worker_with_other_encoders_refuses_films(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    film(folder / "c.mkv")
    startup = "import av; av.library_versions['libavcodec'] = (1, 2, 3)"
    with running_scheduler(tmp_path) as scheduler:
        process = worker(scheduler.address, tmp_path, startup=startup)
        try:
            batch = start(folder, out, scheduler.address)
            said = batch.communicate(timeout=200)[1]
        finally:
            process.kill()
            process.wait()
    assert batch.returncode == 6, said
    assert "with libavcodec 1.2.3, and this machine has av " in said
    assert not (out / "c.mkv").exists()


def test_what_cannot_be_cut_is_done_as_a_whole_and_says_so(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    made(folder / "one_key.mkv", frames=300, options={"g": "2000", "sc_threshold": "0"})
    with running_scheduler(tmp_path) as scheduler:
        process = worker(scheduler.address, tmp_path)
        try:
            printed, said = start(folder, out, scheduler.address).communicate(timeout=200)
        finally:
            process.kill()
            process.wait()
    assert "film-not-shared" in said
    assert "it has a single key frame" in said
    assert '"event":"done"' in printed.replace(" ", "")
    assert (out / "one_key.mkv").exists()
