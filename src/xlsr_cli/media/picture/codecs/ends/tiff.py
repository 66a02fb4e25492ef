"""Where the last byte stands that a directory of a TIFF refers to (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: Bytes that one value of each type takes.
_SIZES = {1: 1, 2: 1, 3: 2, 6: 1, 7: 1, 8: 2, 5: 8, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}  # 4 otherwise
#: Tags that point to directories: of smaller pictures, of EXIF, GPS and interoperability.
_DIRECTORIES = {330, 34665, 34853, 40965}
#: Pairs of tags with places and lengths: strips, tiles, a whole JPEG.
_PAIRS = ((273, 279), (324, 325), (513, 514))
#: A damaged file must not be searched for more.
_MOST_DIRECTORIES, _MOST_ENTRIES, _MOST_PLACES = 2000, 1000, 1_000_000

_OLD_JPEG = 6


def end(data: bytes) -> int:
    """The end of what the directories refer to; the file's own where they do not say it all."""
    try:
        return max(_ends(data), default=len(data))
    except (struct.error, KeyError):
        return len(data)  # a damaged directory


def _ends(data: bytes) -> Iterator[int]:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    number, count_code, entry_size, header = ("Q", "Q", 20, 16) if big else ("I", "H", 12, 8)
    word = struct.calcsize(number)
    todo, seen = [struct.unpack_from(order + number, data, header - word)[0]], set[int]()
    while todo and len(seen) < _MOST_DIRECTORIES:
        at = todo.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        (count,) = struct.unpack_from(order + count_code, data, at)
        first = at + struct.calcsize(count_code)
        last = first + entry_size * count
        if count > _MOST_ENTRIES:
            raise struct.error("too many entries")
        numbers: dict[int, tuple[int, ...]] = {}
        for entry in range(first, last, entry_size):
            tag, kind, length = struct.unpack_from(order + "HH" + number, data, entry)
            size = _SIZES.get(kind, 4) * length
            place = entry + entry_size - word
            if size > word:
                (place,) = struct.unpack_from(order + number, data, place)
                yield place + size
            if tag in _DIRECTORIES or any(tag in pair for pair in _PAIRS):
                code = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}[kind]
                numbers[tag] = struct.unpack_from(f"{order}{min(length, _MOST_PLACES)}{code}", data, place)
            elif tag == 259 and kind == 3 and struct.unpack_from(order + "H", data, place) == (_OLD_JPEG,):
                yield len(data)  # its tables and markers are anywhere
        yield from _places(numbers, data)
        todo += [one for tag in _DIRECTORIES for one in numbers.get(tag, ())]
        yield last + word
        if last + word <= len(data):
            todo.append(struct.unpack_from(order + number, data, last)[0])


def _places(numbers: dict[int, tuple[int, ...]], data: bytes) -> Iterator[int]:
    for places, lengths in _PAIRS:
        if places in numbers:
            yield from map(sum, zip(numbers[places], numbers.get(lengths, ()), strict=False))
            if len(numbers.get(lengths, ())) < len(numbers[places]):
                yield len(data)
