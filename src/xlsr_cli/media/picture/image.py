"""Read and write pictures: the steps that are the same for every format."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import BinaryIO

from xlsr_cli.engine.reading import read_at_most
from xlsr_cli.errors import InputError, OutputError
from xlsr_cli.formats import (
    FALLBACK,
    HEAD_BYTES,
    PICTURE_FORMATS,
    Format,
    PictureFormat,
    format_named,
    format_of,
    still_of,
)
from xlsr_cli.media.picture.codecs import codec_of
from xlsr_cli.media.picture.codecs.opencv import of_this_age
from xlsr_cli.media.picture.codecs.pillow import FOREIGN_COLORS
from xlsr_cli.media.picture.damage import TRUNCATED, damaged
from xlsr_cli.media.picture.fitting import fit_metadata, fit_pixels
from xlsr_cli.media.picture.pixels import turned, with_channels
from xlsr_cli.media.picture.source import Encoding, Picture, Source, further_frames
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size


def open_picture(data: bytes, name: str) -> Source:
    """Read header and metadata of the picture in ``data``, without decoding it.

    ``name`` is the file's name in the message of an :class:`InputError`, which is raised for what
    is damaged or not supported.
    """
    if not data:
        raise InputError(f"{name} is empty; get an intact copy")
    source = codec_of(known_format(data, name)).read_header(data, name, known_format(data, name))
    if source.size.width < 1 or source.size.height < 1:
        raise damaged(name, "its header gives a size without pixels")
    return source


def known_format(head: bytes, name: str) -> Format:
    """The format of a file that begins with ``head``. Raises :class:`InputError` for what is no picture."""
    format = format_of(head[:HEAD_BYTES])
    if format is None:
        raise InputError(
            f"{name} is not a picture or film that xlsr knows; convert it to {FALLBACK.shown} or MP4 first"
        )
    return format


#: What a pixel takes at most in a file: four samples of 32 bits. Metadata and all else come on top.
_BYTES_PER_PIXEL, _BYTES_BESIDE = 16, 64 << 20


def read_all(stream: BinaryIO, name: str, max_pixels: int) -> bytes:
    """The rest of ``stream``, which holds a picture.

    Raises :class:`InputError` where it goes on for longer than a picture of ``max_pixels`` can be.
    """
    most = _BYTES_PER_PIXEL * max_pixels + _BYTES_BESIDE
    data = read_at_most(stream, most)
    if data is None:
        raise InputError(
            f"{name} has more than {most >> 20} MB, which no picture of {max_pixels} pixels takes; "
            "raise --max-pixels if you trust it"
        )
    return data


def check_pixels(size: Size, name: str, max_pixels: int) -> None:
    """Raise :class:`InputError` for a picture of more than ``max_pixels``."""
    if size.pixels > max_pixels:
        raise InputError(
            f"{name} claims {size} pixels and --max-pixels allows {max_pixels}; "
            "raise it if you trust the file"
        )


def decode(source: Source, *, max_pixels: int) -> tuple[Picture, list[Notice]]:
    """Decode the picture: upright, at its own depth, with what the file holds beside pixels.

    The notices name everything of the file that is not in the :class:`Picture`. Raises :class:`InputError`
    for what is damaged, not supported, or claims more than ``max_pixels`` (checked before anything is
    decoded).
    """
    check_pixels(source.stored_size, source.name, max_pixels)
    format = format_named(source.format)
    if (
        format.pixels_per_byte is not None
        and source.stored_size.pixels > len(source.data) * format.pixels_per_byte
    ):
        raise damaged(source.name, TRUNCATED)  # before room is made for what cannot be there
    decoded = codec_of(format).read_pixels(source, max_pixels)
    pixels = decoded.pixels
    if not decoded.upright and source.orientation != 1:
        pixels = turned(pixels, source.orientation)
    metadata = source.metadata
    if source.mode in FOREIGN_COLORS:
        metadata = replace(metadata, icc=None)  # it described the colours before their conversion
    frames = [further_frames(source.pages)] if source.animated else []
    picture = Picture(
        pixels=with_channels(pixels, source.channels),
        metadata=metadata.upright(),
        format=source.format,
        bits=source.bits,
        lossless=source.lossless,
    )
    return picture, [*source.notices, *frames, *decoded.notices]


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
    """Encode ``picture``; the notices name everything that ``format`` cannot hold (``docs/fidelity.md``).

    ``file`` is empty, seekable and readable; formats whose row is ``trusted`` are written piece by piece and
    are never complete in memory. ``quality`` is 1 to 100, None for the format's default; ``lossless`` is for
    formats where it is optional, and is the default where the source was of the same format and lossless.
    ``strip`` leaves out all metadata except those that decide how the colours look. The bytes do not depend
    on the number of ``threads``. Raises :class:`OutputError` when it cannot be encoded, and
    :class:`ResourceError` where OpenCV is too old for it.
    """
    check_limits(format, picture.size)
    capabilities, bits = still_of(format), picture.bits or picture.depth
    pixels, notices = fit_pixels(picture.pixels, capabilities, bits)
    metadata = picture.metadata.stripped() if strip else picture.metadata.for_size(picture.size)
    in_color = pixels.ndim == 3 and pixels.shape[2] >= 3
    metadata, dropped = fit_metadata(metadata, capabilities, in_color=in_color)
    same = picture.lossless and picture.format == format and quality is None
    encoding = Encoding(quality=quality, lossless=lossless or same, bits=bits, threads=threads)
    with of_this_age():
        notices += dropped + codec_of(format_named(format)).write(file, pixels, metadata, encoding)
    if picture.format not in PICTURE_FORMATS:
        message = f"{picture.format.upper()} is read and not written: the result is {capabilities.shown}"
        notices.append(Notice(code="format-changed", message=message, loss=False))
    return notices


def check_written(file: BinaryIO, format: PictureFormat, size: Size, name: str) -> None:
    """Raise :class:`OutputError` if the header of the encoded file has another size than ``size``.

    The file is not read if the format's row says that its header can be trusted.
    """
    if still_of(format).trusted:
        return
    file.seek(0)
    written = open_picture(file.read(), f"the result of {name}")
    if written.size != size:
        raise OutputError(
            f"the encoder made a picture of {written.size} from {name} instead of {size}; nothing is written"
        )


def check_limits(format: PictureFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a picture of ``size`` does not fit into ``format``."""
    capabilities = still_of(format)
    sides = (size.width, size.height)
    if capabilities.holds(sides):
        return
    limit = f"{capabilities.most_pixels} pixels"
    if max(sides) > capabilities.longest_side:
        limit = f"{capabilities.longest_side} pixels a side"
    remedy = "ask for a smaller size"
    if (roomier := next((name for name in PICTURE_FORMATS if still_of(name).holds(sides)), None)) is not None:
        remedy = f"choose another format, such as --format {roomier}"
    raise OutputError(f"{capabilities.shown} holds at most {limit} and the result would be {size}; {remedy}")
