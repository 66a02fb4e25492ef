"""JPEG 2000: Pillow reads the header, OpenCV the pixels; metadata are in boxes that neither writes.

Layouts: ISO/IEC 15444-1, annexes A (codestream) and I (boxes).
"""

from __future__ import annotations

import io
import struct
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import boxes, opencv, pillow
from xlsr_cli.media.picture.fitting import depth_reduced
from xlsr_cli.media.picture.losses import behind_the_end, further_pages, unknown
from xlsr_cli.media.picture.metadata import Metadata, dpi_from_meters, meters_from_dpi
from xlsr_cli.media.picture.pixels import reduced
from xlsr_cli.media.picture.source import Encoding, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels

_XMP_UUID = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
#: ``JpgTiffExif->JP2``, as exiv2 and ExifTool write and read it.
_EXIF_UUID = b"JpgTiffExif->JP2"
#: IPTC-IIM, as ExifTool and Adobe's programs name it, and a place on the map (GeoJP2).
_IPTC_UUID = uuid.UUID("33c7a4d2-b81d-4723-a0ba-f1a3e097ad38").bytes
_GEO_UUID = uuid.UUID("b14bf8bd-083d-4b43-a5ae-8cd7d5a6ce03").bytes
_FIELDS = {_XMP_UUID: "xmp", _EXIF_UUID: "exif", _IPTC_UUID: "iptc"}

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
    boxes.check_count(data, name)
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 45 > len(data):  # there is no codestream
        return pillow.read_header(data, name, format)
    # SIZ: marker, length, capabilities, then the corners of the picture and of its tiles.
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    components, depth = struct.unpack_from(">HB", data, start + 40)
    bits = (depth & 0x7F) + 1
    plain = Source(  # for files that only OpenCV opens, and those too large for it
        data=data,
        name=name,
        format=format.name,
        stored_size=Size(width=right - left, height=bottom - top),
        channels=min(4, components),
    )
    if data.startswith(_SIGNATURE):
        (metadata, notices), end = _read_boxes(data), boxes.end(data)
    else:
        metadata, notices, end = Metadata(), [], data.rfind(b"\xff\xd9") + 2
    return replace(
        pillow.read_header(data, name, format, otherwise=plain),
        bits=bits,
        maximum=(1 << bits) - 1,
        metadata=metadata,
        notices=(*notices, *_comment_dropped(data[start:]), *behind_the_end(data[end:])),
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


def _read_boxes(data: bytes) -> tuple[Metadata, list[Notice]]:
    """The metadata, of several of a kind the first, and notices of what is neither that nor the picture."""
    found: dict[str, bytes] = {}
    streams, others, geo, dpi = 0, set(), False, None
    for path, begin, end in boxes.walk(data):
        kind = path[-1]
        if kind == b"jp2c":
            streams += 1
            continue
        content = data[begin:end]
        is_xmp = kind == b"xml " and b"<x:xmpmeta" in content
        field = "xmp" if is_xmp else _FIELDS.get(content[:16] if kind == b"uuid" else b"")
        if kind == b"colr" and content[:1] in (b"\x02", b"\x03"):
            found.setdefault("icc", content[3:])
        elif kind in (b"resc", b"resd") and len(content) == 10 and (dpi is None or kind == b"resd"):
            dpi = _dpi(content)
        elif field is not None and field not in found:
            found[field] = content if is_xmp else content[16:]
        elif kind == b"uuid" and content[:16] == _GEO_UUID:
            geo = True
        elif kind not in _UNDERSTOOD:
            others.add(kind)
    notices = further_pages(streams)
    if geo:
        notices.append(Notice(code="geo-dropped", message="its place on the map (GeoJP2) no longer fits"))
    exif, xmp = found.get("exif", b"").removeprefix(b"Exif\0\0"), found.get("xmp", b"").rstrip(b"\0")
    metadata = Metadata(
        icc=found.get("icc"), exif=exif or None, xmp=xmp or None, iptc=found.get("iptc") or None, dpi=dpi
    )
    return metadata, notices + unknown("boxes", sorted(others))


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
