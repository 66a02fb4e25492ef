"""Chapters: those that belong into the output, and what a container made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from av.container import InputContainer

from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import latest_tick
from xlsr_cli.media.video.output.containers import Container
from xlsr_cli.media.video.output.cut import Cut

#: Seconds by which the ends of chapters may be off: programs leave short gaps between them.
_TOLERATED_END = Fraction(1, 20)


def chapters_of(original: InputContainer, cut: Cut, container: Container) -> list[Any]:
    """The chapters that lie in ``cut``, as PyAV gives and takes them, for ``container``."""
    chapters: list[Any] = []
    for chapter in original.chapters():
        base = pyav.exact(chapter["time_base"]) or Fraction(1, 1000)
        if max(abs(chapter["start"]), abs(chapter["end"])) > latest_tick(base):
            continue  # the file is damaged here
        start, end = chapter["start"] * base, chapter["end"] * base
        if (cut.end is not None and start >= cut.end) or (cut.begin is not None and end <= cut.begin):
            continue
        start = max(start, cut.begin) if cut.begin is not None else start
        end = min(end, cut.end) if cut.end is not None else end
        moved = {"start": round((start + cut.shift) / base), "end": round((end + cut.shift) / base)}
        chapters.append({**chapter, **moved})
    if container.reader == "mov":
        # Without any title, a chapter would be left out of the text track, and take the next one's place.
        chapters = [{**c, "metadata": {"title": "", **c["metadata"]}} for c in chapters]
    return chapters


def changed_chapters(meant: Sequence[Any], found: Sequence[Any]) -> Iterator[str]:
    """How the chapters of an output differ from those that were ``meant``, each half a sentence.

    An end is compared only where the next chapter does not begin there: MP4 says no other, and a file that
    was written on trial is shorter.
    """
    nexts = [_times(chapter)[0] for chapter in meant[1:]]
    for number, (before, after) in enumerate(zip(meant, found, strict=False), 1):
        begin, end = _times(before)
        title, name = (chapter["metadata"].get("title", "") for chapter in (before, after))
        tick = max(pyav.exact(chapter["time_base"]) or Fraction(0) for chapter in (before, after))
        shown, until = _times(after)
        ends = number <= len(nexts) and abs(end - nexts[number - 1]) > _TOLERATED_END
        if title != name:
            yield f"chapter {number} is called {name!r} instead of {title!r}"
        elif abs(begin - shown) > tick:
            yield f"chapter {number} begins at {float(shown):.2f} s instead of {float(begin):.2f} s"
        elif ends and abs(end - until) > _TOLERATED_END:
            yield f"chapter {number} does not end at {float(end):.2f} s"


def _times(chapter: Any) -> tuple[Fraction, Fraction]:
    """Begin and end in seconds."""
    base = pyav.exact(chapter["time_base"]) or Fraction(1, 1000)
    return chapter["start"] * base, chapter["end"] * base
