"""What a file is, by its content and never by its name."""

from __future__ import annotations

from typing import Literal

from xlsr_cli.formats import format_of
from xlsr_cli.media.picture.codecs import codec_of

Kind = Literal["picture", "animation", "video", "y4m", "unknown"]

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

#: Box types with which a QuickTime file without ``ftyp`` begins.
_QUICKTIME = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof"}


def kind_of(head: bytes) -> Kind:
    """What the file is that begins with ``head``: :data:`~xlsr_cli.formats.HEAD_BYTES` of it, or all.

    ``picture``: anything that :func:`xlsr_cli.media.picture.image.open_picture` has a word for, also to
    refuse it. ``animation``: of a format that holds animations, with more than one frame. ``y4m``: raw frames
    as ``ffmpeg -f yuv4mpegpipe`` writes them. ``video``: a container of moving pictures. ``unknown``: none of
    these.
    """
    if head.startswith(b"YUV4MPEG2"):
        return "y4m"
    format = format_of(head)
    if format is None:
        return "video" if _is_video(head) else "unknown"
    return "animation" if format.animation is not None and codec_of(format).is_animated(head) else "picture"


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
