"""JPEG 2000: Pillow reads the header, OpenCV the pixels; metadata are in boxes that neither writes.

Layouts: ISO/IEC 15444-1, annexes A (codestream) and I (boxes).
"""

from __future__ import annotations

import io
import struct
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import boxes, opencv
from xlsr_cli.media.picture.fitting import depth_reduced
from xlsr_cli.media.picture.metadata import Metadata, behind_the_end, dpi_from_meters, meters_from_dpi
from xlsr_cli.media.picture.pixels import reduced
from xlsr_cli.media.picture.source import Encoding, Source, further_pages
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

_XMP_UUID = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
#: ``JpgTiffExif->JP2``, as exiv2 and ExifTool write and read it.
_EXIF_UUID = b"JpgTiffExif->JP2"
#: IPTC-IIM, as ExifTool and Adobe's programs name it, and a place on the map (GeoJP2).
_IPTC_UUID = uuid.UUID("33c7a4d2-b81d-4723-a0ba-f1a3e097ad38").bytes
_GEO_UUID = uuid.UUID("b14bf8bd-083d-4b43-a5ae-8cd7d5a6ce03").bytes

#: Boxes that hold the picture, say how it is coded, or hold nothing; without those that are read.
_UNDERSTOOD = {
    b"jP  ", b"ftyp", b"jp2h", b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res ", b"resc",
    b"resd", b"jp2c", b"rreq", b"free",
}  # fmt: skip

#: A comment in a codestream, and how those begin in which encoders only name themselves.
_COMMENT, _LATIN, _ENCODERS = 0xFF64, 1, (b"Created by", b"Creator:", b"Kakadu", b"Jasper", b"LuraWave")

_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"

#: OpenCV's encoder halves a picture five times and fails on smaller ones.
_SMALLEST = 32

read_pixels = opencv.read_pixels


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    return boxes.read_header(data, name, format, describe=_described, by_boxes=_by_boxes)


def _described(source: Source, image: Image.Image) -> Source:
    facts = _read_facts(source.data)
    return source if facts is None else _with_facts(source, facts)


def _by_boxes(data: bytes, name: str, format: Format) -> Source | None:
    """A source from the boxes alone, for files that only OpenCV opens, and for those too large for it."""
    facts = _read_facts(data)
    if facts is None:
        return None
    size = Size(width=facts.width, height=facts.height)
    channels = min(4, facts.components)
    found = Source(data=data, name=name, format=format.name, stored_size=size, channels=channels)
    return _with_facts(found, facts)


def _with_facts(source: Source, facts: _Facts) -> Source:
    return replace(
        source,
        bits=facts.bits,
        maximum=(1 << facts.bits) - 1,
        metadata=facts.metadata,
        notices=facts.notices,
    ).oriented()


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; the smallest pictures hold 8 bits a sample."""
    notices = []
    if min(pixels.shape[:2]) >= _SMALLEST:
        encoded: bytes | memoryview = _encoded(pixels, encoding)
    else:
        if pixels.ndim == 3 and pixels.dtype.itemsize == 2:
            if encoding.bits > 8:
                notices.append(depth_reduced("So small a JPEG 2000", 8, encoding.bits))
            pixels = reduced(pixels, 8)
        encoded = _small(pixels)
    file.write(_with_metadata(encoded, metadata))
    return notices


def _encoded(pixels: Pixels, encoding: Encoding) -> memoryview:
    import cv2

    rate = 1000
    if encoding.quality is not None and encoding.quality < 100 and not encoding.lossless:
        # Quality becomes a ratio of compression: 95 gives 8:1, 90 gives 19:1, 75 gives 57:1.
        rate = max(1, round(1000 / (1 + (100 - encoding.quality) ** 1.25)))
    return opencv.imencode(".jp2", pixels, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, rate])


def _small(pixels: Pixels) -> bytes:
    """A lossless JPEG 2000 of a picture too small for OpenCV's encoder: gray, or colour of 8 bits."""
    import numpy as np
    from PIL import Image

    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]])
    target = io.BytesIO()
    resolutions = max(1, min(pixels.shape[:2]).bit_length())
    Image.fromarray(pixels).save(target, "JPEG2000", num_resolutions=resolutions, no_jp2=False)
    return target.getvalue()


@dataclass(frozen=True)
class _Facts:
    """``bits`` per sample of the codestream, the metadata in the boxes, and notices of all else."""

    width: int
    height: int
    components: int
    bits: int
    metadata: Metadata
    notices: tuple[Notice, ...]


