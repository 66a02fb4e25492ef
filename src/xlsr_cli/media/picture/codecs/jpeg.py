"""JPEG: Pillow reads the header, OpenCV the pixels; metadata that neither knows are in segments.

Pillow lists application segments but keeps only the last comment, tells nothing of scans and of what stands
behind the picture, and opens no JPEG of a kind that is to be named when it is refused.

Layouts: JFIF 1.02; EXIF 2.32, section 4.7; ICC.1:2022, annex B.4; XMP specification part 3, section 1.1.3.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from xlsr_cli.formats import Format
from xlsr_cli.media.picture import photoshop, trailer, xmp
from xlsr_cli.media.picture.codecs import opencv, pillow
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, not_supported
from xlsr_cli.media.picture.metadata import ASPECT, DAMAGED_PROFILE, GAIN_MAP, Metadata, behind_the_end
from xlsr_cli.media.picture.source import Decoded, Encoding, Source, further_pages
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

_EXIF_PREFIX = b"Exif\0\0"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
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

#: No file has so many segments, or so many bytes between two of them: a damaged file must not be searched
#: completely.
_MOST_SEGMENTS, _MOST_BETWEEN = 10_000, 1 << 20


#: From this quality on, colours keep their full resolution, as with ImageMagick.
_FULL_COLOR_QUALITY = 90


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    if not _reaches_pixels(data) and _unusual_kind(data) is None:
        raise damaged(name, "it has no pixels")
    unsupported = partial(_unusual_kind, data)
    return pillow.read_header(data, name, format, describe=_described, unsupported=unsupported)


def _described(source: Source, image: Image.Image) -> Source:
    data = source.data
    if (kind := _unusual_kind(data)) is not None:
        raise not_supported(source.name, kind)
    notices = []
    metadata = source.metadata
    pictures, following = trailer.behind(data)
    previews = _previews(image)
    pages = max(source.pages - previews, 1 + pictures - previews, 1)
    if _holds_gain_map(data) or (metadata.xmp is not None and xmp.has_gain_map(metadata.xmp)):
        notices.append(GAIN_MAP)
        if metadata.xmp is not None:
            metadata = replace(metadata, xmp=xmp.without_gain_map(metadata.xmp))
        pages = max(1, pages - 1)
    if pages > 1:
        notices.append(further_pages(pages))
    if _holds_extended_xmp(data):
        message = "the part of its XMP that stands in further segments is not kept"
        notices.append(Notice(code="xmp-extended-dropped", message=message))
    icc = _profile(data)
    if icc is None and _holds_profile(data):
        notices.append(DAMAGED_PROFILE)
    if others := _unknown_segments(data):
        message = f"its segments {', '.join(others)} are not kept"
        notices.append(Notice(code="segments-dropped", message=message))
    width, height = image.info.get("jfif_density", (1, 1))
    if image.info.get("jfif_unit") == 0 and width != height and width and height:
        notices.append(ASPECT)
    is_motion = trailer.is_motion_photo(following)
    notices += [] if is_motion else behind_the_end(following)
    dpi = metadata.dpi
    if not image.info.get("jfif_unit"):  # without it Pillow's value is EXIF's, or invented
        dpi = metadata.dpi_of_exif
    metadata = replace(
        metadata,
        icc=icc,
        iptc=photoshop.resource(_photoshop(data), photoshop.IPTC),
        motion=following if is_motion else None,
        dpi=dpi,
        text=_comments(data),
    )
    return replace(source, pages=pages, metadata=metadata, notices=tuple(notices))


def _photoshop(data: bytes) -> bytes:
    """Photoshop's resources, which may go on in further segments."""
    return b"".join(
        content.removeprefix(_IPTC_PREFIX)
        for marker, content in _segments(data)
        if marker == _APP13 and content.startswith(_IPTC_PREFIX)
    )


def _previews(image: Image.Image) -> int:
    """How many of the pictures in an MPO are previews, as cameras append them."""
    entries: Any = getattr(image, "mpinfo", {}).get(0xB002, [])
    kinds = [str(entry.get("Attribute", {}).get("MPType", "")) for entry in entries[1:]]
    return sum("Thumbnail" in kind for kind in kinds)


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    if pillow.knows_colors_better(source):
        return pillow.read_pixels(source, max_pixels)
    data = _with_end(source.data)
    pixels, messages = opencv.imdecode(data)
    if data is not source.data and any("remature end" in line for line in messages):
        raise damaged(source.name, TRUNCATED)
    return opencv.decoded(source, pixels, messages, max_pixels)


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    import cv2

    quality = encoding.quality or opencv.DEFAULT_QUALITY
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        if quality >= _FULL_COLOR_QUALITY
        else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    )
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    file.write(_with_metadata(opencv.imencode(".jpg", pixels, parameters), metadata))
    return []


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
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


def _reaches_pixels(data: bytes) -> bool:
    """Whether the segments lead to a scan; libraries would search the whole file for one, byte by byte."""
    return any(marker == _SOS for marker, _ in _segments(data))


def _unusual_kind(data: bytes) -> str | None:
    """Why the usual builds of libjpeg do not read this JPEG; None if they do."""
    for marker, content in _segments(data):
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


