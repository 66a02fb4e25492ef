"""JPEG: Pillow reads the header, OpenCV the pixels; metadata that neither knows are in segments.

Pillow lists application segments but keeps only the last comment, tells nothing of scans and of what stands
behind the picture, and opens no JPEG of a kind that is to be named when it is refused.

Layouts: JFIF 1.02; EXIF 2.32, section 4.7; ICC.1:2022, annex B.4; XMP specification part 3, section 1.1.3.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from xlsr_cli.formats import Format
from xlsr_cli.media.picture import photoshop, xmp
from xlsr_cli.media.picture.codecs import opencv, pillow
from xlsr_cli.media.picture.codecs.jpeg import trailer
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, not_supported
from xlsr_cli.media.picture.exif import ExifBlock
from xlsr_cli.media.picture.losses import (
    ASPECT,
    DAMAGED_PROFILE,
    GAIN_MAP,
    behind_the_end,
    further_pages,
    unknown,
)
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Decoded, Encoding, Source
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels

_EXIF_PREFIX = b"Exif\0\0"
_XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
_ICC_PREFIX = b"ICC_PROFILE\0"
_GAIN_MAP_PREFIX = b"urn:iso:std:iso:ts:21496:-1\0"
_IPTC_PREFIX = b"Photoshop 3.0\0"

_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SOF_LS = 0xF7
_APP0, _APP1, _APP2, _APP13, _COM, _SOS, _EOI = 0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xDA, 0xD9

#: A segment's length counts its own two bytes.
_MOST = 0xFFFF - 2


#: A marker that has a segment, the 0xFF before it and what stands between segments: decoders skip it.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])", re.DOTALL)

#: No file has so many segments, or so many bytes between two of them: a damaged file must not be searched
#: completely.
_MOST_SEGMENTS, _MOST_BETWEEN = 10_000, 1 << 20


#: From this quality on, colours keep their full resolution, as with ImageMagick.
_FULL_COLOR_QUALITY = 90

#: What application segments begin with that are read, or that only concern the encoder or the order of
#: what follows: JFIF and its previews, the fields of a film, Adobe's colour transform, Photoshop's "save for
#: web", the index of an MPO.
_UNDERSTOOD = (
    (_APP0, b"JFIF\0"), (_APP0, b"JFXX\0"), (_APP0, b"AVI1"), (_APP1, _EXIF_PREFIX), (_APP1, b"Exif\0"),
    (_APP1, _XMP_PREFIX), (_APP1, _EXTENDED_XMP_PREFIX), (_APP2, _ICC_PREFIX), (_APP2, b"MPF\0"),
    (_APP2, _GAIN_MAP_PREFIX), (0xEC, b"Ducky"), (_APP13, _IPTC_PREFIX), (0xEE, b"Adobe"),
)  # fmt: skip

#: In the index of an MPO: the field with an entry for each picture, and the kinds that are previews.
_MPO_ENTRIES, _MPO_KIND, _MPO_PREVIEWS = 0xB002, 0xFFFFFF, (0x010001, 0x010002)


class _Segment(NamedTuple):
    """``before``: what stands between it and the segment before."""

    marker: int
    content: bytes
    before: bytes


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    segments = _segments(data)
    if (kind := _unusual_kind(segments)) is not None:
        raise not_supported(name, kind)
    if all(segment.marker != _SOS for segment in segments):  # libraries would search the whole file for it
        raise damaged(name, "it has no pixels")
    source = pillow.read_header(data, name, format)
    info, packet = source.detail, source.metadata.xmp
    notices = []
    pictures, following = trailer.behind(data)
    previews = _previews(info["mp"]) if source.pages > 1 else 0
    pages = max(source.pages - previews, 1 + pictures - previews, 1)
    if _contents(segments, _APP2, _GAIN_MAP_PREFIX) or (packet is not None and xmp.has_gain_map(packet)):
        notices.append(GAIN_MAP)
        packet = None if packet is None else xmp.without_gain_map(packet)
        pages -= 1
    notices += further_pages(pages)
    if _contents(segments, _APP1, _EXTENDED_XMP_PREFIX):
        message = "the part of its XMP that stands in further segments is not kept"
        notices.append(Notice(code="xmp-extended-dropped", message=message))
    parts = _contents(segments, _APP2, _ICC_PREFIX)
    icc = _profile(parts)
    if icc is None and parts:
        notices.append(DAMAGED_PROFILE)
    notices += unknown("segments", _unknown_segments(segments))
    width, height = info.get("jfif_density", (1, 1))
    unit = info.get("jfif_unit")
    if unit == 0 and width != height and width and height:
        notices.append(ASPECT)
    is_motion = trailer.is_motion_photo(following)
    notices += [] if is_motion else behind_the_end(following)
    metadata = replace(
        source.metadata,
        icc=icc,
        xmp=packet,
        iptc=photoshop.resource(b"".join(_contents(segments, _APP13, _IPTC_PREFIX)), photoshop.IPTC),
        motion=following if is_motion else None,
        dpi=source.metadata.dpi if unit else source.metadata.dpi_of_exif,  # else Pillow's may be invented
        text=tuple((b"COM", comment) for comment in _contents(segments, _COM)),
    )
    return replace(source, pages=max(1, pages), metadata=metadata, notices=tuple(notices), detail=None)


def _previews(index: bytes) -> int:
    """How many of the pictures in an MPO are previews, as cameras append them."""
    block = ExifBlock(index)
    entries = next((field.value for field in block.fields() if field.tag == _MPO_ENTRIES), b"")
    numbers = struct.iter_unpack(block.order + "I12x", entries[: len(entries) // 16 * 16])
    return sum(number & _MPO_KIND in _MPO_PREVIEWS for (number,) in [*numbers][1:])


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


def _segments(data: bytes) -> list[_Segment]:
    """Every segment before the pixels, and the head of the first scan."""
    found, at = [], 2
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER.search(data, at, at + _MOST_BETWEEN)
        if match is None or match.end() + 2 > len(data):
            break
        begin, marker = match.end(), match[1][0]
        end = begin + max(2, int.from_bytes(data[begin : begin + 2], "big"))
        found.append(_Segment(marker, data[begin + 2 : end], before=data[at : match.start()]))
        if marker in (_SOS, _EOI):
            break
        at = end
    return found


def _contents(segments: list[_Segment], marker: int, prefix: bytes = b"") -> list[bytes]:
    """What stands behind ``prefix`` in the segments that begin with it."""
    return [one.content[len(prefix) :] for one in segments if one[0] == marker and one[1].startswith(prefix)]


def _unusual_kind(segments: list[_Segment]) -> str | None:
    """Why the usual builds of libjpeg do not read this JPEG; None if they do."""
    for marker, content, _ in segments:
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
    frames = [segment for segment in _segments(data) if segment.marker in _SOF]
    kinds = {frame.marker for frame in frames}
    complete = kinds <= {0xC0, 0xC1} or (kinds == {0xC2} and _has_every_scan(data, frames[0].content[5]))
    return data + b"\xff\xd9" if complete else data


def _has_every_scan(data: bytes, components: int) -> bool:
    """Whether the scans of a progressive file bring every coefficient of its components to its last bit.

    Scans tell which coefficients they hold and the lowest bit of those (ITU-T T.81, section G.1).
    """
    exact: set[tuple[int, int]] = set()
    for scan in trailer.scans(data):
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:
            return False
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        if bits & 0x0F == 0:
            exact |= {(scan[1 + 2 * n], k) for n in range(count) for k in range(first, min(last, 63) + 1)}
    return len(exact) == 64 * components


def _profile(parts: list[bytes]) -> bytes | None:
    """The colour profile, put together by the numbers of its parts; None where not each is there once."""
    numbered = {part[0]: part[2:] for part in parts if len(part) > 2}
    count = parts[0][1] if parts and len(parts[0]) > 2 else 0
    if len(parts) != count or set(numbered) != set(range(1, count + 1)):
        return None
    return b"".join(numbered[number] for number in range(1, count + 1)) or None


def _unknown_segments(segments: list[_Segment]) -> list[str]:
    """The names of unknown application segments, such as APP11 with content credentials."""
    found = {
        f"APP{marker - _APP0}"
        for marker, content, _ in segments
        if _APP0 <= marker <= _APP0 + 15
        and not any(marker == known and content.startswith(begin) for known, begin in _UNDERSTOOD)
    }
    between = b"".join(one.before for one in segments if one.marker not in (_SOS, _EOI))
    if between.strip(b"\0\xff"):
        found.add("between the others")
    return sorted(found)


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
