"""What the rooms of videos need to know of PyAV itself: its exceptions, and how 18 and 19 differ.

PyAV 18 is the last one for Python 3.11. PyAV 19 decodes metadata as needed here by default, and has its own
rational type, which rounds where a :class:`~fractions.Fraction` is exact.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, TypeAlias, cast

import av
import av.error
import av.logging
from av.container import InputContainer, OutputContainer
from av.sidedata.sidedata import Type as SideDataType

#: A decoded frame, for rooms that do not know PyAV.
VideoFrame = av.VideoFrame
#: A packet of any kind of stream.
AnyPacket: TypeAlias = "av.Packet[Any]"

#: What PyAV raises, and computing with what it read, where a file is damaged: errors of FFmpeg, and numbers,
#: names and indexes in headers that mean nothing. Errors of the system and of memory are none of these.
FAULTS: tuple[type[Exception], ...] = (
    av.error.FFmpegError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
)

#: FFmpeg's log belongs to the whole process: one thread at a time captures it.
_LISTENING = threading.Lock()

_BEFORE_19 = int(av.__version__.split(".")[0]) < 19

#: Metadata that are not UTF-8 come through byte by byte; PyAV 19 does nothing else.
_KEPT: dict[str, Any] = {"metadata_errors": "surrogateescape"} if _BEFORE_19 else {}


def open_input(file: Any, **options: Any) -> InputContainer:
    """``av.open`` for reading; metadata that are not UTF-8 are kept as they are."""
    return cast(InputContainer, av.open(file, mode="r", **_KEPT, **options))


def open_undecoded(file: Any, **options: Any) -> InputContainer:
    """The same where the headers tell enough: no frame is decoded to learn its pixel format."""
    return open_input(file, options={"codec_whitelist": "none"}, **options)


def open_output(file: Any, **options: Any) -> OutputContainer:
    """``av.open`` for writing; metadata that are not UTF-8 are kept as they are."""
    return cast(OutputContainer, av.open(file, mode="w", **_KEPT, **options))


def exact(number: Any) -> Fraction | None:
    """A time base, a rate or a ratio of PyAV; None where it is not known: None in PyAV 18, 0 in PyAV 19."""
    return Fraction(number.numerator, number.denominator) if number else None


def side_data(frame: av.VideoFrame) -> tuple[Any, ...]:
    """All side data of a decoded frame, each with its ``type`` and its bytes."""
    entries: Any = frame.side_data
    return tuple(entries if _BEFORE_19 else entries.values())


def _unnamed(kinds: type[SideDataType], value: object) -> Any:
    """A kind of side data that PyAV has no name for, such as the EXIF of Motion JPEG."""
    kind: Any = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNNAMED_{value}", value
    return kind


if _BEFORE_19:
    # PyAV 18 would raise ValueError for all side data of a frame because of one such kind.
    SideDataType._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


@contextmanager
def usual_scheduling() -> Iterator[None]:
    """Leave the calling thread's scheduling as it was; also a decorator, for what opens an encoder.

    Where the process may do so, as root may, SVT-AV1 makes the thread that opens it a real-time one, of the
    highest priority. Threads and processes that are started later inherit that, and nothing else gets a core.
    """
    if not hasattr(os, "sched_getscheduler"):  # macOS and Windows
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, priority)


@contextmanager
def ffmpeg_messages(level: int = av.logging.INFO) -> Iterator[list[Any]]:
    """Yield a list of FFmpeg's messages to this thread within the block: (level, name, text)."""
    with _LISTENING:
        before = av.logging.get_level()
        av.logging.set_level(level)
        av.logging.set_libav_level(level)
        try:
            with av.logging.Capture() as messages:
                yield messages
        finally:
            av.logging.set_libav_level(av.logging.INFO)  # FFmpeg's own default
            av.logging.set_level(before)
