"""Small versions of picture files, for pages that show many of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from xlsr_cli.errors import XlsrError
from xlsr_cli.formats import PREVIEW
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.media.picture.image import decode, encode
from xlsr_cli.options import DEFAULT_MAX_PIXELS, Size

_QUALITY = 85


@dataclass(frozen=True, kw_only=True)
class Preview:
    """An encoded picture, its MIME type, and the size of the picture that it shows."""

    data: bytes
    kind: str
    size: Size


def preview_of(path: Path, longest: int) -> Preview | None:
    """The picture file ``path``, shrunk to ``longest`` pixels a side; None if it cannot be read."""
    try:
        picture, _ = decode(open_file(path), max_pixels=DEFAULT_MAX_PIXELS)
    except XlsrError:
        return None
    import cv2

    size, pixels = picture.size, picture.pixels
    factor = longest / max(size.width, size.height)
    if factor < 1:
        smaller = (max(1, round(size.width * factor)), max(1, round(size.height * factor)))
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    shown = replace(picture, pixels=pixels)
    try:
        data, _ = encode(shown, PREVIEW.name, quality=_QUALITY)
    except XlsrError:  # such as a picture of one pixel by a million
        return None
    return Preview(data=data, kind=PREVIEW.mime or "", size=size)
