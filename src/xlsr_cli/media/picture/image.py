"""Pictures: bytes in, pixels out, and back."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.errors import OutputError
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.reading import read_pixels
from xlsr_cli.media.picture.source import open_source
from xlsr_cli.media.picture.writing import ROOM, write_pixels
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureFormat, Size

if TYPE_CHECKING:
    from xlsr_cli.media.picture.samples import Pixels


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a picture's header says, before anything is decoded.

    ``format``: a :data:`PictureFormat`, or the name of one that can only be read (``gif``, ``ico`` …).
    ``size``: as displayed, orientation applied. ``channels``: of the decoded picture: 1 gray, 2 gray and
    alpha, 3 colour, 4 colour and alpha. ``depth``: 8 or 16 bits of the decoded picture. ``pages``: how
    many pictures the file holds. ``orientation``: EXIF's 1 to 8, still to be applied. ``animated``: the
    pages are frames of an animation. ``lossless``: coded so in a format that can also be lossy.
    """

    format: str
    size: Size
    channels: int
    depth: int
    pages: int = 1
    orientation: int = 1
    animated: bool = False
    lossless: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture.

    ``pixels``: uint8 or uint16, upright; (H, W) gray, (H, W, 2) gray + alpha, (H, W, 3) BGR,
    (H, W, 4) BGRA; alpha is not premultiplied. ``metadata``: what goes into the output beside the
    pixels. ``format``: as in :class:`Header`. ``bits``: how many of a sample's bits the source had, None
    for all. ``lossless``: the source was losslessly coded in a format that can also be lossy.
    """

    pixels: Pixels
    metadata: Metadata
    format: str
    bits: int | None = None
    lossless: bool = False

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 * int(self.pixels.itemsize)

    @property
    def size(self) -> Size:
        """The size in pixels."""
        return Size(width=int(self.pixels.shape[1]), height=int(self.pixels.shape[0]))


def probe(data: bytes, name: str) -> Header:
    """Read the header of the picture in ``data`` and decode nothing.

    ``name`` is how the file is called in the sentence of an :class:`InputError`, which is raised for what
    is damaged or not supported.
    """
    source = open_source(data, name)
    return Header(
        format=source.format,
        size=source.displayed_size,
        channels=source.channels,
        depth=source.depth,
        pages=source.pages,
        orientation=source.orientation,
        animated=source.animated,
        lossless=source.lossless,
    )


def decode(data: bytes, name: str, *, max_pixels: int) -> tuple[Picture, list[Notice]]:
    """Decode the picture in ``data``: upright, at its own depth, with what the file holds beside pixels.

    The notices tell what of the file is not in the :class:`Picture`. Raises :class:`InputError` for what
    is damaged, not supported, or claims more than ``max_pixels`` (checked before anything is decoded).
    """
    source = open_source(data, name)
    pixels, metadata, notices = read_pixels(source, max_pixels)
    return Picture(
        pixels=pixels,
        metadata=metadata,
        format=source.format,
        bits=source.bits,
        lossless=source.lossless,
    ), notices


def encode(
    picture: Picture,
    format: PictureFormat,
    *,
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
    threads: int = 1,
) -> tuple[bytes, list[Notice]]:
    """The bytes of the file that :func:`encode_into` writes, and its notices."""
    file = io.BytesIO()
    notices = encode_into(
        file, picture, format, quality=quality, lossless=lossless, strip=strip, threads=threads
    )
    return file.getvalue(), notices


def encode_into(
    file: BinaryIO,
    picture: Picture,
    format: PictureFormat,
    *,
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
    threads: int = 1,
) -> list[Notice]:
    """Encode ``picture``; the notices tell what ``format`` has no room for (``docs/fidelity.md``).

    ``file`` is empty, seekable and readable; a PNG or TIFF goes there piece by piece and is never whole in
    memory. ``quality`` is 1 to 100, None for the format's default; ``lossless`` is for WebP, AVIF and
    JPEG 2000, and is the default where the source was of the same format and lossless. ``strip`` leaves
    out all metadata but what decides how the colours look. ``threads`` may work on it, which changes no
    byte. Raises :class:`OutputError` when it cannot be encoded.
    """
    check_limits(format, picture.size)
    metadata = picture.metadata.stripped() if strip else picture.metadata.for_size(picture.size)
    same = picture.lossless and picture.format == format and quality is None
    notices = write_pixels(
        file,
        picture.pixels,
        metadata,
        format,
        bits=picture.bits or picture.depth,
        quality=quality,
        lossless=lossless or same,
        threads=threads,
    )
    if picture.format not in LIMITS:
        message = f"{picture.format.upper()} is read and not written: the result is {ROOM[format].shown}"
        notices.append(Notice(code="format-changed", message=message, loss=False))
    return notices


#: The longest side that a format, or the library that writes it, can hold, in pixels.
LIMITS: dict[PictureFormat, int] = {
    "png": 1_000_000,  # libpng's own limit, which nearly every reader has
    "jpeg": 65_500,
    "webp": 16_383,
    "avif": 65_536,
    "tiff": 0x7FFFFFFF,
    "jp2": 0x7FFFFFFF,
    "bmp": 0x7FFFFFFF,
    "pnm": 0x7FFFFFFF,
}

#: The most pixels altogether: AVIF readers refuse more (libavif's default), BMP counts bytes in 32 bits.
_MOST_PIXELS: dict[PictureFormat, int] = {"avif": 16_384 * 16_384, "bmp": (1 << 30) - (1 << 20)}


def check_limits(format: PictureFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a picture of ``size`` does not fit into ``format``."""
    limit = LIMITS[format]
    if max(size.width, size.height) > limit:
        raise OutputError(
            f"{ROOM[format].shown} holds at most {limit} pixels a side and the result would be {size}; "
            "choose another format, such as --format tiff"
        )
    most = _MOST_PIXELS.get(format)
    if most is not None and size.pixels > most:
        raise OutputError(
            f"{ROOM[format].shown} holds at most {most} pixels and the result would be {size}; "
            "choose another format, such as --format tiff"
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
