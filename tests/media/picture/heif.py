"""A writer of HEIF files whose items, references and properties are chosen freely."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


#: The bit of a property that a reader has to understand, and the ones that have it.
_ESSENTIAL, _MUST = 0x80, {b"av1C", b"irot", b"imir", b"clap"}


@dataclass(frozen=True, kw_only=True)
class Item:
    """``kind``: its type. ``content``: its bytes. ``properties``: whole boxes. ``type``: of a ``mime``."""

    kind: bytes = b"av01"
    content: bytes = b""
    properties: Sequence[bytes] = ()
    type: bytes = b""
    hidden: bool = False
    #: Reference type → numbers of items.
    to: Mapping[bytes, Sequence[int]] = field(default_factory=dict)


def coded(image: Image.Image, *extra: bytes, **more: object) -> Item:
    """``image`` as an item of AV1; ``extra`` are further properties, whole boxes."""
    file = io.BytesIO()
    image.save(file, "AVIF", quality=90)
    data = file.getvalue()
    at = data.index(b"av1C") - 4
    config = data[at : at + int.from_bytes(data[at : at + 4], "big")]
    content = data[data.rindex(b"mdat") + 4 :]
    size = full(b"ispe", struct.pack(">II", *image.size))
    nclx = box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, 6, 0x80))
    return Item(content=content, properties=(size, config, nclx, *extra), **more)  # type: ignore[arg-type]


def heif(
    items: Sequence[Item],
    *,
    meta: bytes = b"",
    top: bytes = b"",
    behind: bytes = b"",
    brand: bytes = b"avif",
    unclaimed: bytes = b"",
) -> bytes:
    """A file whose first item is the picture; items are counted from 1.

    ``meta``, ``top``: further boxes. ``unclaimed``: bytes of ``mdat`` that belong to no item.
    """
    listed = list(dict.fromkeys(one for item in items for one in item.properties))
    ipma = full(
        b"ipma",
        struct.pack(">I", len(items)),
        *(
            struct.pack(">HB", number, len(item.properties))
            + bytes(listed.index(one) + 1 | _ESSENTIAL * (one[4:8] in _MUST) for one in item.properties)
            for number, item in enumerate(items, start=1)
        ),
    )
    infe = [
        full(
            b"infe",
            struct.pack(">HH4s", number, 0, item.kind) + b"\0" + item.type + b"\0" * bool(item.type),
            version=2,
            flags=int(item.hidden),
        )
        for number, item in enumerate(items, start=1)
    ]
    references = [
        box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to))
        for number, item in enumerate(items, start=1)
        for kind, to in item.to.items()
    ]

    def made(begin: int) -> bytes:
        places, at = [], begin
        for number, item in enumerate(items, start=1):
            places.append(struct.pack(">HHHII", number, 0, 1, at, len(item.content)))
            at += len(item.content)
        return b"".join(
            (
                box(b"ftyp", brand, bytes(4), brand, b"mif1", b"miaf"),
                full(
                    b"meta",
                    full(b"hdlr", bytes(4), b"pict", bytes(13)),
                    full(b"pitm", struct.pack(">H", 1)),
                    full(b"iloc", b"\x44\0", struct.pack(">H", len(items)), *places),
                    full(b"iinf", struct.pack(">H", len(items)), *infe),
                    full(b"iref", *references) if references else b"",
                    box(b"iprp", box(b"ipco", *listed), ipma),
                    meta,
                ),
                top,
                box(b"mdat", *(item.content for item in items), unclaimed),
                behind,
            )
        )

    return made(made(0).index(b"mdat") + 4)
