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
    """By what the file says of itself, else by the ``pixels`` of it, or of an animation's first frame.

    ``pixels`` is called where they are needed. It may raise what decoding raises; nothing else does.
    """
    if not upscaler.depends_on_source:
        return upscaler, None
    from xlsr_cli.media.compression.picture import compression_of

    found, note = compression_of(source.data, source.format)
    return _restoring(upscaler, found or look(pixels(), note))


def for_film(upscaler: Upscaler, path: Path) -> Chosen:
    """By the quantizers of the film ``path``. Raises :class:`InputError` for what is no film."""
    if not upscaler.depends_on_source:
        return upscaler, None
    from xlsr_cli.media.compression.film import compression_of

    return _restoring(upscaler, compression_of(path))


def for_frames(upscaler: Upscaler, first: Pixels) -> Chosen:
    """By the first of frames that come without a file: from a camera, or as a stream of raw frames."""
    if not upscaler.depends_on_source:
        return upscaler, None
    return _restoring(upscaler, look(first))


def _restoring(upscaler: Upscaler, found: Compression) -> Chosen:
    return upscaler.restoring(found.level), found
