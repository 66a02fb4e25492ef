"""``xlsr batch``: what is planned, done, kept, refused and reported."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from PIL import Image

from xlsr_cli.cli.app import main
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.batch import run as batch_jobs
from xlsr_cli.jobs.batch.executors import WorkOptions, open_executor
from xlsr_cli.jobs.batch.item import Computed, Item, ItemResult, compute, fingerprint, place
from xlsr_cli.jobs.batch.journal import Journal
from xlsr_cli.jobs.batch.plan import Selection, Shard, plan_batch
from xlsr_cli.jobs.batch.run import BatchOptions, make_plan, run_batch, watch
from xlsr_cli.options import PictureOptions, Target

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


def batch(folder: Path, *options: object, code: int = 0) -> Path:
    """Run with one worker; the output folder."""
    out = folder.with_name("out")
    arguments = ["batch", str(folder), "--out", str(out), "--jobs", "1", *map(str, options)]
    assert main(arguments) == code
    return out


def events(capsys: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


class InProcess:
    """What workers do, without the processes: for tests of everything else."""

    kept: ClassVar[dict[str, Upscaler]] = {}

    def __init__(self, **settings: object) -> None:
        pass

    def prepare(self, options: PictureOptions, options_key: str, jobs: object) -> None:
        self.options, self.key = options, options_key
        if options_key not in self.kept:
            self.kept[options_key] = Upscaler.from_options(options.engine, options.target)

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        for item in items:
            computed = compute(item, self.options, self.key, self.kept[self.key], lambda key: None)
            yield place(computed) if isinstance(computed, Computed) else computed

    def stop(self) -> None:
        pass

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlsr_cli.jobs.batch.processes.LocalExecutor", InProcess)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


class TestPlan:
    """Nothing is computed here: the plan alone."""

    def plan(self, folder: Path, **selection: object) -> dict[str, str]:
        out = folder.with_name("out")
        found = plan_batch(folder, out, Selection(**selection), PictureOptions())  # type: ignore[arg-type]
        return {job.name: job.output.relative_to(out).as_posix() for job in found.jobs}

    def test_the_folder_alone_or_the_tree(self, folder: Path) -> None:
        fill(folder, "a.png", "b/c.png", "b/d/e.png")
        assert self.plan(folder) == {"a.png": "a.png"}
        assert self.plan(folder, recursive=True) == {n: n for n in ("a.png", "b/c.png", "b/d/e.png")}

    def test_globs(self, folder: Path) -> None:
        fill(folder, "a.png", "b.jpg", "x/a.png", "x/c.png")
        assert set(self.plan(folder, recursive=True, include=("*.jpg", "x/*"))) == {
            "b.jpg",
            "x/a.png",
            "x/c.png",
        }
        assert set(self.plan(folder, recursive=True, exclude=("a.*",))) == {"b.jpg", "x/c.png"}

    def test_globs_name_folders_too(self, folder: Path) -> None:
        fill(folder, "a.png", "drafts/b.png", "x/drafts/deep/c.png", "x/d.png")
        assert set(self.plan(folder, recursive=True, exclude=("drafts/",))) == {"a.png", "x/d.png"}
        assert set(self.plan(folder, recursive=True, include=("**/*.png",), exclude=("./x",))) == {
            "a.png",
            "drafts/b.png",
        }

    def test_what_a_picture_is_decides_how_it_is_written(self, folder: Path) -> None:
        fill(folder, "really_png.jpeg", "photo.JPG")
        (folder / "photo.JPG").write_bytes(cv2.imencode(".jpg", np.zeros((6, 8, 3), np.uint8))[1].tobytes())
        assert self.plan(folder) == {"really_png.jpeg": "really_png.png", "photo.JPG": "photo.JPG"}

    def test_results_of_a_batch_are_no_pictures_to_enlarge(self, folder: Path) -> None:
        fill(folder, "a.png", "older/a.png")
        (folder / "older" / JOURNAL).touch()
        found = plan_batch(folder, folder.with_name("out"), Selection(recursive=True), PictureOptions())
        assert [job.name for job in found.jobs] == ["a.png"]
        assert found.remarks == ("older holds the results of a batch and is left out",)

    def refused(self, folder: Path, options: PictureOptions, out: str = "out") -> dict[str, str]:
        found = plan_batch(folder, folder.with_name(out), Selection(recursive=True), options)
        return {refusal.name: refusal.reason for refusal in found.refused}

    def test_what_headers_tell_is_refused_before_work(self, folder: Path) -> None:
        fill(folder, "a.png")
        (folder / "large.png").write_bytes(png(0, 90, 40))
        (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        (folder / "text.pdf").write_bytes(b"%PDF-1.4 text")
        reasons = self.refused(folder, PictureOptions(max_pixels=1000))
        assert set(reasons) == {"large.png", "phone.heic"}
        assert "--max-pixels" in reasons["large.png"]
        assert "HEIC" in reasons["phone.heic"]
        reasons = self.refused(folder, PictureOptions(target=Target(width=20)))
        assert "only enlarges" in reasons["large.png"]
        reasons = self.refused(folder, PictureOptions(target=Target(scale=16.0), format="webp"))
        assert "large.png" not in reasons

    def test_a_name_that_becomes_too_long(self, folder: Path) -> None:
        fill(folder, "x" * 253)
        (reason,) = self.refused(folder, PictureOptions()).values()
        assert "too long" in reason

    def test_an_output_that_is_an_input(self, folder: Path) -> None:
        fill(folder, "z.png", "in/z.png")
        found = plan_batch(folder, folder.parent, Selection(recursive=True), PictureOptions(overwrite=True))
        assert [job.name for job in found.jobs] == ["z.png"]
        assert "is itself one of the pictures" in found.refused[0].reason

    def test_folders_and_pictures_of_one_name(self, folder: Path) -> None:
        fill(folder, "x", "x.png/y.png")
        assert self.plan(folder, recursive=True) == {"x": "x_file.png", "x.png/y.png": "x.png/y.png"}

    def test_a_folder_that_may_not_be_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(folder, "a.png", "locked/b.png")
        scandir = os.scandir

        def forbidding(path: Path) -> object:
            if Path(path).name == "locked":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr("os.scandir", forbidding)
        assert self.refused(folder, PictureOptions()) == {
            "locked": f"cannot look into {folder / 'locked'}: Permission denied"
        }

    def test_collisions_across_shards(self, folder: Path) -> None:
        fill(folder, *(f"{n}.{kind}" for n in range(8) for kind in ("jpg", "png")))
        outputs = [
            job.target
            for index in (1, 2)
            for job in plan_batch(
                folder,
                folder.with_name("out"),
                Selection(shard=Shard(index=index, count=2)),
                PictureOptions(format="png"),
            ).jobs
        ]
        assert len(set(outputs)) == 16

    def test_content_decides_and_dot_files_are_left_out(self, folder: Path) -> None:
        fill(folder, "no_extension", "called.txt", ".hidden.png", "._a.png")
        (folder / "notes.txt").write_text("hello")
        (folder / "film.mkv").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(50))
        assert self.plan(folder) == {"no_extension": "no_extension.png", "called.txt": "called.png"}

    def test_collisions_get_names_of_their_own(self, folder: Path) -> None:
        fill(folder, "a.jpg", "a.png", "A.PNG")
        found = plan_batch(folder, folder.with_name("out"), Selection(), PictureOptions(format="png"))
        outputs = [job.output.name.casefold() for job in found.jobs]
        assert len(set(outputs)) == 3
        assert len(found.remarks) == 2

    def test_one_name_in_two_unicode_forms(self, folder: Path) -> None:
        names = [unicodedata.normalize(form, "señor.png") for form in ("NFC", "NFD")]
        fill(folder, *names)
        if len(list(folder.iterdir())) == 1:
            pytest.skip("this file system takes both for one")
        outputs = list(self.plan(folder).values())
        assert len({unicodedata.normalize("NFC", name) for name in outputs}) == 2

    def test_the_output_folder_inside_the_input_is_never_read(self, folder: Path) -> None:
        fill(folder, "a.png", "out/b.png")
        found = plan_batch(folder, folder / "out", Selection(recursive=True), PictureOptions())
        assert [job.name for job in found.jobs] == ["a.png"]

    def test_shards_share_the_files_among_them(self, folder: Path) -> None:
        fill(folder, *(f"{number}.png" for number in range(40)))
        parts = [set(self.plan(folder, shard=Shard(index=index, count=3))) for index in (1, 2, 3)]
        assert sorted(name for part in parts for name in part) == sorted(self.plan(folder))
        assert all(len(part) > 4 for part in parts)

    @NOT_WINDOWS
    def test_links_and_loops(self, folder: Path) -> None:
        fill(folder, "a.png", "below/b.png")
        (folder / "link.png").symlink_to(folder / "a.png")
        (folder / "loop").symlink_to(folder)
        (folder / "dead.png").symlink_to(folder / "gone.png")
        found = plan_batch(folder, folder.with_name("out"), Selection(recursive=True), PictureOptions())
        assert [job.name for job in found.jobs] == ["a.png", "link.png", "below/b.png"]
        assert [refusal.name for refusal in found.refused] == ["dead.png"]

    @pytest.mark.parametrize(
        ("source", "out", "code", "said"),
        [
            ("nowhere", "out", 3, "does not exist"),
            ("in/a.png", "out", 3, "is a file; 'xlsr upscale"),
            ("in", "in", 4, "is the input folder itself"),
            ("in", "in/a.png", 4, "is a file"),
        ],
    )
    def test_places_that_make_no_sense(
        self, folder: Path, capsys: Capture, source: str, out: str, code: int, said: str
    ) -> None:
        fill(folder, "a.png")
        assert main(["batch", str(folder.parent / source), "--out", str(folder.parent / out)]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line

    def test_dry_run_touches_nothing(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png")
        (folder / "empty.png").touch()
        out = batch(folder, "--dry-run")
        said = capsys.readouterr().out
        assert "2 pictures, 1 refused" in said
        assert not out.exists()

    @pytest.mark.parametrize(
        ("flags", "count"), [((), 3), (("--include", "*.jpg"), 1), (("--exclude", "a.*"), 2)]
    )
    def test_globs_choose(self, folder: Path, flags: tuple[str, ...], count: int, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png", "c.jpg")
        batch(folder, "--dry-run", *flags)
        assert re.search(rf"\b{count} pictures?\b", capsys.readouterr().out)

    def test_a_disk_that_is_too_small(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        fill(folder, "a.png")
        usage = shutil.disk_usage(folder)._replace(free=10)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
        batch(folder, code=4)
        assert "are needed and" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
class TestRun:
    def test_good_ones_are_done_and_bad_ones_named(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.jpg", "c/d.png")
        (folder / "bad.png").write_bytes(png()[:40])
        (folder / "empty.jpg").touch()
        out = batch(folder, "--recursive", code=7)
        assert sorted(tree(out)) == ["a.png", "b.jpg", "c/d.png"]
        assert Image.open(out / "c" / "d.png").size == (16, 12)
        said = capsys.readouterr().err.splitlines()
        assert sum("bad.png" in line for line in said) == 1
        assert sum("empty.jpg" in line for line in said) == 1
        assert said[-1] == "error: 2 files failed; the others are done"

    def test_a_second_run_keeps_what_is_done(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png", "bad.png")
        (folder / "bad.png").write_bytes(png()[:40])
        out = batch(folder, code=7)
        times = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
        capsys.readouterr()
        batch(folder, "--json", code=7)
        found = {str(event.get("name")): event["event"] for event in events(capsys)}
        assert (found["a.png"], found["b.png"], found["bad.png"]) == ("kept", "kept", "failed-before")
        assert times == {path: path.stat().st_mtime_ns for path in out.glob("*.png")}

    def test_what_changed_is_done_again(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png", "c.png")
        out = batch(folder)
        before = tree(out)
        (folder / "a.png").write_bytes(png(77))
        (out / "b.png").write_bytes(b"spoiled")
        capsys.readouterr()
        batch(folder, "--json")
        found = {str(event.get("name")): event["event"] for event in events(capsys)}
        assert (found["a.png"], found["b.png"], found["c.png"]) == ("done", "done", "kept")
        after = tree(out)
        assert after["a.png"] != before["a.png"]
        assert after["b.png"] == before["b.png"]

    def test_what_somebody_made_of_an_output_is_kept(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png")
        out = batch(folder)
        retouched = png(200, 16, 12)
        (out / "a.png").write_bytes(retouched)
        for options in ((), ("--scale", "3")):
            assert self.told(folder, capsys, *options, code=7)["a.png"] == "failed"
            assert (out / "a.png").read_bytes() == retouched
        batch(folder, code=7)
        assert "was changed since it was written; move it away" in capsys.readouterr().err
        (out / "a.png").rename(out / "mine.png")
        assert self.told(folder, capsys) == {"a.png": "done", "b.png": "kept"}
        (out / "a.png").write_bytes(retouched)
        batch(folder, "--overwrite")
        assert (out / "a.png").read_bytes() != retouched

    def test_the_folder_may_move(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        batch(folder).rename(folder.with_name("moved"))
        out = folder.with_name("moved")
        assert main(["batch", str(folder), "--out", str(out), "--scale", "3"]) == 0
        assert main(["batch", str(folder), "--out", os.path.relpath(out), "--scale", "3", "--json"]) == 0
        assert '"event": "kept"' in capsys.readouterr().out

    def forget(self, out: Path, claim: str, status: str = "working") -> None:
        """Make the journal look as if the run had been killed before it could say what it did."""
        with sqlite3.connect(out / JOURNAL) as connection:
            connection.execute(
                "UPDATE item SET status = ?, output_sha256 = '', output_bytes = 0, claim = ?,"
                " key = CASE ? WHEN 'failed' THEN key ELSE '' END",
                (status, claim, status),
            )
        connection.close()

    def test_killed_before_it_could_say_what_it_wrote(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        out = batch(folder)
        written = (out / "a.png").read_bytes()
        ours = fingerprint(PictureOptions())
        for status, options in (("working", ()), ("failed", ("--retry-failed",))):
            self.forget(out, ours, status)
            assert self.told(folder, capsys, *options) == {"a.png": "done"}
            assert (out / "a.png").read_bytes() == written
        self.forget(out, ours)
        (out / "a.png").write_bytes(png(200))
        assert self.told(folder, capsys, code=7) == {"a.png": "failed"}
        assert (out / "a.png").read_bytes() == png(200)

    def test_killed_and_begun_again_with_other_options(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        out = batch(folder)
        self.forget(out, "options of the run that was killed")
        assert self.told(folder, capsys, "--scale", "3") == {"a.png": "done"}
        assert Image.open(out / "a.png").size == (24, 18)

    def test_a_file_in_the_way_is_never_claimed(self, folder: Path) -> None:
        fill(folder, "a.png", "b.png")
        out = folder.with_name("out")
        out.mkdir()
        (out / "a.png").write_bytes(b"mine")
        batch(folder, code=7)
        with sqlite3.connect(out / JOURNAL) as connection:
            assert connection.execute("SELECT name, claim FROM item").fetchall() == [("b.png", "")]
        connection.close()

    def test_a_picture_keeps_the_output_that_it_had(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.jpg")
        out = batch(folder, "--format", "png")
        fill(folder, "a.png")
        assert self.told(folder, capsys, "--format", "png") == {"a.jpg": "kept", "a.png": "done"}
        assert sorted(tree(out)) == ["a.png", "a_png.png"]

    def test_strictness_and_limits_are_options_too(self, folder: Path, capsys: Capture) -> None:
        pixels = np.full((6, 8, 4), 99, np.uint8)
        (folder / "clear.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        batch(folder, "--format", "jpeg")
        assert self.told(folder, capsys, "--format", "jpeg", "--strict", code=7)["clear.png"] == "failed"
        assert self.told(folder, capsys, "--format", "jpeg")["clear.png"] == "done"

    def test_a_full_disk_ends_the_batch(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        fill(folder, "a.png", "b.png", "c.png")
        fsync, calls = os.fsync, []

        def full(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) > 2:  # the first output and its folder
                raise OSError(28, "No space left on device")
            fsync(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr("xlsr_cli.media.atomic.os.fsync", full)
            out = batch(folder, code=4)
        said = capsys.readouterr().err
        assert "the disk is full: free some space or choose another folder; 1 files are done" in said
        assert sorted(tree(out)) == ["a.png"]
        assert self.told(folder, capsys) == {"a.png": "kept", "b.png": "done", "c.png": "done"}

    def test_what_is_done_needs_no_more_space(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(folder, "a.png")
        batch(folder)
        usage = shutil.disk_usage(folder)._replace(free=10)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
        batch(folder)

    def test_nothing_is_begun_with_a_model_that_cannot_run(self, folder: Path) -> None:
        fill(folder, "a.png")
        assert not batch(folder, "--model", "nobody", code=5).exists()

    def test_a_file_that_was_still_being_written(self, folder: Path, capsys: Capture) -> None:
        (folder / "a.png").write_bytes(png()[:-20])
        assert self.told(folder, capsys, code=7) == {"a.png": "failed"}
        (folder / "a.png").write_bytes(png())
        assert self.told(folder, capsys) == {"a.png": "done"}

    def test_refusals_are_events_too(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        (folder / "empty.png").touch()
        assert self.told(folder, capsys, code=7) == {"a.png": "done", "empty.png": "failed"}

    def test_time_left_is_that_of_what_is_left(self, folder: Path) -> None:
        class Recorded:
            total = done = 0.0
            notes: ClassVar[list[str]] = []

            def start(self, total: float | None, unit: str) -> None:
                self.total = total or 0.0

            def advance(self, amount: float) -> None:
                self.done += amount

            def extend(self, amount: float) -> None:
                self.total += amount

            def note(self, text: str) -> None:
                self.notes.append(text)

            def finish(self) -> None:
                pass

        fill(folder, "a.png", "b.png")
        out = batch(folder)
        fill(folder, "c.png")
        (folder / "b.png").write_bytes(png(9, 80, 60))
        progress, batch_options = Recorded(), BatchOptions(selection=Selection())
        with InProcess() as executor:
            plan = make_plan(folder, out, PictureOptions(), batch_options)
            run_batch(plan, PictureOptions(), batch_options, executor, progress=progress)
        assert progress.total == pytest.approx(progress.done) == pytest.approx((80 * 60 + 8 * 6) / 1e6)
        assert progress.notes[-1] == "2 done, 1 kept from before, 0 failed"

    def test_other_options_are_other_work(self, folder: Path) -> None:
        fill(folder, "a.png")
        out = batch(folder)
        batch(folder, "--scale", "3")
        assert Image.open(out / "a.png").size == (24, 18)

    def test_failures_are_tried_again_only_when_asked(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "bad.png")
        (folder / "bad.png").write_bytes(png()[:40])
        assert self.told(folder, capsys, code=7)["bad.png"] == "failed"
        assert self.told(folder, capsys, code=7)["bad.png"] == "failed-before"
        assert self.told(folder, capsys, "--retry-failed", code=7)["bad.png"] == "failed"
        (folder / "bad.png").write_bytes(png(3))
        assert self.told(folder, capsys) == {"a.png": "kept", "bad.png": "done"}

    def test_what_was_in_the_way_is_no_failure_of_the_file(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        out = batch(folder)
        (out / JOURNAL).unlink()
        batch(folder, code=7)  # the output is there and not known to be ours
        assert "not from this batch" in capsys.readouterr().err
        (out / "a.png").unlink()
        assert self.told(folder, capsys) == {"a.png": "done"}

    @staticmethod
    def told(folder: Path, capsys: Capture, *options: object, code: int = 0) -> dict[str, str]:
        """What the events of a run say of each file."""
        capsys.readouterr()
        batch(folder, "--json", *options, code=code)
        return {str(event["name"]): str(event["event"]) for event in events(capsys) if "name" in event}

    def test_animations_stay_animations(self, folder: Path) -> None:
        frames = [Image.new("RGB", (8, 6), (40 * n, 0, 0)) for n in range(3)]
        frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=70)
        out = batch(folder)
        with Image.open(out / "a.gif") as image:
            assert (image.size, image.n_frames, image.info["duration"]) == ((16, 12), 3, 70)

    def test_reports(self, folder: Path) -> None:
        fill(folder, "a.png", "<b>&.png")
        (folder / "<i>bad.png").write_bytes(b"nothing")
        page, data = folder.with_name("r.html"), folder.with_name("r.json")
        batch(folder, "--report", page, code=7)
        text = page.read_text("utf-8")
        assert "&lt;b&gt;&amp;.png" in text
        assert "<i>bad" not in text
        batch(folder, "--report", data, code=7)
        found = json.loads(data.read_text("utf-8"))
        assert {item["name"]: item["status"] for item in found["items"]} == {
            "a.png": "done", "<b>&.png": "done", "<i>bad.png": "failed",
        }  # fmt: skip
        batch(folder, "--report", folder.with_name("r.txt"), code=2)

    def test_only_an_older_report_is_replaced(self, folder: Path) -> None:
        fill(folder, "a.png")
        for name in ("r.html", "r.json"):
            report = folder.with_name(name)
            report.write_text("precious")
            assert not (batch(folder, "--report", report, code=4) / "a.png").exists()
            assert report.read_text() == "precious"
            report.unlink()
        for _ in range(2):
            batch(folder, "--report", report, "--html", folder.with_name("page.html"))
        batch(folder, "--report", folder / "nowhere" / "r.json", code=4)

    def test_page(self, folder: Path) -> None:
        fill(folder, "a.png", "b.png")
        page = folder.with_name("page.html")
        batch(folder, "--html", page)
        assert page.read_text("utf-8").count('<script type="text/plain"') == 4
        assert "before: a.png" in page.read_text("utf-8")
        batch(folder, "--html", folder / "a.png", "--overwrite", code=2)  # a page never replaces a picture

    def test_shards_are_merged_in_a_report(self, folder: Path) -> None:
        fill(folder, *(f"{number}.png" for number in range(6)))
        batch(folder, "--shard", "1/2")
        out = batch(folder, "--shard", "2/2")
        assert len(tree(out)) == 6
        report = folder.with_name("r.json")
        batch(folder, "--report", report)
        found = json.loads(report.read_text("utf-8"))
        assert [item["status"] for item in found["items"]] == ["done"] * 6
        assert found["kept"] == 6
        batch(folder, "--shard", "3/2", code=2)

    @pytest.mark.parametrize(
        "name",
        [
            "with space.png", "🎨.png", "漢字.png", "-dash.png", "no_extension", "x" * 246 + ".png",
            "quote'\".png", "a%d.png", "..png", unicodedata.normalize("NFD", "é.png"),
        ],
    )  # fmt: skip
    def test_names(self, folder: Path, name: str) -> None:
        if name.startswith("."):
            pytest.skip("a dot-file")
        try:
            fill(folder, name)
        except OSError:
            pytest.skip("this file system has no such names")
        out = batch(folder)
        assert len(tree(out)) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
    def test_a_name_that_is_no_text(self, folder: Path) -> None:
        (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(png())
        out = batch(folder, "--report", folder.with_name("r.html"), "--json")
        assert [os.fsencode(path.name) for path in out.glob("*.png")] == [b"\xff\xfe.png"]
        batch(folder)

    def test_an_output_that_is_not_ours_is_kept(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png")
        out = folder.with_name("out")
        out.mkdir()
        (out / "a.png").write_bytes(b"mine")
        batch(folder, code=7)
        assert (out / "a.png").read_bytes() == b"mine"
        assert (out / "b.png").exists()
        batch(folder, "--overwrite", "--retry-failed")
        assert (out / "a.png").read_bytes() != b"mine"

    def test_strict_counts_losses_as_failures(self, folder: Path, capsys: Capture) -> None:
        pixels = np.full((6, 8, 4), 99, np.uint8)
        (folder / "clear.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        batch(folder, "--format", "jpeg", "--strict", code=7)
        assert "alpha-dropped" in capsys.readouterr().err

    def test_watching(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("xlsr_cli.jobs.batch.run.WATCH_SECONDS", 0.05)
        fill(folder, "a.png")
        out = folder.with_name("out")
        options = BatchOptions(selection=Selection())
        with open_executor(WorkOptions()) as executor:
            reports = watch(folder, out, PictureOptions(), options, executor, tell=lambda result: None)
            assert next(reports).done == 1
            (folder / "b.png").write_bytes(png(5))
            assert next(reports).done == 2
            assert sorted(tree(out)) == ["a.png", "b.png"]
            reports.close()  # type: ignore[attr-defined]

    def test_watching_waits_until_a_file_is_whole(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, grown = png(), []

        def grow(seconds: float) -> None:
            grown.append(seconds)
            if len(grown) <= 3:
                (folder / "a.png").write_bytes(data[: len(data) * len(grown) // 3])

        monkeypatch.setattr(batch_jobs.time, "sleep", grow)
        options = BatchOptions(selection=Selection())
        with InProcess() as executor:
            out = folder.with_name("out")
            reports = watch(folder, out, PictureOptions(), options, executor, tell=lambda result: None)
            report = next(reports)
        assert (report.done, report.failed) == (1, {})

    def test_runs_that_would_do_the_same_exclude_each_other(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "b.png", "c.png", "d.png")
        out = folder.with_name("out")
        for held, others in (
            (Shard(), [((), 4), (("--dry-run",), 4), (("--shard", "1/2"), 4)]),
            (Shard(index=1, count=2), [((), 4), (("--shard", "1/3"), 4), (("--shard", "2/2"), 0)]),
        ):
            with Journal(out, held):
                for options, code in others:
                    batch(folder, *options, code=code)
                    assert ("another run is working on" in capsys.readouterr().err) == (code == 4)
        batch(folder)

    def test_what_a_killed_shard_began_is_finished(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        shards = [("--shard", f"{index}/2") for index in (1, 2)]
        for shard in shards:
            out = batch(folder, *shard)
        for path in out.glob(".xlsr-batch-*"):
            with sqlite3.connect(path) as connection:
                claim = fingerprint(PictureOptions())
                connection.execute(
                    "UPDATE item SET status = 'working', output_sha256 = '', claim = ?", (claim,)
                )
            connection.close()
        assert self.told(folder, capsys) == {"a.png": "done"}

    def test_half_written_files_of_others_are_left_to_them(self, folder: Path) -> None:
        fill(folder, *(f"{number}.png" for number in range(9)))
        shard = Shard(index=1, count=2)
        out = batch(folder, "--shard", "1/2")
        parts = {number: out / f".{number}.png.xlsr-0123abcd.part" for number in range(9)}
        for part in parts.values():
            part.touch()
        batch(folder, "--shard", "1/2")
        assert {n for n, part in parts.items() if part.exists()} == {
            n for n in parts if not shard.holds(f"{n}.png")
        }
        batch(folder)
        assert not any(part.exists() for part in parts.values())

    def test_a_damaged_journal(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        out = batch(folder)
        (out / JOURNAL).write_bytes(b"this is no database" * 200)
        batch(folder, code=4)
        assert "delete it to begin anew" in capsys.readouterr().err

    def test_a_journal_of_another_version(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png")
        out = batch(folder)
        with sqlite3.connect(out / JOURNAL) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        batch(folder, code=4)
        assert "another version" in capsys.readouterr().err


def deadly_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes import this first: some names crash, hang or eat memory."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import multiprocessing, os, sys, time\n"
        "def hook(event, arguments):\n"
        "    if event == 'open' and isinstance(arguments[0], str):\n"
        "        if arguments[0].endswith('crash.png') and '/in/' in arguments[0]: os.abort()\n"
        "        if arguments[0].endswith('hang.png') and '/in/' in arguments[0]: time.sleep(600)\n"
        "        if arguments[0].endswith('greedy.png') and '/in/' in arguments[0]: raise MemoryError\n"
        "if any('spawn_main' in word for word in sys.orig_argv): sys.addaudithook(hook)\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)


class TestFaults:
    """Workers that die; the hook is a file name, which only these tests give."""

    @pytest.fixture(autouse=True)
    def _deadly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        deadly_names(tmp_path, monkeypatch)

    @NOT_WINDOWS
    def test_one_file_is_lost_and_the_batch_goes_on(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "crash.png", "greedy.png", "hang.png", "z.png")
        out = batch(folder, "--timeout", "4", code=7)
        assert sorted(tree(out)) == ["a.png", "z.png"]
        said = capsys.readouterr().err
        assert "crash.png crashed the decoder or ran out of memory (SIGABRT)" in said
        assert "hang.png took longer than --timeout 4 s" in said
        assert "not enough memory for" in said
        assert "3 files failed" in said

    @NOT_WINDOWS
    def test_ctrl_c_leaves_nothing_behind(self, folder: Path) -> None:
        fill(folder, "a.png", "hang.png")
        out = folder.with_name("out")
        process = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(out), "--jobs", "2"], stderr=subprocess.PIPE, text=True
        )
        end = time.monotonic() + 20
        while not (out / "a.png").exists() and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(20) == 130
        assert said.splitlines()[-1] == "error: interrupted"
        assert sorted(path.name for path in out.iterdir()) == [JOURNAL, "a.png"]

    @NOT_WINDOWS
    def test_watching_goes_on_until_it_is_interrupted(self, folder: Path) -> None:
        fill(folder, "a.png")
        out = folder.with_name("out")
        words = [*COMMAND, str(folder), "--out", str(out), "--jobs", "1", "--watch"]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        for name in ("a.png", "later.png"):
            if not (folder / name).exists():
                fill(folder, name)
            end = time.monotonic() + 60
            while not (out / name).exists() and time.monotonic() < end:
                time.sleep(0.05)
            assert (out / name).exists()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == "error: interrupted"
        assert process.wait(20) == 130

    @NOT_WINDOWS
    @pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
    def test_workers_end_with_their_batch(self, folder: Path, ending: signal.Signals) -> None:
        fill(folder, "a.png", "hang.png")
        out = folder.with_name("out")
        process = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(out), "--jobs", "2"],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        end = time.monotonic() + 60
        while not (out / "a.png").exists() and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(ending)
        said = process.stderr.read()  # until the last worker has closed it
        assert process.wait(20) == (130 if ending == signal.SIGTERM else -ending)
        assert "Traceback" not in said
        with pytest.raises(ProcessLookupError):
            for _ in range(200):
                os.killpg(process.pid, 0)
                time.sleep(0.05)

    @NOT_WINDOWS
    def test_ctrl_c_of_a_terminal_reaches_all_processes(self, folder: Path) -> None:
        """While workers start, too, nothing but the one line is said."""
        fill(folder, "a.png", "hang.png")
        process = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(folder.with_name("out"))],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        plan = process.stderr.readline()  # workers were started before, and are loading
        os.killpg(process.pid, signal.SIGINT)
        assert (plan.split(",")[0], process.stderr.read()) == ("2 pictures", "error: interrupted\n")
        assert process.wait(20) == 130

    @NOT_WINDOWS
    def test_memory(self, folder: Path, capsys: Capture) -> None:
        """A picture for which there is no room is listed, and tried again when there is more."""
        fill(folder, "a.png")
        (folder / "large.png").write_bytes(
            cv2.imencode(".png", np.zeros((3000, 4000), np.uint8))[1].tobytes()
        )
        out = batch(folder, "--max-memory", "300M", "--json", code=7)
        (failed,) = (event for event in events(capsys) if event["event"] == "failed")
        assert failed["name"] == "large.png"
        assert "MB of memory, more than --max-memory leaves for it" in str(failed["reason"])
        assert sorted(tree(out)) == ["a.png"]
        batch(folder, "--max-memory", "100M", code=2)
        assert "--max-memory must be at least" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount")
@pytest.mark.usefixtures("in_process")
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


def files_that_vanish(folder: Path) -> None:
    for path in folder.glob("gone*"):
        path.unlink()


@pytest.mark.usefixtures("in_process")
def test_a_file_that_vanishes_after_the_plan(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    from xlsr_cli.jobs.batch import run as jobs

    fill(folder, "a.png", "gone.png")
    check = jobs._check_space

    def vanish(plan: object) -> None:
        files_that_vanish(folder)
        check(plan)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "_check_space", vanish)
    out = batch(folder, code=7)
    assert sorted(tree(out)) == ["a.png"]
    assert "gone.png does not exist" in capsys.readouterr().err


def killed_and_resumed(tmp_path: Path, count: int, bad: int, kills: int) -> None:
    """Kill a batch ``kills`` times after its first output; at the end all is as if nothing had happened."""
    folder = tmp_path / "in"
    fill(folder, *(f"{number % 7}/{number}.png" for number in range(count)))
    for number in range(bad):
        path = folder / f"{number % 7}" / f"{number}.png"
        path.write_bytes(path.read_bytes()[: 20 + number])
    plain, broken = tmp_path / "plain", tmp_path / "broken"
    arguments = [str(folder), "--recursive", "--jobs", "2", "--quiet"]
    assert subprocess.run([*COMMAND, *arguments, "--out", str(plain)], stderr=subprocess.PIPE).returncode == 7
    moments = random.Random(count)
    for number in range(kills):
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--out", str(broken)], stderr=subprocess.DEVNULL, start_new_session=True
        )
        have = len(tree(broken)) if broken.exists() else 0
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if broken.exists() and len(list(broken.rglob("*.png"))) > have:
                break
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()  # its workers have to notice
        process.wait()
    last = subprocess.run(
        [*COMMAND, *arguments, "--out", str(broken)], stderr=subprocess.PIPE, text=True, check=False
    )
    assert last.returncode == 7
    assert sum(line.endswith("get an intact copy") for line in last.stderr.splitlines()) == bad
    assert tree(broken) == tree(plain)
    assert len(tree(plain)) == count - bad
    hidden = [path.name for path in broken.rglob(".*")]
    assert hidden == [JOURNAL]


@NOT_WINDOWS
def test_killed_three_times_and_resumed(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, count=120, bad=3, kills=3)


@NOT_WINDOWS
@pytest.mark.slow
def test_killed_ten_times_among_two_thousand(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, count=2000, bad=20, kills=10)


def test_the_journal_is_a_database_that_anyone_can_read(folder: Path) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    with sqlite3.connect(out / JOURNAL) as connection:
        rows = connection.execute("SELECT name, status, output_sha256 FROM item").fetchall()
    assert rows == [("a.png", "done", tree(out)["a.png"])]
