"""Pictures: bytes in, pixels out, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from xlsr_cli.errors import OutputError
from xlsr_cli.media.metadata import Metadata
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureFormat, Size

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a picture's header says, before anything is decoded.

    ``format``: a :data:`PictureFormat`, or the name of one that can only be read (``gif``, ``ico`` …).
    ``size``: as displayed, orientation applied. ``channels``: of the decoded picture: 1 gray, 2 gray and
    alpha, 3 colour, 4 colour and alpha. ``depth``: 8 or 16 bits of the decoded picture. ``pages``: how
    many pictures the file holds. ``orientation``: EXIF's 1 to 8, still to be applied. ``animated``: the
    pages are frames of an animation.
    """

    format: str
    size: Size
    channels: int
    depth: int
    pages: int = 1
    orientation: int = 1
    animated: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture.

    ``pixels``: uint8 or uint16, upright; (H, W) gray, (H, W, 2) gray + alpha, (H, W, 3) BGR,
    (H, W, 4) BGRA; alpha is not premultiplied. ``metadata``: what goes into the output beside the
    pixels. ``format``: as in :class:`Header`.
    """

    pixels: Pixels
    metadata: Metadata
    format: str

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 * int(self.pixels.itemsize)

    @property
    def size(self) -> Size:
        """The size in pixels."""
        return Size(width=int(self.pixels.shape[1]), height=int(self.pixels.shape[0]))


def probe(data: bytes, name: str) -> Header:
    """Read the header of the picture in ``data``; ``name`` is for the sentence of an :class:`InputError`."""
    raise NotImplementedError


def decode(data: bytes, name: str, *, max_pixels: int) -> tuple[Picture, list[Notice]]:
    """Decode ``data``; raise :class:`InputError` for what is damaged, unsupported or above ``max_pixels``."""
    raise NotImplementedError


def encode(
    picture: Picture,
    format: PictureFormat,
    *,
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
) -> tuple[bytes, list[Notice]]:
    """Encode ``picture``; the notices tell what ``format`` cannot hold."""
    raise NotImplementedError


#: The longest side that a format can hold, in pixels.
LIMITS: dict[PictureFormat, int] = {
    "png": 0x7FFFFFFF,
    "jpeg": 65_500,
    "webp": 16_383,
    "avif": 65_536,
    "tiff": 0x7FFFFFFF,
    "jp2": 0x7FFFFFFF,
    "bmp": 0x7FFFFFFF,
    "pnm": 0x7FFFFFFF,
}


def check_limits(format: PictureFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a picture of ``size`` does not fit into ``format``."""
    limit = LIMITS[format]
    if max(size.width, size.height) > limit:
        raise OutputError(
            f"{format} holds at most {limit} pixels a side and the result would be {size}; "
            "choose another format, such as --format png"
        )


_EXTENSIONS: dict[str, PictureFormat] = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "jpe": "jpeg",
    "jfif": "jpeg",
    "webp": "webp",
    "avif": "avif",
    "tif": "tiff",
    "tiff": "tiff",
    "jp2": "jp2",
    "bmp": "bmp",
    "dib": "bmp",
    "pnm": "pnm",
    "ppm": "pnm",
    "pgm": "pnm",
}


def format_for(name: str) -> PictureFormat | None:
    """The format that a file ``name`` asks for by its extension; None when it names none that we write."""
    return _EXTENSIONS.get(PurePath(name).suffix[1:].lower())


def extension_for(format: PictureFormat) -> str:
    """The usual extension of ``format``, with its dot."""
    return {"jpeg": ".jpg", "tiff": ".tif", "pnm": ".ppm"}.get(format, f".{format}")


def writable_format(format: str) -> PictureFormat:
    """The format to write by default for a picture read as ``format``: the same, or PNG."""
    for candidate in LIMITS:
        if candidate == format:
            return candidate
    return "png"
