"""What a batch writes about itself."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np

from tests.jobs.batch.films_in_folders import film
from tests.jobs.batch.folders import batch, fill
from tests.media.video import clips


def test_reports(folder: Path) -> None:
    fill(folder, "a.png", "<b>&.png")
    (folder / "<i>bad.png").write_bytes(b"nothing")
    page, data = folder.with_name("r.html"), folder.with_name("r.json")
    batch(folder, "--report", page, code=7)
    text = page.read_text("utf-8")
    assert "&lt;b&gt;&amp;.png" in text
    assert "<i>bad" not in text
    assert text.count("<figure>") == 4
    assert 'href="out/%3Cb%3E%26.png"' in text
    assert 'href="in/a.png"' in text
    assert "8x6 → 16x12, 1 kB" in text
    assert "https:" not in text
    assert len(text) < 10_000
    batch(folder, "--report", data, code=7)
    found = json.loads(data.read_text("utf-8"))
    assert {item["name"]: item["status"] for item in found["items"]} == {
        "a.png": "done", "<b>&.png": "done", "<i>bad.png": "failed",
    }  # fmt: skip
    batch(folder, "--report", folder.with_name("r.txt"), code=2)


def test_only_an_older_report_is_replaced(folder: Path) -> None:
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


def test_page(folder: Path) -> None:
    fill(folder, "a.png", "b.png")
    page = folder.with_name("page.html")
    batch(folder, "--html", page)
    assert page.read_text("utf-8").count('<script type="text/plain"') == 4
    assert "before: a.png" in page.read_text("utf-8")
    batch(folder, "--html", folder / "a.png", "--overwrite", code=2)  # a page never replaces a picture


def test_films_are_shown_by_the_same_frame(folder: Path) -> None:
    """Every frame differs from the one before by more than enlarging changes it."""
    for name, frames in (("a.mkv", 600), ("b.mp4", 250), ("c.ts", 40), ("d.avi", 300)):
        film(folder / name, frames=frames)
    for name in ("turned.mp4", "turned.mkv"):
        clips.make(folder / name, frames=30, rotation=90, times=[50 + number for number in range(30)])
    page = folder.with_name("r.html")
    batch(folder, "--report", page)
    text = page.read_text("utf-8")
    shown = re.findall(r'<img alt="(before|after)" src="data:image/\w+;base64,([^"]+)"', text)
    assert [name for name, _ in shown] == ["before", "after"] * 6
    pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1) for _, data in shown]
    for before, after in zip(pictures[::2], pictures[1::2], strict=True):
        assert (after.shape[0], after.shape[1]) == (2 * before.shape[0], 2 * before.shape[1])
        small = cv2.resize(after, before.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - before).mean() < 8
        assert np.abs(np.roll(small, 1, axis=1).astype(int) - before).mean() > 8


def test_a_film_whose_middle_is_not_found_has_no_picture(folder: Path) -> None:
    film(folder / "c.mkv")
    page, out = folder.with_name("r.html"), batch(folder)
    (out / "c.mkv").write_bytes(b"")
    from xlsr_cli.quality.preview import previews_of_film

    assert previews_of_film(folder / "c.mkv", out / "c.mkv", 480) is None
    assert previews_of_film(folder / "c.mkv", folder / "nothing.mkv", 480) is None
    assert not page.exists()
