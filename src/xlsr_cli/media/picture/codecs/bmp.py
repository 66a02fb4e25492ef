"""BMP: Pillow reads it, except profiles and unusual masks, which are read here; OpenCV writes it.

Layouts: BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPV5HEADER of the Windows GDI.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import opencv, pillow
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, not_supported
from xlsr_cli.media.picture.losses import GAMMA, are_srgb, behind_the_end
from xlsr_cli.media.picture.metadata import Metadata, dpi_from_meters, meters_from_dpi
from xlsr_cli.media.picture.source import Decoded, Encoding, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.engine.pixels import Pixels

#: Where the information header begins, behind the file's, and its lengths: of OS/2 1, of Windows 3, 4 and 5.
_INFO, _OS2, _V3, _V4, _V5 = 14, 12, 40, 108, 124

#: biCompression: runs of bytes and of half bytes, masks, and other files in place of the pixels.
_RUNS, _RUNS_OF_HALVES, _BITFIELDS, _ALPHA_BITFIELDS = 1, 2, 3, 6
_WRAPPED = {4: "a BMP made of a JPEG file", 5: "a BMP made of a PNG file"}

#: bV4CSType: the header describes the colours, or there is a profile ('MBED', 'LINK', little-endian).
_CALIBRATED, _PROFILE_EMBEDDED, _PROFILE_LINKED = b"\0\0\0\0", b"DEBM", b"KNIL"

#: A profile that is not in the file, and must not be looked for elsewhere.
_LINKED_PROFILE = Notice(
    code="icc-dropped", message="its colour profile is another file, and its colours may look different"
)


class _Header(NamedTuple):
    """``info``: the information header, with zeros where it is short. ``length``: its own. ``begin``: of the
    pixels. ``height``: negative where the highest row is the first. ``stored``: bytes of compressed pixels,
    0 where they are not told. ``colors``: of the palette. ``masks``: where red, green, blue and alpha stand
    in a pixel; zeros where they are at their usual places."""

    info: bytes
    length: int
    begin: int
    width: int
    height: int
    bits: int
    compression: int
    stored: int
    colors: int
    masks: tuple[int, ...]


def _read(data: bytes) -> _Header:
    begin, length = struct.unpack_from("<II", data, 10)
    info = data[_INFO : _INFO + length].ljust(_V5, b"\0")
    width, height, _, bits, compression, stored = struct.unpack_from("<iiHHII", info, 4)
    if length == _OS2:
        width, height, _, bits = struct.unpack_from("<HHHH", info, 4)
    (colors,) = struct.unpack_from("<I", info, 32)
    masks = (0,) * 4
    if length >= _V3 and compression in (_BITFIELDS, _ALPHA_BITFIELDS) and bits in (16, 32):
        masks = struct.unpack_from("<4I", data.ljust(_INFO + _V5, b"\0"), _INFO + _V3)
        masks = tuple(mask & (1 << bits) - 1 for mask in masks)
        if length < _V3 + 16 and compression != _ALPHA_BITFIELDS:
            masks = (*masks[:3], 0)
    colors = colors or (1 << bits if bits <= 8 else 0)
    return _Header(info, length, begin, width, height, bits, compression, stored, colors, masks)


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` is what the header says."""
    header = _read(data)
    if header.length >= _V3 and header.compression in _WRAPPED:
        raise not_supported(name, _WRAPPED[header.compression])
    if header.length >= _V3 and header.bits == 2:
        raise not_supported(name, "a BMP of 2 bits")
    plain = Source(  # for masks that Pillow does not know
        data=data,
        name=name,
        format=format.name,
        stored_size=Size(width=header.width, height=abs(header.height)),
        channels=4 if header.masks[3] else 3,
    )
    is_masked = header.width > 0 and header.height != 0 and all(header.masks[:3])
    source = pillow.read_header(data, name, format, otherwise=plain if is_masked else None)
    dpi = source.metadata.dpi
    if dpi is not None:  # Pillow rounds it
        dpi = (dpi_from_meters(meters_from_dpi(dpi[0])), dpi_from_meters(meters_from_dpi(dpi[1])))
    profile = _embedded_profile(data, header)
    notices = [GAMMA] if profile is None and _has_unusual_colors(header) else []
    if header.length >= _V5 and header.info[56:60] == _PROFILE_LINKED:
        notices.append(_LINKED_PROFILE)
    return replace(
        source,
        metadata=replace(source.metadata, dpi=dpi, icc=profile),
        notices=(*notices, *behind_the_end(_beside(data, header, profile))),
        detail=header,
    )


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; OpenCV takes the colours of palettes and of old or
    compressed files for others."""
    header = source.detail
    assert isinstance(header, _Header)
    if not source.mode:
        pixels = _masked_pixels(source.data, header)
    elif header.length >= _V3 and header.height > 0 and header.compression in (_RUNS, _RUNS_OF_HALVES):
        pixels = _from_runs(source.data, header)
    else:
        return pillow.read_pixels(source, max_pixels)
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


#: What stands behind a run of no pixels.
_END_OF_ROW, _END_OF_PICTURE, _MOVE = 0, 1, 2


def _from_runs(data: bytes, header: _Header) -> Pixels | None:
    """BGR of a file that is compressed by runs, the lowest row first; None where it ends too early.

    Pixels that it leaves out have the first colour: Pillow 11 moves to a wrong place there, and Pillow 13
    refuses it where they are the last ones.
    """
    import numpy as np

    numbers = _run_lengths(data, header)
    if numbers is None:
        return None
    palette = np.zeros((256, 3), np.uint8)
    entries = np.frombuffer(data[_INFO + header.length : header.begin][:1024], np.uint8)
    entries = entries[: len(entries) // 4 * 4].reshape(-1, 4)
    palette[: len(entries)] = entries[:, :3]
    pixels: Pixels = palette[numbers[::-1]]
    return pixels


def _run_lengths(data: bytes, header: _Header) -> NDArray[Any] | None:
    """Palette numbers from the lowest row up; None where neither a mark nor the last pixel ends them."""
    import numpy as np

    width, height, at = header.width, header.height, header.begin
    halves = header.compression == _RUNS_OF_HALVES
    numbers = np.zeros((height, width), np.uint8)
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
        room = max(0, min(count, width - x, len(run)))
        if y < height:
            numbers[y, x : x + room] = run[:room]
        x += room
    return numbers if y * width + x >= width * height else None


def _embedded_profile(data: bytes, header: _Header) -> bytes | None:
    """The colour profile that stands behind the pixels of a BMP of version 5."""
    if header.length < _V5 or header.info[56:60] != _PROFILE_EMBEDDED:
        return None
    begin, length = struct.unpack_from("<II", header.info, 112)
    profile = data[_INFO + begin : _INFO + begin + length]
    return profile if 128 <= length == len(profile) else None


def _has_unusual_colors(header: _Header) -> bool:
    """Whether a header of version 4 or 5 describes colours that are not sRGB's."""
    if header.length < _V4 or header.info[56:60] != _CALIBRATED:
        return False
    points = struct.unpack_from("<9I", header.info, 60)  # x, y and z, in 2.30 fixed point
    found = [points[at] / (1 << 30) for at in (0, 1, 3, 4, 6, 7)]
    gammas = [value / 65536 for value in struct.unpack_from("<3I", header.info, 96)]
    if any(found) and not are_srgb(found):
        return True
    return any(gamma and not 2.1 <= gamma <= 2.3 for gamma in gammas)


