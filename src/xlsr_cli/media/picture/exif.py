"""Correct an EXIF block in place.

The block is not written anew: camera makers' notes contain offsets that are only right as long as nothing
moves, and a library such as Pillow's ``Image.Exif`` loses what it does not understand. Only values that
enlarging makes wrong are changed. Offsets and types: EXIF 2.32, sections 4.6.2 to 4.6.5 (TIFF 6.0, section
2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from xlsr_cli.options import Size

_ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
_WIDTHS = {0x0100, 0xA002}
_HEIGHTS = {0x0101, 0xA003}

_SHORT, _LONG = 3, 4

#: More entries than any directory has; a damaged count must not make us walk through the whole file.
_MOST_ENTRIES = 1000


#: Bytes that one value of each type takes.
_TYPE_SIZES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


@dataclass(frozen=True)
class _Entry:
    at: int
    tag: int
    type: int
    count: int


@dataclass(frozen=True)
class Field:
    """One field of a directory, ``value`` as it stands in the file, in the block's byte order."""

    tag: int
    type: int
    count: int
    value: bytes


class ExifBlock:
    """A TIFF stream as EXIF uses it, without the ``Exif\\0\\0`` prefix.

    Damage is tolerated: values that lie outside of the block or make no sense are left as they are.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data: bytes | bytearray | memoryview = data
        self._order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))

    @property
    def order(self) -> Literal["<", ">"]:
        """The byte order, as :mod:`struct` and numpy write it."""
        return ">" if self._order == ">" else "<"

    @property
    def orientation(self) -> int | None:
        """1 to 8, also 1 if it makes no sense; None if it is missing."""
        for entry in self._entries(self._first()):
            if entry.tag == _ORIENTATION:
                value = self._number(entry)
                return value if value is not None and 1 <= value <= 8 else 1
        return None

    @property
    def dpi(self) -> tuple[float, float] | None:
        """The resolution in pixels per inch, None when it is not given."""
        found = {entry.tag: entry for entry in self._entries(self._first())}
        if _X_RESOLUTION not in found:
            return None
        x = self._rational(found[_X_RESOLUTION])
        y = self._rational(found[_Y_RESOLUTION]) if _Y_RESOLUTION in found else x
        unit = self._number(found[_RESOLUTION_UNIT]) if _RESOLUTION_UNIT in found else 2
        if not x or not y or unit not in (2, 3):
            return None
        factor = 2.54 if unit == 3 else 1.0
        return x * factor, y * factor

    def fields(self, *path: int) -> list[Field]:
        """The fields of the first directory, or of the one that the tags in ``path`` lead to."""
        directory = self._first()
        for tag in path:
            found = [entry for entry in self._entries(directory) if entry.tag == tag]
            directory = (self._number(found[0]) or 0) if found else 0
        fields = []
        for entry in self._entries(directory):
            size = _TYPE_SIZES.get(entry.type, 0) * entry.count
            start = entry.at + 8 if size <= 4 else self._unpack("I", entry.at + 8)
            if size and start is not None and start + size <= len(self._data):
                value = bytes(self._data[start : start + size])
                fields.append(Field(entry.tag, entry.type, entry.count, value))
        return fields

    def upright(self) -> bytes:
        """The block with its orientation reset to 1 and its thumbnail removed."""
        self._data = bytearray(self._data)
        for entry in self._entries(self._first()):
            if entry.tag == _ORIENTATION:  # whatever its count: readers take the first value
                self._set_number(entry, 1)
        self._drop_thumbnail()
        return bytes(self._data)

    def with_dpi(self, dpi: tuple[float, float]) -> bytes | None:
        """The block with another resolution in pixels per inch; None where it makes no sense.

        A block without fields for it gets a new first directory at its end, so that nothing else moves.
        """
        self._data = bytearray(self._data)
        found = {entry.tag: entry for entry in self._entries(self._first())}
        if not found:
            return None
        for tag, value in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True):
            at = self._unpack("I", found[tag].at + 8) if tag in found and found[tag].type == 5 else None
            if at is None or at + 8 > len(self._data):
                return self._extended_by(dpi)
            struct.pack_into(self.order + "II", self._data, at, *_ratio(value))
        if _RESOLUTION_UNIT in found:
            self._set_number(found[_RESOLUTION_UNIT], 2)
        return bytes(self._data)

    def _extended_by(self, dpi: tuple[float, float]) -> bytes:
        """The block with a new first directory at its end: the old one plus the resolution."""
        resolution = (_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT)
        entries = {
            entry.tag: bytes(self._data[entry.at : entry.at + 12])
            for entry in self._entries(self._first())
            if entry.tag not in resolution
        }
        at = len(self._data) + len(self._data) % 2
        behind = at + 2 + 12 * (len(entries) + len(resolution)) + 4
        for index, tag in enumerate(resolution[:2]):
            entries[tag] = struct.pack(self.order + "HHII", tag, 5, 1, behind + 8 * index)
        entries[_RESOLUTION_UNIT] = struct.pack(self.order + "HHIHH", _RESOLUTION_UNIT, _SHORT, 1, 2, 0)
        parts = [bytes(self._data).ljust(at, b"\0"), struct.pack(self.order + "H", len(entries))]
        parts += [entries[tag] for tag in sorted(entries)] + [bytes(4)]
        parts += [struct.pack(self.order + "II", *_ratio(value)) for value in dpi]
        whole = bytearray(b"".join(parts))
        struct.pack_into(self.order + "I", whole, 4, at)
        return bytes(whole)

    def for_size(self, size: Size) -> bytes:
        """The block with every tag that tells the picture's size in pixels set to ``size``."""
        self._data = bytearray(self._data)
        for directory in (self._first(), self._pointer(EXIF_IFD)):
            for entry in self._entries(directory):
                if entry.count == 1 and entry.tag in _WIDTHS:
                    self._set_number(entry, size.width)
                elif entry.count == 1 and entry.tag in _HEIGHTS:
                    self._set_number(entry, size.height)
        return bytes(self._data)

    def _first(self) -> int:
        return self._unpack("I", 4) or 0

    def _pointer(self, tag: int) -> int:
        for entry in self._entries(self._first()):
            if entry.tag == tag:
                return self._number(entry) or 0
        return 0

    def _unpack(self, code: str, at: int) -> int | None:
        size = struct.calcsize(code)
        if self._order is None or at < 0 or at + size > len(self._data):
            return None
        value: int = struct.unpack_from(self._order + code, self._data, at)[0]
        return value

    def _entries(self, directory: int) -> Iterator[_Entry]:
        count = self._unpack("H", directory) if directory >= 8 else None
        for index in range(min(count or 0, _MOST_ENTRIES)):
            at = directory + 2 + 12 * index
            tag, kind, number = self._unpack("H", at), self._unpack("H", at + 2), self._unpack("I", at + 4)
            if tag is None or kind is None or number is None or at + 12 > len(self._data):
                return
            yield _Entry(at, tag, kind, number)

    def _number(self, entry: _Entry) -> int | None:
        code = {1: "B", _SHORT: "H", _LONG: "I"}.get(entry.type)
        return None if code is None else self._unpack(code, entry.at + 8)

    def _rational(self, entry: _Entry) -> float | None:
        at = self._unpack("I", entry.at + 8) if entry.type == 5 else None
        if at is None:
            return None
        above, below = self._unpack("I", at), self._unpack("I", at + 4)
        return above / below if above and below else None

    def _set_number(self, entry: _Entry, value: int) -> None:
        """Write ``value`` into the entry, as a LONG where it does not fit into a SHORT: both are inline."""
        assert self._order is not None and isinstance(self._data, bytearray)
        if value <= 0xFFFF and entry.type == _SHORT:
            struct.pack_into(self._order + "HIHH", self._data, entry.at + 2, _SHORT, 1, value, 0)
        else:
            struct.pack_into(self._order + "HII", self._data, entry.at + 2, _LONG, 1, value)

    def _drop_thumbnail(self) -> None:
        """Remove the link to the second directory, and its picture if that is at the end."""
        first = self._first()
        count = self._unpack("H", first) if first >= 8 else None
        if count is None or count > _MOST_ENTRIES:
            return
        link = first + 2 + 12 * count
        second = self._unpack("I", link)
        if not second:
            return
        found = {entry.tag: self._number(entry) for entry in self._entries(second)}
        assert isinstance(self._data, bytearray)
        struct.pack_into(f"{self._order}I", self._data, link, 0)
        start, length = found.get(0x0201), found.get(0x0202)
        if start and length and start >= 8 and start + length <= len(self._data):
            if start + length >= len(self._data) - 8:
                del self._data[start:]
            else:
                self._data[start : start + length] = bytes(length)


