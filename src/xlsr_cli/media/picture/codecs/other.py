"""Formats that are only read, and that Pillow reads without much ado: PSD, ICO, TGA, SGI, XBM and others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    unsupported = partial(_unsupported_psd, data) if format.name == "psd" else None
    source = pillow.read_header(data, name, format, unsupported=unsupported)
    if format.name == "sgi" and data[3] == 2:
        return replace(source, notices=(Notice(code="depth-reduced", message="16 bits are read as 8"),))
    if format.name == "psd" and source.pages > 1:
        message = f"its {source.pages} layers are not kept, only their sum"
        return replace(source, notices=(Notice(code="layers-dropped", message=message),))
    return source


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    decoded = pillow.read_pixels(source, max_pixels)
    if source.format == "xbm":  # a bit that is set is ink, for everybody but Pillow
        return replace(decoded, pixels=~decoded.pixels)
    return decoded


def _unsupported_psd(data: bytes) -> str | None:
    """What a Photoshop document is that opens nowhere here."""
    if len(data) < 26:
        return None
    version, bits = data[5], int.from_bytes(data[22:24], "big")
    if version == 2:
        return "a large Photoshop document (PSB)"
    return f"a Photoshop document of {bits} bits" if bits in (16, 32) else None