def _read_facts(data: bytes) -> _Facts | None:
    """What boxes and codestream say; None when there is no codestream."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 45 > len(data):
        return None
    # SIZ: marker, length, capabilities, then the corners of the picture and of its tiles.
    width, height, left, top = struct.unpack_from(">IIII", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    return _Facts(
        width=width - left,
        height=height - top,
        components=components,
        bits=(depth & 0x7F) + 1,
        metadata=_metadata(data),
        notices=tuple(_losses(data, start)),
    )


def _losses(data: bytes, start: int) -> list[Notice]:
    """What is in the file, whose codestream begins at ``start``, beside the picture and what is read."""
    unknown, streams, is_read, geo = [], 0, set(), False
    if not data.startswith(_SIGNATURE):
        end = data.rfind(b"\xff\xd9") + 2
        return _comment_dropped(data) + behind_the_end(data[end:] if end > start else b"")
    for path, begin, end in boxes.walk(data):
        kind, identity = path[-1], data[begin : begin + 16]
        streams += kind == b"jp2c"
        if kind == b"uuid" and identity == _GEO_UUID:
            geo = True
        elif kind == b"uuid" and identity in (_XMP_UUID, _EXIF_UUID, _IPTC_UUID) and identity not in is_read:
            is_read.add(identity)
        elif kind == b"xml " and _XMP_UUID not in is_read and b"<x:xmpmeta" in data[begin:end]:
            is_read.add(_XMP_UUID)
        elif kind not in _UNDERSTOOD:
            unknown.append(kind)
    notices = [further_pages(streams)] if streams > 1 else []
    if geo:
        notices.append(Notice(code="geo-dropped", message="its place on the map (GeoJP2) no longer fits"))
    told = boxes.dropped(unknown) + _comment_dropped(data[start:])
    return [*notices, *told, *behind_the_end(data[boxes.end(data) :])]


def _comment_dropped(stream: bytes) -> list[Notice]:
    """The notice of a comment in the main header of a codestream (ISO/IEC 15444-1, section A.9.2)."""
    at = 2
    for _ in range(_MOST_MARKERS):
        if at + 6 > len(stream):
            break
        marker, length, kind = struct.unpack_from(">HHH", stream, at)
        if marker == _TILE or length < 2:
            break
        content = stream[at + 6 : at + 2 + length]
        if marker == _COMMENT and not (kind == _LATIN and content.startswith(_ENCODERS)):
            return [Notice(code="text-dropped", message="comments in its codestream are not kept")]
        at += 2 + length
    return []


#: Start of a tile, behind which no main header goes on; no header has so many markers.
_TILE, _MOST_MARKERS = 0xFF90, 10_000


def _metadata(data: bytes) -> Metadata:
    icc = exif = xmp = iptc = dpi = None
    if not data.startswith(_SIGNATURE):
        return Metadata()
    for path, begin, end in boxes.walk(data):
        content = data[begin:end] if path[-1] != b"jp2c" else b""
        if path[-1] == b"colr" and content[:1] in (b"\x02", b"\x03") and icc is None:
            icc = content[3:]
        elif path[-1] in (b"resc", b"resd") and len(content) == 10 and (dpi is None or path[-1] == b"resd"):
            dpi = _dpi(content)
        elif path[-1] == b"uuid" and content[:16] == _XMP_UUID:
            xmp = content[16:].rstrip(b"\0")
        elif path[-1] == b"uuid" and content[:16] == _EXIF_UUID:
            exif = content[16:].removeprefix(b"Exif\0\0")
        elif path[-1] == b"uuid" and content[:16] == _IPTC_UUID:
            iptc = content[16:]
        elif path[-1] == b"xml " and b"<x:xmpmeta" in content and xmp is None:
            xmp = content
    return Metadata(icc=icc, exif=exif or None, xmp=xmp or None, iptc=iptc or None, dpi=dpi)


def _dpi(content: bytes) -> tuple[float, float] | None:
    """Vertical and horizontal grid points a metre, each a fraction and an exponent of ten."""
    y_above, y_below, x_above, x_below, y_power, x_power = struct.unpack(">HHHHbb", content)
    if not (y_above and y_below and x_above and x_below):
        return None
    x, y = x_above / x_below * 10.0**x_power, y_above / y_below * 10.0**y_power
    return dpi_from_meters(x), dpi_from_meters(y)


def _with_metadata(encoded: bytes | memoryview, metadata: Metadata) -> bytes:
    """``encoded``, as OpenCV wrote it, with ``metadata`` in boxes: nothing in a JP2 depends on offsets."""
    header = b""
    top: list[bytes | memoryview] = []
    for kind, begin, end in boxes.boxes(encoded):
        if kind == b"jp2h":
            for inner, first, last in boxes.boxes(encoded, begin, end):
                content = bytes(encoded[first:last])
                if inner == b"colr" and metadata.icc is not None:
                    content = b"\x02\0\0" + metadata.icc  # method 2: a restricted ICC profile
                header += boxes.box(inner, content)
            if metadata.dpi is not None:
                header += boxes.box(b"res ", boxes.box(b"resc", _resolution(metadata.dpi)))
            top.append(boxes.box(b"jp2h", header))
            if metadata.exif is not None:
                top.append(boxes.box(b"uuid", _EXIF_UUID + metadata.exif))
            if metadata.xmp is not None:
                top.append(boxes.box(b"uuid", _XMP_UUID + metadata.xmp))
        else:
            top += [boxes.box_head(kind, end - begin), encoded[begin:end]]
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
