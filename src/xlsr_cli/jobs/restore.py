"""Choose the networks for a file by how strongly it was compressed, once for the whole file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression, look
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.picture.source import Source
from xlsr_cli.options import Size

#: From which size to which a file is enlarged.
Way = tuple[Size, Size]
#: An upscaler for one file, and how strongly that was compressed; None if the options chose the networks.
Chosen = tuple[Upscaler, Compression | None]


def for_picture(upscaler: Upscaler, source: Source, pixels: Callable[[], Pixels], way: Way) -> Chosen:
    """The upscaler for a picture, by :func:`compression_of` unless the options chose the networks."""
    return _chosen(upscaler, way, lambda scale: compression_of(source, pixels, scale))


def compression_of(source: Source, pixels: Callable[[], Pixels], scale: int) -> Compression:
    """How strongly a picture was compressed: as its file says, else as its ``pixels`` show.

    ``pixels`` returns the pixels, those of an animation's first frame; it is called only if they are needed,
    and may raise what decoding raises. Nothing else does. ``scale``: of the network, 2 to 4.
    """
    from xlsr_cli.media.compression import picture

    found, note = picture.compression_of(source.data, source.format, scale)
    return found or look(pixels(), scale, note)


def for_film(upscaler: Upscaler, path: Path, way: Way) -> Chosen:
    """The upscaler for a film, by its quantizers. Raises :class:`InputError` for a file that is no film."""
    from xlsr_cli.media.compression import film

    return _chosen(upscaler, way, lambda scale: film.compression_of(path, scale))


def for_frames(upscaler: Upscaler, first: Pixels, way: Way) -> Chosen:
    """The upscaler for frames without a file (of a camera or a stream), by the first of them."""
    return _chosen(upscaler, way, lambda scale: look(first, scale))


def _chosen(upscaler: Upscaler, way: Way, compression: Callable[[int], Compression]) -> Chosen:
    if not upscaler.depends_on_source:
        return upscaler, None
    found = compression(upscaler.first_scale(*way))
    return upscaler.restoring(found.level), found
