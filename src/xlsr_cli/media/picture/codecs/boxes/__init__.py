"""Boxes, of which AVIF and JPEG 2000 files consist (ISO/IEC 14496-12, section 4.2; 15444-1, annex I)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from xlsr_cli.media.picture.damage import damaged

#: No picture has so many boxes side by side.
_MOST_BOXES = 10_000


def boxes(
    data: bytes | memoryview, start: int = 0, end: int | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin and end of the content of every box from ``start`` to ``end``; stops at damage."""
    at, end = start, len(data) if end is None else end
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1 and at + 16 <= end:
            length = struct.unpack_from(">Q", data, at + 8)[0]
            head = 16
        elif length == 0:
            length = end - at
        if length < head or at + length > end:
            return
        yield kind, at + head, at + length
        at += length


def check_count(data: bytes, name: str) -> None:
    """Raise :class:`InputError` for more boxes than in any picture, at the top or in one of those."""
    for number, (_, begin, end) in enumerate(boxes(data), start=1):
        if number == _MOST_BOXES or sum(1 for _ in boxes(data, begin, end)) == _MOST_BOXES:
            raise damaged(name, "it has more boxes than any picture")


#: Boxes that hold boxes, and how many bytes stand before those; how deep they lie at most.
_CONTAINERS, _DEEPEST = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0, b"res ": 0}, 4


def walk(
    data: bytes, path: tuple[bytes, ...] = (), start: int = 0, end: int | None = None
) -> Iterator[tuple[tuple[bytes, ...], int, int]]:
    """Every box and the boxes in it, with the types that lead to it; ``path`` leads to the first ones."""
    for kind, first, last in boxes(data, start, end):
        yield (*path, kind), first, last
        if kind in _CONTAINERS and len(path) < _DEEPEST:
            yield from walk(data, (*path, kind), first + _CONTAINERS[kind], last)


def end(data: bytes) -> int:
    """Where the last whole box ends."""
    return max((last for _, _, last in boxes(data)), default=0)


def box(kind: bytes, content: bytes) -> bytes:
    """A whole box."""
    return box_head(kind, len(content)) + content


def box_head(kind: bytes, length: int) -> bytes:
    """The header of a box with ``length`` bytes of content."""
    if length + 8 > 0xFFFFFFFF:
        return struct.pack(">I4sQ", 1, kind, length + 16)
    return struct.pack(">I4s", length + 8, kind)
