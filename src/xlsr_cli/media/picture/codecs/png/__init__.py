"""PNG and APNG: chunks are read here, OpenCV decodes pixels; written in bands of rows and frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.media.picture.codecs.png.reading import is_animated, read_header, read_pixels
from xlsr_cli.media.picture.codecs.png.writing import write

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels
    from xlsr_cli.media.picture.composing import Frames
    from xlsr_cli.media.picture.source import Encoding, Film, Source

__all__ = ["is_animated", "read_frames", "read_header", "read_pixels", "write", "write_animation"]


# What still pictures do not need is loaded by these functions.


def read_frames(source: Source, max_pixels: int) -> Frames:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    from xlsr_cli.media.picture.codecs.png import animation

    return animation.read_frames(source, max_pixels)


def write_animation(file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding) -> None:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    from xlsr_cli.media.picture.codecs.png import animation

    animation.write_animation(file, film, frames, encoding)