def _with_end(data: bytes) -> bytes:
    """The file with an end marker, where it lacks one; its pixels may still be complete."""
    if data.rstrip(b"\0")[-2:] == b"\xff\xd9" or b"\xff\xd9" in data[-4096:]:
        return data
    kinds = {marker for marker, _ in _segments(data) if marker in _SOF}
    complete = kinds <= {0xC0, 0xC1} or (kinds == {0xC2} and _has_every_scan(data))
    return data + b"\xff\xd9" if complete else data


def _has_every_scan(data: bytes) -> bool:
    """Whether the scans of a progressive file bring every coefficient of every component to its last bit.

    Scans tell which coefficients they hold and the lowest bit of those (ITU-T T.81, section G.1).
    """
    components = next(content[5] for marker, content in _segments(data) if marker == 0xC2)
    exact: set[tuple[int, int]] = set()
    for scan in trailer.scans(data):
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:
            return False
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        if bits & 0x0F == 0:
            exact |= {(scan[1 + 2 * n], k) for n in range(count) for k in range(first, min(last, 63) + 1)}
    return len(exact) == 64 * components


def _comments(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Every COM segment."""
    return tuple((b"COM", content) for marker, content in _segments(data) if marker == _COM)


def _holds_extended_xmp(data: bytes) -> bool:
    """Whether a part of the XMP is in further segments, such as depth maps."""
    return any(m == _APP1 and content.startswith(_EXTENDED_XMP_PREFIX) for m, content in _segments(data))


def _profile(data: bytes) -> bytes | None:
    """The colour profile, put together by the numbers of its parts; None where not each is there once."""
    begin = len(_ICC_PREFIX)
    parts = [
        content[begin:] for m, content in _segments(data) if m == _APP2 and content.startswith(_ICC_PREFIX)
    ]
    numbered = {part[0]: part[2:] for part in parts if len(part) > 2}
    count = parts[0][1] if parts and len(parts[0]) > 2 else 0
    if len(parts) != count or set(numbered) != set(range(1, count + 1)):
        return None
    return b"".join(numbered[number] for number in range(1, count + 1)) or None


def _holds_profile(data: bytes) -> bool:
    """Whether there is any part of a colour profile."""
    return any(m == _APP2 and content.startswith(_ICC_PREFIX) for m, content in _segments(data))


def _holds_gain_map(data: bytes) -> bool:
    """Whether a gain map of ISO 21496-1 is announced."""
    return any(m == _APP2 and content.startswith(_GAIN_MAP_PREFIX) for m, content in _segments(data))


#: What application segments begin with that are read, or that only concern the encoder or the order of
#: what follows: JFIF and its previews, the fields of a film, Adobe's colour transform, Photoshop's "save for
#: web", the index of an MPO.
_UNDERSTOOD = (
    (_APP0, b"JFIF\0"), (_APP0, b"JFXX\0"), (_APP0, b"AVI1"), (_APP1, _EXIF_PREFIX), (_APP1, b"Exif\0"),
    (_APP1, _XMP_PREFIX), (_APP1, _EXTENDED_XMP_PREFIX), (_APP2, _ICC_PREFIX), (_APP2, b"MPF\0"),
    (_APP2, _GAIN_MAP_PREFIX), (0xEC, b"Ducky"), (_APP13, _IPTC_PREFIX), (0xEE, b"Adobe"),
)  # fmt: skip


def _unknown_segments(data: bytes) -> list[str]:
    """The names of unknown application segments, such as APP11 with content credentials."""
    found = []
    for marker, content in _segments(data):
        if 0xE0 <= marker <= 0xEF and not any(
            marker == known and content.startswith(begin) for known, begin in _UNDERSTOOD
        ):
            found.append(f"APP{marker - 0xE0}")
    if _between_segments(data).strip(b"\0\xff"):
        found.append("between the others")
    return sorted(set(found))


def _between_segments(data: bytes) -> bytes:
    """What stands between segments before the pixels."""
    parts, at = [], 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, at, at + _MOST_BETWEEN)
        if found is None or found[1][0] in (_SOS, 0xD9):
            break
        parts.append(data[at : found.start()])
        at = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    return b"".join(parts)


def _with_metadata(encoded: bytes | memoryview, metadata: Metadata) -> bytes:
    """``encoded``, as OpenCV wrote it, with ``metadata`` in JPEG's segments."""
    parts = [_jfif(metadata.dpi)]
    if metadata.exif is not None:
        parts.append(_segment(_APP1, _EXIF_PREFIX + metadata.exif))
    if metadata.xmp is not None:
        parts.append(_segment(_APP1, _XMP_PREFIX + metadata.xmp))
    if metadata.icc is not None:
        parts += _icc(metadata.icc)
    if metadata.iptc is not None:
        # One Photoshop resource, number 0x0404, with an empty name, padded to an even length.
        resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(metadata.iptc)) + metadata.iptc
        parts.append(_segment(_APP13, _IPTC_PREFIX + resource + b"\0" * (len(metadata.iptc) % 2)))
    parts += [_segment(_COM, content) for name, content in metadata.text if name == b"COM"]
    view = memoryview(encoded)
    return b"".join([b"\xff\xd8", *parts, view[_after_jfif(encoded) :], metadata.motion or b""])


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
    return _segment(_APP0, b"JFIF\0\x01\x01" + struct.pack(">BHH", dpi is not None, x, y) + b"\0\0")


def _after_jfif(encoded: bytes | memoryview) -> int:
    """Where the encoder's own APP0 ends."""
    if encoded[2:4] == b"\xff\xe0":
        return 4 + int.from_bytes(encoded[4:6], "big")
    return 2


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
