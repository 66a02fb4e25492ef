"""The way of a picture is the one that ``docs/architecture.md`` lists."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

import xlsr_cli
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.picture import upscale_file
from xlsr_cli.jobs.task import Task

PACKAGE = Path(xlsr_cli.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"

CONDUCTOR = "jobs/picture.py"
CODEC = "media/picture/codecs/<format>.py"


def listed() -> list[tuple[str, str]]:
    """Module and function of each line."""
    section = PAGE.read_text("utf-8").split("## The way of a picture\n")[1]
    lines = section.split("```")[1].strip().splitlines()
    return [(words[0], words[1]) for words in (line.split() for line in lines)]


def calls_of(path: Path, output: Path) -> list[tuple[str, str]]:
    """Module and function of everything in the package that is called to upscale ``path``."""
    called = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(PACKAGE)):
            place = Path(name).relative_to(PACKAGE).as_posix()
            place = re.sub(r"codecs/(jpeg|png)(/\w+)?\.py", "codecs/<format>.py", place)  # or a folder
            called.append((place, frame.f_code.co_qualname))

    upscaler = Upscaler()
    sys.setprofile(watch)
    try:
        upscale_file(path, output, Task(upscaler=upscaler))
    finally:
        sys.setprofile(None)
    return called


def test_the_list_is_what_happens(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    picture = Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3))
    picture.save(tmp_path / "in.png", exif=exif)
    calls = calls_of(tmp_path / "in.png", tmp_path / "out.jpg")
    steps = [(CODEC, name) for name in ("read_header", "read_pixels", "write")]
    for wanted in (listed(), steps):
        called = iter(calls)
        missing = [call for call in wanted if call not in called]  # the iterator keeps the order
        assert missing == []


def test_only_the_one_that_conducts_is_there_twice() -> None:
    counted = Counter(module for module, _ in listed())
    assert {module for module, count in counted.items() if count > 1} == {CONDUCTOR}
