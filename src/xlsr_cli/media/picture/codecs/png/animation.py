"""APNG: frames are pieces of PNGs, decoded and encoded one by one (PNG, section 11.3.6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.formats import format_named
from xlsr_cli.media.picture.codecs.png.chunks import SIGNATURE, chunks_of, make_chunk, metadata_chunks
from xlsr_cli.media.picture.codecs.png.reading import read_header, read_pixels
from xlsr_cli.media.picture.composing import Disposal, FramePart, Frames
from xlsr_cli.media.picture.pixels import changed, with_channels
from xlsr_cli.media.picture.source import Encoding, Film, Source

#: fcTL's numbers for what happens to a frame afterwards.
_DISPOSALS: dict[int, Disposal] = {0: "stay", 1: "clear", 2: "restore"}


class _Frame(NamedTuple):
    """An fcTL chunk and the pixel data behind it, which is that of a PNG."""

    control: bytes
    data: list[memoryview]


def read_frames(source: Source, max_pixels: int) -> Frames:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    before: dict[bytes, memoryview] = {}
    for chunk in chunks_of(source.data):
        if chunk.name in (b"IDAT", b"IEND"):
            break
        before.setdefault(chunk.name, chunk.content)
    count, plays = struct.unpack(">II", before[b"acTL"][:8])
    return Frames(plays=plays, still=b"fcTL" not in before, parts=_parts(source, before, count, max_pixels))


def _parts(
    source: Source, before: dict[bytes, memoryview], count: int, max_pixels: int
) -> Iterator[FramePart]:
    """The frames, decoded one by one. Raises :class:`ValueError` where one is damaged or missing."""
    found = 0
    for found, frame in enumerate(_frames(source.data), start=1):
        width, height, left, top, number, denominator, disposal, blend = struct.unpack(
            ">IIIIHHBB", frame.control[4:]
        )
        if left + width > source.stored_size.width or top + height > source.stored_size.height:
            raise ValueError("a frame lies outside of the canvas")
        yield FramePart(
            pixels=_decoded(frame, width, height, before, source.name, max_pixels),
            left=left,
            top=top,
            delay=Fraction(number, denominator or 100),
            over=blend == 1,
            disposal=_DISPOSALS[disposal],
        )
        if found == count:
            return
    raise ValueError(f"{found} frames of {count} are there")


def _frames(data: bytes) -> Iterator[_Frame]:
    """Each fcTL with its data. Raises :class:`ValueError` where their numbers are not in order."""
    frame: _Frame | None = None
    expected = 0
    for name, content, _, _ in chunks_of(data):
        if name in (b"fcTL", b"fdAT"):
            if int.from_bytes(content[:4], "big") != expected:
                raise ValueError("its frames are not in order")
            expected += 1
        if name in (b"fcTL", b"IEND") and frame is not None and frame.data:
            yield frame
            frame = None
        if name == b"fcTL":
            frame = _Frame(control=bytes(content), data=[])
        elif name == b"fdAT" and frame is not None:
            frame.data.append(content[4:])
        elif name == b"IDAT" and frame is not None:
            frame.data.append(content)
    if frame is not None and frame.data:
        yield frame


def _decoded(
    frame: _Frame, width: int, height: int, before: dict[bytes, memoryview], name: str, max_pixels: int
) -> Pixels:
    """The pixels of a frame, uint8 BGRA: a PNG is made of it and decoded."""
    header = struct.pack(">II", width, height) + bytes(before[b"IHDR"][8:])
    parts = [SIGNATURE, make_chunk(b"IHDR", header)]
    parts += [make_chunk(kind, bytes(before[kind])) for kind in (b"PLTE", b"tRNS") if kind in before]
    parts += [make_chunk(b"IDAT", bytes(content)) for content in frame.data]
    still = read_header(b"".join([*parts, make_chunk(b"IEND", b"")]), name, format_named("png"))
    decoded = read_pixels(still, max_pixels)
    if decoded.notices:
        raise ValueError(decoded.notices[0].message)
    pixels = with_channels(with_channels(decoded.pixels, still.channels), 4)
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def write_animation(file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding) -> None:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`.

    Every frame after the first is the rectangle that changed, which replaces the old one. Pillow's writer
    would collect all frames before it writes the first.
    """
    before: Pixels | None = None
    sequence = 0
    for frame, delay in zip(frames, film.delays, strict=True):
        rows, columns = slice(0, frame.shape[0]), slice(0, frame.shape[1])
        if before is not None:
            rows, columns = changed(before, frame)
        part = np.ascontiguousarray(frame[rows, columns])
        encoded = bytes(cv2.imencode(".png", part)[1])
        if before is None:
            _write_head(file, encoded, film)
        height, width = part.shape[:2]
        control = struct.pack(">IIIII", sequence, width, height, columns.start, rows.start)
        file.write(make_chunk(b"fcTL", control + _fraction(delay) + b"\0\0"))
        sequence += 1
        for name, content, _, _ in chunks_of(encoded):
            if name == b"IDAT" and before is None:
                file.write(make_chunk(name, bytes(content)))
            elif name == b"IDAT":
                file.write(make_chunk(b"fdAT", struct.pack(">I", sequence) + content))
                sequence += 1
        before = frame
    file.write(make_chunk(b"IEND", b""))


def _write_head(file: BinaryIO, encoded: bytes, film: Film) -> None:
    """Everything in front of the pixels: the header of ``encoded``, metadata, how many frames there are."""
    file.write(SIGNATURE)
    for name, content, _, _ in chunks_of(encoded):
        if name == b"IDAT":
            break
        file.write(make_chunk(name, bytes(content)))
        if name == b"IHDR":
            file.write(b"".join(metadata_chunks(film.metadata)))
    file.write(make_chunk(b"acTL", struct.pack(">II", len(film.delays), film.plays)))


def _fraction(delay: Fraction) -> bytes:
    """Numerator and denominator in 16 bits each; the nearest that fits for delays beyond minutes."""
    most = 0xFFFF
    fitting = min(delay, Fraction(most))
    denominator = most
    while fitting.numerator > most or fitting.denominator > most:
        fitting = delay.limit_denominator(denominator)
        denominator //= 2
    return struct.pack(">HH", fitting.numerator, fitting.denominator)
