"""Open a picture: find its format and read its header and metadata."""

from __future__ import annotations

from typing import BinaryIO

from xlsr_cli.engine.reading import read_at_most
from xlsr_cli.errors import InputError
from xlsr_cli.formats import FALLBACK, HEAD_BYTES, Format, format_of
from xlsr_cli.media.picture.codecs import codec_of
from xlsr_cli.media.picture.damage import damaged
from xlsr_cli.media.picture.source import Source


def open_picture(data: bytes, name: str) -> Source:
    """Read header and metadata of the picture in ``data``, without decoding it.

    ``name`` is the file's name in the message of an :class:`InputError`, which is raised for what
    is damaged or not supported.
    """
    if not data:
        raise InputError(f"{name} is empty; get an intact copy")
    format = known_format(data, name)
    source = codec_of(format).read_header(data, name, format)
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
