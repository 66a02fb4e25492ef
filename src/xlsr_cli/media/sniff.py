"""What a file is, by its content and never by its name."""

from __future__ import annotations

import struct
from typing import Literal

Kind = Literal["picture", "animation", "video", "y4m", "unknown"]

#: How many bytes of a file are enough for :func:`kind_of`. A GIF is a picture or an animation depending
#: on whether a second frame follows, which only the whole file tells: give all of it where you have it.
HEAD_BYTES = 1 << 16

_PNG = b"\x89PNG\r\n\x1a\n"

#: Formats told by their first bytes; longer and rarer beginnings first.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (_PNG, "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
    (b"II*\x00\x10\x00\x00\x00CR", "raw"),
    (b"IIRO", "raw"),
    (b"IIRS", "raw"),
    (b"IIU\x00", "raw"),
    (b"FUJIFILMCCD-RAW", "raw"),
    (b"FOVb", "raw"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"8BPS", "psd"),
    (b"qoif", "qoi"),
    (b"DDS ", "dds"),
    (b"icns", "icns"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"\x76\x2f\x31\x01", "exr"),
    (b"#?RADIANCE", "hdr"),
    (b"#?RGBE", "hdr"),
    (b"\x59\xa6\x6a\x95", "sun"),
    (b"\x01\xda", "sgi"),
    (b"/* XPM */", "xpm"),
    (b"gimp xcf", "xcf"),
    (b"%PDF-", "pdf"),
    (b"%!PS", "eps"),
    (b"\xc5\xd0\xd3\xc6", "eps"),
)

_VIDEO_SIGNATURES: tuple[bytes, ...] = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG-1 and -2 video
    b".RMF",
    b"DKIF",  # IVF
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",  # MXF
    b"nut/multimedia container\0",
)

#: Brands of ISO base media files that hold a still picture.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"heif"}

#: Box types with which a QuickTime file without ``ftyp`` begins.
_QUICKTIME = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof"}


def kind_of(head: bytes) -> Kind:
    """What the file is that begins with ``head``: :data:`HEAD_BYTES` of it, or all.

    ``picture``: anything that :func:`xlsr_cli.media.picture.image.probe` has a word for, also to refuse it.
    ``animation``: GIF, APNG or WebP with more than one frame. ``y4m``: raw frames as ``ffmpeg -f
    yuv4mpegpipe`` writes them. ``video``: a container of moving pictures. ``unknown``: none of these.
    """
    if head.startswith(b"YUV4MPEG2"):
        return "y4m"
    picture = picture_format(head)
    if picture is not None:
        return "animation" if _is_animated(head, picture) else "picture"
    return "video" if _is_video(head) else "unknown"


def picture_format(head: bytes) -> str | None:
    """The name of the picture format that ``head`` begins, such as ``png`` or ``heic``; None when unknown.

    Also names formats that xlsr cannot read (``jxl``, ``raw``, ``pdf``, ``svg``), so that an error can.
    """
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _iso_picture(head)
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack("<I", head[14:18])[0] in _BMP_HEADERS:
        return "bmp"
    if head[:1] == b"P" and head[1:2] in b"1234567fF" and head[2:3] in b" \t\r\n#":
        return "pnm"
    if head[:1] == b"\x0a" and head[1:2] in b"\x00\x02\x03\x04\x05" and head[2:3] in b"\x00\x01":
        return "pcx"
    if (
        head[:4] == b"\x00\x00\x02\x00" and head[4:6] != b"\x00\x00"
    ):  # zero there in a TGA, which begins alike
        return "cur"
    return _text_picture(head) or _targa(head)


#: Sizes of the information header of a BMP, which stands at byte 14: OS/2 1 and 2, Windows 3, V2 to V5.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}


def _iso_picture(head: bytes) -> str | None:
    size = min(struct.unpack(">I", head[:4])[0], len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if brands[0] in _AVIF_BRANDS or (brands[0] in _HEIF_BRANDS and _AVIF_BRANDS & set(brands)):
        return "avif"
    if brands[0] in _HEIF_BRANDS:
        return "heic"
    if brands[0] == b"crx ":
        return "raw"
    return None


def _text_picture(head: bytes) -> str | None:
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in head:
        return "svg"
    if start.startswith(b"#define ") and b"_width" in start:
        return "xbm"
    return None


def _targa(head: bytes) -> str | None:
    """A TGA has no signature: every field of its 18-byte header has to make sense."""
    if len(head) < 18:
        return None
    has_map, kind = head[1], head[2]
    map_depth, depth, flags = head[7], head[16], head[17]
    width, height = struct.unpack("<HH", head[12:16])
    fits = {1: (8, 16), 9: (8, 16), 2: (15, 16, 24, 32), 10: (15, 16, 24, 32), 3: (8, 16), 11: (8, 16)}
    plausible = (
        kind in fits
        and depth in fits[kind]
        and has_map == (1 if kind in (1, 9) else 0)
        and (map_depth in (15, 16, 24, 32) if has_map else head[3:8] == bytes(5))
        and width > 0
        and height > 0
        and flags & 0xC0 == 0
    )
    return "tga" if plausible else None


def _is_animated(head: bytes, picture: str) -> bool:
    if picture == "gif":
        frames = _gif_frames(head)
        return frames > 1 or (frames == 0 and len(head) >= HEAD_BYTES)
    if picture == "webp":
        return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)
    if picture == "png":
        return 1 < _apng_frames(head) <= 0x7FFFFFFF  # PNG's largest number; players ignore more
    return False


def _apng_frames(head: bytes) -> int:
    """The number of frames in the ``acTL`` chunk, which has to stand before the pixels; 1 without it."""
    at = len(_PNG)
    while at + 8 <= len(head):
        length, name = struct.unpack(">I4s", head[at : at + 8])
        if name == b"acTL" and length >= 4 and at + 12 <= len(head):
            return int(struct.unpack(">I", head[at + 8 : at + 12])[0])
        if name in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    return 1


def _gif_frames(head: bytes) -> int:
    """1 or 2 (for two or more) frames; 0 where ``head`` ends before that can be told."""
    if len(head) < 13:
        return 0
    at = 13 + _color_table(head[10])
    frames = 0
    while at < len(head):
        block = head[at]
        if block == 0x3B:
            return min(frames, 2) or 1
        if block == 0x2C:
            frames += 1
            if frames == 2:
                return 2
            if at + 10 > len(head):
                return 0
            at += 11 + _color_table(head[at + 9])  # the byte after the table is LZW's code size
        elif block == 0x21:
            at += 2
        else:
            return 1  # not GIF any more: decoders stop here too
        while at < len(head) and head[at]:
            at += 1 + head[at]
        at += 1
    return 0


def _color_table(flags: int) -> int:
    """How many bytes a GIF's colour table takes, by its packed flags."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _is_video(head: bytes) -> bool:
    if head.startswith(_VIDEO_SIGNATURES) or head[4:8] == b"ftyp" or head[4:8] in _QUICKTIME:
        return True
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AMV "):
        return True
    # MPEG transport streams: a 0x47 every 188 bytes, or every 192 with a time code before each packet.
    return any(
        len(head) > start + 2 * step and all(head[start + step * n] == 0x47 for n in range(3))
        for start, step in ((0, 188), (4, 192))
    )
