"""Cut a picture file into the segments that its format names, without a byte left over.

This is written from the specifications alone, apart from what it tests. A segment is (name, begin, end); what
a format has no name for is called ``gap`` between and ``behind`` after what it names.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

Segment = tuple[str, int, int]


def segments(data: bytes) -> list[Segment]:
    """All of ``data``, in order. Raises :class:`KeyError` for a format that is not known here."""
    found = sorted(_of(data), key=lambda one: (one[1], one[2]))
    whole: list[Segment] = []
    at = 0
    for name, begin, end in found:
        if begin > at:
            whole.append(("gap", at, begin))
        whole.append((name, begin, end))
        at = max(at, end)
    return [*whole, ("behind", at, len(data))] if at < len(data) else whole


def _of(data: bytes) -> Iterator[Segment]:
    for begins, walk in _WALKS.items():
        if data.startswith(begins):
            return walk(data)
    if data[8:12] == b"WEBP":
        return _webp(data)
    if data[4:8] == b"ftyp":
        return _items(data)
    raise KeyError(data[:8])


def _jpeg(data: bytes, at: int = 0) -> Iterator[Segment]:
    yield "SOI", at, at + 2
    at += 2
    while at + 2 <= len(data):
        marker = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL).search(data, at)
        if marker is None:
            return
        if marker.start() > at:
            yield "gap", at, marker.start()
        begin, at, kind = marker.start(), marker.end(), marker[1][0]
        if kind == 0xD9:
            yield "EOI", begin, at
            break
        if 0xD0 <= kind <= 0xD7 or kind == 1:
            yield "pixels", begin, at
            continue
        content = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        at += 2 + len(content)
        yield _jpeg_name(kind, content), begin, at
        if kind == 0xDA:
            scan = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL).search(data, at)
            end = len(data) if scan is None else scan.start()
            yield "pixels", at, end
            at = end
    padded = at + len(data[at:]) - len(data[at:].lstrip(b"\0"))
    if data[padded : padded + 3] == b"\xff\xd8\xff":
        if padded > at:
            yield "padding", at, padded
        inner = list(_jpeg(data, padded))
        own = next((n for n, one in enumerate(inner) if one[0] == "EOI"), len(inner) - 1)
        yield "picture", padded, inner[own][2]
        yield from inner[own + 1 :]


def _jpeg_name(kind: int, content: bytes) -> str:
    if not 0xE0 <= kind <= 0xEF:
        return {0xFE: "COM"}.get(kind, "pixels")
    label = re.match(rb"[ -~]*", content)
    assert label is not None
    return f"APP{kind - 0xE0} {label[0].decode()[:40]}"


def _png(data: bytes) -> Iterator[Segment]:
    yield "signature", 0, 8
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            return
        shown = name.decode("latin-1")
        if shown in ("tEXt", "zTXt", "iTXt"):
            shown += " " + data[at + 8 : at + 8 + length].partition(b"\0")[0].decode("latin-1")
        yield shown, at, at + 12 + length
        at += 12 + length
        if name == b"IEND":
            return


def _gif(data: bytes) -> Iterator[Segment]:
    def table(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    def blocks_end(at: int) -> int:
        while at < len(data) and data[at]:
            at += 1 + data[at]
        return at + 1

    at = 13 + table(data[10])
    yield "screen", 0, at
    while at < len(data):
        begin = at
        match data[at]:
            case 0x3B:
                yield "end", at, at + 1
                return
            case 0x2C:
                at = blocks_end(at + 11 + table(data[at + 9]))
                yield "pixels", begin, at
            case 0x21:
                label = data[at + 3 : at + 3 + data[at + 2]].decode("latin-1") if data[at + 1] == 0xFF else ""
                name = f"extension {data[at + 1]:02x} {label}".strip()
                at = blocks_end(at + 2)
                yield name, begin, at
            case _:
                at += 1
                yield "gap", begin, at


def _webp(data: bytes) -> Iterator[Segment]:
    yield "RIFF", 0, 12
    yield from _chunks(data, 12, min(len(data), 8 + int.from_bytes(data[4:8], "little")))


def _chunks(data: bytes, at: int, end: int) -> Iterator[Segment]:
    while at + 8 <= end:
        name, length = struct.unpack("<4sI", data[at : at + 8])
        if name == b"ANMF":
            yield "ANMF", at, at + 24
            yield from _chunks(data, at + 24, min(end, at + 8 + length))
            at += 8 + length + length % 2
            continue
        yield name.decode("latin-1"), at, min(end, at + 8 + length + length % 2)
        at += 8 + length + length % 2


#: Bytes of a value by its type; all others take four.
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 5: 8, 6: 1, 7: 1, 8: 2, 10: 8, 12: 8, 16: 8, 17: 8, 18: 8}


def _tiff(data: bytes) -> Iterator[Segment]:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2] + data[3] == 43
    number, count_code, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    word = struct.calcsize(number)
    yield "header", 0, 16 if big else 8
    todo = [("0", struct.unpack_from(order + number, data, 8 if big else 4)[0])]
    seen = set()
    while todo:
        page, at = todo.pop()
        if not at or at in seen:
            continue
        seen.add(at)
        (count,) = struct.unpack_from(order + count_code, data, at)
        first = at + struct.calcsize(count_code)
        last = first + entry * count
        yield f"{page} directory", at, last + word
        found: dict[int, tuple[int, ...]] = {}
        for place in range(first, last, entry):
            tag, kind, length = struct.unpack_from(order + "HH" + number, data, place)
            size, where = _TIFF_SIZES.get(kind, 4) * length, place + entry - word
            if size > word:
                (where,) = struct.unpack_from(order + number, data, where)
                yield f"{page} tag {tag}", where, where + size
            else:
                yield f"{page} tag {tag}", place, place
            if kind in (3, 4, 13, 16):
                code = {3: "H", 16: "Q"}.get(kind, "I")
                found[tag] = struct.unpack_from(f"{order}{length}{code}", data, where)
        kind = found.get(254, (0,))[0]
        for places, lengths in ((273, 279), (324, 325), (513, 514)):
            for begin, length in zip(found.get(places, ()), found.get(lengths, ()), strict=False):
                yield f"{page} kind {kind} pixels", begin, begin + length
        todo += [(f"{page}/{tag}", one) for tag in (34665, 34853, 40965) for one in found.get(tag, ())]
        todo += [(f"{page}/sub", one) for one in found.get(330, ())]
        following = struct.unpack_from(order + number, data, last)[0]
        if page.isdigit():
            todo.append((f"{int(page) + 1}", following))


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[str, int, int, int]]:
    """Type, begin, begin of the content, end."""
    while at + 8 <= end:
        length, head = struct.unpack_from(">I", data, at)[0], 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        length = length or end - at
        if length < head or at + length > end:
            return
        yield data[at + 4 : at + 8].decode("latin-1"), at, at + head, at + length
        at += length


def _jp2(data: bytes) -> Iterator[Segment]:
    for kind, begin, content, end in _boxes(data, 0, len(data)):
        if kind == "jp2h":
            yield "jp2h", begin, content
            yield from ((f"jp2h {inner}", at, to) for inner, at, _, to in _boxes(data, content, end))
        elif kind == "uuid":
            yield f"uuid {data[content : content + 16].hex()}", begin, end
        elif kind == "brob":
            yield f"brob {data[content : content + 4].decode('latin-1')}", begin, end
        else:
            yield kind, begin, end


def _items(data: bytes) -> Iterator[Segment]:
    """AVIF and HEIC: items are cut out of ``mdat`` and named by their type."""
    kinds: dict[int, str] = {}
    roles: dict[int, str] = {}
    primary = 0
    places: list[tuple[int, int, int]] = []
    is_sequence = any(kind == "moov" for kind, *_ in _boxes(data, 0, len(data)))
    for kind, begin, content, end in _boxes(data, 0, len(data)):
        if kind == "mdat":
            yield "mdat", begin, end if is_sequence else content
        elif kind != "meta":
            yield kind, begin, end
            continue
        if kind == "meta":
            yield "meta", begin, content + 4
            for inner, at, first, to in _boxes(data, content + 4, end):
                yield f"meta {inner}", at, to
                if inner == "pitm":
                    primary = int.from_bytes(data[first + 4 : to], "big")
                elif inner == "iinf":
                    kinds = dict(_item_types(data, first, to))
                elif inner == "iref":
                    roles = _item_roles(list(_item_references(data, first, to)), primary)
                elif inner == "iloc":
                    places = list(_item_places(data[first:to]))
    for item, begin, length in places:
        name = "primary" if item == primary else roles.get(item) or kinds.get(item, "?")
        yield f"item {name}", begin, begin + length


def _item_roles(references: list[tuple[str, int, int]], primary: int) -> dict[int, str]:
    """What coded pictures are for that are not the primary one."""
    roles = {source: "preview" for kind, source, _ in references if kind == "thmb"}
    roles |= {source: "auxiliary" for kind, source, _ in references if kind == "auxl"}
    return roles | {to: "part" for kind, source, to in references if kind == "dimg" and source == primary}


def _item_references(data: bytes, at: int, end: int) -> Iterator[tuple[str, int, int]]:
    size = 4 if data[at] else 2
    for kind, _, first, last in _boxes(data, at + 4, end):
        source = int.from_bytes(data[first : first + size], "big")
        for place in range(first + size + 2, last, size):
            yield kind, source, int.from_bytes(data[place : place + size], "big")


def _item_types(data: bytes, at: int, end: int) -> Iterator[tuple[int, str]]:
    for _, _, content, last in _boxes(data, at + (6 if data[at] == 0 else 8), end):
        code = ">I" if data[content] == 3 else ">H"
        item = struct.unpack_from(code, data, content + 4)[0]
        at = content + 4 + struct.calcsize(code) + 2
        names = data[at + 4 : last].split(b"\0")
        yield (
            item,
            data[at : at + 4].decode("latin-1") + (f" {names[1].decode()}" if names[1:] else "").rstrip(),
        )


def _item_places(box: bytes) -> Iterator[tuple[int, int, int]]:
    version, at = box[0], 6
    sizes = [box[4] >> 4, box[4] & 15, box[5] >> 4, box[5] & 15 if version else 0]

    def take(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(box[at - size : at], "big")

    for _ in range(take(4 if version == 2 else 2)):
        item, method = take(4 if version == 2 else 2), take(2) & 15 if version else 0
        take(2)
        base = take(sizes[2])
        for _ in range(take(2)):
            take(sizes[3])
            begin, length = base + take(sizes[0]), take(sizes[1])
            if method == 0:
                yield item, begin, length


def _bmp(data: bytes) -> Iterator[Segment]:
    begin, head = struct.unpack_from("<II", data, 10)
    colors = 0
    if head == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = size = 0
    else:
        width, height, _, bits, compression, size, _, _, colors = struct.unpack_from("<iiHHIIiiI", data, 18)
    colors = colors or (1 << bits if bits <= 8 else 0)
    first = 14 + head + {3: 12, 6: 16}.get(compression, 0) * (head == 40) + colors * (3 if head == 12 else 4)
    yield "header", 0, min(first, begin)
    if compression in (0, 3, 6):
        size = (width * bits + 31) // 32 * 4 * abs(height)
    yield "pixels", begin, min(len(data), begin + size)
    if head == 124 and data[70:74] == b"DEBM":
        place, length = struct.unpack_from("<II", data, 126)
        yield "profile", 14 + place, 14 + place + length


def _pnm(data: bytes) -> Iterator[Segment]:
    fields: list[int] = []
    at, kind = 2, data[1:2]
    yield "header", 0, 2
    wanted = 2 if kind in b"14" else 3
    while len(fields) < wanted or data[at : at + 1] == b"#":
        found = re.compile(rb"\s*(?:(#[^\n]*)|(\d+))").match(data, at)
        assert found is not None
        if found[1]:
            yield "comment", *found.span(1)
        else:
            fields.append(int(found[2]))
            yield "header", at, found.end()
        at = found.end()
    yield "header", at, at + 1
    samples = 3 if kind == b"6" else 1
    row = (fields[0] + 7) // 8 if kind == b"4" else fields[0] * samples * (1 + (fields[-1] > 255))
    yield "pixels", at + 1, at + 1 + row * fields[1]


def _icon(data: bytes) -> Iterator[Segment]:
    count = int.from_bytes(data[4:6], "little")
    yield "directory", 0, 6 + 16 * count
    for number in range(count):
        length, begin = struct.unpack_from("<II", data, 6 + 16 * number + 8)
        yield "pixels", begin, begin + length


_WALKS: dict[bytes | tuple[bytes, ...], Callable[[bytes], Iterator[Segment]]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG": _png,
    b"GIF8": _gif,
    (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"): _tiff,
    (b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL "): _jp2,
    b"BM": _bmp,
    (b"P4", b"P5", b"P6"): _pnm,
    (b"\0\0\1\0", b"\0\0\2\0"): _icon,
}
