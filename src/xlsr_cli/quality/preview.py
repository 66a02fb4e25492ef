"""Small versions of pictures and of frames of films, for pages that show many of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from xlsr_cli.errors import XlsrError
from xlsr_cli.formats import PREVIEW
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.options import DEFAULT_MAX_PIXELS, PictureOptions, Size

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
    return _shrunk(picture, longest)


def previews_of_film(before: Path, after: Path, longest: int) -> tuple[Preview, Preview] | None:
    """The same frame of two films, from about their middle; None if it cannot be found in both."""
    from xlsr_cli.media.video.quick_look import quick_frame

    try:
        # The larger one has a key frame there; the other one is decoded up to its time.
        shown = quick_frame(after)
        source = None if shown is None else quick_frame(before, at=shown[1])
    except XlsrError:
        return None
    if shown is None or source is None:
        return None
    pictures = (
        Picture(pixels=pixels, metadata=Metadata(), format=PREVIEW.name) for pixels, _ in (source, shown)
    )
    small = [_shrunk(picture, longest) for picture in pictures]
    return None if small[0] is None or small[1] is None else (small[0], small[1])


def _shrunk(picture: Picture, longest: int) -> Preview | None:
    import cv2

    size, pixels = picture.size, picture.pixels
    factor = longest / max(size.width, size.height)
    if factor < 1:
        smaller = (max(1, round(size.width * factor)), max(1, round(size.height * factor)))
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    shown = replace(picture, pixels=pixels)
    try:
        data, _ = encode(shown, PREVIEW.name, PictureOptions(quality=_QUALITY))
    except XlsrError:  # such as a picture of one pixel by a million
        return None
    return Preview(data=data, kind=PREVIEW.mime or "", size=size)
