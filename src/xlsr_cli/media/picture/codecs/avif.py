"""AVIF: Pillow reads the header, OpenCV the pixels; what neither tells stands in the boxes.

PyAV tells neither gain maps nor the cropping of a still picture; it is asked for the size of frames alone.

Layouts: ISO/IEC 14496-12 (boxes), 23000-22 and AV1-ISOBMFF (AVIF).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import boxes, opencv
from xlsr_cli.media.picture.codecs.boxes import items
from xlsr_cli.media.picture.damage import damaged
from xlsr_cli.media.picture.metadata import ASPECT, MASTERING, Metadata
from xlsr_cli.media.picture.source import Decoded, Encoding, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

_CROP = Notice(code="crop-dropped", message="it asks to be shown cropped, and all of it is taken")

#: EXIF's orientation.
_ORIENTATION = 0x0112


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
    return boxes.read_header(data, name, format, describe=_described, by_boxes=_by_boxes)


def _described(source: Source, image: Image.Image) -> Source:
    # Only irot and imir count in an AVIF; Pillow tells them as EXIF's orientation.
    orientation = int(image.getexif().get(_ORIENTATION, 1))
    source = replace(source, orientation=orientation if 1 <= orientation <= 8 else 1)
    return _with_facts(replace(source, animated=source.pages > 1), _read_facts(source.data))


def _by_boxes(data: bytes, name: str, format: Format) -> Source | None:
    """A source from the boxes alone, for files that only OpenCV opens, and for those too large for it."""
    facts = _read_facts(data)
    if not facts.width:
        return None
    size = Size(width=facts.width, height=facts.height)
    channels = 1 if facts.monochrome else 3
    found = Source(data=data, name=name, format=format.name, stored_size=size, channels=channels)
    return _with_facts(found, facts)


def _with_facts(source: Source, facts: _Facts) -> Source:
    channels = source.channels
    if facts.monochrome:
        channels = 1 if channels in (1, 3) else 2
    lost = (
        (MASTERING, facts.mastering),
        (ASPECT, facts.aspect),
        (_CROP, facts.crop),
    )
    return replace(
        source,
        channels=channels,
        bits=facts.bits,
        maximum=(1 << facts.bits) - 1,
        lossless=facts.lossless,
        detail=_LIMITED_GRAY if facts.monochrome and facts.cicp and not facts.cicp[3] else None,
        metadata=replace(source.metadata, cicp=facts.cicp, motion=items.film(source.data)),
        notices=(*items.losses(source.data), *(notice for notice, holds in lost if holds)),
    )


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


@dataclass(frozen=True)
class _Facts:
    """``width``, ``height`` in pixels, before turning. ``bits``: 8, 10 or 12. ``monochrome``: no colour.

    ``lossless``: coded as RGB and not as luma and chroma. ``mastering``: it tells how bright HDR was
    mastered. ``aspect``: its pixels are said not to be square. ``crop``: it asks to be cropped.
    """

    width: int
    height: int
    bits: int
    monochrome: bool
    lossless: bool
    mastering: bool
    aspect: bool
    crop: bool
    cicp: tuple[int, int, int, int] | None


def _read_facts(data: bytes) -> _Facts:
    """What the properties of the picture say."""
    av1c = cicp = size = None
    mastering = aspect = crop = False
    for kind, content in items.properties(data):
        if kind == b"ispe" and size is None and len(content) >= 12:
            size = struct.unpack(">II", content[4:12])
        elif kind in (b"clli", b"mdcv", b"cclv"):
            mastering = True
        elif kind == b"clap":
            crop = True
        elif kind == b"pasp":
            aspect = content[:4] != content[4:8]
        elif kind == b"av1C" and av1c is None and len(content) >= 4:
            av1c = content[2]
        elif kind == b"colr" and content[:4] == b"nclx" and cicp is None and len(content) >= 11:
            primaries, transfer, matrix = struct.unpack(">HHH", content[4:10])
            cicp = (primaries, transfer, matrix, content[10] >> 7)
    flags = av1c or 0
    return _Facts(
        width=size[0] if size else 0,
        height=size[1] if size else 0,
        bits=12 if flags & 0x20 else 10 if flags & 0x40 else 8,
        monochrome=bool(flags & 0x10),
        lossless=cicp is not None and cicp[2] == 0,
        mastering=mastering,
        aspect=aspect,
        crop=crop,
        cicp=cicp,
    )


def _with_cicp(encoded: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF file whose colours are said to be of other ``primaries`` and ``transfer``; same length."""
    changed = bytearray(encoded)
    for path, begin, end in boxes.walk(encoded):
        if path[-1] == b"colr" and encoded[begin : begin + 4] == b"nclx" and end - begin >= 11:
            struct.pack_into(">HH", changed, begin + 4, primaries, transfer)
    return bytes(changed)
