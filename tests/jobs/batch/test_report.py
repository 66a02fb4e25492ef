"""What a batch writes about itself."""

from __future__ import annotations

import json
from pathlib import Path

from tests.jobs.batch.folders import (
    batch,
    fill,
)


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
