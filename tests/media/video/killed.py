"""Run xlsr and send it a signal at a moment of the work, not of the clock.

``python killed.py SIGKILL STAGE TICK ARGUMENT ...`` dies, without a chance to clean up, as soon as a frame
at or behind ``TICK`` of the source's clock is in ``STAGE``; ``SIGINT`` is Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from xlsr_cli.cli.app import main
from xlsr_cli.jobs.video import segments
from xlsr_cli.media.video import frame_upscaler, reader
from xlsr_cli.media.video.output import mux

Reached = Callable[[int], None]


def arrange(name: str, stage: str, tick: int) -> None:
    """Send the signal ``name`` to this process once, when a frame of ``tick`` or later is in ``stage``."""
    sent = []

    def reached(pts: int) -> None:
        if pts >= tick and not sent:
            sent.append(pts)
            os.kill(os.getpid(), getattr(signal, name, signal.SIGTERM))  # Windows knows no SIGKILL

    STAGES[stage](reached)


def _when_decoded(reached: Reached) -> None:
    read: Any = reader.FrameReader.__iter__

    def replacement(reader: Any) -> Iterator[Any]:
        for frame in read(reader):
            reached(frame.pts)
            yield frame

    reader.FrameReader.__iter__ = replacement  # type: ignore[method-assign]


def _when_enlarged(reached: Reached) -> None:
    enlarge: Any = frame_upscaler.FrameUpscaler._enlarge

    def replacement(upscaler: Any, picture: Any, memory: Any) -> Any:
        answer = enlarge(upscaler, picture, memory)
        reached(picture.pts)
        return answer

    frame_upscaler.FrameUpscaler._enlarge = replacement  # type: ignore[method-assign]


def _when_written(reached: Reached) -> None:
    add: Any = segments.SegmentWriter.add_frame

    def replacement(writer: Any, pts: int, duration: int) -> None:
        add(writer, pts, duration)
        reached(pts)

    segments.SegmentWriter.add_frame = replacement  # type: ignore[method-assign]


def _when_encoded(reached: Reached) -> None:
    latest = [-1]
    add: Any = segments.SegmentWriter.add_packets
    _when_written(lambda pts: latest.__setitem__(0, pts))

    def replacement(writer: Any, packets: Any) -> None:
        add(writer, packets)
        reached(latest[0])

    segments.SegmentWriter.add_packets = replacement  # type: ignore[method-assign]


def _when_muxed(reached: Reached) -> None:
    packets: Any = mux._Output.fresh

    def replacement(*arguments: Any) -> Iterator[Any]:
        for packet in packets(*arguments):
            yield packet
            reached(packet.pts)

    mux._Output.fresh = replacement  # type: ignore[method-assign]


#: In the order in which a frame passes them.
STAGES: dict[str, Callable[[Reached], None]] = {
    "decoded": _when_decoded,
    "enlarged": _when_enlarged,
    "written": _when_written,
    "encoded": _when_encoded,
    "muxed": _when_muxed,
}

if __name__ == "__main__":
    arrange(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