def _beside(data: bytes, header: _Header, profile: bytes | None) -> bytes:
    """What stands between palette and pixels and behind all; nothing where only decoding tells."""
    masks = {_BITFIELDS: 12, _ALPHA_BITFIELDS: 16}.get(header.compression, 0) if header.length == _V3 else 0
    palette = header.colors * (3 if header.length == _OS2 else 4)
    first, stored = _INFO + header.length + masks + palette, header.stored
    if header.compression in (0, _BITFIELDS, _ALPHA_BITFIELDS):
        stored = (header.width * header.bits + 31) // 32 * 4 * abs(header.height)
    end = header.begin + stored if stored else len(data)
    if profile is not None:
        end = max(end, data.rfind(profile) + len(profile))
    return data[min(first, header.begin) : header.begin] + data[end:]


def _masked_pixels(data: bytes, header: _Header) -> Pixels | None:
    """BGR or BGRA, uint8; None when the file ends too early."""
    import numpy as np

    width, height = header.width, abs(header.height)
    stride = (width * header.bits // 8 + 3) // 4 * 4
    if len(data) < header.begin + stride * height:
        return None
    rows = np.frombuffer(data, np.uint8, stride * height, header.begin).reshape(height, stride)
    words = rows.view("<u2" if header.bits == 16 else "<u4")[:, :width]
    red, green, blue, alpha = header.masks
    masks = (blue, green, red, alpha) if alpha else (blue, green, red)
    pixels = np.empty((height, width, len(masks)), np.uint8)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        top = mask >> shift
        samples = ((words & mask) >> shift).astype(np.uint64)
        pixels[:, :, channel] = (samples * 255 + top // 2) // top
    return pixels if header.height < 0 else np.ascontiguousarray(pixels[::-1])
