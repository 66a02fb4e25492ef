"""One run of a batch: what is done, named and left alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.jobs.batch.folders import (
    NOT_WINDOWS,
    Capture,
    batch,
    fill,
    png,
    told,
    tree,
)
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.batch.executors.in_process import InProcessExecutor
from xlsr_cli.jobs.batch.plan import plan_batch
from xlsr_cli.jobs.batch.run import run_batch
from xlsr_cli.jobs.batch.selection import Batch


def test_good_ones_are_done_and_bad_ones_named(folder: Path, capsys: Capture) -> None:
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


def test_a_full_disk_ends_the_batch(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
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
    assert told(folder, capsys) == {"a.png": "kept", "b.png": "done", "c.png": "done"}


def test_nothing_is_begun_with_a_model_that_cannot_run(folder: Path) -> None:
    fill(folder, "a.png")
    assert not batch(folder, "--model", "nobody", code=5).exists()


def test_refusals_are_events_too(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    (folder / "empty.png").touch()
    assert told(folder, capsys, code=7) == {"a.png": "done", "empty.png": "failed"}


def test_time_left_is_that_of_what_is_left(folder: Path) -> None:
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
    progress = Recorded()
    with InProcessExecutor(threads=1) as executor:
        run_batch(plan_batch(Batch(folder=folder, out=out)), executor, progress=progress)
    assert progress.total == pytest.approx(progress.done) == pytest.approx((80 * 60 + 8 * 6) / 1e6)
    assert re.fullmatch(r"3/3 files, \w+\.png", progress.notes[-1])


def test_animations_stay_animations(folder: Path) -> None:
    frames = [Image.new("RGB", (8, 6), (40 * n, 0, 0)) for n in range(3)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=70)
    out = batch(folder)
    with Image.open(out / "a.gif") as image:
        assert (image.size, image.n_frames, image.info["duration"]) == ((16, 12), 3, 70)


@pytest.mark.parametrize(
    "name",
    [
        "with space.png", "🎨.png", "漢字.png", "-dash.png", "no_extension", "x" * 246 + ".png",
        "quote'\".png", "a%d.png", "..png", unicodedata.normalize("NFD", "é.png"),
    ],
)  # fmt: skip
def test_names(folder: Path, name: str) -> None:
    if name.startswith("."):
        pytest.skip("a dot-file")
    try:
        fill(folder, name)
    except OSError:
        pytest.skip("this file system has no such names")
    out = batch(folder)
    assert len(tree(out)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes(png())
    out = batch(folder, "--report", folder.with_name("r.html"), "--json")
    assert [os.fsencode(path.name) for path in out.glob("*.png")] == [b"\xff\xfe.png"]
    batch(folder)


def test_strict_counts_losses_as_failures(folder: Path, capsys: Capture) -> None:
    pixels = np.full((6, 8, 4), 99, np.uint8)
    (folder / "clear.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    batch(folder, "--format", "jpeg", "--strict", code=7)
    assert "alpha-dropped" in capsys.readouterr().err


def files_that_vanish(folder: Path) -> None:
    for path in folder.glob("gone*"):
        path.unlink()


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


@NOT_WINDOWS
def test_a_link_in_the_output_folder_is_not_followed(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "below/b.png")
    out, elsewhere = folder.with_name("out"), folder.with_name("elsewhere")
    out.mkdir()
    elsewhere.mkdir()
    (out / "below").symlink_to(elsewhere)
    (out / "a.png").symlink_to(elsewhere / "a.png")
    batch(folder, "--recursive", code=7)
    said = capsys.readouterr().err
    assert "is a link, and nothing is written through one" in said
    assert list(elsewhere.iterdir()) == []


def test_who_gives_out_the_work_loads_no_network(folder: Path) -> None:
    fill(folder, "a.png", "b.jpg", "c.bmp")
    program = (
        "import sys; from xlsr_cli.cli.app import main; code = main(sys.argv[1:]); "
        "loaded = [name for name in ('onnxruntime', 'xlsr_cli.engine.upscaler') if name in sys.modules]; "
        "sys.exit(code or ' '.join(loaded) or 0)"
    )
    words = ["batch", str(folder), "--out", str(folder.with_name("out")), "--jobs", "1"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "3 done, 0 failed, 0.0 MP/s"), done.stderr


@pytest.mark.parametrize("file", [None, "notes.txt", "empty.png"])
def test_nothing_to_do_makes_no_folder(folder: Path, file: str | None) -> None:
    if file is not None:
        (folder / file).touch()
    out = batch(folder, code=7 if file == "empty.png" else 0)
    assert not out.exists()


def test_stdin_is_not_read(folder: Path, capsys: Capture) -> None:
    for words in (["-"], ["-", str(folder), "--out", str(folder.with_name("out"))]):
        assert main(["batch", *words]) == 3
        assert "'xlsr upscale -' enlarges it" in capsys.readouterr().err
    assert not folder.with_name("out").exists()
