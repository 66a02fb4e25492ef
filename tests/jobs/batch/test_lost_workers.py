"""A worker process of this machine that dies while it works on a film: another one does the step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.jobs.batch.films_in_folders import contents, film
from tests.jobs.batch.folders import NOT_WINDOWS, Capture, batch, fill, told
from xlsr_cli.jobs.video.segments import PART_SUFFIX, has_parts, work_folder

pytestmark = NOT_WINDOWS

#: What a worker process runs before anything else: when it is about to put a certain file in its place, it
#: kills itself, as often as ``LIVES`` has letters.
_DEADLY = """
import os, sys
def hook(event, arguments):
    if event in ("os.rename", "os.link") and MARK in os.fsdecode(arguments[1]):
        with open(LIVES, "r+") as file:
            lives = file.read()
            if lives:
                file.seek(0)
                file.truncate()
                file.write(lives[1:])
                file.flush()
                os.kill(os.getpid(), 9)
if any("executors.worker" in word for word in sys.orig_argv): sys.addaudithook(hook)
"""


def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, deaths: int) -> Path:
    """Let workers die ``deaths`` times before they finish a file with ``mark`` in its path; what is left of
    these deaths is the length of the file."""
    lives = tmp_path / "lives"
    lives.write_text("x" * deaths)
    (tmp_path / "site").mkdir()
    code = f"MARK, LIVES = {mark!r}, {str(lives)!r}\n{_DEADLY}"
    (tmp_path / "site" / "sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return lives


@pytest.mark.parametrize("mark", [f"-240-480{PART_SUFFIX}", "/out/c.mp4"], ids=["part", "join"])
def test_a_step_is_tried_again(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    film(folder / "c.mp4", frames=500)
    alone = batch(folder, "--threads", 1, jobs=1).rename(tmp_path / "alone")
    lives = deadly(tmp_path, monkeypatch, mark, deaths=2)
    assert told(folder, capsys, "--jobs", 2) == {"c.mp4": "done"}
    assert lives.read_text() == ""
    out = folder.with_name("out")
    assert contents(out / "c.mp4") == contents(alone / "c.mp4")
    assert not work_folder(out / "c.mp4").exists()


def test_a_film_as_a_whole_is_tried_again(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(folder / "c.mp4", frames=300)
    lives = deadly(tmp_path, monkeypatch, "/out/c.mp4", deaths=1)
    assert told(folder, capsys, "--jobs", 1) == {"c.mp4": "done"}
    assert lives.read_text() == ""


def test_what_kills_every_worker_fails_and_can_be_done_later(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(folder / "c.mp4", frames=500)
    fill(folder, "a.png")
    with monkeypatch.context() as patched:
        lives = deadly(tmp_path, patched, f"-240-480{PART_SUFFIX}", deaths=9)
        said = told(folder, capsys, "--jobs", 2, code=7)
        assert said == {"c.mp4": "failed", "a.png": "done"}
        assert len(lives.read_text()) == 6  # three tries
    out = folder.with_name("out")
    assert has_parts(out / "c.mp4")
    assert told(folder, capsys, "--jobs", 2) == {"c.mp4": "done", "a.png": "kept"}
