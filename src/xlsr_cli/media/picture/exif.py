"""Correct an EXIF block in place.

The block is not written anew: camera makers' notes contain offsets that are only right as long as nothing
moves, and a library such as Pillow's ``Image.Exif`` loses what it does not understand. Only values that
enlarging makes wrong are changed. Offsets and types: EXIF 2.32, sections 4.6.2 to 4.6.5 (TIFF 6.0, section
2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from xlsr_cli.options import Size

_ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
_WIDTHS = {0x0100, 0xA002}
_HEIGHTS = {0x0101, 0xA003}

_SHORT, LONG, _RATIONAL = 3, 4, 5

#: More entries than any directory has; a damaged count must not make us walk through the whole file.
_MOST_ENTRIES = 1000


#: Bytes that one value of each type takes.
_TYPE_SIZES = {
    1: 1, 2: 1, _SHORT: 2, LONG: 4, _RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
}  # fmt: skip

Order = Literal["<", ">"]


class _Entry(NamedTuple):
    """Where a field stands, and its head; ``number``: of values."""

    at: int
    tag: int
    type: int
    number: int


class Field(NamedTuple):
    """One field of a directory, ``value`` as it stands in the file, in the block's byte order."""

    tag: int
    type: int
    number: int
    value: bytes


class Directory(NamedTuple):
    """The fields of a directory without those that lead to further ones, which are ``linked`` by tag."""

    fields: list[Field]
    linked: dict[int, Directory]


class ExifBlock:
    """A TIFF stream as EXIF uses it, without the ``Exif\\0\\0`` prefix.

    Damage is tolerated: values that lie outside of the block or make no sense are left as they are.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data: bytes | bytearray | memoryview = data
        self._sound = bytes(data[:4]) in (b"II*\0", b"MM\0*")
        #: The byte order, as :mod:`struct` and numpy write it.
        self.order: Order = ">" if data[:1] == b"M" else "<"

    @property
    def orientation(self) -> int | None:
        """1 to 8, also 1 if it makes no sense; None if it is missing."""
        entry = self._first().get(_ORIENTATION)
        if entry is None:
            return None
        value = self._number(entry)
        return value if value is not None and 1 <= value <= 8 else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """The resolution in pixels per inch, None when it is not given."""
        found = self._first()
        if _X_RESOLUTION not in found:
            return None
        x = self._rational(found[_X_RESOLUTION])
        y = self._rational(found.get(_Y_RESOLUTION, found[_X_RESOLUTION]))
        unit = self._number(found[_RESOLUTION_UNIT]) if _RESOLUTION_UNIT in found else 2
        if not x or not y or unit not in (2, 3):
            return None
        factor = 2.54 if unit == 3 else 1.0
        return x * factor, y * factor

    def fields(self, *path: int) -> list[Field]:
        """The fields of the first directory, or of the one that the tags in ``path`` lead to."""
        fields = []
        for at, tag, kind, number in self._entries(self._place(*path)):
            size = _TYPE_SIZES.get(kind, 0) * number
            start = at + 8 if size <= 4 else self._unpack("I", at + 8)
            if size and start is not None and start + size <= len(self._data):
                fields.append(Field(tag, kind, number, bytes(self._data[start : start + size])))
        return fields

    def directory(self, *path: int) -> Directory:
        """The directory that the tags in ``path`` lead to, with EXIF's own further ones."""
        tags = ((EXIF_IFD, GPS_IFD), (INTEROP_IFD,), ())[len(path)]
        fields = [field for field in self.fields(*path) if field.tag not in tags]
        return Directory(fields, {tag: self.directory(*path, tag) for tag in tags if self.fields(*path, tag)})

    def upright(self) -> bytes:
        """The block with its orientation reset to 1 and its thumbnail removed."""
        self._data = bytearray(self._data)
        for entry in self._entries(self._place()):
            if entry.tag == _ORIENTATION:  # whatever its count: readers take the first value
                self._set_number(entry, 1)
        self._drop_thumbnail()
        return bytes(self._data)

    def with_dpi(self, dpi: tuple[float, float]) -> bytes | None:
        """The block with another resolution in pixels per inch; None where it makes no sense.

        A block without fields for it gets a new first directory at its end, so that nothing else moves.
        """
        self._data = bytearray(self._data)
        found = self._first()
        if not found:
            return None
        for tag, value in zip((_X_RESOLUTION, _Y_RESOLUTION), dpi, strict=True):
            is_there = tag in found and found[tag].type == _RATIONAL
            at = self._unpack("I", found[tag].at + 8) if is_there else None
            if at is None or at + 8 > len(self._data):
                return self._extended_by(dpi)
            struct.pack_into(self.order + "II", self._data, at, *_ratio(value))
        if _RESOLUTION_UNIT in found:
            self._set_number(found[_RESOLUTION_UNIT], 2)
        return bytes(self._data)

    def _extended_by(self, dpi: tuple[float, float]) -> bytes:
        """The block with a new first directory at its end: the old one plus the resolution."""
        fields = {
            tag: Field(tag, entry.type, entry.number, bytes(self._data[entry.at + 8 : entry.at + 12]))
            for tag, entry in self._first().items()  # a value that stands elsewhere stays there
        }
        fields |= {field.tag: field for field in _resolution(dpi, self.order)}
        at = len(self._data) + len(self._data) % 2
        whole = bytearray(bytes(self._data).ljust(at, b"\0"))
        whole += packed(Directory(list(fields.values()), {}), self.order, at)
        struct.pack_into(self.order + "I", whole, 4, at)
        return bytes(whole)

    def for_size(self, size: Size) -> bytes:
        """The block with every tag that tells the picture's size in pixels set to ``size``."""
        self._data = bytearray(self._data)
        for directory in (self._place(), self._place(EXIF_IFD)):
            for entry in self._entries(directory):
                if entry.number == 1 and entry.tag in _WIDTHS:
                    self._set_number(entry, size.width)
                elif entry.number == 1 and entry.tag in _HEIGHTS:
                    self._set_number(entry, size.height)
        return bytes(self._data)

    def _place(self, *path: int) -> int:
        """Where the directory begins that the tags in ``path`` lead to; 0 without one."""
        at = self._unpack("I", 4) or 0
        for tag in path:
            at = next((self._number(entry) or 0 for entry in self._entries(at) if entry.tag == tag), 0)
        return at

    def _first(self) -> dict[int, _Entry]:
        """The entries of the first directory by tag: of two with the same, readers take the first."""
        return {entry.tag: entry for entry in reversed(list(self._entries(self._place())))}

    def _unpack(self, code: str, at: int) -> int | None:
        size = struct.calcsize(code)
        if not self._sound or at < 0 or at + size > len(self._data):
            return None
        value: int = struct.unpack_from(self.order + code, self._data, at)[0]
        return value

    def _entries(self, directory: int) -> Iterator[_Entry]:
        count = self._unpack("H", directory) if directory >= 8 else None
        for at in range(directory + 2, directory + 2 + 12 * min(count or 0, _MOST_ENTRIES), 12):
            if at + 12 > len(self._data):
                return
            yield _Entry(at, *struct.unpack_from(self.order + "HHI", self._data, at))

    def _number(self, entry: _Entry) -> int | None:
        code = {1: "B", _SHORT: "H", LONG: "I"}.get(entry.type)
        return None if code is None else self._unpack(code, entry.at + 8)

    def _rational(self, entry: _Entry) -> float | None:
        at = self._unpack("I", entry.at + 8) if entry.type == _RATIONAL else None
        if at is None:
            return None
        above, below = self._unpack("I", at), self._unpack("I", at + 4)
        return above / below if above and below else None

    def _set_number(self, entry: _Entry, value: int) -> None:
        """Write ``value`` into the entry, as a LONG where it does not fit into a SHORT: both are inline."""
        assert isinstance(self._data, bytearray)
        if value <= 0xFFFF and entry.type == _SHORT:
            struct.pack_into(self.order + "HIHH", self._data, entry.at + 2, _SHORT, 1, value, 0)
        else:
            struct.pack_into(self.order + "HII", self._data, entry.at + 2, LONG, 1, value)

    def _drop_thumbnail(self) -> None:
        """Remove the link to the second directory, and its picture if that is at the end."""
        first = self._place()
        count = self._unpack("H", first) if first >= 8 else None
        if count is None or count > _MOST_ENTRIES:
            return
        link = first + 2 + 12 * count
        second = self._unpack("I", link)
        if not second:
            return
        found = {entry.tag: self._number(entry) for entry in self._entries(second)}
        assert isinstance(self._data, bytearray)
        struct.pack_into(self.order + "I", self._data, link, 0)
        start, length = found.get(0x0201), found.get(0x0202)
        if start and length and start >= 8 and start + length <= len(self._data):
            if start + length >= len(self._data) - 8:
                del self._data[start:]
            else:
                self._data[start : start + length] = bytes(length)


