"""The data after the picture in a JPEG: further pictures, and the video of a motion photo.

Google's Motion Photo 1.0 and MicroVideo count the position of the video from the end of the file, and
Samsung's directory (``SEFH``) from its own position: they stay right if the video is kept with everything
after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: A marker among the pixels: neither a stuffed byte nor a restart, nor filling.
_AMONG_PIXELS = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_END, _SCAN = 0xD9, 0xDA

#: The most pictures after the first that are skipped: gain maps, previews, the other eye.
_MOST_PICTURES = 64

#: The most zeros between the parts of a file that are skipped.
_MOST_PADDING = 4096

#: Samsung's name for the video, with two numbers before it, and the end of its directory.
_SAMSUNG_VIDEO, _SAMSUNG_END = b"MotionPhoto_Data", b"SEFT"


def end_of_picture(data: bytes, begin: int = 0) -> int | None:
    """Where the JPEG ends that begins at ``begin``, its end marker included; None without one."""
    return next((at for marker, at in _markers(data, begin) if marker == _END), None)


def scans(data: bytes) -> Iterator[bytes]:
    """The header of every scan of the first picture."""
    for marker, at in _markers(data, 0):
        if marker == _SCAN:
            yield data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]


def _markers(data: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """Every marker of the JPEG that begins at ``begin``, and where its content begins, to its end marker."""
    at = begin + 2
    while (found := _AMONG_PIXELS.search(data, at)) is not None:
        at, marker = found.end(), found[1][0]
        yield marker, at
        if marker == _END:
            return
        if marker != 0x01:  # everything else has a length
            at += max(2, int.from_bytes(data[at : at + 2], "big"))


def behind(data: bytes) -> tuple[int, bytes]:
    """How many pictures follow the first in a file of JPEGs, and what follows them all."""
    at, pictures = end_of_picture(data), 0
    for pictures in range(_MOST_PICTURES):
        if at is None:
            return pictures, b""
        rest = data[at : at + _MOST_PADDING]
        begin = at + len(rest) - len(rest.lstrip(b"\0"))
        if data[begin : begin + 2] != b"\xff\xd8":
            break
        at = end_of_picture(data, begin)
    return pictures, b"" if at is None else data[at:]


def is_motion_photo(trailer: bytes) -> bool:
    """Whether ``trailer`` is the video of a motion photo, or has it in it."""
    if _SAMSUNG_VIDEO in trailer and trailer.endswith(_SAMSUNG_END):
        return True
    begin = trailer.find(b"ftyp", 4, _MOST_PADDING) - 4  # behind the length of its first box
    return begin >= 0 and not trailer[:begin].strip(b"\0")
