"""Formats that are only read, and that Pillow reads without much ado: PSD, ICO, TGA, SGI, XBM and others."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from xlsr_cli.formats import Format
from xlsr_cli.media.picture import photoshop
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    known = {"psd": _unsupported_psd, "xpm": _unsupported_xpm}.get(format.name)
    unsupported = None if known is None else partial(known, data)
    source = pillow.read_header(data, name, format, unsupported=unsupported)
    if format.name == "sgi" and data[3] == 2:
        return replace(source, notices=(Notice(code="depth-reduced", message="16 bits are read as 8"),))
    if format.name == "psd":
        return _with_resources(source)
    return source


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
    if source.format == "xbm":  # a bit that is set is ink, for everybody but Pillow
        return decoded._replace(pixels=~decoded.pixels)
    return decoded


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
