"""Small pictures with something in them, made by libraries other than the one under test where possible."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps import decoding
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.notices import Notice

XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    b' tiff:Orientation="%d" tiff:ImageWidth="48" tiff:ImageLength="32">'
    b"<exif:PixelXDimension>48</exif:PixelXDimension><exif:PixelYDimension>32</exif:PixelYDimension>"
    b"<dc:creator><rdf:Seq><rdf:li>Ji\xc5\x99\xc3\xad</rdf:li></rdf:Seq></dc:creator>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    b'<?xpacket end="w"?>'
)


def decode(data: bytes, name: str, *, max_pixels: int) -> tuple[Picture, list[Notice]]:
    """Open and decode the file in ``data``."""
    return decoding.decode(open_picture(data, name), max_pixels=max_pixels)


def icc() -> bytes:
    """A profile of a few kilobytes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    """Smooth, with no symmetry at all, and with the whole range in it."""
    height, width = shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        (x + 2 * y) / (width + 2 * height - 3 + 1e-9),
        (3 * x * x + y) / (3 * width * width + height),
        ((x - width / 3) ** 2 + (y - height / 4) ** 2) / (width**2 + height**2),
        (2 * x + 3 * y + 1) / (2 * width + 3 * height),
    ]
    stack = np.stack(planes[: shape[2] if len(shape) == 3 else 1], axis=-1)
    top = np.iinfo(dtype).max
    result = np.clip(np.rint(stack * top), 0, top).astype(dtype)
    return result if len(shape) == 3 else result[:, :, 0]


def image(*shape: int) -> Image.Image:
    """The same as Pillow has it; OpenCV would call the first channel blue."""
    return Image.fromarray(pixels(*shape))


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    """``picture`` as a file."""
    target = io.BytesIO()
    picture.copy().save(target, format, **options)
    return target.getvalue()


def text_chunks(**texts: str) -> PngImagePlugin.PngInfo:
    """PNG's text chunks."""
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    return info


def xmp_chunk(packet: bytes) -> PngImagePlugin.PngInfo:
    """PNG's XMP."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    return info


def exif(
    *,
    orientation: int | None = 1,
    order: str = "<",
    thumbnail: bytes | None = b"\xff\xd8THUMB\xff\xd9",
    dpi: int | None = 300,
) -> bytes:
    """A camera's block: make, orientation, resolution, size in pixels, maker's note, place, thumbnail.

    The maker's note holds its own offset, as real ones do: it is only right where it stands.
    """
    i, h = order + "I", order + "H"

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        packed = struct.pack(h, value) + b"\0\0" if kind == 3 else struct.pack(i, value)
        return struct.pack(order + "HHI", tag, kind, count) + packed

    first: list[tuple[int, int, int, int | None]] = [(0x010F, 2, 5, None)]
    if dpi is not None:
        first += [(0x011A, 5, 1, None), (0x011B, 5, 1, None), (0x0128, 3, 1, 2)]
    if orientation is not None:
        first.append((0x0112, 3, 1, orientation))
    first += [(0x8769, 4, 1, None), (0x8825, 4, 1, None)]
    first.sort()
    at = 8 + 2 + 12 * len(first) + 4
    places: dict[int, int] = {0x010F: at, 0x011A: at + 8, 0x011B: at + 16}
    values = b"xlsr\0\0\0\0" + struct.pack(order + "IIII", dpi or 1, 1, dpi or 1, 1)
    places[0x8769] = at + len(values)
    note_at = places[0x8769] + 2 + 12 * 3 + 4
    note = b"NOTE" + struct.pack(i, note_at)
    inner = struct.pack(h, 3) + entry(0x927C, 7, len(note), note_at)
    inner += entry(0xA002, 3, 1, 48) + entry(0xA003, 4, 1, 32) + struct.pack(i, 0) + note
    places[0x8825] = places[0x8769] + len(inner)
    place = struct.pack(h, 1) + struct.pack(order + "HHI", 0x0001, 2, 2) + b"N\0\0\0" + struct.pack(i, 0)
    behind = places[0x8825] + len(place)
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(i, 8) + struct.pack(h, len(first))
    for tag, kind, count, value in first:
        block += entry(tag, kind, count, places[tag] if value is None else value)
    block += struct.pack(i, behind if thumbnail else 0) + values + inner + place
    if thumbnail:
        start = behind + 2 + 12 * 3 + 4
        block += struct.pack(h, 3) + entry(0x0103, 3, 1, 6) + entry(0x0201, 4, 1, start)
        block += entry(0x0202, 4, 1, len(thumbnail)) + struct.pack(i, 0) + thumbnail
    return block


def pam(samples: np.ndarray, maximum: int) -> bytes:
    """A PAM file of (H, W, C)."""
    height, width, channels = samples.shape
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {maximum}\nTUPLTYPE X\nENDHDR\n"
    return head.encode() + samples.astype(np.uint8 if maximum < 256 else ">u2").tobytes()


def lzw(rows: np.ndarray) -> bytes:
    """Rows of bytes, (H, W) uint8, as one strip of LZW."""
    data = saved(Image.fromarray(rows), "TIFF", compression="tiff_lzw", tiffinfo={278: rows.shape[0]})
    with Image.open(io.BytesIO(data)) as image:
        (begin,), (count,) = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    return data[begin : begin + count]


def hand_made_tiff(strips: list[bytes], tags: dict[int, int | tuple[int, ...]]) -> bytes:
    """A little-endian TIFF of ``strips``, one for each plane, with LONG fields ``tags``."""
    offsets = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    tags = {273: tuple(offsets), 279: tuple(map(len, strips)), **tags}
    body = b"".join(strips)
    body += b"\0" * (len(body) % 2)
    behind = 8 + len(body) + 2 + 12 * len(tags) + 4
    entries = values = b""
    for tag, value in sorted(tags.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        entries += struct.pack("<HHI", tag, 4, len(numbers))
        if len(numbers) == 1:
            entries += packed
        else:
            entries += struct.pack("<I", behind + len(values))
            values += packed
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    return head + body + struct.pack("<H", len(tags)) + entries + bytes(4) + values


def bmp(
    rows: bytes,
    width: int,
    height: int,
    bits: int,
    *,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
) -> bytes:
    """A BMP with the header of Windows 3; ``rows`` from the lowest up, each padded to four bytes."""
    between = struct.pack(f"<{len(masks)}I", *masks) + palette
    begin = 54 + len(between)
    head = struct.pack("<2sIII", b"BM", begin + len(rows), 0, begin)
    colors = len(palette) // 4
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(rows), 0, 0, colors, 0)
    return head + between + rows


def png_chunk(name: bytes, content: bytes) -> bytes:
    """One chunk with its checksum."""
    import zlib

    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_png_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """``data`` with a chunk right behind its header."""
    return data[:33] + png_chunk(name, content) + data[33:]


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """One segment."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_jpeg_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """``data`` with a segment right behind its beginning."""
    return data[:2] + jpeg_segment(marker, content) + data[2:]
