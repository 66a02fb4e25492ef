"""Correct an XMP packet in place: only the few values that enlarging makes wrong.

A packet is RDF/XML in UTF-8 (ISO 16684-1). A property is an attribute (``tiff:Orientation="6"``) or an
element. Both are found by a pattern: an XML library would change other bytes when it writes the packet again.
"""

from __future__ import annotations

import re

from xlsr_cli.options import Size

_WIDTHS = (b"tiff:ImageWidth", b"exif:PixelXDimension")
_HEIGHTS = (b"tiff:ImageLength", b"exif:PixelYDimension")

#: The gain map of an Ultra HDR photograph (Google, Ultra HDR Image Format 1.1) and the directory of the
#: pictures behind the first: neither is written, so the packet must not promise them.
_GAIN_MAP = rb"\shdrgm:[A-Za-z]*(?:Version|GainMap[A-Za-z]*)\s*=\s*(?:\"[^\"]*\"|'[^']*')"
_DIRECTORY = rb"(?s)<Container:Directory>.*?</Container:Directory>\s*"
_DIRECTORY_ENTRY = rb"(?s)<rdf:li\b(?:(?!</rdf:li>).)*GainMap(?:(?!</rdf:li>).)*</rdf:li>\s*"

#: How a video behind the picture is announced (Google, Motion Photo format 1.0, and MicroVideo before it).
_MOTION = rb"(\b\w+:(?:MotionPhoto|MicroVideo)(?:\s*=\s*[\"']|>))1"

#: Previews of the picture as it was, as Adobe's programs store them.
_PREVIEWS = rb"(?s)<xmp:Thumbnails>.*?</xmp:Thumbnails>\s*"


def orientation(packet: bytes) -> int:
    """``tiff:Orientation``, 1 to 8; also 1 if it is missing or makes no sense."""
    match = _property(b"tiff:Orientation").search(packet)
    value = match.group("value").strip() if match else b"1"
    return int(value) if value in (b"2", b"3", b"4", b"5", b"6", b"7", b"8") else 1


def upright(packet: bytes) -> bytes:
    """The packet with ``tiff:Orientation`` reset to 1 and without previews of the picture as it was."""
    return _set(re.sub(_PREVIEWS, b"", packet), b"tiff:Orientation", b"1")


def for_size(packet: bytes, size: Size) -> bytes:
    """The packet with every property for the picture's size in pixels set to ``size``."""
    for names, value in ((_WIDTHS, size.width), (_HEIGHTS, size.height)):
        for name in names:
            packet = _set(packet, name, b"%d" % value)
    return packet


def has_gain_map(packet: bytes) -> bool:
    """Whether the packet says that a gain map follows the picture."""
    return b"hdrgm:Version" in packet or b'Semantic="GainMap"' in packet


def without_gain_map(packet: bytes) -> bytes:
    """The packet without what it says about a gain map; a video that follows it stays announced."""
    packet = re.sub(_GAIN_MAP, b"", packet)
    if re.search(_MOTION, packet):
        return re.sub(_DIRECTORY_ENTRY, b"", packet)
    return re.sub(_DIRECTORY, b"", packet)


def without_motion(packet: bytes) -> bytes:
    """The packet of a motion photo whose video is not there any more."""
    return re.sub(_DIRECTORY, b"", re.sub(_MOTION, rb"\g<1>0", packet))


def _property(name: bytes) -> re.Pattern[bytes]:
    escaped = re.escape(name)
    return re.compile(
        rb"(?P<before>\b%b\s*=\s*[\"']|<%b>)(?P<value>\s*\d+\s*)(?=[\"']|</%b>)" % (escaped, escaped, escaped)
    )


def _set(packet: bytes, name: bytes, value: bytes) -> bytes:
    return _property(name).sub(lambda match: match.group("before") + value, packet)
