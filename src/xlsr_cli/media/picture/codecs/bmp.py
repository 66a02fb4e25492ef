"""BMP: Pillow reads it, except profiles and unusual masks, which are read here; OpenCV writes it.

Layouts: BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPV5HEADER of the Windows GDI.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import opencv, pillow
from xlsr_cli.media.picture.damage import TRUNCATED, damaged
from xlsr_cli.media.picture.metadata import (
    GAMMA,
    Metadata,
    behind_the_end,
    dpi_from_meters,
    meters_from_dpi,
)
from xlsr_cli.media.picture.source import Decoded, Encoding, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

#: Where the information header begins, behind the file's.
_INFO = 14

#: biCompression.
_BITFIELDS, _JPEG, _PNG, _ALPHA_BITFIELDS = 3, 4, 5, 6

#: Compressions for printers, by the format that they contain.
_WRAPPED = {_JPEG: "JPEG", _PNG: "PNG"}

_OS2, _V5 = 12, 124
_PROFILE_EMBEDDED, _PROFILE_LINKED = b"DEBM", b"KNIL"  # 'MBED', 'LINK' as little-endian numbers

#: A profile that is not in the file, and must not be looked for elsewhere.
LINKED_PROFILE = Notice(
    code="icc-dropped", message="its colour profile is another file, and its colours may look different"
)

#: bV4CSType of colours that the header itself describes: end points of sRGB in 2.30 fixed point, and gamma.
_V4, _CALIBRATED = 108, 0
_SRGB_ENDPOINTS, _NEAR = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 0.01


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` are the masks of a file whose pixels
    Pillow does not decode."""
    return pillow.read_header(
        data,
        name,
        format,
        describe=_described,
        otherwise=partial(_by_masks, data, name, format),
        unsupported=partial(_wrapped_format, data),
    )


def _described(source: Source, image: Image.Image) -> Source:
    """Add the exact resolution and the profile: Pillow rounds the one and drops the other."""
    dpi = source.metadata.dpi
    if dpi is not None:
        dpi = (dpi_from_meters(meters_from_dpi(dpi[0])), dpi_from_meters(meters_from_dpi(dpi[1])))
    profile = _embedded_profile(source.data)
    notices = [GAMMA] if profile is None and _has_unusual_colors(source.data) else []
    if source.data[70:74] == _PROFILE_LINKED and _unpack("<I", source.data, _INFO) >= _V5:
        notices.append(LINKED_PROFILE)
    return replace(
        source,
        metadata=replace(source.metadata, dpi=dpi, icc=profile),
        notices=(*notices, *behind_the_end(_beside(source.data))),
    )


