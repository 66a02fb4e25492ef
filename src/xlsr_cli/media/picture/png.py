"""PNG's chunks: what its header and metadata say, and how to write them around OpenCV's pixels.

Chunk layouts: Portable Network Graphics, third edition (W3C, 2025), section 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from xlsr_cli.errors import InputError
from xlsr_cli.media.picture.metadata import (
    ASPECT,
    DAMAGED_PROFILE,
    Metadata,
    dpi_from_meters,
    meters_from_dpi,
)
from xlsr_cli.notices import Notice

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Gray, colour, palette, gray + alpha, colour + alpha: IHDR's colour types.
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}
#: By channels of a decoded picture.
COLOUR_TYPES = {1: _GRAY, 2: _GRAY_ALPHA, 3: _RGB, 4: _RGB_ALPHA}

_XMP = b"XML:com.adobe.xmp"
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
#: What decides how colours look, beside the profile; mDCV and cLLI tell what HDR was mastered on.
_COLOR = (b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")

#: Chunks of no meaning for the enlarged picture: the pixels and their order, what is only about those
#: samples or about when they were changed, a viewer's backdrop, the place on a canvas of the old size, and
#: what speeds up decoding.
_SPENT = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT", b"hIST", b"sPLT", b"tIME", b"dSIG", b"acTL",
    b"fcTL", b"fdAT", b"bKGD", b"oFFs", b"caNv", b"vpAg", b"iDOT", b"CgBI",
}  # fmt: skip

#: What :func:`read_png` understands.
_KNOWN = {b"iCCP", b"cICP", b"eXIf", b"pHYs", *_TEXT, *_COLOR}

#: More chunks than any PNG has beside its pixels, and with them.
_MOST_CHUNKS, _MOST_WITH_PIXELS = 50_000, 500_000

#: Profiles and texts are compressed; a small chunk must not inflate without end.
_MOST_INFLATED = 64 << 20


@dataclass(frozen=True)
class PngHeader:
    """What stands before the pixels. ``key``: tRNS of a gray picture, as a sample value of ``bits``."""

    width: int
    height: int
    bits: int
    channels: int
    key: int | None
    frames: int
    metadata: Metadata
    notices: tuple[Notice, ...] = ()


def read_png(data: bytes, name: str) -> PngHeader:
    """Read the header and the metadata; raise :class:`InputError` where there is no sound header."""
    chunks: list[tuple[bytes, memoryview]] = []
    for number, whole in enumerate(chunks_of(data), start=1):
        if whole[0] not in (b"IDAT", b"fdAT"):
            chunks.append(whole)
        if len(chunks) == _MOST_CHUNKS or number == _MOST_WITH_PIXELS:
            raise InputError(f"{name} is damaged: it has more chunks than any picture; get an intact copy")
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise InputError(f"{name} is damaged: its PNG header is missing; get an intact copy")
    width, height, bits, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    if bits not in _DEPTHS.get(kind, ()) or not 0 < width <= 0x7FFFFFFF or not 0 < height <= 0x7FFFFFFF:
        raise InputError(f"{name} is damaged: its PNG header makes no sense; get an intact copy")
    found: dict[bytes, bytes] = {}
    for chunk, content in chunks:
        found.setdefault(chunk, bytes(content))
    metadata = _metadata(found, chunks)
    colored = kind in (_RGB, _RGB_ALPHA) or (kind == _PALETTE and _has_colors(found, metadata.icc))
    alpha = kind in (_GRAY_ALPHA, _RGB_ALPHA) or b"tRNS" in found
    key = None
    if kind == _GRAY and len(found.get(b"tRNS", b"")) >= 2:
        key = struct.unpack(">H", found[b"tRNS"][:2])[0]
    frames = struct.unpack(">I", found[b"acTL"][:4])[0] if len(found.get(b"acTL", b"")) == 8 else 1
    frames = frames if 1 <= frames <= 0x7FFFFFFF else 1
    return PngHeader(
        width, height, bits, (3 if colored else 1) + alpha, key, frames, metadata, _notices(found, metadata)
    )


def for_decoding(data: bytes) -> bytes | None:
    """The file without ancillary chunks, whose faults would only make libpng complain, and with an end.

    A missing IEND is given to it. None where a chunk claims more than the file holds: libpng would make
    room for it, up to 4 GiB, to find that out.
    """
    kept = [b"IHDR", b"PLTE", b"tRNS", b"IDAT"]
    parts: list[bytes | memoryview] = [SIGNATURE]
    view = memoryview(data)
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if name == b"IEND":
            break
        if name in kept and at + 12 + length > len(data):
            return None
        if name in kept:
            parts.append(view[at : at + 12 + length])
        at += 12 + length
    return b"".join([*parts, make_chunk(b"IEND", b"")])


def with_metadata(encoded: bytes | memoryview, metadata: Metadata) -> bytes:
    """``encoded``, as OpenCV or Pillow wrote it, with ``metadata`` in the chunks that PNG has for it."""
    start = len(SIGNATURE) + 12 + 13
    view = memoryview(encoded)
    return b"".join([view[:start], *metadata_chunks(metadata), view[start:]])


def metadata_chunks(metadata: Metadata) -> list[bytes]:
    """The chunks that hold ``metadata``, in an order in which they may stand between IHDR and the pixels."""
    parts: list[bytes] = []
    if metadata.cicp is not None:
        primaries, transfer, _, full_range = metadata.cicp
        parts.append(
            make_chunk(b"cICP", bytes((primaries, transfer, 0, full_range)))
        )  # matrix 0: pixels are RGB
    if metadata.icc is not None:
        parts.append(make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    parts += [make_chunk(chunk, content) for chunk, content in metadata.color_chunks]
    if metadata.dpi is not None:
        per_meter = [min(0x7FFFFFFF, round(meters_from_dpi(value))) for value in metadata.dpi]
        parts.append(make_chunk(b"pHYs", struct.pack(">IIB", *per_meter, 1)))
    if metadata.exif is not None:
        parts.append(make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        parts.append(make_chunk(b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    return parts + [make_chunk(chunk, content) for chunk, content in metadata.text if chunk in _TEXT]


def make_chunk(name: bytes, content: bytes) -> bytes:
    """One chunk: its length, name, content and checksum (PNG specification, section 5.3)."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunks_of(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of every whole chunk, up to :data:`_MOST_WITH_PIXELS`."""
    view = memoryview(data)
    at = len(SIGNATURE)
    for _ in range(_MOST_WITH_PIXELS):
        if at + 12 > len(data):
            return
        length = int.from_bytes(view[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield bytes(view[at + 4 : at + 8]), view[at + 8 : at + 8 + length]
        at += 12 + length


def _has_colors(found: dict[bytes, bytes], icc: bytes | None) -> bool:
    """Whether a palette holds anything but grays; a profile for colours is only of use with colours."""
    palette = found.get(b"PLTE", b"")
    gray = palette[0::3] == palette[1::3] == palette[2::3]
    return not gray or (icc is not None and icc[16:20] != b"GRAY")


def _metadata(found: dict[bytes, bytes], chunks: list[tuple[bytes, memoryview]]) -> Metadata:
    exif, xmp, iptc, text = found.get(b"eXIf"), None, None, []
    for chunk, content in chunks:
        if chunk not in _TEXT:
            continue
        keyword, _, rest = bytes(content).partition(b"\0")
        if keyword == _XMP:
            xmp = xmp or _international_text(chunk, rest)
        elif keyword.startswith(b"Raw profile type "):  # ImageMagick's way before PNG had a chunk for it
            kind = keyword[17:].lower()
            if kind in (b"exif", b"app1") and exif is None:
                raw = _raw_profile(_international_text(chunk, rest)) or b""
                exif = raw[6:] if raw.startswith(b"Exif\0\0") else None
            elif kind == b"xmp" and xmp is None:
                xmp = _raw_profile(_international_text(chunk, rest))
            elif kind == b"iptc" and iptc is None:
                iptc = _raw_profile(_international_text(chunk, rest))
        else:
            text.append((chunk, bytes(content)))
    cicp = found.get(b"cICP", b"")
    return Metadata(
        icc=_profile(found.get(b"iCCP")),
        cicp=(cicp[0], cicp[1], cicp[2], cicp[3]) if len(cicp) == 4 else None,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
        xmp=xmp.rstrip(b"\0") if xmp else None,
        iptc=iptc,
        dpi=_dpi(found.get(b"pHYs", b"")),
        color_chunks=tuple((chunk, found[chunk]) for chunk in _COLOR if chunk in found),
        text=tuple(text),
    )


def _notices(found: dict[bytes, bytes], metadata: Metadata) -> tuple[Notice, ...]:
    notices = []
    if b"iCCP" in found and metadata.icc is None:
        notices.append(DAMAGED_PROFILE)
    if others := sorted(set(found) - _SPENT - _KNOWN):
        names = " ".join(name.decode("ascii", "backslashreplace") for name in others[:8])
        notices.append(Notice(code="chunks-dropped", message=f"its chunks {names} are not kept"))
    density = found.get(b"pHYs", b"")
    if len(density) == 9 and density[8] == 0 and density[:4] != density[4:8]:
        notices.append(ASPECT)
    return tuple(notices)


def _dpi(content: bytes) -> tuple[float, float] | None:
    if len(content) != 9 or content[8] != 1:  # any other unit is only an aspect ratio
        return None
    x, y = struct.unpack(">II", content[:8])
    return (dpi_from_meters(x), dpi_from_meters(y)) if x and y else None


def _profile(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    _, _, rest = content.partition(b"\0")
    return _inflate(rest[1:])


def _international_text(chunk: bytes, rest: bytes) -> bytes | None:
    """The content of a text chunk behind its keyword."""
    if chunk == b"tEXt":
        return rest
    if chunk == b"zTXt":
        return _inflate(rest[1:])
    compressed, tail = rest[:1] == b"\1", rest[2:]
    _, _, tail = tail.partition(b"\0")  # language
    _, _, tail = tail.partition(b"\0")  # translated keyword
    return _inflate(tail) if compressed else tail


def _raw_profile(text: bytes | None) -> bytes | None:
    """Lines of: a name, the length, hexadecimal digits."""
    try:
        _, length, *digits = (text or b"").strip().split(b"\n", 2)
        return bytes.fromhex(b"".join(digits).decode("ascii"))[: int(length)]
    except ValueError:
        return None


def _inflate(data: bytes) -> bytes | None:
    """None where it is damaged or inflates without end: a part of a profile or a packet is of no use."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, _MOST_INFLATED)
    except zlib.error:
        return None
    return content if stream.eof and content else None
