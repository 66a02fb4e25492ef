"""Batches of pictures, animations and films together."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.jobs.batch.films_in_folders import animation, contents, film, sound_alone
from tests.jobs.batch.folders import COMMAND, NOT_WINDOWS, Capture, batch, events, fill, png, told, tree
from xlsr_cli.cli.app import main
from xlsr_cli.errors import UsageError
from xlsr_cli.jobs.batch.journal import Entry, Journal
from xlsr_cli.jobs.batch.selection import Selection
from xlsr_cli.jobs.video.segments import work_folder


def all_kinds(folder: Path) -> Path:
    fill(folder, "a.png")
    animation(folder / "b.gif")
    film(folder / "c.mkv")
    return folder


@pytest.mark.parametrize("jobs", [0, 2])
def test_all_kinds_are_done_and_known_again(folder: Path, capsys: Capture, jobs: int) -> None:
    out = batch(all_kinds(folder), jobs=jobs)
    assert sorted(tree(out)) == ["a.png", "b.gif", "c.mkv"]
    frames, packets = contents(out / "c.mkv")
    assert len(frames) == 6
    assert packets == contents(folder / "c.mkv")[1]
    assert told(folder, capsys) == dict.fromkeys(["a.png", "b.gif", "c.mkv"], "kept")


def test_a_film_is_what_upscale_makes_of_it(folder: Path, tmp_path: Path) -> None:
    film(folder / "c.mkv")
    out = batch(folder, "--crf", 30)
    alone = tmp_path / "alone.mkv"
    assert main(["upscale", str(folder / "c.mkv"), str(alone), "--crf", "30"]) == 0
    assert contents(out / "c.mkv") == contents(alone)


def test_options_of_films_do_not_touch_pictures(folder: Path, capsys: Capture) -> None:
    batch(all_kinds(folder))
    said = told(folder, capsys, "--crf", 40)
    assert said == {"a.png": "kept", "b.gif": "kept", "c.mkv": "done"}


@pytest.mark.parametrize(
    ("kinds", "done"), [(["film"], {"c.mkv"}), (["picture", "animation"], {"a.png", "b.gif"})]
)
def test_kinds_are_chosen(folder: Path, capsys: Capture, kinds: list[str], done: set[str]) -> None:
    said = told(all_kinds(folder), capsys, *itertools.chain(*(("--kind", kind) for kind in kinds)))
    assert set(said) == done


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="kind must be one of picture, animation, film, not 'song'"):
        Selection(kind=("song",))


def test_what_is_left_alone_is_named_and_counted(folder: Path, capsys: Capture) -> None:
    all_kinds(folder)
    sound_alone(folder / "song.m4a")
    (folder / "raw.y4m").write_bytes(b"YUV4MPEG2 W8 H8 F25:1\n")
    (folder / "code.ts").write_text("let x = 1\n")
    for name in ("notes.txt", "more.txt"):
        (folder / name).write_text("hello")
    batch(folder, "--dry-run", "--verbose")
    printed = capsys.readouterr()
    assert "1 picture, 1 animation, 1 film, 0 refused, 5 other files (3 no picture, animation or film; " in (
        printed.out
    )
    assert "1 sound alone" in printed.out
    assert "song.m4a: left alone: sound alone" in printed.err
    assert "raw.y4m: left alone: raw frames" in printed.err
    batch(folder, "--dry-run")
    assert "left alone" not in capsys.readouterr().err


def test_broken_films_fail_and_the_rest_is_done(folder: Path, capsys: Capture) -> None:
    all_kinds(folder)
    (folder / "empty.mp4").touch()
    (folder / "text.mkv").write_text("hello")
    (folder / "cut.mp4").write_bytes(film(folder / "whole.mp4").read_bytes()[:60])
    said = told(folder, capsys, code=7)
    assert {name for name, event in said.items() if event == "failed"} == {"empty.mp4", "text.mkv", "cut.mp4"}
    assert said["c.mkv"] == said["whole.mp4"] == "done"


def test_a_container_that_cannot_be_written(folder: Path) -> None:
    film(folder / "old.mkv").rename(folder / "old.flv")
    assert sorted(tree(batch(folder))) == ["old.mkv"]


def test_a_file_of_somebody_else_is_not_replaced(folder: Path, capsys: Capture) -> None:
    film(folder / "c.mkv")
    out = folder.with_name("out")
    out.mkdir()
    (out / "c.mkv").write_bytes(b"precious")
    said = told(folder, capsys, code=7)
    assert said == {"c.mkv": "failed"}
    assert (out / "c.mkv").read_bytes() == b"precious"


def test_the_bar_counts_frames_of_films_in_seconds(folder: Path) -> None:
    from xlsr_cli.jobs.batch.effort import Rates
    from xlsr_cli.jobs.batch.item import Item, ItemResult
    from xlsr_cli.jobs.batch.job import Job
    from xlsr_cli.jobs.batch.meter import Meter
    from xlsr_cli.jobs.batch.recipe import recipe_for
    from xlsr_cli.options import PictureOptions, VideoOptions
    from xlsr_cli.progress import Quiet

    class Bar(Quiet):
        def __init__(self) -> None:
            self.done, self.notes = 0.0, [""]

        def start(self, total: float | None, unit: str) -> None:
            self.total, self.unit = total, unit

        def advance(self, amount: float) -> None:
            self.done += amount

        def note(self, text: str) -> None:
            self.notes.append(text)

    def item(name: str, **settings: object) -> Item:
        return Item(job=Job(folder=folder, name=name, out=folder, target=name, **settings), known=None)

    items = [item("film.mkv", kind="film", frames=100, pixels=2_000_000), item("a.png", pixels=3_000_000)]
    bar = Bar()
    meter = Meter(items, recipe_for(PictureOptions(), VideoOptions()), Rates(picture=2.0, film=1.0), bar)
    assert (bar.total, bar.unit) == (8.0, "s")
    meter.part("film.mkv", 0.25)
    assert (bar.done, bar.notes[-1]) == (0.5, "1/2 files, film.mkv 25/100 frames")
    for name in ("a.png", "film.mkv"):
        meter.end(ItemResult(outcome="done", entry=Entry(name=name, status="done")))
    assert (bar.done, bar.notes[-1]) == (8.0, "2/2 files, film.mkv")


def progress_of(out: Path) -> int:
    """Something that grows with each finished file and each finished segment."""
    if not out.is_dir():
        return 0
    parts = [path.stat().st_size for path in out.rglob("*.xlsr-part/segments.sqlite")]
    return 1000 * len(tree(out)) + sum(size >> 12 for size in parts)


@NOT_WINDOWS
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_ten_times_and_resumed(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    """40 pictures, 6 films, 4 animations and 10 broken or foreign files; three of the ten by Ctrl-C."""
    fill(folder, *(f"p{number}.{'png' if number % 2 else 'jpg'}" for number in range(40)))
    for number in range(4):
        animation(folder / f"m{number}.gif", frames=4 + number)
    for number in range(6):
        film(folder / f"f{number}.{'mkv' if number % 2 else 'mp4'}", frames=260 + 100 * number, seed=number)
    for number in range(4):
        (folder / f"broken{number}.png").write_bytes(png(number)[: 40 + number])
    (folder / "broken.mp4").write_bytes((folder / "f0.mp4").read_bytes()[:3000])
    for name in ("notes.txt", "table.csv", "code.ts", "letter.pdf", "page.html"):
        (folder / name).write_text(name)
    undisturbed = batch(folder, jobs=2, code=7)
    undisturbed = undisturbed.rename(tmp_path / "undisturbed")
    out, moments = tmp_path / "out", random.Random(16)
    command = [*COMMAND, str(folder), "--out", str(out), "--jobs", "2", "--quiet"]
    for round in range(10):
        enough = progress_of(out) + moments.randrange(1, 4000)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and progress_of(out) < enough:
            time.sleep(0.01)
        assert process.poll() is None, "it was done before it could be killed; make the films longer"
        interrupted = round % 3 == 1
        os.killpg(process.pid, signal.SIGINT if interrupted else signal.SIGKILL)
        ended = process.wait(60)
        if interrupted:
            assert ended in (130, -signal.SIGINT)
            assert not list(out.glob(".*.part"))  # beside finished parts of films, they may lie
    said = told(folder, capsys, "--jobs", 2, code=7)
    assert [name for name, event in said.items() if event == "failed"] != []
    ours, theirs = tree(out), tree(undisturbed)
    films = {name for name in theirs if name.startswith("f")}
    assert len(films) == 6
    assert {name: ours[name] for name in ours if name not in films} == {
        name: theirs[name] for name in theirs if name not in films
    }
    for name in films:
        assert contents(out / name) == contents(undisturbed / name), name
    assert not list(out.rglob("*.xlsr-part"))
    assert events(capsys) == []


@pytest.mark.parametrize(("recorded", "said"), [(True, "kept"), (False, "done")])
def test_killed_after_a_film_is_in_its_place(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, recorded: bool, said: str
) -> None:
    """Its segments are there until the journal knows of it, so that nothing is enlarged twice."""
    film(folder / "c.mkv")
    record = Journal.record

    def deaf(journal: Journal, entries: Iterable[Entry]) -> None:
        record(journal, [entry for entry in entries if recorded or entry.status == "working"])

    with monkeypatch.context() as killed:
        killed.setattr(Journal, "record", deaf)
        killed.setattr(Journal, "settle", lambda journal: None)
        killed.setattr("xlsr_cli.jobs.batch.run.shutil.rmtree", lambda path, **settings: None)
        out = batch(folder)
    assert work_folder(out / "c.mkv").is_dir()
    before = contents(out / "c.mkv")
    monkeypatch.setattr("xlsr_cli.media.video.frame_upscaler.FrameUpscaler.begin", None)
    assert told(folder, capsys) == {"c.mkv": said}
    assert contents(out / "c.mkv") == before
    assert not work_folder(out / "c.mkv").exists()
