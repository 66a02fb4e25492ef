"""Where the data of a picture ends in formats that have no mark for it; what follows is told as not kept."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

#: What fills a file up and says nothing.
_PADDING = b"\0 \t\r\n"


def unneeded(data: bytes, decodes: Callable[[bytes], bool]) -> bytes:
    """The bytes behind the last one that a decoder needs, found by decoding without them.

    ``decodes``: whether a decoder is content with the beginning of the file that it is given. It is asked
    once where nothing but padding follows the picture.
    """
    most = len(data.rstrip(_PADDING)) - 1
    if most < 1 or not decodes(data[:most]):
        return b""
    least = 0
    while least + 1 < most:
        middle = (least + most) // 2
        if decodes(data[:middle]):
            most = middle
        else:
            least = middle
    return data[most:]


def behind(data: bytes, format: str) -> bytes | None:
    """What stands behind the picture in a file of ``format``; None where only decoding tells."""
    find = _ENDS.get(format)
    if find is None:
        return None
    try:
        end = find(data)
    except (struct.error, IndexError):
        return b""  # whoever decodes it will say what is wrong
    return None if end is None else data[end:]


def _icons(data: bytes) -> int:
    """Behind the last picture of the directory of an ICO or CUR."""
    entries = int.from_bytes(data[4:6], "little")
    places = [struct.unpack_from("<II", data, 6 + 16 * number + 8) for number in range(entries)]
    return max((length + begin for length, begin in places), default=len(data))


def _icns(data: bytes) -> int:
    return int.from_bytes(data[4:8], "big")


def _qoi(data: bytes) -> int:
    """Behind seven zeros and a one, which no picture holds (QOI specification)."""
    at = data.find(bytes(7) + b"\1", 14)
    return len(data) if at < 0 else at + 8


def _sun(data: bytes) -> int | None:
    """By the lengths of pixels and palette; old files leave the former out."""
    length, _, _, palette = struct.unpack_from(">IIII", data, 16)
    return 32 + palette + length if length else None


def _psd(data: bytes) -> int:
    """Behind the flattened picture, whose rows may be compressed by PackBits."""
    channels, height, width, bits = struct.unpack_from(">HIIH", data, 12)
    at = 26
    for _ in range(3):  # palette, resources, layers
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    compression = int.from_bytes(data[at : at + 2], "big")
    at += 2
    rows = channels * height
    if compression == 0:
        return int(at + rows * ((width * bits + 7) // 8))
    if compression != 1 or at + 2 * rows > len(data):
        return len(data)
    return int(at + 2 * rows + sum(struct.unpack_from(f">{rows}H", data, at)))


#: A string or a comment of C, in which a brace means nothing, or the end of the list.
_C_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|/\*.*?\*/|\}\s*;?', re.DOTALL)


def _c_source(data: bytes) -> int:
    """Behind the closing brace of an XPM's or XBM's list."""
    return next((found.end() for found in _C_TOKEN.finditer(data) if found[0][:1] == b"}"), len(data))


#: Bytes of a block of 4x4 pixels, by the code of its compression; DX10's numbers of formats follow.
_DDS_BLOCKS = {b"DXT1": 8, b"BC4U": 8, b"BC4S": 8, b"ATI1": 8}
_DDS_BLOCKS |= dict.fromkeys([b"DXT2", b"DXT3", b"DXT4", b"DXT5", b"BC5U", b"BC5S", b"ATI2"], 16)
_DXGI_BLOCKS = dict.fromkeys([*range(70, 73), *range(79, 82)], 8)
_DXGI_BLOCKS |= dict.fromkeys([*range(73, 79), *range(82, 85), *range(94, 100)], 16)
#: DDSD_MIPMAPCOUNT, DDSCAPS2_CUBEMAP and the number of its sides.
_SMALLER, _CUBE, _SIDES = 0x20000, 0x200, 6


def _dds(data: bytes) -> int | None:
    """Behind the smaller versions and the further sides of a texture."""
    flags, height, width, _, _, levels = struct.unpack_from("<6I", data, 8)
    code = data[84:88]
    (bits,) = struct.unpack_from("<I", data, 88)
    begin, block = 128, _DDS_BLOCKS.get(code)
    if code == b"DX10":
        begin, block = 148, _DXGI_BLOCKS.get(struct.unpack_from("<I", data, 128)[0])
    if block is None and (code.strip(b"\0") or bits == 0):
        return None
    size = 0
    for level in range(min(levels, 32) if flags & _SMALLER and levels else 1):
        across, down = max(1, width >> level), max(1, height >> level)
        size += -(-across // 4) * -(-down // 4) * block if block else (across * bits + 7) // 8 * down
    return begin + size * dds_sides(data)


def dds_sides(data: bytes) -> int:
    """How many pictures a texture has: the sides of a cube, or layers."""
    cube = _SIDES if struct.unpack_from("<I", data, 112)[0] & _CUBE else 1
    layers = max(1, struct.unpack_from("<I", data, 140)[0]) if data[84:88] == b"DX10" else 1
    return cube * layers


_ENDS: dict[str, Callable[[bytes], int | None]] = {
    "ico": _icons, "cur": _icons, "icns": _icns, "qoi": _qoi, "sun": _sun, "psd": _psd, "xpm": _c_source,
    "xbm": _c_source, "dds": _dds,
}  # fmt: skip


def comments_of_c(data: bytes) -> list[bytes]:
    """The comments of an XPM or XBM, without those that every writer puts there."""
    end = _c_source(data)
    tokens = (found[0] for found in _C_TOKEN.finditer(data, 0, end))
    return [token for token in tokens if token[:2] == b"/*" and not _USUAL_COMMENT.match(token)]


_USUAL_COMMENT = re.compile(rb"/\*\s*(XPM|columns|columns rows.*|width height.*|colors|pixels|values)\s*\*/")


# TGA


@dataclass(frozen=True, kw_only=True)
class TgaAreas:
    """What a TGA holds beside pixels (Truevision TGA 2.0, part C). ``text``: about the picture. ``alpha``:
    what its alpha means, 0 where it does not say. ``developed``: there are developers' areas. ``begin``: no
    byte from there on belongs to the pixels. ``behind``: what stands behind all."""

    text: bytes
    alpha: int = 0
    developed: bool = False
    begin: int
    behind: bytes = b""


_TGA_FOOTER, _TGA_FOOTER_BYTES, _TGA_EXTENSION_BYTES = b"TRUEVISION-XFILE.\0", 26, 495


def tga_areas(data: bytes) -> TgaAreas:
    """The areas of a TGA, as far as a footer says where they are."""
    text, footer = data[18 : 18 + data[0]], data.rfind(_TGA_FOOTER) - 8
    if footer < 18:
        return TgaAreas(text=text.strip(b"\0 "), begin=len(data))
    extension, developer = struct.unpack_from("<II", data, footer)
    begin, alpha = footer, 0
    if extension >= 18 and extension + _TGA_EXTENSION_BYTES <= footer:
        area = data[extension : extension + _TGA_EXTENSION_BYTES]
        text += area[2:367] + area[379:420]  # author and comments, job
        alpha = area[494]
        places = struct.unpack_from("<III", area, 482)
        begin = min(begin, extension, *(place for place in places if place))
    if developer:
        begin = min(begin, developer)
    return TgaAreas(
        text=text.strip(b"\0 "),
        alpha=alpha,
        developed=developer != 0,
        begin=begin,
        behind=data[footer + _TGA_FOOTER_BYTES :],
    )
