"""Boxes of AVIF and JPEG 2000 files: the few facts that no library tells, and JPEG 2000's metadata.

Layouts: ISO/IEC 14496-12 (boxes), 23000-22 and AV1-ISOBMFF (AVIF), 15444-1 annex I (JP2).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from xlsr_cli.media.picture.metadata import Metadata, dpi_from_meters, meters_from_dpi

_XMP_UUID = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
#: ``JpgTiffExif->JP2``, as exiv2 and ExifTool write and read it.
_EXIF_UUID = b"JpgTiffExif->JP2"

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


#: More boxes than stand side by side in any picture.
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


def has_too_many(data: bytes) -> bool:
    """Whether there are more boxes than in any picture, at the top or in one of those."""
    for number, (_, begin, end) in enumerate(boxes(data), start=1):
        if number == _MOST_BOXES or sum(1 for _ in boxes(data, begin, end)) == _MOST_BOXES:
            return True
    return False


@dataclass(frozen=True)
class AvifFacts:
    """``width``, ``height`` in pixels, before turning. ``bits``: 8, 10 or 12. ``monochrome``: no colour.

    ``lossless``: coded as RGB and not as luma and chroma. ``gain_map``: one follows the picture.
    ``mastering``: it tells how bright HDR was mastered. ``aspect``: its pixels are said not to be square.
    ``crop``: it asks to be cropped.
    """

    width: int
    height: int
    bits: int
    monochrome: bool
    lossless: bool
    gain_map: bool
    mastering: bool
    aspect: bool
    crop: bool
    cicp: tuple[int, int, int, int] | None


def avif_facts(data: bytes) -> AvifFacts:
    """What the properties of the picture say; the properties of the first item are the picture's own."""
    av1c = cicp = size = None
    mastering = aspect = crop = False
    brands = b""
    for path, begin, end in _walk(data):
        content = data[begin:end]
        if path[-1] == b"ftyp":
            brands = content
        elif path[-1] == b"ispe" and size is None and len(content) >= 12:
            size = struct.unpack(">II", content[4:12])
        elif path[-1] in (b"clli", b"mdcv", b"cclv"):
            mastering = True
        elif path[-1] == b"clap":
            crop = True
        elif path[-1] == b"pasp":
            aspect = content[:4] != content[4:8]
        elif path[-1] == b"av1C" and av1c is None and len(content) >= 4:
            av1c = content[2]
        elif path[-1] == b"colr" and content[:4] == b"nclx" and cicp is None and len(content) >= 11:
            primaries, transfer, matrix = struct.unpack(">HHH", content[4:10])
            cicp = (primaries, transfer, matrix, content[10] >> 7)
    flags = av1c or 0
    return AvifFacts(
        width=size[0] if size else 0,
        height=size[1] if size else 0,
        bits=12 if flags & 0x20 else 10 if flags & 0x40 else 8,
        monochrome=bool(flags & 0x10),
        lossless=cicp is not None and cicp[2] == 0,
        gain_map=b"tmap" in brands,
        mastering=mastering,
        aspect=aspect,
        crop=crop,
        cicp=cicp,
    )


