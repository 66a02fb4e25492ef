"""Chapters come through as they were, or a notice says what the container made of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.video.films import lost, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.video import pyav

Chapters = list[tuple[int, int, str | None]]

#: Milliseconds and titles, and in which containers they are changed.
KINDS: dict[str, tuple[Chapters, set[str]]] = {
    "plain": ([(0, 400, "One"), (400, 1200, "Two")], set()),
    "no titles": ([(0, 400, None), (400, 1200, None)], set()),
    "a title missing": ([(0, 400, None), (400, 1200, "Two")], set()),
    "the last title missing": ([(0, 400, "One"), (400, 1200, None)], set()),
    "a short gap": ([(0, 399, "One"), (400, 1200, "Two")], set()),
    "later than the film": ([(200, 400, "One"), (400, 1200, "Two")], {".mp4", ".mov"}),
    "a gap": ([(0, 200, "One"), (400, 1200, "Two")], {".mp4", ".mov", ".3gp"}),
    "overlapping": ([(0, 700, "One"), (500, 900, "Two")], {".mp4", ".mov", ".3gp"}),
    "beyond the end": ([(0, 400, "One"), (400, 5000, "Two")], set()),
    "at one time": ([(0, 400, "One"), (0, 400, "Two")], {".mp4", ".mov", ".3gp"}),
}


def film(path: Path, chapters: Chapters) -> Path:
    """A Matroska file of 30 frames."""
    plain = clips.make(path.with_name("plain.mkv"), frames=30)
    with pyav.open_input(str(plain)) as source, pyav.open_output(str(path)) as output:
        stream = output.add_stream_from_template(source.streams[0])
        given: list[Any] = [
            {
                "id": number,
                "start": begin,
                "end": end,
                "time_base": Fraction(1, 1000),
                "metadata": {} if title is None else {"title": title},
            }
            for number, (begin, end, title) in enumerate(chapters, 1)
        ]
        output.set_chapters(given)
        for packet in source.demux():
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    return path


def found(path: Path) -> list[tuple[int, str]]:
    """When the chapters begin, in milliseconds, and their titles."""
    with pyav.open_input(str(path)) as container:
        return [
            (round(1000 * chapter["start"] * chapter["time_base"]), chapter["metadata"].get("title", ""))
            for chapter in container.chapters()
        ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".mov", ".3gp"])
def test_chapters_are_kept_or_told(kind: str, suffix: str, tmp_path: Path) -> None:
    chapters, changed = KINDS[kind]
    source = film(tmp_path / "a.mkv", chapters)
    result = run(source, tmp_path / f"b{suffix}", Upscaler(threads=1), frames=None)
    assert lost(result) == ({"chapters-changed"} if suffix in changed else set())
    if suffix not in changed:
        assert found(result.output) == [(begin, title or "") for begin, _, title in chapters]


def test_chapters_of_other_centuries_are_left_out(tmp_path: Path) -> None:
    """They would overflow in the clock of another container."""
    source = film(tmp_path / "a.mkv", [(0, 400, "One"), (1 << 43, (1 << 43) + 1, "Two")])
    result = run(source, tmp_path / "b.mp4", Upscaler(threads=1))
    assert found(result.output) == [(0, "One")]
