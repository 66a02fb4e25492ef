"""The JPEG that a TIFF of JPEG compression is made of."""

from __future__ import annotations

import io

#: TIFF technical note 2; 6 is the older form, which nobody writes.
_JPEG = 7


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
