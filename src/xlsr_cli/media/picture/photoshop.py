"""Photoshop's image resources, in which JPEG, TIFF and PSD hold captions and more.

Layout: Adobe Photoshop File Formats Specification, "Image Resource Blocks".
"""

from __future__ import annotations

from collections.abc import Iterator

IPTC, EXIF, XMP = 0x0404, 0x0422, 0x0424

_SIGNATURE = b"8BIM"


def resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of every resource in ``data``; stops at damage."""
    at = 0
    while data[at : at + 4] == _SIGNATURE and at + 7 < len(data):
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        after_name = at + 6 + (data[at + 6] + 2 & ~1)  # a name behind its length, together of an even length
        begin = after_name + 4
        size = int.from_bytes(data[after_name:begin], "big")
        yield number, data[begin : begin + size]
        at = begin + size + size % 2


def resource(data: bytes, number: int) -> bytes | None:
    """The content of the resources ``number``, one behind the other; None where there is none."""
    return b"".join(content for found, content in resources(data) if found == number) or None