def _by_masks(data: bytes, name: str, format: Format) -> Source | None:
    masks = _read_masks(data)
    if masks is None:
        return None
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=masks.size,
        channels=masks.channels,
        notices=tuple(behind_the_end(_beside(data))),
        detail=masks,
    )


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; OpenCV takes the colours of palettes and of old or
    compressed files for others."""
    if not isinstance(source.detail, _Masks):
        if not _is_in_runs(source.data):
            return pillow.read_pixels(source, max_pixels)
        return Decoded(pixels=_from_runs(source))
    pixels = _masked_pixels(source.data, source.detail)
    if pixels is None:
        raise damaged(source.name, TRUNCATED)
    return Decoded(pixels=pixels)


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    encoded = opencv.imencode(".bmp", pixels, [])
    if metadata.dpi is not None:
        # biXPelsPerMeter and biYPelsPerMeter of the information header, at the same place in all versions.
        per_meter = (round(meters_from_dpi(value)) for value in metadata.dpi)
        struct.pack_into("<ii", encoded, 38, *per_meter)
    file.write(encoded)
    return []


@dataclass(frozen=True)
class _Masks:
    """A BMP of 16 or 32 bits a pixel whose samples stand where ``masks`` say: red, green, blue, alpha."""

    size: Size
    top_down: bool
    bits: int
    begin: int
    masks: tuple[int, int, int, int]

    @property
    def channels(self) -> int:
        """3 or, with alpha, 4."""
        return 4 if self.masks[3] else 3


#: biCompression of runs of bytes and of half bytes.
_RUNS, _RUNS_OF_HALVES = 1, 2
#: What stands behind a run of no pixels.
_END_OF_ROW, _END_OF_PICTURE, _MOVE = 0, 1, 2


def _is_in_runs(data: bytes) -> bool:
    """Whether pixels are compressed by runs, the lowest row first."""
    if len(data) < _INFO + 40 or _unpack("<I", data, _INFO) < 40 or _unpack("<i", data, 22) < 0:
        return False
    return _unpack("<I", data, 30) in (_RUNS, _RUNS_OF_HALVES)


def _from_runs(source: Source) -> Pixels:
    """BGR of a file that is compressed by runs; pixels that it leaves out have the first colour.

    Pillow 11 moves to a wrong place where pixels are left out, and Pillow 13 refuses it where the last ones
    are. Raises :class:`InputError` where the end of the picture is missing.
    """
    import numpy as np

    data = source.data
    begin, head = _unpack("<I", data, 10), _unpack("<I", data, _INFO)
    numbers = _run_lengths(data, begin, source.stored_size, halves=_unpack("<I", data, 30) == _RUNS_OF_HALVES)
    if numbers is None:
        raise damaged(source.name, TRUNCATED)
    palette = np.zeros((256, 3), np.uint8)
    entries = np.frombuffer(data[_INFO + head : begin][:1024], np.uint8)
    entries = entries[: len(entries) // 4 * 4].reshape(-1, 4)
    palette[: len(entries)] = entries[:, :3]
    pixels: Pixels = palette[numbers[::-1]]
    return pixels


def _run_lengths(data: bytes, at: int, size: Size, *, halves: bool) -> NDArray[Any] | None:
    """Palette numbers from the lowest row up; None where neither a mark nor the last pixel ends them."""
    import numpy as np

    numbers = np.zeros((size.height, size.width), np.uint8)
    x = y = 0
    while at + 1 < len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count == 0 and value == _END_OF_PICTURE:
            return numbers
        if count == 0 and value == _END_OF_ROW:
            x, y = 0, y + 1
            continue
        if count == 0 and value == _MOVE:
            across, up = (*data[at : at + 2], 0, 0)[:2]
            x, y, at = x + across, y + up, at + 2
            continue
        if count == 0:  # so many pixels follow, each for itself
            count, length = value, (value + 1) // 2 if halves else value
            run = np.frombuffer(data[at : at + length], np.uint8)
            at += length + length % 2
        else:
            run = np.full(count, value, np.uint8)
        if halves:
            run = np.column_stack([run >> 4, run & 15]).reshape(-1)
        room = max(0, min(count, size.width - x, len(run)))
        if y < size.height:
            numbers[y, x : x + room] = run[:room]
        x += room
    return numbers if y * size.width + x >= size.pixels else None


def _embedded_profile(data: bytes) -> bytes | None:
    """The colour profile that stands behind the pixels of a BMP of version 5."""
    if len(data) < _INFO + _V5 or _unpack("<I", data, _INFO) < _V5 or data[70:74] != _PROFILE_EMBEDDED:
        return None
    begin, length = struct.unpack_from("<II", data, _INFO + 112)
    profile = data[_INFO + begin : _INFO + begin + length]
    return profile if 128 <= length == len(profile) else None


def _has_unusual_colors(data: bytes) -> bool:
    """Whether a header of version 4 or 5 describes colours that are not sRGB's."""
    if len(data) < _INFO + _V4 or _unpack("<I", data, _INFO) < _V4:
        return False
    if _unpack("<I", data, _INFO + 56) != _CALIBRATED:
        return False
    points = struct.unpack_from("<9I", data, _INFO + 60)
    found = [points[at] / (1 << 30) for at in (0, 1, 3, 4, 6, 7)]
    gammas = [value / 65536 for value in struct.unpack_from("<3I", data, _INFO + 96)]
    pairs = zip(found, _SRGB_ENDPOINTS, strict=True)
    usual = not any(found) or all(abs(value - expected) <= _NEAR for value, expected in pairs)
    return not usual or any(gamma and not 2.1 <= gamma <= 2.3 for gamma in gammas)


