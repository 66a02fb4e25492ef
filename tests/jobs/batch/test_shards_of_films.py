"""Films that several shards share: each makes its parts, and one of them puts a film together."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.batch.films_in_folders import contents, film
from tests.jobs.batch.folders import COMMAND, JOURNAL, NOT_WINDOWS, Capture, batch, fill, told, tree
from tests.jobs.video.test_parts import made
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.batch import film as steps
from xlsr_cli.jobs.batch.job import Shard
from xlsr_cli.jobs.batch.journal import Entry, Journal
from xlsr_cli.jobs.video import parts
from xlsr_cli.jobs.video.segments import PART_SUFFIX, has_parts, open_segments, work_folder

#: Frames of a film in four parts.
FOUR_PARTS = 760


def whole(source: Path) -> tuple[list[bytes], list[bytes]]:
    """What one machine makes of ``source`` with one thread, as :func:`contents` gives it."""
    output = source.parent.parent / f"whole{source.suffix}"
    arguments = [str(source), str(output), "--threads", "1", "--quiet", "--overwrite"]
    assert main(["upscale", *arguments]) == 0
    return contents(output)


def shard(index: int, count: int) -> tuple[str, str]:
    return "--shard", f"{index}/{count}"


@contextmanager
def counted_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The parts that are made meanwhile in this process."""
    seen: list[tuple[int, int]] = []
    make = parts.make_part

    def make_part(film: object, part: parts.Part, *arguments: object) -> None:
        seen.append((part.begin, part.end))
        make(film, part, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(parts, "make_part", make_part)
        yield seen


@pytest.mark.parametrize("count", [2, 6])
def test_every_shard_makes_its_parts_and_the_last_one_joins_them(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    source = film(folder / "c.mkv", frames=FOUR_PARTS)
    said = []
    with counted_parts(monkeypatch) as seen:
        for index in random.Random(count).sample(range(1, count + 1), count):
            said.append(told(folder, capsys, *shard(index, count))["c.mkv"])
    assert sorted(seen) == [(0, 240), (240, 480), (480, 720), (720, 760)]
    assert said.count("done") == 1
    assert set(said[: said.index("done")]) <= {"shared"}
    assert set(said[said.index("done") + 1 :]) <= {"kept"}
    out = folder.with_name("out")
    assert contents(out / "c.mkv") == whole(source)
    assert not list(out.glob(".*.xlsr-part"))
    for options in (shard(1, count), ()):
        assert told(folder, capsys, *options) == {"c.mkv": "kept"}


def test_what_cannot_be_shared_is_done_by_one(folder: Path, capsys: Capture) -> None:
    film(folder / "short.mkv", frames=20)
    made(folder / "one_key.mkv", frames=300, options={"g": "2000", "sc_threshold": "0"})
    fill(folder, "a.png", "b.png", "c.png")
    said: dict[str, list[str]] = {}
    for index in (1, 2, 3):
        for name, event in told(folder, capsys, *shard(index, 3)).items():
            said.setdefault(name, []).append(event)
    assert all(said[name] == ["done"] for name in ("short.mkv", "a.png", "b.png", "c.png"))
    assert sorted(set(said["one_key.mkv"]) - {"kept"}) in (["done"], ["done", "shared"])
    assert said["one_key.mkv"].count("done") == 1
    assert len(tree(folder.with_name("out"))) == 5


def test_a_run_without_shards_does_what_is_missing(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(folder / "c.mp4", frames=FOUR_PARTS)
    out = batch(folder, *shard(1, 2))
    assert has_parts(out / "c.mp4")
    assert not (out / "c.mp4").exists()
    with counted_parts(monkeypatch) as seen:
        assert told(folder, capsys, "--threads", 2) == {"c.mp4": "done"}
    assert len(seen) == 2
    assert contents(out / "c.mp4") == whole(source)
    assert not work_folder(out / "c.mp4").exists()
    assert told(folder, capsys, *shard(2, 2)) == {"c.mp4": "kept"}


def test_an_interrupted_shard_continues(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(folder / "c.mp4", frames=FOUR_PARTS)
    make = parts.make_part

    def interrupted(film: object, part: parts.Part, *arguments: object) -> None:
        make(film, part, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(parts, "make_part", interrupted)
        batch(folder, *shard(1, 2), code=130)
    (done,) = (folder.with_name("out") / ".c.mp4.xlsr-part").glob(f"*{PART_SUFFIX}")
    half = done.with_name(f".{done.name}.xlsr-0123abcd.part")
    half.touch()
    with counted_parts(monkeypatch) as seen:
        assert told(folder, capsys, *shard(1, 2)) == {"c.mp4": "shared"}
    assert len(seen) == 1
    assert not half.exists()


@pytest.mark.parametrize("late", [1, 2])
def test_two_shards_that_end_together_join_once(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """While one joins, the other one finds its segments locked, and later the output."""
    film(folder / "c.mp4", frames=480)
    out = folder.with_name("out")
    batch(folder, *shard(1, 2))
    monkeypatch.setattr(steps, "_PATIENCE_WITH_SHARDS", 0.1)
    join = steps._joined

    def while_the_other_does(*arguments: Any) -> steps.ItemResult:
        with open_segments(out / "c.mp4", steps._film(arguments[0]).key) as segments:
            segments.set_notices([])
            join(*arguments)  # the database is locked by this process already
            raise AssertionError("two joined at once")

    with monkeypatch.context() as patched:
        patched.setattr(steps, "_joined", while_the_other_does)
        assert told(folder, capsys, *shard(2, 2)) == {"c.mp4": "shared"}
    assert told(folder, capsys, *shard(late, 2)) == {"c.mp4": "done"}


@pytest.mark.parametrize("tidied", [False, True])
def test_a_shard_that_comes_late_to_join_leaves_it(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tidied: bool
) -> None:
    """Between its look and the lock, another one joins, and perhaps removes the folder as well."""
    film(folder / "c.mp4", frames=480)
    output = folder.with_name("out") / "c.mp4"
    batch(folder, *shard(1, 2))
    join, made = steps._joined, []

    def after_the_other(*arguments: Any) -> steps.ItemResult:
        made.append(join(*arguments).entry.output_sha256)
        if tidied:
            shutil.rmtree(work_folder(output))
        return join(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "_joined", after_the_other)
        assert told(folder, capsys, *shard(2, 2)) == {"c.mp4": "shared"}
    assert [hashlib.sha256(output.read_bytes()).hexdigest()] == made


def joined_unseen(folder: Path) -> Path:
    """The output of two shards, of which the second joined a film; its journal is not seen yet."""
    film(folder / "c.mp4", frames=480)
    out = batch(folder, *shard(1, 2))
    batch(folder, *shard(2, 2))
    (out / f"{JOURNAL[:11]}-2of2.sqlite3").unlink()
    return out


@pytest.mark.parametrize(
    ("step", "call"), [("_options", 1), ("_film", 1), ("finished_frames", 1), ("_film", 2)]
)
def test_a_folder_that_vanishes_while_a_shard_plans(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    """The shard that joined the film removes it; ``_film`` is also the first that a part asks for."""
    out, calls = joined_unseen(folder), []
    work_folder(out / "c.mp4").mkdir()
    usual = getattr(steps, step)

    def vanish(*arguments: Any, **named: Any) -> object:
        calls.append(step)
        if len(calls) == call:
            shutil.rmtree(work_folder(out / "c.mp4"), ignore_errors=True)
        return usual(*arguments, **named)

    monkeypatch.setattr(steps, step, vanish)
    assert told(folder, capsys, "--jobs", 0, *shard(1, 2)) == {"c.mp4": "shared"}
    assert len(calls) >= call
    assert not work_folder(out / "c.mp4").exists()


def test_the_result_of_a_shard_whose_journal_is_not_seen_yet(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on network storage, which shows another machine's writes late."""
    out = joined_unseen(folder)
    before = (out / "c.mp4").read_bytes()
    assert told(folder, capsys, *shard(1, 2)) == {"c.mp4": "shared"}
    assert (out / "c.mp4").read_bytes() == before


def test_the_result_of_a_shard_that_is_still_running(folder: Path, capsys: Capture) -> None:
    """Its journal is locked for as long as it runs; a shard without a part of the film knows nothing else."""
    film(folder / "c.mp4", frames=480)
    out = folder.with_name("out")
    with_parts = {
        index for index in range(1, 6) if any(Shard(index=index, count=5).holds("c.mp4", n) for n in (0, 1))
    }
    for index in with_parts:
        batch(folder, *shard(index, 5))
    assert (out / "c.mp4").exists()
    other = min({1, 2, 3, 4, 5} - with_parts)
    journal = next(path for path in out.glob(".xlsr-batch-*") if b"done" in path.read_bytes())
    index = int(journal.name.split("-")[2].split("of")[0])
    with Journal(out, Shard(index=index, count=5)) as running:
        assert told(folder, capsys, *shard(other, 5)) == {"c.mp4": "kept"}
        running.record([Entry(name="later.png", status="done")])
        assert told(folder, capsys, *shard(other, 5)) == {"c.mp4": "kept"}


def test_somebody_elses_file_is_spared_and_told_once(folder: Path, capsys: Capture) -> None:
    film(folder / "c.mp4", frames=480)
    out = folder.with_name("out")
    out.mkdir()
    (out / "c.mp4").write_bytes(b"precious")
    owner = 1 if Shard(index=1, count=2).holds("c.mp4") else 2
    assert told(folder, capsys, *shard(owner, 2), code=7) == {"c.mp4": "failed"}
    assert told(folder, capsys, *shard(3 - owner, 2)) == {}
    assert (out / "c.mp4").read_bytes() == b"precious"


def test_a_film_that_turns_out_not_to_be_cut(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(folder / "c.mp4", frames=480)

    def refuse(*arguments: object) -> None:
        raise parts.NotAsPlannedError("frame 240 is not where its packet says")

    with monkeypatch.context() as patched:
        patched.setattr(parts, "make_part", refuse)
        for index in (1, 2):
            said = told(folder, capsys, *shard(index, 2), code=7)
            assert said == {"c.mp4": "failed"}
    assert told(folder, capsys) == {"c.mp4": "done"}
    assert contents(folder.with_name("out") / "c.mp4") == whole(source)


def test_the_plan_says_that_films_are_shared(folder: Path, capsys: Capture) -> None:
    film(folder / "c.mp4", frames=FOUR_PARTS)
    batch(folder, "--dry-run", *shard(1, 2))
    printed = capsys.readouterr()
    assert "1 film is shared by all 2 shards; the one that ends last puts its parts together" in printed.err
    assert "1 film in about 2 parts" in printed.out
    report = folder.with_name("r.html")
    batch(folder, "--report", report, *shard(1, 2))
    assert "0 done, this shard's share of 1 film, 0 failed" in capsys.readouterr().err
    assert "this shard has made its parts; others are to come" in report.read_text("utf-8")


def test_changed_options_make_the_film_again(folder: Path, capsys: Capture) -> None:
    film(folder / "c.mp4", frames=480)
    for crf in (20, 40):
        said = {told(folder, capsys, "--crf", crf, *shard(index, 2))["c.mp4"] for index in (1, 2)}
        assert said == {"shared", "done"}
    assert told(folder, capsys, "--crf", 40) == {"c.mp4": "kept"}


def test_parts_that_do_not_fit_are_told(folder: Path, capsys: Capture) -> None:
    film(folder / "c.mp4", frames=480)
    for index in (1, 2):
        capsys.readouterr()
        batch(folder, "--crf", 20 * index, *shard(index, 2))
        assert ("1 of the parts that other shards made do not fit" in capsys.readouterr().err) == (index == 2)
    assert told(folder, capsys, "--crf", 40) == {"c.mp4": "done"}
    assert not list(folder.with_name("out").glob(".*.xlsr-part"))


@NOT_WINDOWS
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_shards_side_by_side_are_killed_at_random_moments(folder: Path, capsys: Capture) -> None:
    """Three shards run at the same time, each killed several times, until all have ended by themselves."""
    films = [film(folder / f"f{n}.{'mkv' if n else 'mp4'}", frames=900 + 300 * n, seed=n) for n in range(2)]
    film(folder / "short.mkv", frames=30)
    fill(folder, *(f"p{number}.png" for number in range(6)))
    out, moments = folder.with_name("out"), random.Random(16)
    command = [*COMMAND, str(folder), "--out", str(out), "--quiet"]

    def start(index: int) -> subprocess.Popen[bytes]:
        jobs = "0" if index == 2 else "2"
        arguments = [*command, "--jobs", jobs, *shard(index, 3)]
        return subprocess.Popen(arguments, start_new_session=True)

    running = {index: start(index) for index in (1, 2, 3)}
    kills = 0
    try:
        while any(process.poll() is None for process in running.values()):
            time.sleep(moments.uniform(0.1, 0.6 if kills < 3 else 1.5))
            alive = [index for index, process in running.items() if process.poll() is None]
            if alive and kills < 9:
                index, kills = moments.choice(alive), kills + 1
                sign = signal.SIGKILL if kills % 3 else signal.SIGTERM
                os.killpg(running[index].pid, sign)
                running[index].wait()
                running[index] = start(index)
        assert [process.returncode for process in running.values()] == [0, 0, 0]
    finally:
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    assert kills >= 3  # the first ones come before a shard can have ended
    assert not list(out.glob(".*.xlsr-*"))
    assert set(told(folder, capsys, "--jobs", 2).values()) == {"kept"}
    for source in films:
        assert contents(out / source.name) == whole(source)
