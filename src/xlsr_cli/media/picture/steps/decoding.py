"""Decode a picture that has been opened."""

from __future__ import annotations

from dataclasses import replace

from xlsr_cli.formats import format_named
from xlsr_cli.media.picture.codecs import codec_of
from xlsr_cli.media.picture.codecs.pillow import FOREIGN_COLORS
from xlsr_cli.media.picture.damage import TRUNCATED, damaged
from xlsr_cli.media.picture.losses import further_frames
from xlsr_cli.media.picture.pixels import turned, with_channels
from xlsr_cli.media.picture.source import Picture, Source
from xlsr_cli.media.picture.steps.limits import check_pixels
from xlsr_cli.notices import Notice


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