def packed(directory: Directory, order: Order, at: int) -> bytes:
    """``directory`` as it stands at the even offset ``at``: its values behind it, then what it leads to."""
    count = len(directory.fields) + len(directory.linked)
    behind = at + 2 + 12 * count + 4
    entries, values = [], b""
    for tag, kind, number, value in sorted(directory.fields, key=lambda field: field.tag):
        if len(value) > 4:
            place = struct.pack(order + "I", behind + len(values))
            values += value + b"\0" * (len(value) % 2)
            value = place
        entries.append(struct.pack(order + "HHI", tag, kind, number) + value.ljust(4, b"\0"))
    for tag, linked in directory.linked.items():
        entries.append(struct.pack(order + "HHII", tag, LONG, 1, behind + len(values)))
        values += packed(linked, order, behind + len(values))
    entries.sort(key=lambda entry: struct.unpack_from(order + "H", entry))
    return struct.pack(order + "H", count) + b"".join(entries) + bytes(4) + values


def whole_block(directory: Directory, order: Order) -> bytes:
    """An EXIF block with ``directory`` as its first."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "I", 8) + packed(directory, order, 8)


def exif_with_dpi(dpi: tuple[float, float]) -> bytes:
    """An EXIF block that holds the resolution and nothing else, for formats without a place of their own."""
    return whole_block(Directory(_resolution(dpi, "<"), {}), "<")


def _resolution(dpi: tuple[float, float], order: Order) -> list[Field]:
    """The fields that tell it in pixels per inch."""
    x, y = (struct.pack(order + "II", *_ratio(value)) for value in dpi)
    inch = struct.pack(order + "H", 2)
    return [
        Field(_X_RESOLUTION, _RATIONAL, 1, x),
        Field(_Y_RESOLUTION, _RATIONAL, 1, y),
        Field(_RESOLUTION_UNIT, _SHORT, 1, inch),
    ]


def _ratio(value: float) -> tuple[int, int]:
    """``value`` as a RATIONAL, numerator and denominator."""
    from fractions import Fraction  # loads decimal arithmetic, for the few files that need it

    return Fraction(value).limit_denominator(max(1, min(10_000, int(0xFFFFFFFF / value)))).as_integer_ratio()
