"""The journal of a batch, and how a second run uses it."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.jobs.batch.folders import (
    JOURNAL,
    NOT_WINDOWS,
    Capture,
    batch,
    events,
    fill,
    png,
    told,
    tree,
)
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.batch.recipe import fingerprint
from xlsr_cli.options import PictureOptions


def forget(out: Path, claim: str, status: str = "working") -> None:
    """Make the journal look as if the run had been killed before it could say what it did."""
    with sqlite3.connect(out / JOURNAL) as connection:
        connection.execute(
            "UPDATE item SET status = ?, output_sha256 = '', output_bytes = 0, claim = ?,"
            " key = CASE ? WHEN 'failed' THEN key ELSE '' END",
            (status, claim, status),
        )
    connection.close()


def test_a_second_run_keeps_what_is_done(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "b.png", "bad.png")
    (folder / "bad.png").write_bytes(png()[:40])
    out = batch(folder, code=7)
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    capsys.readouterr()
    batch(folder, "--json", code=7)
    found = {str(event.get("name")): event["event"] for event in events(capsys)}
    assert (found["a.png"], found["b.png"], found["bad.png"]) == ("kept", "kept", "failed-before")
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("*.png")}


def test_what_changed_is_done_again(folder: Path, capsys: Capture) -> None:
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


def test_what_somebody_made_of_an_output_is_kept(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "b.png")
    out = batch(folder)
    retouched = png(200, 16, 12)
    (out / "a.png").write_bytes(retouched)
    for options in ((), ("--scale", "3")):
        assert told(folder, capsys, *options, code=7)["a.png"] == "failed"
        assert (out / "a.png").read_bytes() == retouched
    batch(folder, code=7)
    assert "was changed since it was written; move it away" in capsys.readouterr().err
    (out / "a.png").rename(out / "mine.png")
    assert told(folder, capsys) == {"a.png": "done", "b.png": "kept"}
    (out / "a.png").write_bytes(retouched)
    batch(folder, "--overwrite")
    assert (out / "a.png").read_bytes() != retouched


def test_the_folder_may_move(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    batch(folder).rename(folder.with_name("moved"))
    out = folder.with_name("moved")
    assert main(["batch", str(folder), "--out", str(out), "--scale", "3"]) == 0
    assert main(["batch", str(folder), "--out", os.path.relpath(out), "--scale", "3", "--json"]) == 0
    assert '"event": "kept"' in capsys.readouterr().out


def test_killed_before_it_could_say_what_it_wrote(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    written = (out / "a.png").read_bytes()
    ours = fingerprint(PictureOptions())
    for status, options in (("working", ()), ("failed", ("--retry-failed",))):
        forget(out, ours, status)
        assert told(folder, capsys, *options) == {"a.png": "done"}
        assert (out / "a.png").read_bytes() == written
    forget(out, ours)
    (out / "a.png").write_bytes(png(200))
    assert told(folder, capsys, code=7) == {"a.png": "failed"}
    assert (out / "a.png").read_bytes() == png(200)


def test_killed_and_begun_again_with_other_options(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    forget(out, "options of the run that was killed")
    assert told(folder, capsys, "--scale", "3") == {"a.png": "done"}
    assert Image.open(out / "a.png").size == (24, 18)


def test_a_file_in_the_way_is_never_claimed(folder: Path) -> None:
    fill(folder, "a.png", "b.png")
    out = folder.with_name("out")
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    batch(folder, code=7)
    with sqlite3.connect(out / JOURNAL) as connection:
        assert connection.execute("SELECT name, claim FROM item").fetchall() == [("b.png", "")]
    connection.close()


def test_a_picture_keeps_the_output_that_it_had(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.jpg")
    out = batch(folder, "--format", "png")
    fill(folder, "a.png")
    assert told(folder, capsys, "--format", "png") == {"a.jpg": "kept", "a.png": "done"}
    assert sorted(tree(out)) == ["a.png", "a_png.png"]


def test_other_options_are_other_work(folder: Path) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    batch(folder, "--scale", "3")
    assert Image.open(out / "a.png").size == (24, 18)


def test_failures_are_tried_again_only_when_asked(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "bad.png")
    (folder / "bad.png").write_bytes(png()[:40])
    assert told(folder, capsys, code=7)["bad.png"] == "failed"
    assert told(folder, capsys, code=7)["bad.png"] == "failed-before"
    assert told(folder, capsys, "--retry-failed", code=7)["bad.png"] == "failed"
    (folder / "bad.png").write_bytes(png(3))
    assert told(folder, capsys) == {"a.png": "kept", "bad.png": "done"}


def test_what_was_in_the_way_is_no_failure_of_the_file(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    (out / JOURNAL).unlink()
    batch(folder, code=7)  # the output is there and not known to be ours
    assert "not from this batch" in capsys.readouterr().err
    (out / "a.png").unlink()
    assert told(folder, capsys) == {"a.png": "done"}


def test_a_damaged_journal(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    (out / JOURNAL).write_bytes(b"this is no database" * 200)
    batch(folder, code=4)
    assert "delete it to begin anew" in capsys.readouterr().err


def test_a_journal_of_another_version(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    with sqlite3.connect(out / JOURNAL) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    batch(folder, code=4)
    assert "another version" in capsys.readouterr().err


def test_a_file_that_was_still_being_written(folder: Path, capsys: Capture) -> None:
    (folder / "a.png").write_bytes(png()[:-20])
    assert told(folder, capsys, code=7) == {"a.png": "failed"}
    (folder / "a.png").write_bytes(png())
    assert told(folder, capsys) == {"a.png": "done"}


def test_strictness_and_limits_are_options_too(folder: Path, capsys: Capture) -> None:
    pixels = np.full((6, 8, 4), 99, np.uint8)
    (folder / "clear.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    batch(folder, "--format", "jpeg")
    assert told(folder, capsys, "--format", "jpeg", "--strict", code=7)["clear.png"] == "failed"
    assert told(folder, capsys, "--format", "jpeg")["clear.png"] == "done"


def test_an_output_that_is_not_ours_is_kept(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "b.png")
    out = folder.with_name("out")
    out.mkdir()
    (out / "a.png").write_bytes(b"mine")
    batch(folder, code=7)
    assert (out / "a.png").read_bytes() == b"mine"
    assert (out / "b.png").exists()
    batch(folder, "--overwrite", "--retry-failed")
    assert (out / "a.png").read_bytes() != b"mine"


def test_what_is_done_needs_no_more_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, "a.png")
    batch(folder)
    usage = shutil.disk_usage(folder)._replace(free=10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    batch(folder)


def test_the_journal_is_a_database_that_anyone_can_read(folder: Path) -> None:
    fill(folder, "a.png")
    out = batch(folder)
    with sqlite3.connect(out / JOURNAL) as connection:
        rows = connection.execute("SELECT name, status, output_sha256 FROM item").fetchall()
    assert rows == [("a.png", "done", tree(out)["a.png"])]


@NOT_WINDOWS
def test_a_journal_that_is_a_link_is_not_followed(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    out, elsewhere = folder.with_name("out"), folder.with_name("elsewhere")
    out.mkdir()
    elsewhere.touch()
    (out / JOURNAL).symlink_to(elsewhere)
    batch(folder, code=4)
    assert "is a link" in capsys.readouterr().err
    assert elsewhere.read_bytes() == b""


def test_an_emptied_journal(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "b.png")
    out = batch(folder)
    (out / JOURNAL).write_bytes(b"")
    batch(folder, code=4)
    assert "is damaged; delete it" in capsys.readouterr().err
    (out / JOURNAL).unlink()
    batch(folder, "--overwrite")


def test_a_run_that_was_killed_before_its_journal_had_a_row(folder: Path) -> None:
    fill(folder, "a.png")
    out = folder.with_name("out")
    out.mkdir()
    (out / JOURNAL).touch()
    batch(folder)


@pytest.mark.slow
def test_a_flipped_bit_in_a_journal_is_found_or_costs_one_file(folder: Path, capsys: Capture) -> None:
    """Wherever it lies: never an internal error, never every output taken for somebody else's."""
    fill(folder, *(f"{number}.png" for number in range(4)))
    out = batch(folder)
    sound = (out / JOURNAL).read_bytes()
    before = tree(out)
    chance = random.Random(17)
    used = [place for place, byte in enumerate(sound) if byte]  # the rest is free space
    for place in [*range(100), *chance.sample(used, 150)]:
        flipped = bytearray(sound)
        flipped[place] ^= 1 << chance.randrange(8)
        (out / JOURNAL).write_bytes(flipped)
        capsys.readouterr()
        arguments = ["batch", str(folder), "--out", str(out), "--jobs", "0"]
        code = main(arguments)
        said = capsys.readouterr().err
        assert code in (0, 4, 7), (place, said)
        assert code != 4 or "journal" in said, (place, said)
        assert said.count("give --overwrite") <= 1, (place, said)
        assert "internal error" not in said, (place, said)
        assert tree(out) == before
