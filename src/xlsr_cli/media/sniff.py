"""Find out what a file is, by its content and never by its name."""

from __future__ import annotations

import re
from pathlib import PurePath
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
    b"\x00\x00\x01\xb0",  # MPEG-4 video
    b"\x00\x00\x01\x0f",  # VC-1
    b"\x12\x00\x0a",  # AV1 in units of its own
)
#: How bare H.264, HEVC and VVC begin: with a start code, and the set of parameters, delimiter or message that
#: comes first; and the set of parameters without which there is no video.
_BARE = (
    (rb"\x00?\x00\x00\x01[\x06\x09\x27\x47\x67]", rb"\x00\x00\x01[\x27\x47\x67]"),
    (rb"\x00?\x00\x00\x01[\x40\x42\x46\x4e]\x01", rb"\x00\x00\x01\x42\x01"),
    (rb"\x00?\x00\x00\x01\x00[\x71\x79\xa1]", rb"\x00\x00\x01\x00\x79"),
)
#: (length, where in it the 0x47 stands) of the packets of a transport stream: plain, with a time before each
#: as on Blu-rays, with a checksum behind each.
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
#: Packets by which a transport stream is known that begins in the middle of one.
_TS_PROOF = 6
#: Suffixes of Motion JPEG without a container: one JPEG picture behind the other. Nothing but the name tells
#: it from a single picture.
_MOTION_JPEG = (".mjpeg", ".mjpg")

#: Box types with which a QuickTime file without ``ftyp`` begins.
_QUICKTIME = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof"}


def kind_of(head: bytes, name: str = "") -> Kind:
    """The kind of the file that begins with ``head``: :data:`~xlsr_cli.formats.HEAD_BYTES` of it, or all.

    ``picture``: any format that has a row, even if it cannot be read. ``animation``: of a format that holds
    animations, with more than one frame. ``y4m``: raw frames as ``ffmpeg -f yuv4mpegpipe``
    writes them. ``video``: a container of moving pictures. ``unknown``: none of these. ``name`` of the file
    decides between one JPEG picture and Motion JPEG.
    """
    if head.startswith(b"YUV4MPEG2"):
        return "y4m"
    if head.startswith(b"\xff\xd8\xff") and PurePath(name).suffix.lower() in _MOTION_JPEG:
        return "video"
    format = format_of(head)
    if format is None:
        return "video" if _is_video(head) else "unknown"
    return "animation" if format.animation is not None and codec_of(format).is_animated(head) else "picture"


def _is_video(head: bytes) -> bool:
    if head.startswith(_VIDEO_SIGNATURES) or head[4:8] == b"ftyp" or head[4:8] in _QUICKTIME:
        return True
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AMV "):
        return True
    if head[:3] == b"\x1f\x07\x00" and head[3:4] in b"\x3f\xbf":  # DV of 60 and of 50 fields
        return True
    return _is_bare(head) or _is_transport_stream(head)


def _is_bare(head: bytes) -> bool:
    return any(re.match(begins, head) and re.search(needs, head) for begins, needs in _BARE)


def _is_transport_stream(head: bytes) -> bool:
    """Three 0x47 at their places, or more of them where the file begins in the middle of a packet."""

    def proven(start: int, length: int, packets: int) -> bool:
        places = range(start, start + packets * length, length)
        return len(head) > places[-1] and all(head[place] == 0x47 for place in places)

    if any(proven(sync, length, 3) for length, sync in _TS_PACKETS):
        return True
    return any(
        head[start] == 0x47 and proven(start, length, _TS_PROOF)
        for length, _ in _TS_PACKETS
        for start in range(min(length, len(head)))
    )
