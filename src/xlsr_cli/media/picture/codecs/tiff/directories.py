"""The directories of a TIFF: how many pictures they are, and the last byte that they refer to.

TIFF 6.0, section 2, and BigTIFF. tifffile reads the first one; it knows no end, and takes previews for pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

#: Bytes that one value of each type takes, 4 otherwise, and how those are read that are places or lengths.
_SIZES = {1: 1, 2: 1, 3: 2, 6: 1, 7: 1, 8: 2, 5: 8, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}
_CODES = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
#: NewSubfileType: bits that say "a smaller version" and "a mask".
_SUBFILE_TYPE, _NO_PICTURE = 254, 0b101
_COMPRESSION, _OLD_JPEG = 259, 6
#: Tags that point to directories: of smaller pictures, of EXIF, GPS and interoperability.
_LINKS = {330, 34665, 34853, 40965}
#: Pairs of tags with places and lengths: strips, tiles, a whole JPEG.
_PAIRS = ((273, 279), (324, 325), (513, 514))
_READ = {_SUBFILE_TYPE, _COMPRESSION, *_LINKS, *(tag for pair in _PAIRS for tag in pair)}
#: A damaged file must not be searched for more.
_MOST_DIRECTORIES, _MOST_ENTRIES, _MOST_PLACES = 2000, 1000, 1_000_000


class _Directory(NamedTuple):
    """``numbers``: the values of the tags in :data:`_READ`. ``end``: of it and of the values of all tags; of
    the file where it is damaged."""

    numbers: dict[int, tuple[int, ...]]
    end: int
    is_page: bool


def count_pages(data: bytes) -> int:
    """How many pictures the file holds, without previews; the first one always counts."""
    pages = 0
    try:
        for directory in _directories(data):
            kind = (*directory.numbers.get(_SUBFILE_TYPE, ()), 0)[0]
            pages += directory.is_page and (not pages or not kind & _NO_PICTURE)
    except struct.error:
        pass  # the chain leads out of the file
    return max(1, pages)


def end(data: bytes) -> int:
    """The end of what the directories refer to; the file's own where they do not say it all."""
    last = 0
    try:
        for directory in _directories(data):
            if directory.numbers.get(_COMPRESSION) == (_OLD_JPEG,):
                return len(data)  # its tables and markers are anywhere
            last = max(last, directory.end)
            for tag, tag_of_lengths in _PAIRS:
                places, lengths = directory.numbers.get(tag, ()), directory.numbers.get(tag_of_lengths, ())
                if len(lengths) < len(places):
                    return len(data)
                last = max(last, *map(sum, zip(places, lengths, strict=False)), 0)
    except struct.error:
        return len(data)
    return last or len(data)


def _directories(data: bytes) -> Iterator[_Directory]:
    """Every directory once: those of the chain, then those that their tags lead to.

    Raises :class:`struct.error` for one outside of the file.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    number, count_code, entry_size, header = ("Q", "Q", 20, 16) if big else ("I", "H", 12, 8)
    word = struct.calcsize(number)
    todo, seen = [(*_unpack(order + number, data, header - word), True)], set[int]()
    while todo and len(seen) < _MOST_DIRECTORIES:
        at, is_page = todo.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        (count,) = _unpack(order + count_code, data, at)
        first = at + struct.calcsize(count_code)
        last = first + entry_size * count
        numbers, ends = dict[int, tuple[int, ...]](), [last + word if count <= _MOST_ENTRIES else len(data)]
        for entry in range(first, last, entry_size)[:_MOST_ENTRIES]:
            tag, kind, length = _unpack(order + "HH" + number, data, entry)
            size, place = _SIZES.get(kind, 4) * length, entry + entry_size - word
            if size > word:
                (place,) = _unpack(order + number, data, place)
                ends.append(place + size)
            if tag in _READ:
                try:
                    code = f"{order}{min(length, _MOST_PLACES)}{_CODES[kind]}"
                    numbers[tag] = _unpack(code, data, place)
                except (KeyError, struct.error):
                    ends.append(len(data))
        yield _Directory(numbers, max(ends), is_page)
        todo[:0] = [(place, False) for tag in _LINKS for place in numbers.get(tag, ())]
        if last + word <= len(data):
            todo.append((*_unpack(order + number, data, last), is_page))


def _unpack(code: str, data: bytes, at: int) -> tuple[Any, ...]:
    """Raises :class:`struct.error` outside of the file, also for places of 64 bits."""
    if at > len(data):
        raise struct.error("outside of the file")
    return struct.unpack_from(code, data, at)
