"""Formats that are only read, and that Pillow reads without much ado: PSD, ICO, TGA, SGI, XBM and others."""

from __future__ import annotations

import re
from dataclasses import replace

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format
from xlsr_cli.media.picture import photoshop
from xlsr_cli.media.picture.codecs import ends, pillow
from xlsr_cli.media.picture.damage import not_supported, refusal_of
from xlsr_cli.media.picture.losses import EXTRA_CHANNELS, behind_the_end, further_pages, less_deep
from xlsr_cli.media.picture.pixels import without_premultiplication
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    if (refusal := refusal_of(format, name)) is not None:
        raise InputError(refusal)
    try:
        source = pillow.read_header(data, name, format)
    except InputError as error:
        if (kind := _unsupported_kind(data, format.name)) is not None:
            raise not_supported(name, kind) from error
        raise
    notices = [*_losses(source), *behind_the_end(ends.behind(data, format.name) or b"")]
    source = replace(source, notices=tuple(notices))
    return _with_resources(source) if format.name == "psd" else source


#: A colour of an XPM: its characters, what it is for, and a name or ``#``. What a name means, each X server
#: decides.
_XPM_NAMED = re.compile(rb'"[^"]*\sc\s+(?!None\b)[A-Za-z]')


def _unsupported_kind(data: bytes, format: str) -> str | None:
    """What an intact file is that Pillow does not read; None if it is damaged."""
    match format:
        case "xpm" if _XPM_NAMED.search(data):
            return "an XPM with colour names"
        case "psd" if len(data) >= 26 and data[5] == 2:
            return "a large Photoshop document (PSB)"
        case "psd" if (bits := int.from_bytes(data[22:24], "big")) in (16, 32):
            return f"a Photoshop document of {bits} bits"
    return None


_COMMENTS = Notice(code="text-dropped", message="its comments are not kept")
_DEVELOPED = Notice(code="tags-dropped", message="its developers' areas are not kept")


def _losses(source: Source) -> list[Notice]:
    """What the formats hold that their pictures do not need."""
    data = source.data
    match source.format:
        case "sgi" if data[3] == 2:
            return [less_deep(16)]
        case "dds" if len(data) >= 148:
            return further_pages(ends.dds_sides(data))
        case "xpm" | "xbm" if ends.comments_of_c(data):
            return [_COMMENTS]
        case "tga":
            areas = ends.tga_areas(data)
            lost = [_COMMENTS] * bool(areas.text) + [_DEVELOPED] * areas.developed
            return lost + behind_the_end(areas.behind)
        case "psd" if int.from_bytes(data[12:14], "big") > _psd_channels(source):
            return [EXTRA_CHANNELS]
    return []


def _psd_channels(source: Source) -> int:
    return 4 if source.mode == "CMYK" else source.channels


def _with_resources(source: Source) -> Source:
    """A Photoshop document with what its resources hold for all programs."""
    begin = 30 + int.from_bytes(source.data[26:30], "big")  # behind the header and the palette
    size = int.from_bytes(source.data[begin : begin + 4], "big")
    found = source.data[begin + 4 : begin + 4 + size]
    metadata = replace(
        source.metadata,
        exif=source.metadata.exif or photoshop.resource(found, photoshop.EXIF),
        xmp=source.metadata.xmp or photoshop.resource(found, photoshop.XMP),
        iptc=photoshop.resource(found, photoshop.IPTC),
    )
    notices = source.notices
    if source.pages > 1:
        message = f"its {source.pages} layers are not kept, only their sum"
        notices = (*notices, Notice(code="layers-dropped", message=message))
    return replace(source, metadata=metadata, notices=notices).oriented()


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    decoded = pillow.read_pixels(source, max_pixels)
    notices = [*decoded.notices, *behind_the_end(_behind(source, max_pixels))]
    pixels = decoded.pixels
    if source.format == "xbm":  # a bit that is set is ink, for everybody but Pillow
        pixels = ~pixels
    if source.format == "tga" and pixels.ndim == 3 and ends.tga_areas(source.data).alpha == _PREMULTIPLIED:
        pixels = without_premultiplication(pixels)
    return decoded._replace(pixels=pixels, notices=notices)


#: What a TGA says of its alpha.
_PREMULTIPLIED = 4


def _behind(source: Source, max_pixels: int) -> bytes:
    """What stands behind the picture where only its decoder knows where it ends."""
    data = source.data
    if ends.behind(data, source.format) is not None:
        return b""
    if source.format == "tga":
        data = data[: ends.tga_areas(data).begin]
    if (source.format == "pcx" and source.mode == "P") or source.format == "dds":
        return b""  # its palette stands there, or the texture is of an unknown kind

    def decodes(part: bytes) -> bool:
        try:
            pillow.read_pixels(replace(source, data=part), max_pixels)
        except InputError:
            return False
        return True

    return ends.unneeded(data, decodes)
