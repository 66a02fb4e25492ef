"""The page on videos names every notice that a film can give, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from xlsr_cli.media.video.tags import _LOST

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "video.md").read_text("utf-8")
ROOMS = ("media/video", "jobs/video")


def _codes() -> Iterator[str]:
    """The codes of all notices that are made in the rooms of films."""
    for room in ROOMS:
        for path in (ROOT / "src" / "xlsr_cli" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Notice":
                    words = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
                    yield from (str(code.value) for code in words if isinstance(code, ast.Constant))
    yield from (code for code, _ in _LOST.values())


def test_every_notice_is_on_the_page() -> None:
    codes = set(_codes())
    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in PAGE) == []


def test_every_notice_on_the_page_exists() -> None:
    table = PAGE[PAGE.index("| notice |") : PAGE.index("An `.avi` has one frame rate")]
    rows = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    named = {code for row in rows for code in re.findall(r"`([a-z0-9-]+)`", row)}
    assert len(named) > 20
    assert named - set(_codes()) == set()
