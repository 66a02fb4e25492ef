"""AVIF: Pillow reads the header, OpenCV the pixels; what neither tells stands in the boxes.

PyAV tells neither gain maps nor the cropping of a still picture; it is asked for the size of frames alone.

Layouts: ISO/IEC 14496-12 (boxes), 23000-22 and AV1-ISOBMFF (AVIF).
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import boxes, opencv, pillow
from xlsr_cli.media.picture.codecs.boxes.items import read_items
from xlsr_cli.media.picture.damage import damaged
from xlsr_cli.media.picture.losses import ASPECT, MASTERING
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Decoded, Encoding, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels

_CROP = Notice(code="crop-dropped", message="it asks to be shown cropped, and all of it is taken")


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`.

    Frames may be larger than the picture that the boxes announce: libavif shrinks them once they are decoded.
    """
    if any(size.pixels > max_pixels for size in _frame_sizes(source.data)):
        raise damaged(
            source.name, f"its frames are larger than its {source.stored_size} and --max-pixels allow"
        )
    decoded = opencv.read_pixels(source, max_pixels)
    if source.detail != _LIMITED_GRAY or decoded.pixels.ndim == 3:
        return decoded
    return decoded._replace(pixels=_from_limited(decoded.pixels, source.bits))


#: ``detail`` of gray that does not reach from the least to the largest number: OpenCV leaves it as it is.
#: libavif's own conversion, which colour goes through, widens it.
_LIMITED_GRAY = "limited gray"


def _from_limited(pixels: Pixels, bits: int) -> Pixels:
    """Gray of 16 to 235 (times 4 for 10 ``bits``, 16 for 12) as the full range (ITU-T H.273, section 8.3)."""
    import numpy as np

    top, most = np.iinfo(pixels.dtype).max, (1 << bits) - 1
    black, span = (16 << (bits - 8)) / most, (219 << (bits - 8)) / most
    steps = (np.arange(int(top) + 1) / top - black) / span
    table = np.rint(np.clip(steps, 0, 1) * top).astype(pixels.dtype)
    result: Pixels = np.take(table, pixels)
    return result


def _frame_sizes(data: bytes) -> list[Size]:
    """The sizes that the frames of all items claim, without decoding them; none where they are damaged."""
    import av

    from xlsr_cli.media.video.pyav import open_input

    try:
        with open_input(io.BytesIO(data), format="mov") as container:
            return [Size(width=stream.width, height=stream.height) for stream in container.streams.video]
    except (av.FFmpegError, OSError, ValueError):
        return []


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    boxes.check_count(data, name)
    items = read_items(data)
    properties = items.properties
    width, height = struct.unpack(">II", _first(properties, b"ispe", 12)[4:12])
    flags = _first(properties, b"av1C", 4)[2]
    bits, monochrome = 12 if flags & 0x20 else 10 if flags & 0x40 else 8, bool(flags & 0x10)
    plain = Source(  # for files that only OpenCV opens, and those too large for it
        data=data,
        name=name,
        format=format.name,
        stored_size=Size(width=width, height=height),
        channels=1 if monochrome else 3,
    )
    source = pillow.read_header(data, name, format, otherwise=plain if width else None)
    channels = source.channels
    if monochrome:
        channels = 1 if channels in (1, 3) else 2
    cicp = _cicp(properties)
    return replace(
        source,
        channels=channels,
        bits=bits,
        maximum=(1 << bits) - 1,
        animated=source.pages > 1,
        lossless=cicp is not None and cicp[2] == 0,  # coded as RGB and not as luma and chroma
        detail=_LIMITED_GRAY if monochrome and cicp and not cicp[3] else None,
        metadata=replace(source.metadata, cicp=cicp, motion=items.film),
        notices=(*items.losses(), *_losses(properties)),
    )


Properties = list[tuple[bytes, bytes]]


def _first(properties: Properties, kind: bytes, length: int, begin: bytes = b"") -> bytes:
    """The first property of ``kind`` that is not shorter and begins so; zeros where there is none."""
    fitting = (one for name, one in properties if name == kind and len(one) >= length)
    return next((one for one in fitting if one.startswith(begin)), bytes(length))


def _cicp(properties: Properties) -> tuple[int, int, int, int] | None:
    kind, primaries, transfer, matrix, full_range = struct.unpack_from(
        ">4sHHHB", _first(properties, b"colr", 11, b"nclx")
    )
    return (primaries, transfer, matrix, full_range >> 7) if kind == b"nclx" else None


def _losses(properties: Properties) -> list[Notice]:
    kinds, aspect = {kind for kind, _ in properties}, _first(properties, b"pasp", 8)
    lost = (
        (MASTERING, bool(kinds & {b"clli", b"mdcv", b"cclv"})),
        (ASPECT, aspect[:4] != aspect[4:8]),
        (_CROP, b"clap" in kinds),
    )
    return [notice for notice, holds in lost if holds]


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    import cv2

    # At quality 100 OpenCV leaves the pixels as RGB, and they come back bit for bit.
    quality = 100 if encoding.lossless else encoding.quality or opencv.DEFAULT_QUALITY
    parameters = [cv2.IMWRITE_AVIF_QUALITY, quality]
    parameters += [cv2.IMWRITE_AVIF_DEPTH, 8 if pixels.dtype.itemsize == 1 else 12]
    encoded = opencv.imencode(".avif", pixels, parameters, metadata)
    file.write(encoded if metadata.cicp is None else _with_cicp(bytes(encoded), *metadata.cicp[:2]))
    return []


def _with_cicp(encoded: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF file whose colours are said to be of other ``primaries`` and ``transfer``; same length."""
    changed = bytearray(encoded)
    for path, begin, end in boxes.walk(encoded):
        if path[-1] == b"colr" and encoded[begin : begin + 4] == b"nclx" and end - begin >= 11:
            struct.pack_into(">HH", changed, begin + 4, primaries, transfer)
    return bytes(changed)
