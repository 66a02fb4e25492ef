"""The shape of pixels in Matroska and WebM: a field of the track that PyAV cannot set.

The muxer gets a track name with extra bytes. When the file is complete, these bytes are replaced by the
field, so that nothing else in the file moves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from xlsr_cli.errors import OutputError
from xlsr_cli.options import Size

#: Element ids of RFC 8794 (EBML) and RFC 9559 (Matroska).
_SEGMENT, _TRACKS, _TRACK, _NAME, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x536E, 0xE0
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_SHAPE = (_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT)
_CRC, _VOID = 0xBF, 0xEC
#: ``DisplayUnit``: the two numbers are a ratio, not pixels.
_RATIO = 3
#: The three fields take 18 bytes, longer lengths a few more.
_ROOM = b" | xlsr: room for the shape of pixels".ljust(48, b".")
#: How much of the file's beginning can hold the tracks.
_LARGEST_HEAD = 1 << 26


def with_room(title: str | None) -> str:
    """A track's name that :func:`write_aspect` will give bytes to; it takes ``_ROOM`` away again."""
    return (title or "") + _ROOM.decode()


def write_aspect(file: BinaryIO, size: Size, aspect: Fraction, *, webm: bool) -> None:
    """Say in the track whose name has room that its pixels, ``size`` of them, have the shape ``aspect``.

    WebM has only whole pixels, to which the shape is rounded. Raises :class:`OutputError` where
    ``file`` holds no such track.
    """
    for start, end in _tracks(file):
        file.seek(start)
        before = file.read(end - start)
        after = b"".join(
            head + (_with_aspect(value, size, aspect, webm) if _has_room(name, value) else value)
            for name, head, value in _elements(before)
        )
        if after != before:
            file.seek(start)
            file.write(_checked(after))
            return
    raise OutputError("the muxer left no room for the shape of pixels; try an .mp4 file")


def _has_room(name: int, value: bytes) -> bool:
    return name == _TRACK and any(
        inner == _NAME and text.endswith(_ROOM) for inner, _, text in _elements(value)
    )


def _with_aspect(track: bytes, size: Size, aspect: Fraction, webm: bool) -> bytes:
    """``track`` with the shape in it and without the room, as long as before."""
    parts = []
    for name, head, value in _elements(track):
        if name == _NAME:
            title = value.removesuffix(_ROOM)
            parts.append(_element(_NAME, title) if title else b"")
        elif name == _VIDEO:
            rest = b"".join(head + value for field, head, value in _elements(value) if field not in _SHAPE)
            parts.append(_element(_VIDEO, rest + _shape(size, aspect, webm)))
        else:
            parts.append(head + value)
    short = b"".join(parts)
    return short + _element(_VOID, bytes(len(track) - len(short) - 2))


def _shape(size: Size, aspect: Fraction, webm: bool) -> bytes:
    if webm:
        width, height = size.width * aspect, Fraction(size.height)
        if width.denominator > 1 and (size.height / aspect).denominator == 1:
            width, height = Fraction(size.width), size.height / aspect
        return _number(_DISPLAY_WIDTH, max(1, round(width))) + _number(_DISPLAY_HEIGHT, int(height))
    shape = size.width * aspect / size.height
    return (
        _number(_DISPLAY_WIDTH, shape.numerator)
        + _number(_DISPLAY_HEIGHT, shape.denominator)
        + _number(_DISPLAY_UNIT, _RATIO)
    )


def _tracks(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where the contents of all ``Tracks`` lie."""
    file.seek(0)
    head = file.read(_LARGEST_HEAD)
    for name, start, end in _places(head, 0, len(head)):
        if name == _SEGMENT:
            for inner, first, last in _places(head, start, min(end, len(head))):
                if inner == _TRACKS:
                    yield first, last


# EBML: an id, a length and that many bytes; id and length say in their first bits how long they are.


def _places(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(id, where the value begins, where it ends) of all elements in ``data[at:end]``."""
    while at < end:
        name_bytes = 9 - data[at].bit_length()
        name = int.from_bytes(data[at : at + name_bytes], "big")
        at += name_bytes
        length_bytes = 9 - data[at].bit_length()
        length = int.from_bytes(data[at : at + length_bytes], "big") & ((1 << 7 * length_bytes) - 1)
        at += length_bytes
        yield name, at, at + length
        at += length


def _elements(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(id, id and length as they are written, value) of the elements of a master element."""
    before = 0
    for name, start, end in _places(content, 0, len(content)):
        yield name, content[before:start], content[start:end]
        before = end


def _element(name: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x7F:
        return _id(name) + bytes([0x80 | length]) + value
    return _id(name) + (0x4000 | length).to_bytes(2, "big") + value


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _id(name: int) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, "big")


def _checked(tracks: bytes) -> bytes:
    """``tracks`` with the checksum at their beginning renewed, where there is one."""
    if tracks[0] != _CRC:
        return tracks
    return tracks[:2] + zlib.crc32(tracks[6:]).to_bytes(4, "little") + tracks[6:]
