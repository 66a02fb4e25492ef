"""Boxes, of which AVIF and JPEG 2000 files consist (ISO/IEC 14496-12, section 4.2; 15444-1, annex I)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.damage import damaged
from xlsr_cli.media.picture.source import Source
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from PIL import Image

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


def read_header(
    data: bytes,
    name: str,
    format: Format,
    *,
    describe: Callable[[Source, Image.Image], Source],
    by_boxes: Callable[[bytes, str, Format], Source | None],
) -> Source:
    """What Pillow tells, or ``by_boxes`` where it does not open it; raises :class:`InputError`."""
    if has_too_many(data):
        raise damaged(name, "it has more boxes than any picture")
    otherwise = partial(by_boxes, data, name, format)
    return pillow.read_header(data, name, format, describe=describe, otherwise=otherwise)


def has_too_many(data: bytes) -> bool:
    """Whether there are more boxes than in any picture, at the top or in one of those."""
    for number, (_, begin, end) in enumerate(boxes(data), start=1):
        if number == _MOST_BOXES or sum(1 for _ in boxes(data, begin, end)) == _MOST_BOXES:
            return True
    return False


_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0, b"res ": 0}


def walk(data: bytes) -> Iterator[tuple[tuple[bytes, ...], int, int]]:
    """Every box and the boxes in it, with the types that lead to it."""
    stack = [((), box) for box in reversed(list(boxes(data)))]
    todo: list[tuple[tuple[bytes, ...], tuple[bytes, int, int]]] = list(stack)
    while todo:
        path, (kind, begin, end) = todo.pop()
        yield (*path, kind), begin, end
        if kind in _CONTAINERS and len(path) < 4:
            inner = list(boxes(data, begin + _CONTAINERS[kind], end))
            todo += [((*path, kind), box) for box in reversed(inner)]


def dropped(names: Iterable[bytes | str]) -> list[Notice]:
    """The notice that boxes, or what is in them, are not kept; none where there are none."""
    shown = sorted(
        {one if isinstance(one, str) else one.decode("ascii", "backslashreplace").strip() for one in names}
    )
    if not shown:
        return []
    return [Notice(code="boxes-dropped", message=f"its boxes {', '.join(shown[:8])} are not kept")]


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
