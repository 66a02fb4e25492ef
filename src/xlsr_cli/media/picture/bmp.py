"""BMP: what its header says beside Pillow's word, and the samples of masks that Pillow does not know.

Layouts: BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPV5HEADER of the Windows GDI.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlsr_cli.options import Size

if TYPE_CHECKING:
    from xlsr_cli.media.picture.samples import Pixels

#: Where the information header begins, behind the file's.
_INFO = 14

#: biCompression.
_BITFIELDS, _JPEG, _PNG, _ALPHA_BITFIELDS = 3, 4, 5, 6

#: Compressions that only printers know, by what they hold.
_WRAPPED = {_JPEG: "JPEG", _PNG: "PNG"}

_V5 = 124
_PROFILE_EMBEDDED = b"DEBM"  # 'MBED' as a little-endian number


@dataclass(frozen=True)
class BmpMasks:
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


def embedded_profile(data: bytes) -> bytes | None:
    """The colour profile that stands behind the pixels of a BMP of version 5."""
    if len(data) < _INFO + _V5 or _unpack("<I", data, _INFO) < _V5 or data[70:74] != _PROFILE_EMBEDDED:
        return None
    begin, length = struct.unpack_from("<II", data, _INFO + 112)
    profile = data[_INFO + begin : _INFO + begin + length]
    return profile if 128 <= length == len(profile) else None


def wrapped_format(data: bytes) -> str | None:
    """``JPEG`` or ``PNG`` where a file of that kind takes the place of the pixels."""
    if len(data) < 34 or _unpack("<I", data, _INFO) < 40:
        return None
    return _WRAPPED.get(_unpack("<I", data, 30))


def read_masks(data: bytes) -> BmpMasks | None:
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
    return BmpMasks(Size(width=width, height=abs(height)), height < 0, bits, begin, (red, green, blue, alpha))


def masked_pixels(data: bytes, header: BmpMasks) -> Pixels | None:
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