def with_cicp(encoded: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF file whose colours are said to be of other ``primaries`` and ``transfer``; same length."""
    changed = bytearray(encoded)
    for path, begin, end in _walk(encoded):
        if path[-1] == b"colr" and encoded[begin : begin + 4] == b"nclx" and end - begin >= 11:
            struct.pack_into(">HH", changed, begin + 4, primaries, transfer)
    return bytes(changed)


_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0, b"res ": 0}


def _walk(data: bytes) -> Iterator[tuple[tuple[bytes, ...], int, int]]:
    """Every box and the boxes in it, with the types that lead to it."""
    stack = [((), box) for box in reversed(list(boxes(data)))]
    todo: list[tuple[tuple[bytes, ...], tuple[bytes, int, int]]] = list(stack)
    while todo:
        path, (kind, begin, end) = todo.pop()
        yield (*path, kind), begin, end
        if kind in _CONTAINERS and len(path) < 4:
            inner = list(boxes(data, begin + _CONTAINERS[kind], end))
            todo += [((*path, kind), box) for box in reversed(inner)]


@dataclass(frozen=True)
class Jp2Facts:
    """``bits`` per sample of the codestream, ``signed`` samples, and the metadata in the boxes."""

    width: int
    height: int
    components: int
    bits: int
    signed: bool
    metadata: Metadata


def jp2_facts(data: bytes) -> Jp2Facts | None:
    """What boxes and codestream say; None when there is no codestream."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 45 > len(data):
        return None
    # SIZ: marker, length, capabilities, then the corners of the picture and of its tiles.
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    return Jp2Facts(
        width=width - left,
        height=height - top,
        components=components,
        bits=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        metadata=_jp2_metadata(data),
    )


def _jp2_metadata(data: bytes) -> Metadata:
    icc = exif = xmp = dpi = None
    if not data.startswith(_JP2_SIGNATURE):
        return Metadata()
    for path, begin, end in _walk(data):
        content = data[begin:end] if path[-1] != b"jp2c" else b""
        if path[-1] == b"colr" and content[:1] in (b"\x02", b"\x03") and icc is None:
            icc = content[3:]
        elif path[-1] in (b"resc", b"resd") and len(content) == 10 and (dpi is None or path[-1] == b"resd"):
            dpi = _jp2_dpi(content)
        elif path[-1] == b"uuid" and content[:16] == _XMP_UUID:
            xmp = content[16:].rstrip(b"\0")
        elif path[-1] == b"uuid" and content[:16] == _EXIF_UUID:
            exif = content[16:].removeprefix(b"Exif\0\0")
        elif path[-1] == b"xml " and b"<x:xmpmeta" in content and xmp is None:
            xmp = content
    return Metadata(icc=icc, exif=exif or None, xmp=xmp or None, dpi=dpi)


def _jp2_dpi(content: bytes) -> tuple[float, float] | None:
    """Vertical and horizontal grid points a metre, each a fraction and an exponent of ten."""
    y_above, y_below, x_above, x_below, y_power, x_power = struct.unpack(">HHHHbb", content)
    if not (y_above and y_below and x_above and x_below):
        return None
    x, y = x_above / x_below * 10.0**x_power, y_above / y_below * 10.0**y_power
    return dpi_from_meters(x), dpi_from_meters(y)


def jp2_with_metadata(encoded: bytes | memoryview, metadata: Metadata) -> bytes:
    """``encoded``, as OpenCV wrote it, with ``metadata`` in boxes: nothing in a JP2 depends on offsets."""
    header = b""
    top: list[bytes | memoryview] = []
    for kind, begin, end in boxes(encoded):
        if kind == b"jp2h":
            for inner, first, last in boxes(encoded, begin, end):
                content = bytes(encoded[first:last])
                if inner == b"colr" and metadata.icc is not None:
                    content = b"\x02\0\0" + metadata.icc  # method 2: a restricted ICC profile
                header += _box(inner, content)
            if metadata.dpi is not None:
                header += _box(b"res ", _box(b"resc", _resolution(metadata.dpi)))
            top.append(_box(b"jp2h", header))
            if metadata.exif is not None:
                top.append(_box(b"uuid", _EXIF_UUID + metadata.exif))
            if metadata.xmp is not None:
                top.append(_box(b"uuid", _XMP_UUID + metadata.xmp))
        else:
            top += [_box_head(kind, end - begin), encoded[begin:end]]
    return b"".join(top)


def _resolution(dpi: tuple[float, float]) -> bytes:
    x, y = (_fraction(meters_from_dpi(value)) for value in dpi)
    return struct.pack(">HHHHbb", y[0], y[1], x[0], x[1], y[2], x[2])


def _fraction(value: float) -> tuple[int, int, int]:
    """Numerator, denominator and power of ten; no negative power, which Pillow reads without its sign."""
    power = 0
    while value / 10.0**power > 0xFFFF:
        power += 1
    value /= 10.0**power
    below = next(
        below for below in (10_000, 1000, 100, 10, 1) if round(value * below) <= 0xFFFF or below == 1
    )
    return max(1, round(value * below)), below, power


def _box(kind: bytes, content: bytes) -> bytes:
    return _box_head(kind, len(content)) + content


def _box_head(kind: bytes, length: int) -> bytes:
    if length + 8 > 0xFFFFFFFF:
        return struct.pack(">I4sQ", 1, kind, length + 16)
    return struct.pack(">I4s", length + 8, kind)
