"""Y4M: raw frames, each after a line of text, for pipes between programs.

The format is that of yuv4mpeg(5) of mjpegtools, with the pixel formats that FFmpeg added. PyAV reads it as
well, in 0.6 ms instead of 2.9 ms for a frame of 1280x720, but drops ``X`` parameters and those of single
frames, takes 4:4:0 and 4:1:0 for damaged, and 15 bits for 8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from xlsr_cli.errors import InputError
from xlsr_cli.media.video.layout import Layout, Siting, planes_of
from xlsr_cli.options import Size

MAGIC = b"YUV4MPEG2"
#: A header is one line; anything longer is no Y4M.
_LONGEST_LINE = 4096
_SUBSAMPLED = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}


@dataclass(frozen=True, kw_only=True)
class Y4MHeader:
    """The first line. ``tags`` are all parameters but the size, in their order, such as ``F30:1``."""

    size: Size
    layout: Layout
    tags: tuple[str, ...]

    @property
    def interlaced(self) -> bool:
        """Whether each frame consists of two fields."""
        return any(tag in ("It", "Ib", "Im") for tag in self.tags)

    @property
    def siting(self) -> Siting:
        """Where chroma lies; a plain ``420`` means that of JPEG, ``420paldv`` FFmpeg's nearest to PAL DV."""
        if self.layout.chroma == (1, 1) and self._tag("C") in ("", "420", "420jpeg"):
            return "center"
        return "topleft" if self._tag("C") == "420paldv" else "left"

    @property
    def aspect(self) -> Fraction | None:
        """The sample aspect ratio, None where it is unknown."""
        numerator, _, denominator = self._tag("A").partition(":")
        above, below = _whole(numerator), _whole(denominator)
        return Fraction(above, below) if above and below else None

    def resized(self, size: Size) -> Y4MHeader:
        """The same for frames of ``size``; the aspect ratio follows where the two sides grow differently."""
        stretch = Fraction(size.width, self.size.width) / Fraction(size.height, self.size.height)
        if self.aspect is None or stretch == 1:
            return replace(self, size=size)
        aspect = (self.aspect / stretch).limit_denominator(1000)
        tag = f"A{aspect.numerator}:{aspect.denominator}"
        return replace(self, size=size, tags=tuple(tag if old[:1] == "A" else old for old in self.tags))

    def line(self) -> bytes:
        """The header as it is written."""
        words = (MAGIC.decode(), f"W{self.size.width}", f"H{self.size.height}", *self.tags)
        return " ".join(words).encode("latin-1") + b"\n"

    def _tag(self, letter: str) -> str:
        return next((tag[1:] for tag in self.tags if tag[:1] == letter), "")


@dataclass(frozen=True, kw_only=True)
class Y4MFrame:
    """One frame; ``line`` is its own header, with parameters if it had any."""

    picture: av.VideoFrame
    line: bytes


def read_header(stream: BinaryIO, name: str) -> Y4MHeader:
    """Read the first line of ``stream``; ``name`` is for errors.

    Raises :class:`InputError` where it is no Y4M, or of a kind that is not supported.
    """
    line = stream.readline(_LONGEST_LINE)
    if not line.startswith(MAGIC) or not line.endswith(b"\n"):
        raise InputError(f"{name} is no Y4M stream; ffmpeg writes one with '-f yuv4mpegpipe'")
    words = line.decode("latin-1").split()[1:]
    sides = {word[0]: word[1:] for word in words if word[0] in "WH"}
    tags = tuple(word for word in words if word[0] not in "WH")
    if not all(_whole(sides.get(side, "")) for side in "WH"):
        raise InputError(f"{name} is a Y4M stream without a size; get an intact one")
    colour = next((tag[1:] for tag in tags if tag[0] == "C"), "420")
    size = Size(width=int(sides["W"]), height=int(sides["H"]))
    return Y4MHeader(size=size, layout=_layout(colour, name), tags=tags)


def _whole(digits: str) -> int:
    """The number that ``digits`` say; 0 where they are none, such as a raised 2, or far too many."""
    return int(digits) if re.fullmatch(r"[0-9]{1,9}", digits) else 0


def _layout(colour: str, name: str) -> Layout:
    """What a ``C`` parameter says: ``420mpeg2``, ``422p10``, ``mono16``, ``444alpha`` …"""
    match = re.fullmatch(r"mono(\d*)", colour)
    if match:
        return Layout(family="gray", depth=int(match[1] or 8))
    match = re.fullmatch(r"(4\d\d)(?:jpeg|mpeg2|paldv|alpha|p(\d+))?", colour)
    if match is None or match[1] not in _SUBSAMPLED or not 8 <= int(match[2] or 8) <= 16:
        raise InputError(f"{name}: Y4M of the kind {colour!r} is not supported; ffmpeg can convert it")
    return Layout(
        family="yuv",
        depth=int(match[2] or 8),
        chroma=_SUBSAMPLED[match[1]],
        alpha=colour.endswith("alpha"),
    )


def read_frames(stream: BinaryIO, header: Y4MHeader, name: str) -> Iterator[Y4MFrame]:
    """The frames, one after the other. Raises :class:`InputError` where one is damaged or cut off."""
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if not line.startswith(b"FRAME") or not line.endswith(b"\n"):
            raise InputError(f"{name}: frame {number} does not begin where it should; get an intact stream")
        picture = av.VideoFrame(header.size.width, header.size.height, header.layout.name)
        for plane in planes_of(picture, header.layout):
            rows, columns = plane.shape
            content = stream.read(rows * columns * plane.itemsize)
            if len(content) < rows * columns * plane.itemsize:
                raise InputError(f"{name} ends within frame {number}; the {number - 1} before it are whole")
            plane[...] = np.frombuffer(content, plane.dtype).reshape(rows, columns)
        yield Y4MFrame(picture=picture, line=line)


def write_frame(stream: BinaryIO, frame: Y4MFrame, layout: Layout) -> None:
    """Write one frame and flush it: the reader may be a player."""
    stream.write(frame.line)
    for plane in planes_of(frame.picture, layout):
        stream.write(plane.tobytes())
    stream.flush()
