"""Find out whether a video file was cut off, by a broken download or a full disk.

FFmpeg reads such files to their end without an error, so the lengths in their structure are compared here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_SEGMENT = b"\x18\x53\x80\x67"
_BOXES = (
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"mfra", b"sidx", b"ssix", b"meta", b"pdin", b"prft",
    b"emsg", b"uuid", b"free", b"skip", b"wide",
)  # fmt: skip
_EBML = b"\x1a\x45\xdf\xa3"


def missing_bytes(path: Path) -> int:
    """How many bytes are missing at the end of an MP4, MOV, Matroska, WebM or AVI file; 0 for any other.

    Only lengths at the top of the structure are read. Raises :class:`OSError` where the file cannot be.
    """
    there = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == _EBML:
            stated = _end_of_segment(file)
        elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            stated = 8 + int(struct.unpack("<I", head[4:8])[0])
        elif head[4:8] in _BOXES:
            stated = _end_of_boxes(file, there)
        else:
            stated = 0
    return max(0, stated - there)


def _end_of_boxes(file: BinaryIO, there: int) -> int:
    """Where the last box at the top ends; bytes that somebody added behind it count for nothing."""
    at = 0
    while at + 8 <= there:
        file.seek(at)
        length, kind, longer = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        length = longer if length == 1 else length
        if kind not in _BOXES or length < 8:  # a length of 0: as far as the file goes
            return there
        at += length
    return at


def _end_of_segment(file: BinaryIO) -> int:
    """Where the Segment ends; 0 where it does not say, as in a live recording."""
    file.seek(0)
    head = file.read(4096)
    at = head.find(_SEGMENT)
    if at < 0 or at + 12 > len(head) or not head[at + 4]:
        return 0
    at += 4
    length_bytes = 9 - head[at].bit_length()
    everything = (1 << 7 * length_bytes) - 1
    length = int.from_bytes(head[at : at + length_bytes], "big") & everything
    return 0 if length == everything else at + length_bytes + length