def _beside(data: bytes) -> bytes:
    """What stands between palette and pixels and behind all; nothing where only decoding tells."""
    begin, head = _unpack("<I", data, 10), _unpack("<I", data, _INFO)
    if head == _OS2:
        width, height, _, bits = struct.unpack_from("<HHHH", data, _INFO + 4)
        compression = size = colors = 0
    else:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, _INFO + 4)
        colors = _unpack("<I", data, _INFO + 32) if head >= 36 else 0
        if head < 24:  # the short header of OS/2 2 ends behind the bits
            compression = size = 0
    colors = colors or (1 << bits if bits <= 8 else 0)
    masks = {_BITFIELDS: 12, _ALPHA_BITFIELDS: 16}.get(compression, 0) if head == 40 else 0
    first = _INFO + head + masks + colors * (3 if head == _OS2 else 4)
    if compression in (0, _BITFIELDS, _ALPHA_BITFIELDS):
        size = (width * bits + 31) // 32 * 4 * abs(height)
    end = begin + size if size else len(data)
    profile = _embedded_profile(data)
    if profile is not None:
        end = max(end, data.rfind(profile) + len(profile))
    return data[min(first, begin) : begin] + data[end:]


def _wrapped_format(data: bytes) -> str | None:
    """What a file is in which one of another kind takes the place of the pixels."""
    if len(data) < 34 or _unpack("<I", data, _INFO) < 40:
        return None
    wrapped = _WRAPPED.get(_unpack("<I", data, 30))
    if wrapped is not None:
        return f"a BMP made of a {wrapped} file"
    return "a BMP of 2 bits" if _unpack("<H", data, _INFO + 14) == 2 else None


def _read_masks(data: bytes) -> _Masks | None:
    """The header of a BMP with masks; None for every other BMP."""
    if len(data) < _INFO + 40 + 16:
        return None
    begin, head = _unpack("<I", data, 10), _unpack("<I", data, _INFO)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if head < 40 or compression not in (_BITFIELDS, _ALPHA_BITFIELDS) or bits not in (16, 32):
        return None
    if width < 1 or height == 0:
        return None
    masks = struct.unpack_from("<IIII", data, _INFO + 40)
    red, green, blue, alpha = (mask & (1 << bits) - 1 for mask in masks)
    if head < 56 and compression != _ALPHA_BITFIELDS:
        alpha = 0
    if not (red and green and blue):
        return None
    return _Masks(Size(width=width, height=abs(height)), height < 0, bits, begin, (red, green, blue, alpha))


def _masked_pixels(data: bytes, header: _Masks) -> Pixels | None:
    """BGR or BGRA, uint8; None when the file ends too early."""
    import numpy as np

    width, height = header.size.width, header.size.height
    stride = (width * header.bits // 8 + 3) // 4 * 4
    if len(data) < header.begin + stride * height:
        return None
    rows = np.frombuffer(data, np.uint8, stride * height, header.begin).reshape(height, stride)
    words = rows.view("<u2" if header.bits == 16 else "<u4")[:, :width]
    red, green, blue, alpha = header.masks
    pixels = np.empty((height, width, header.channels), np.uint8)
    for channel, mask in enumerate((blue, green, red, alpha)[: header.channels]):
        shift = (mask & -mask).bit_length() - 1
        top = mask >> shift
        samples = ((words & mask) >> shift).astype(np.uint64)
        pixels[:, :, channel] = (samples * 255 + top // 2) // top
    return pixels if header.top_down else np.ascontiguousarray(pixels[::-1])


def _unpack(code: str, data: bytes, at: int) -> int:
    return int(struct.unpack_from(code, data, at)[0])
