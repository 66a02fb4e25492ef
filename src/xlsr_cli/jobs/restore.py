"""The networks for a file: how strongly it was compressed decides, once for the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression, look
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.picture.source import Source

#: An upscaler for one file, and what was found out; None where nobody had to look.
Chosen = tuple[Upscaler, Compression | None]


def for_picture(upscaler: Upscaler, source: Source, pixels: Callable[[], Pixels]) -> Chosen:
    """By what :func:`compression_of` finds, which nobody asks where the networks were told."""
    if not upscaler.depends_on_source:
        return upscaler, None
    return _restoring(upscaler, compression_of(source, pixels))


def compression_of(source: Source, pixels: Callable[[], Pixels]) -> Compression:
    """What a picture file says of itself, else what its ``pixels`` tell, or those of the first frame.

    ``pixels`` is called where they are needed. It may raise what decoding raises; nothing else does.
    """
    from xlsr_cli.media.compression import picture

    found, note = picture.compression_of(source.data, source.format)
    return found or look(pixels(), note)


def for_film(upscaler: Upscaler, path: Path) -> Chosen:
    """By the quantizers of the film ``path``. Raises :class:`InputError` for what is no film."""
    if not upscaler.depends_on_source:
        return upscaler, None
    from xlsr_cli.media.compression import film

    return _restoring(upscaler, film.compression_of(path))


def for_frames(upscaler: Upscaler, first: Pixels) -> Chosen:
    """By the first of frames that come without a file: from a camera, or as a stream of raw frames."""
    if not upscaler.depends_on_source:
        return upscaler, None
    return _restoring(upscaler, look(first))


def _restoring(upscaler: Upscaler, found: Compression) -> Chosen:
    return upscaler.restoring(found.level), found
