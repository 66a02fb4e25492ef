"""How strongly a TIFF was compressed, where it is made of JPEGs."""

from __future__ import annotations

import io

from xlsr_cli.engine.restore import Compression, jpeg
from xlsr_cli.media.compression import jpeg_tables

#: TIFF technical note 2; 6 is the older form, which nobody writes.
_JPEG = 7


def compression_of(data: bytes, scale: int) -> tuple[Compression | None, str]:
    """The libjpeg quality of the first JPEG in the TIFF ``data``; None of other compression."""
    inside = jpeg_inside(data)
    quality = None if inside is None else jpeg_tables.quality_of(inside)
    return None if quality is None else jpeg(quality, scale), ""


def jpeg_inside(data: bytes) -> bytes | None:
    """The first strip or tile of the TIFF ``data`` as a JPEG with its tables; None of other compression."""
    import tifffile

    # As for every TIFF: on a hostile file tifffile raises nearly everything, and each of it means the same.
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            if page.compression != _JPEG or not page.dataoffsets:
                return None
            start, length = page.dataoffsets[0], page.databytecounts[0]
            strip = data[start : start + length]
            return strip if not page.jpegtables else page.jpegtables[:-2] + strip[2:]
    except Exception:
        return None
