"""One film or stream of frames: plan, pipeline, segments."""

from __future__ import annotations

from typing import NamedTuple

#: Frames of a segment: the most that a crash can cost, and the largest distance between key frames.
SEGMENT_FRAMES = 240


class Part(NamedTuple):
    """The frames from ``begin`` up to ``end`` of a film, counted from 0 in the order of display."""

    begin: int
    end: int

    @property
    def frames(self) -> int:
        """How many."""
        return self.end - self.begin
