"""What a batch would do: nothing is computed here."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.jobs.batch.folders import (
    JOURNAL,
    NOT_WINDOWS,
    Capture,
    batch,
    fill,
    png,
)
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.batch.job import Shard
from xlsr_cli.jobs.batch.plan import BatchPlan, plan_batch
from xlsr_cli.jobs.batch.selection import Batch, BatchOptions, Selection
from xlsr_cli.options import PictureOptions, Target


def planned(
    folder: Path, out: Path, selection: Selection, options: PictureOptions | None = None
) -> BatchPlan:
    settings = BatchOptions(selection=selection)
    return plan_batch(Batch(folder=folder, out=out, options=options or PictureOptions(), settings=settings))


class TestPlan:
    """Nothing is computed here: the plan alone."""

    def plan(self, folder: Path, **selection: object) -> dict[str, str]:
        out = folder.with_name("out")
        found = planned(folder, out, Selection(**selection))  # type: ignore[arg-type]
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
        found = planned(folder, folder.with_name("out"), Selection(recursive=True), PictureOptions())
        assert [job.name for job in found.jobs] == ["a.png"]
        assert found.remarks == ("older holds the results of a batch and is left out",)

    def refused(self, folder: Path, options: PictureOptions, out: str = "out") -> dict[str, str]:
        found = planned(folder, folder.with_name(out), Selection(recursive=True), options)
        return {refusal.name: refusal.reason for refusal in found.refused}

    def test_what_headers_tell_is_refused_before_work(self, folder: Path) -> None:
        fill(folder, "a.png")
        (folder / "large.png").write_bytes(png(0, 90, 40))
        (folder / "camera.cr2").write_bytes(b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(40))
        (folder / "text.pdf").write_bytes(b"%PDF-1.4 text")
        reasons = self.refused(folder, PictureOptions(max_pixels=1000))
        assert set(reasons) == {"large.png", "camera.cr2"}
        assert "--max-pixels" in reasons["large.png"]
        assert "raw" in reasons["camera.cr2"]
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
        found = planned(folder, folder.parent, Selection(recursive=True), PictureOptions(overwrite=True))
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
            for job in planned(
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
        found = planned(folder, folder.with_name("out"), Selection(), PictureOptions(format="png"))
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
        found = planned(folder, folder / "out", Selection(recursive=True), PictureOptions())
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
        found = planned(folder, folder.with_name("out"), Selection(recursive=True), PictureOptions())
        assert [job.name for job in found.jobs] == ["a.png", "link.png", "below/b.png"]
        assert [refusal.name for refusal in found.refused] == ["dead.png"]

    @NOT_WINDOWS
    def test_nothing_is_said_of_what_is_excluded(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(folder, "a.png", "locked/b.png")
        (folder / "dead.png").symlink_to(folder / "gone.png")
        monkeypatch.setattr(
            "os.scandir",
            lambda path, scandir=os.scandir: scandir(None if Path(path).name == "locked" else path),
        )
        selection = Selection(recursive=True, exclude=("dead*", "locked"))
        found = planned(folder, folder.with_name("out"), selection, PictureOptions())
        assert [job.name for job in found.jobs] == ["a.png"]
        assert found.refused == ()

    def test_an_empty_file_that_calls_itself_no_picture(self, folder: Path) -> None:
        for name in ("notes.txt", "no_extension", "empty.png"):
            (folder / name).touch()
        found = planned(folder, folder.with_name("out"), Selection(), PictureOptions())
        assert [refusal.name for refusal in found.refused] == ["empty.png"]
        assert len(found.left) == 2

    @pytest.mark.parametrize(
        ("source", "out", "code", "said"),
        [
            ("nowhere", "out", 3, "does not exist"),
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
