"""JPEG's segments: how to write metadata around OpenCV's pixels, and what hides in a file's own.

Layouts: JFIF 1.02; EXIF 2.32, section 4.7; ICC.1:2022, annex B.4; XMP specification part 3, section 1.1.3.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.notices import Notice

EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_XMP_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
_ICC_PREFIX = b"ICC_PROFILE\0"
_GAIN_MAP_PREFIX = b"urn:iso:std:iso:ts:21496:-1\0"
_IPTC_PREFIX = b"Photoshop 3.0\0"

_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SOF_LS = 0xF7
_APP0, _APP1, _APP2, _APP13, _COM, _SOS = 0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xDA

#: A segment's length counts its own two bytes.
_MOST = 0xFFFF - 2


#: A marker that has a segment, the 0xFF before it and what stands between segments: decoders skip it.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])", re.DOTALL)

#: More segments than any file has, and more bytes between two of them: damage must not make anybody walk
#: through all of a large file.
_MOST_SEGMENTS, _MOST_BETWEEN = 10_000, 1 << 20


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of every segment before the pixels."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at, at + _MOST_BETWEEN)
        if found is None or found.end() + 2 > len(data):
            return
        marker, at = found[1][0], found.start()
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        if marker in (_SOS, 0xD9):
            return
        at += 2 + max(2, length)


def reaches_pixels(data: bytes) -> bool:
    """Whether the segments lead to a scan at all; libraries look for one in all of the file, byte by byte."""
    return any(marker == _SOS for marker, _ in segments(data))


def unusual_kind(data: bytes) -> str | None:
    """What makes a JPEG one that libjpeg, as it is built everywhere, does not read; None for all others."""
    for marker, content in segments(data):
        if marker == _SOF_LS:
            return "a JPEG-LS picture"
        if marker in _SOF and len(content) >= 6:
            bits, components = content[0], content[5]
            if bits != 8:
                return f"a JPEG of {bits} bits"
            if components not in (1, 3, 4):
                return f"a JPEG of {components} colours"
            if content[1:3] == b"\0\0":
                return "a JPEG that tells its height behind its pixels"
            return None
    return None


def with_end(data: bytes) -> bytes:
    """The file with an end marker, where a sequential file lacks one; its pixels may still be complete."""
    kinds = {marker for marker, _ in segments(data) if marker in _SOF}
    if kinds <= {0xC0, 0xC1} and data.rstrip(b"\0")[-2:] != b"\xff\xd9" and b"\xff\xd9" not in data[-4096:]:
        return data + b"\xff\xd9"
    return data


def comments(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Every COM segment."""
    return tuple((b"COM", content) for marker, content in segments(data) if marker == _COM)


def holds_extended_xmp(data: bytes) -> bool:
    """Whether a part of the XMP stands in further segments, where depth maps and the like are put."""
    return any(m == _APP1 and content.startswith(EXTENDED_XMP_PREFIX) for m, content in segments(data))


def holds_profile(data: bytes) -> bool:
    """Whether any part of a colour profile is there."""
    return any(m == _APP2 and content.startswith(_ICC_PREFIX) for m, content in segments(data))


def holds_gain_map(data: bytes) -> bool:
    """Whether a gain map as ISO 21496-1 has it is announced."""
    return any(m == _APP2 and content.startswith(_GAIN_MAP_PREFIX) for m, content in segments(data))


#: What application segments begin with that are read, or that only concern the encoder or the order of
#: what follows: JFIF, Adobe's colour transform, Photoshop's "save for web", the index of an MPO.
_UNDERSTOOD = (
    (_APP0, b""), (_APP1, EXIF_PREFIX), (_APP1, b"Exif\0"), (_APP1, XMP_PREFIX), (_APP1, EXTENDED_XMP_PREFIX),
    (_APP2, _ICC_PREFIX), (_APP2, b"MPF\0"), (_APP2, _GAIN_MAP_PREFIX), (0xEC, b"Ducky"),
    (_APP13, _IPTC_PREFIX), (0xEE, b"Adobe"),
)  # fmt: skip


def unknown_segments(data: bytes) -> list[str]:
    """The names of application segments that are not understood, such as APP11 with content credentials."""
    found = []
    for marker, content in segments(data):
        if 0xE0 <= marker <= 0xEF and not any(
            marker == known and content.startswith(begin) for known, begin in _UNDERSTOOD
        ):
            found.append(f"APP{marker - 0xE0}")
    return sorted(set(found))


def with_metadata(encoded: bytes | memoryview, metadata: Metadata) -> tuple[bytes, list[Notice]]:
    """``encoded``, as OpenCV wrote it, with ``metadata`` in the segments that JPEG has for it.

    EXIF and XMP have to fit into one segment each; what does not is left out with a notice.
    """
    notices: list[Notice] = []
    parts = [_jfif(metadata.dpi)]
    if metadata.exif is not None:
        parts += _one_segment(EXIF_PREFIX + metadata.exif, "exif", notices)
    if metadata.xmp is not None:
        parts += _one_segment(XMP_PREFIX + metadata.xmp, "xmp", notices)
    if metadata.icc is not None:
        parts += _icc(metadata.icc)
    if metadata.iptc is not None:
        # One Photoshop resource, number 0x0404, with an empty name, padded to an even length.
        resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(metadata.iptc)) + metadata.iptc
        parts += _one_segment(_IPTC_PREFIX + resource + b"\0" * (len(metadata.iptc) % 2), "iptc", notices)
    parts += [_segment(_COM, content) for name, content in metadata.text if name == b"COM"]
    view = memoryview(encoded)
    return b"".join([b"\xff\xd8", *parts, view[_after_jfif(encoded) :]]), notices


_ONE_SEGMENT = {"exif": _APP1, "xmp": _APP1, "iptc": _APP13}


def _one_segment(content: bytes, kind: str, notices: list[Notice]) -> list[bytes]:
    if len(content) <= _MOST:
        return [_segment(_ONE_SEGMENT[kind], content)]
    notices.append(
        Notice(
            code=f"{kind}-dropped",
            message=f"its {kind.upper()} takes {len(content)} bytes and JPEG holds at most {_MOST}",
        )
    )
    return []


def _icc(profile: bytes) -> list[bytes]:
    room = _MOST - len(_ICC_PREFIX) - 2
    pieces = [profile[at : at + room] for at in range(0, len(profile), room)]
    return [
        _segment(_APP2, _ICC_PREFIX + bytes((number, len(pieces))) + piece)
        for number, piece in enumerate(pieces, start=1)
    ]


def _jfif(dpi: tuple[float, float] | None) -> bytes:
    """APP0 with the resolution in dots per inch, or with a square pixel and no unit."""
    x, y = (round(value) for value in dpi) if dpi else (1, 1)
    fits = dpi is not None and 1 <= x <= 0xFFFF and 1 <= y <= 0xFFFF
    density = struct.pack(">BHH", fits, *((x, y) if fits else (1, 1)))
    return _segment(_APP0, b"JFIF\0\x01\x01" + density + b"\0\0")


def _after_jfif(encoded: bytes | memoryview) -> int:
    """Where the encoder's own APP0 ends."""
    if encoded[2:4] == b"\xff\xe0":
        return 4 + int.from_bytes(encoded[4:6], "big")
    return 2


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
