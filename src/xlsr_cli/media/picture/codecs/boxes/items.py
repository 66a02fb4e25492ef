"""Items of an AVIF or HEIC: which of them are the picture, and what the others are.

Layouts: ISO/IEC 14496-12, section 8.11 (items), 23008-12 (pictures as items), 23000-22 (alpha, depth).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from xlsr_cli.media.picture.codecs import boxes
from xlsr_cli.media.picture.losses import GAIN_MAP, behind_the_end, further_pages, unknown
from xlsr_cli.notices import Notice

#: Kinds of items that are coded pictures, or pictures made of others.
_PICTURES = {
    b"av01", b"hvc1", b"hev1", b"lhv1", b"avc1", b"vvc1", b"evc1", b"jpeg", b"j2k1", b"unci", b"grid",
    b"iovl", b"iden",
}  # fmt: skip
_GAIN_MAPPED, _EXIF, _MIME = b"tmap", b"Exif", b"mime"
_XMP_TYPE = b"application/rdf+xml"

#: Words in the name of what an auxiliary picture is for.
_ALPHA_WORDS, _GAIN_MAP_WORDS = (b"alpha", b"auxid:1"), (b"gainmap", b"hdrgain")

#: Properties that say how pixels are coded, placed or coloured, and those that are read elsewhere.
_UNDERSTOOD = {
    b"ispe", b"pixi", b"av1C", b"hvcC", b"lhvC", b"avcC", b"vvcC", b"evcC", b"jpgC", b"cmpd", b"uncC",
    b"j2kH", b"colr", b"irot", b"imir", b"clap", b"pasp", b"clli", b"mdcv", b"cclv", b"auxC", b"a1op",
    b"a1lx", b"lsel", b"rloc", b"oinf", b"tols", b"iscl", b"rref", b"free", b"skip",
}  # fmt: skip

#: Boxes of the file and of ``meta`` that hold the picture, tell where it stands, or hold nothing.
_TOP = {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"wide", b"styp", b"mpvd"}
_META = {b"hdlr", b"pitm", b"iinf", b"iref", b"iprp", b"iloc", b"idat", b"dinf", b"grpl", b"free", b"skip"}
_TRACKS_OF_PICTURES = (b"pict", b"vide")
#: Motion photos: the film in a box of its own (Google, Motion Photo format 1.0).
_FILM = b"mpvd"

_EXTRA = Notice(
    code="extra-channels-dropped", message="its depth maps and other pictures about the picture are not kept"
)

#: No file has so many items; a damaged one must not be searched for more.
_MOST_ITEMS = 20_000


@dataclass(kw_only=True)
class Items:
    """The items of the file in ``data``.

    ``kinds``: of every item, with the type of its content if it is a ``mime``. ``references``: (kind, from,
    to). ``properties_of``: every item. ``places``: of every item's bytes in the file, (begin, end).
    ``damaged``: the tables of items make no sense; whoever decodes the file will say what is wrong.
    """

    data: bytes
    primary: int = 0
    kinds: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    references: list[tuple[bytes, int, int]] = field(default_factory=list)
    properties_of: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    damaged: bool = False

    @property
    def properties(self) -> list[tuple[bytes, bytes]]:
        """Type and content of the properties of the picture, then of its parts; all where nothing tells
        whose."""
        parts = sorted(self._with_parts({self.primary}) - {self.primary})
        found = [one for item in (self.primary, *parts) for one in self.properties_of.get(item, [])]
        return found or [
            (path[-1], self.data[begin:end])
            for path, begin, end in boxes.walk(self.data)
            if path[-1] in _UNDERSTOOD
        ]

    @property
    def film(self) -> bytes | None:
        """The film of a motion photo."""
        films = (self.data[begin:end] for kind, begin, end in boxes.boxes(self.data) if kind == _FILM)
        return next(films, b"") or None

    @property
    def frames(self) -> int:
        """How many frames the longest track of pictures has; 0 without one."""
        counts = [0]
        for begin, end in self._boxes(b"moov", b"trak", b"mdia"):
            kinds = [self.data[at + 8 : at + 12] for at, _ in self._boxes(b"hdlr", begin=begin, end=end)]
            if kinds and kinds[0] in _TRACKS_OF_PICTURES:
                tables = self._boxes(b"minf", b"stbl", b"stsz", begin=begin, end=end)
                counts += [int.from_bytes(self.data[at + 8 : at + 12], "big") for at, _ in tables]
        return max(counts)

    def losses(self, pages: int | None = None) -> list[Notice]:
        """Notices of what the file holds beside its picture, its profile, EXIF, XMP and previews.

        ``pages``: how many pictures the library counts; None to count them here.
        """
        if self.damaged:
            return []
        picture = self._with_parts({self.primary})
        mapped = {item for item, (kind, _) in self.kinds.items() if kind == _GAIN_MAPPED}
        alphas = {item for item in self._above(b"auxl", picture) if self._is_for(item, _ALPHA_WORDS)}
        picture |= self._with_parts(alphas)
        auxiliary = self._above(b"auxl", self._with_parts(mapped) | picture) - picture
        maps = {item for item in auxiliary if self._is_for(item, _GAIN_MAP_WORDS)}
        previews = self._with_parts(self._above(b"thmb", set(self.kinds)))
        of_map = self._with_parts(mapped | maps) - picture
        rest = set(self.kinds) - picture - previews - of_map - self._with_parts(auxiliary)
        further = {item for item in rest if self.kinds[item][0] in _PICTURES}
        parts = {part for kind, _, part in self.references if kind == b"dimg"}
        about_others = {item for kind, item, _ in self.references if kind == b"auxl"}
        count = 1 + len(further - parts - about_others) if pages is None else pages
        lost = ((GAIN_MAP, bool(of_map)), (_EXTRA, bool(auxiliary - maps)))
        told = [notice for notice, holds in lost if holds] + further_pages(count)
        names = self._unknown_names(picture, rest - further)
        return [*told, *unknown("boxes", sorted(names)), *behind_the_end(self._unclaimed())]

    def _above(self, kind: bytes, items: set[int]) -> set[int]:
        """What refers to one of ``items`` by a reference of ``kind``."""
        return {source for name, source, target in self.references if name == kind and target in items}

    def _with_parts(self, items: set[int]) -> set[int]:
        """``items`` and what they are made of, such as the tiles of a grid."""
        found, todo = set(items), set(items)
        while todo:
            parts = {t for kind, source, t in self.references if kind == b"dimg" and source in todo}
            todo = parts - found
            found |= todo
        return found

    def _is_for(self, item: int, words: tuple[bytes, ...]) -> bool:
        """Whether one of ``words`` stands in what an auxiliary picture is said to be for."""
        purposes = (content[4:] for kind, content in self.properties_of.get(item, []) if kind == b"auxC")
        purpose = next(purposes, b"").lower()
        return any(word in purpose for word in words)

    def _boxes(self, *path: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """Begin and end of the content of every box that the types of ``path`` lead to."""
        for kind, first, last in boxes.boxes(self.data, begin, end):
            if kind == path[0] and len(path) == 1:
                yield first, last
            elif kind == path[0]:
                yield from self._boxes(*path[1:], begin=first, end=last)

    def _unknown_names(self, picture: set[int], rest: set[int]) -> set[bytes]:
        """What of boxes, items that are no pictures, and properties of the picture is not understood."""
        found = {kind for kind, _, _ in boxes.boxes(self.data)} - _TOP
        for begin, end in self._boxes(b"meta"):
            found |= {inner for inner, _, _ in boxes.boxes(self.data, begin + 4, end)} - _META
        for begin, end in self._boxes(b"moov", b"trak", b"mdia", b"hdlr"):
            track = self.data[begin + 8 : min(end, begin + 12)]
            found |= set() if track in (*_TRACKS_OF_PICTURES, b"auxv") else {b"a track of " + track}
        read: set[bytes] = set()  # of several, the first that is about the picture is read
        for item in sorted(rest):
            kind, content_type = self.kinds[item]
            what = content_type if kind == _MIME else kind
            described = {to for name, source, to in self.references if name == b"cdsc" and source == item}
            if what in (_EXIF, _XMP_TYPE) and described and not described & picture:
                continue  # about a preview, or about a picture that is named
            if what in (_EXIF, _XMP_TYPE) and what not in read:
                read.add(what)
            else:
                found.add(what)
        properties = {kind for item in picture for kind, _ in self.properties_of.get(item, [])}
        return found | (properties - _UNDERSTOOD)

    def _unclaimed(self) -> bytes:
        """The bytes behind the last box, and those of ``mdat`` that belong to no item."""
        found, at = [], 0
        is_sequence = any(self._boxes(b"moov"))
        claimed = sorted(place for places in self.places.values() for place in places)
        for kind, begin, end in boxes.boxes(self.data):
            at = end
            if kind != b"mdat" or is_sequence:
                continue
            for first, last in claimed:
                if begin < first <= end:
                    found.append(self.data[begin:first])
                if last > begin and first < end:
                    begin = max(begin, last)
            found.append(self.data[begin:end])
        return b"".join([*found, self.data[at:]])


# Reading


def read_items(data: bytes) -> Items:
    """The items of an AVIF or HEIC. Nothing is raised for damage."""
    items = Items(data=data)
    try:
        _read(items)
    except (struct.error, IndexError):
        return Items(data=data, damaged=True)
    return items


def _read(items: Items) -> None:
    data, listed = items.data, list[tuple[bytes, bytes]]()
    for path, begin, end in boxes.walk(data):
        kind, content = path[-1], data[begin:end] if path[-1] not in (b"mdat", b"moov") else b""
        if path == (b"meta", b"pitm"):
            (items.primary,) = struct.unpack_from(">I" if content[0] else ">H", content, 4)
        elif path == (b"meta", b"iinf"):
            items.kinds = dict(_kinds(content))
        elif path == (b"meta", b"iref"):
            items.references = list(_references(content))
        elif path == (b"meta", b"iloc"):
            items.places = _places(content)
        elif path == (b"meta", b"iprp", b"ipco"):
            listed = [(name, content[at:to]) for name, at, to in boxes.boxes(content)]
        elif path == (b"meta", b"iprp", b"ipma"):
            for item, indices in _associations(content):
                found = [listed[index - 1] for index in indices if 0 < index <= len(listed)]
                items.properties_of.setdefault(item, []).extend(found)
        elif kind == b"meta" and len(path) == 1 and items.kinds:
            break  # the first one is the picture's


def _kinds(content: bytes) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    for kind, begin, end in boxes.boxes(content, 8 if content[0] else 6):
        if kind != b"infe":
            continue
        entry = content[begin:end]
        version = entry[0]
        if version < 2:
            (item,) = struct.unpack_from(">H", entry, 4)
            name_and_type = entry[8:].split(b"\0")
            yield item, (_MIME, name_and_type[1] if len(name_and_type) > 1 else b"")
            continue
        code = ">IH4s" if version == 3 else ">HH4s"
        item, _, name = struct.unpack_from(code, entry, 4)
        rest = entry[struct.calcsize(code) + 4 :].split(b"\0")
        yield item, (name, rest[1] if len(rest) > 1 else b"")


def _references(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    size = 4 if content[0] else 2
    for kind, begin, end in boxes.boxes(content, 4):
        numbers = content[begin:end]
        source = int.from_bytes(numbers[:size], "big")
        for at in range(size + 2, len(numbers) - size + 1, size):
            yield kind, source, int.from_bytes(numbers[at : at + size], "big")


def _associations(content: bytes) -> Iterator[tuple[int, list[int]]]:
    """Items and the numbers of their properties, counted from 1."""
    item_code = ">I" if content[0] else ">H"
    wide = content[3] & 1
    (count,) = struct.unpack_from(">I", content, 4)
    at = 8
    for _ in range(min(count, _MOST_ITEMS)):
        (item,) = struct.unpack_from(item_code, content, at)
        at += struct.calcsize(item_code)
        length, at = content[at], at + 1
        size = 2 if wide else 1
        numbers = [int.from_bytes(content[at + n * size : at + (n + 1) * size], "big") for n in range(length)]
        at += length * size
        yield item, [number & (0x7FFF if wide else 0x7F) for number in numbers]


def _places(content: bytes) -> dict[int, list[tuple[int, int]]]:
    """Where the bytes of each item stand in the file; an item whose bytes stand in ``idat`` has none."""
    version, sizes, more = content[0], content[4], content[5]
    offset_size, length_size, base_size = sizes >> 4, sizes & 15, more >> 4
    index_size = more & 15 if version in (1, 2) else 0
    at = 6

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(content):
            raise IndexError("the table of places is cut off")
        at += size
        return int.from_bytes(content[at - size : at], "big")

    found: dict[int, list[tuple[int, int]]] = {}
    for _ in range(min(number(4 if version == 2 else 2), _MOST_ITEMS)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version in (1, 2) else 0
        number(2)  # the file that holds it: this one
        base = number(base_size)
        for _ in range(min(number(2), _MOST_ITEMS)):
            number(index_size)
            begin = base + number(offset_size)
            length = number(length_size)
            if method == 0:
                found.setdefault(item, []).append((begin, begin + length if length else 1 << 62))
    return found