def packed(fields: list[Field], order: Literal["<", ">"], at: int) -> bytes:
    """A directory that holds ``fields`` and begins at offset ``at``, with its values behind it."""
    fields = sorted(fields, key=lambda field: field.tag)
    head = struct.pack(order + "H", len(fields))
    behind = at + 2 + 12 * len(fields) + 4
    values = b""
    for field in fields:
        head += struct.pack(order + "HHI", field.tag, field.type, field.count)
        if len(field.value) <= 4:
            head += field.value.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", behind + len(values))
            values += field.value + b"\0" * (len(field.value) % 2)
    return head + struct.pack(order + "I", 0) + values


def packed_with_linked(block: ExifBlock, tag: int, order: Literal["<", ">"], at: int) -> bytes:
    """The directory of ``block`` that ``tag`` leads to, at offset ``at``, and EXIF's interoperability
    directory behind it where it has one."""
    fields = [field for field in block.fields(tag) if field.tag != INTEROP_IFD]
    linked = block.fields(tag, INTEROP_IFD)
    if not linked:
        return packed(fields, order, at)
    length = len(packed([*fields, pointer(INTEROP_IFD, 0, order)], order, at))
    behind = at + length + length % 2
    first = packed([*fields, pointer(INTEROP_IFD, behind, order)], order, at)
    return first.ljust(behind - at, b"\0") + packed(linked, order, behind)


def pointer(tag: int, offset: int, order: Literal["<", ">"]) -> Field:
    """The field that leads to a directory at ``offset``."""
    return Field(tag, _LONG, 1, struct.pack(order + "I", offset))


def exif_with_dpi(dpi: tuple[float, float]) -> bytes:
    """An EXIF block that holds the resolution and nothing else, for formats without a place of their own."""
    entries = [(_X_RESOLUTION, 5, 1, 50), (_Y_RESOLUTION, 5, 1, 58), (_RESOLUTION_UNIT, _SHORT, 1, 2)]
    block = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, kind, count, value in entries:
        block += struct.pack("<HHII", tag, kind, count, value)
    block += struct.pack("<I", 0)
    for resolution in dpi:
        block += struct.pack("<II", *_ratio(resolution))
    return block


def _ratio(value: float) -> tuple[int, int]:
    """``value`` as a RATIONAL, numerator and denominator."""
    from fractions import Fraction  # loads decimal arithmetic, for the few files that need it

    return Fraction(value).limit_denominator(max(1, min(10_000, int(0xFFFFFFFF / value)))).as_integer_ratio()
