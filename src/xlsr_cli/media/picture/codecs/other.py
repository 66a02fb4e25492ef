"""Formats that are only read, and that Pillow reads without much ado: PSD, ICO, TGA, SGI, XBM and others."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format
from xlsr_cli.media.picture import photoshop
from xlsr_cli.media.picture.codecs import ends, pillow
from xlsr_cli.media.picture.metadata import behind_the_end
from xlsr_cli.media.picture.pixels import without_premultiplication
from xlsr_cli.media.picture.source import Decoded, Source, further_pages
from xlsr_cli.notices import Notice


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    known = {"psd": _unsupported_psd, "xpm": _unsupported_xpm}.get(format.name)
    unsupported = None if known is None else partial(known, data)
    source = pillow.read_header(data, name, format, unsupported=unsupported)
    notices = [*_losses(source), *behind_the_end(ends.behind(data, format.name) or b"")]
    source = replace(source, notices=tuple(notices))
    return _with_resources(source) if format.name == "psd" else source


_COMMENTS = Notice(code="text-dropped", message="its comments are not kept")
_DEVELOPED = Notice(code="tags-dropped", message="its developers' areas are not kept")
_EXTRA_CHANNELS = Notice(
    code="extra-channels-dropped", message="channels that are neither colour nor alpha are not kept"
)


def _losses(source: Source) -> list[Notice]:
    """What the formats hold that their pictures do not need."""
    data = source.data
    match source.format:
        case "sgi" if data[3] == 2:
            return [Notice(code="depth-reduced", message="16 bits are read as 8")]
        case "dds" if len(data) >= 148 and (sides := ends.dds_sides(data)) > 1:
            return [further_pages(sides)]
        case "xpm" | "xbm" if ends.comments_of_c(data):
            return [_COMMENTS]
        case "tga":
            areas = ends.tga_areas(data)
            lost = [_COMMENTS] * bool(areas.text) + [_DEVELOPED] * areas.developed
            return lost + behind_the_end(areas.behind)
        case "psd" if int.from_bytes(data[12:14], "big") > _psd_channels(source):
            return [_EXTRA_CHANNELS]
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


#: A colour of an XPM: its characters, what it is for, and a name or ``#``.
_XPM_NAMED = re.compile(rb'"[^"]*\sc\s+(?!None\b)[A-Za-z]')


def _unsupported_xpm(data: bytes) -> str | None:
    """What an XPM is that Pillow does not read: names of colours mean what each X server takes them for."""
    return "an XPM with colour names" if _XPM_NAMED.search(data) else None


def _unsupported_psd(data: bytes) -> str | None:
    """What a Photoshop document is that opens nowhere here."""
    if len(data) < 26:
        return None
    version, bits = data[5], int.from_bytes(data[22:24], "big")
    if version == 2:
        return "a large Photoshop document (PSB)"
    return f"a Photoshop document of {bits} bits" if bits in (16, 32) else None
