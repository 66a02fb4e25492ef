"""TIFF: tifffile reads directories and writes; Pillow decodes up to 8 bits, tifffile or libtiff the rest.

Tags: TIFF 6.0; ICC.1:2022, annex B.3; XMP specification part 3, section 1.1.4; EXIF 2.32, section 4.6.
"""

from __future__ import annotations

from typing import Any

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format, format_named
from xlsr_cli.media.picture import photoshop, xmp
from xlsr_cli.media.picture.codecs.tiff import directories
from xlsr_cli.media.picture.codecs.tiff.facts import CFA, LINEAR_RAW, as_tuple, facts_in
from xlsr_cli.media.picture.codecs.tiff.samples import first_page, read_pixels
from xlsr_cli.media.picture.codecs.tiff.writing import DESCRIPTIVE, IPTC, RESOLUTION_AND_TURN, XMP, write
from xlsr_cli.media.picture.damage import damaged, refusal_of
from xlsr_cli.media.picture.exif import EXIF_IFD, GPS_IFD, Directory, ExifBlock, whole_block
from xlsr_cli.media.picture.losses import GAMMA, are_srgb, behind_the_end, further_pages, unknown
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

__all__ = ["read_header", "read_pixels", "write"]

_ORIENTATION, _ICC, _DNG_VERSION, _LAYERS, _PHOTOSHOP = 274, 34675, 50706, 37724, 34377
_TRANSFER, _WHITE_POINT, _PRIMARIES = 301, 318, 319
_GEO = {33550, 33922, 34264, 34735}

#: How bytes are laid out, and what is only about the old pixels or their sheet of paper: kinds of pages,
#: strips, tiles, thresholds, inks, predictors, old JPEG, Y'CbCr, page numbers, and a viewer's hints.
_LAYOUT = {
    *range(254, 267), 273, *range(277, 282), 284, *range(285, 294), 296, 297, *range(317, 348),
    *range(512, 522), *range(529, 533), 559, 433, 434, 435, 32781, 32995, 32996, 32997, 34908, 34909, 34910,
    37439, 42113,
}  # fmt: skip

#: What stands elsewhere in what is read.
_READ = {
    XMP, IPTC, _ICC, _DNG_VERSION, _LAYERS, _PHOTOSHOP, _TRANSFER, _WHITE_POINT, _PRIMARIES, EXIF_IFD,
    GPS_IFD, *_GEO, 34736, 34737,
}  # fmt: skip


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` is what the directory says of samples."""
    try:
        tags = _tags(data)
        facts = facts_in(tags, len(data))
        channels = facts.channels
        metadata, notices = _metadata(tags, data)
        size = Size(width=int(tags[256]), height=int(tags[257]))
    except Exception as error:  # on a hostile file tifffile raises nearly everything
        raise damaged(name, "its TIFF directory makes no sense") from error
    if _DNG_VERSION in tags or facts.photometric in (CFA, LINEAR_RAW):
        raise InputError(refusal_of(format_named("raw"), name))
    pages, turn = directories.count_pages(data), tags.get(_ORIENTATION, 0)
    if turn not in range(1, 9):
        turn = xmp.orientation(metadata.xmp) if metadata.xmp else 1
    behind = behind_the_end(data[directories.end(data) :])
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=size,
        channels=channels,
        bits=8 if facts.mode else min(16, max(8, facts.bits)),
        mode=facts.mode,
        pages=pages,
        orientation=int(turn),
        metadata=metadata,
        notices=(*notices, *further_pages(pages), *behind),
        detail=facts,
    )


def _tags(data: bytes) -> dict[int, Any]:
    """The first directory. Raises what tifffile raises."""
    tags: dict[int, Any] = {}
    with first_page(data) as page:
        for tag in page.tags:
            tags.setdefault(tag.code, tag.value)  # of two with one number every reader takes the first
    return tags


def _metadata(tags: dict[int, Any], data: bytes) -> tuple[Metadata, list[Notice]]:
    """The metadata in the directory, with EXIF as a block as in other formats."""
    notices = []
    if _GEO & set(tags):
        notices.append(Notice(code="geo-dropped", message="its place on the map (GeoTIFF) no longer fits"))
    if _LAYERS in tags:
        notices.append(Notice(code="layers-dropped", message="its layers are not kept, only their sum"))
    if _ICC not in tags and (_TRANSFER in tags or not _usual_primaries(tags)):
        notices.append(GAMMA)
    others = sorted(set(tags) - DESCRIPTIVE - _LAYOUT - _READ)
    notices += unknown("tags", [str(tag) for tag in others])
    exif = _exif(data)
    if exif is None and (EXIF_IFD in tags or GPS_IFD in tags):
        notices.append(Notice(code="exif-dropped", message="its EXIF cannot be read"))
    packet = _bytes(tags.get(XMP))
    metadata = Metadata(
        icc=_bytes(tags.get(_ICC)),
        exif=exif,
        xmp=packet.rstrip(b"\0") if packet else None,
        iptc=_bytes(tags.get(IPTC))
        or photoshop.resource(_bytes(tags.get(_PHOTOSHOP)) or b"", photoshop.IPTC),
        dpi=_dpi(tags),
    )
    return metadata, notices


def _usual_primaries(tags: dict[int, Any]) -> bool:
    """Whether the directory gives the primaries of sRGB, or none."""
    rationals = (*as_tuple(tags.get(_WHITE_POINT, ())), *as_tuple(tags.get(_PRIMARIES, ())))
    pairs = zip(rationals[0::2], rationals[1::2], strict=False)
    return len(rationals) != 16 or are_srgb([above / max(1, below) for above, below in pairs])


def _dpi(tags: dict[int, Any]) -> tuple[float, float] | None:
    x, y, unit = tags.get(282), tags.get(283), int(tags.get(296, 2))
    if unit not in (2, 3) or not isinstance(x, tuple) or not isinstance(y, tuple):
        return None
    if len(x) != 2 or len(y) != 2 or not all((*x, *y)):
        return None
    factor = 2.54 if unit == 3 else 1.0
    return x[0] / x[1] * factor, y[0] / y[1] * factor


def _exif(data: bytes) -> bytes | None:
    """An EXIF block with the descriptive fields of a TIFF and the directories that it points to."""
    source = ExifBlock(data)
    fields, linked = source.directory()
    fields = [field for field in fields if field.tag in DESCRIPTIVE]
    if not linked and not {field.tag for field in fields} - RESOLUTION_AND_TURN:
        return None
    return whole_block(Directory(fields, linked), source.order)


def _bytes(value: Any) -> bytes | None:
    """A tag's content; some writers give it the type of numbers."""
    value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    return value if isinstance(value, bytes) and value else None
