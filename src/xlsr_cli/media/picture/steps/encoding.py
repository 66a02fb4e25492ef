"""Encode a picture, and check what was written."""

from __future__ import annotations

import io
from typing import BinaryIO

from xlsr_cli.errors import OutputError
from xlsr_cli.formats import PICTURE_FORMATS, PictureFormat, format_named, still_of
from xlsr_cli.media.picture.codecs import codec_of
from xlsr_cli.media.picture.codecs.opencv import of_this_age
from xlsr_cli.media.picture.fitting import fit_metadata, fit_pixels
from xlsr_cli.media.picture.source import Encoding, Picture
from xlsr_cli.media.picture.steps.limits import check_limits
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureOptions, Size

_DEFAULTS = PictureOptions()


def encode(
    picture: Picture, format: PictureFormat, options: PictureOptions = _DEFAULTS
) -> tuple[bytes, list[Notice]]:
    """The bytes of the file that :func:`encode_into` writes, and its notices."""
    file = io.BytesIO()
    notices = encode_into(file, picture, format, options)
    return file.getvalue(), notices


def encode_into(
    file: BinaryIO,
    picture: Picture,
    format: PictureFormat,
    options: PictureOptions = _DEFAULTS,
    *,
    threads: int = 1,
    name: str = "a picture",
) -> list[Notice]:
    """Encode ``picture``; the notices name everything that ``format`` cannot hold (``docs/fidelity.md``).

    ``file`` is empty, seekable and readable; formats whose row is ``trusted`` are written piece by piece and
    are never complete in memory. Of the ``options``, ``quality``, ``lossless`` and ``strip`` count; a picture
    is also written without loss where its source was of the same format and lossless. The bytes do not depend
    on the number of ``threads``. ``name``: of the source, for messages. Raises :class:`OutputError` when it
    cannot be encoded, and :class:`ResourceError` where OpenCV is too old for it.
    """
    check_limits(format, picture.size)
    capabilities, bits = still_of(format), picture.bits or picture.depth
    pixels, notices = fit_pixels(picture.pixels, capabilities, bits)
    metadata = picture.metadata.stripped() if options.strip else picture.metadata.for_size(picture.size)
    in_color = pixels.ndim == 3 and pixels.shape[2] >= 3
    metadata, dropped = fit_metadata(metadata, capabilities, in_color=in_color)
    same = picture.lossless and picture.format == format and options.quality is None
    lossless = options.lossless or same
    encoding = Encoding(quality=options.quality, lossless=lossless, bits=bits, threads=threads)
    with of_this_age():
        notices += dropped + codec_of(format_named(format)).write(file, pixels, metadata, encoding)
    if picture.format not in PICTURE_FORMATS:
        message = f"{picture.format.upper()} is read and not written: the result is {capabilities.shown}"
        notices.append(Notice(code="format-changed", message=message, loss=False))
    if not capabilities.trusted:
        _check_written(file, picture.size, name)
    return notices


def _check_written(file: BinaryIO, size: Size, name: str) -> None:
    """Raise :class:`OutputError` if the header of the encoded file has another size than ``size``, which is
    that of the pixels, whatever the metadata say of turning them."""
    file.seek(0)
    written = open_picture(file.read(), f"the result of {name}").stored_size
    if written != size:
        raise OutputError(
            f"the encoder made a picture of {written} from {name} instead of {size}; nothing is written"
        )
