"""Pixels of a TIFF: Pillow decodes up to 8 bits, tifffile or libtiff the rest."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from xlsr_cli.errors import InputError
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.codecs.tiff.facts import (
    FLOAT,
    MIN_IS_WHITE,
    PALETTE,
    UNSIGNED,
    Facts,
)
from xlsr_cli.media.picture.codecs.tiff.strips import samples_by_libtiff
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, faults_as_damage
from xlsr_cli.media.picture.losses import EXTRA_CHANNELS, FLOAT_CONVERTED, less_deep
from xlsr_cli.media.picture.pixels import bgr_of, from_floats, full_range, without_premultiplication
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.engine.pixels import Pixels

#: The most samples of a pixel: a file of a few bytes must not claim all memory.
_MOST_SAMPLES = 8

#: A tile may be larger than the picture; of so many pixels it may be in any.
_LEAST_TILE = 1 << 20

#: Compressions of pictures, not of bytes, that Pillow's libtiff knows: CCITT's, both of JPEG, ThunderScan.
_BY_LIBTIFF = {2, 3, 4, 32771, 6, 7, 32809}

#: One for all files: a logger keeps every handler that it is given.
_SILENT = logging.NullHandler()


@contextmanager
def first_page(data: bytes) -> Iterator[Any]:
    """The first page, opened by tifffile. Raises nearly everything on a hostile file."""
    import tifffile

    logging.getLogger("tifffile").addHandler(_SILENT)  # or it would print its warnings
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        yield file.pages[0]


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; Pillow turns a TIFF, tifffile does not."""
    facts: Facts = source.detail
    _check(source, facts, max_pixels)
    notices = [EXTRA_CHANNELS] if facts.samples > facts.colors + facts.alpha else []
    failure = None
    if (facts.bits <= 8 or facts.mode) and not facts.is_beyond_pillow:
        try:  # Pillow knows every compression and most layouts of up to 8 bits
            decoded = pillow.read_pixels(source, max_pixels, by_libtiff=facts.subsampled)
        except InputError as error:
            if facts.subsampled:
                raise
            failure = error
        else:
            notices += [less_deep(facts.bits)] if facts.bits > 8 else []
            return decoded._replace(notices=[*notices, *decoded.notices], upright=True)
    samples = _samples_of(source, facts, failure)
    finish = _from_foreign if facts.mode else _finished
    return Decoded(pixels=finish(samples, source, facts, notices), notices=notices)


def _check(source: Source, facts: Facts, max_pixels: int) -> None:
    """Raise :class:`InputError` for what is no picture, not all there, or too large."""
    name, size = source.name, source.stored_size
    if facts.format not in (UNSIGNED, FLOAT):
        raise InputError(f"{name} holds signed numbers and not a picture; convert it to 16 bits first")
    if size.pixels * facts.samples > _MOST_SAMPLES * max_pixels:
        raise damaged(name, f"it claims {facts.samples} samples for each of {size} pixels")
    if not facts.complete:
        raise damaged(name, TRUNCATED)
    if facts.tile is not None and facts.tile.pixels > max(_LEAST_TILE, max_pixels):
        raise InputError(
            f"{name} claims tiles of {facts.tile} pixels and --max-pixels allows {max_pixels}; "
            "raise it if you trust the file"
        )


def _samples_of(source: Source, facts: Facts, before: InputError | None) -> NDArray[Any]:
    """Samples as stored: (H, W) or (H, W, S) in RGB order; ``before`` is the error of Pillow."""
    compression = known = None
    try:
        with faults_as_damage(source.name), first_page(source.data) as page:
            samples = _by_tifffile(page)
            if samples is None:
                samples = samples_by_libtiff(source.data, page)
            if samples is None:
                compression = getattr(page, "compression", "?")
                known = compression in _BY_LIBTIFF
            else:
                stored = (page.imagelength, page.imagewidth, page.samplesperpixel)
                samples = samples.reshape(stored[:2] if page.samplesperpixel == 1 else stored)
    except InputError as error:
        raise (before or error) from error
    if samples is None:
        if before is not None and known:
            raise before
        kind = str(getattr(compression, "name", compression)).replace("_", " ")
        raise InputError(
            f"{source.name} is a kind of TIFF that is not supported ({facts.bits} bits, compression {kind}); "
            "convert it to PNG first"
        )
    size = (source.stored_size.height, source.stored_size.width)
    shape = size if facts.samples == 1 else (*size, facts.samples)
    agree = samples.shape == shape and facts.samples >= facts.colors and facts.bits <= 8 * samples.itemsize
    if not agree:
        raise damaged(source.name, "its TIFF directory contradicts itself")
    return samples


def _by_tifffile(page: Any) -> NDArray[Any] | None:
    """The samples by tifffile; None if it needs another package for the compression or the bits."""
    if page.bitspersample not in (1, 8, 16, 32, 64):
        return None
    try:
        samples: NDArray[Any] = page.asarray(maxworkers=1)
    except (ValueError, ImportError) as error:
        if "imagecodecs" in str(error) or isinstance(error, ImportError):
            return None
        raise
    return np.moveaxis(samples, 0, -1) if page.planarconfig == 2 and page.samplesperpixel > 1 else samples


def _finished(samples: NDArray[Any], source: Source, facts: Facts, notices: list[Notice]) -> Pixels:
    """``samples`` as pixels: colours looked up or put upright, at 8 or 16 bits, alpha divided out."""
    if facts.photometric == PALETTE:
        return _looked_up(samples, source, facts)
    if samples.ndim == 3:
        samples = samples[:, :, : facts.colors + facts.alpha]
    if facts.format == FLOAT:
        pixels = from_floats(samples, source.name)
        notices.append(FLOAT_CONVERTED)
    elif samples.dtype.itemsize > 2:
        notices.append(less_deep(facts.bits, 16))
        pixels = (samples >> (8 * samples.dtype.itemsize - 16)).astype("uint16")
    else:
        samples = samples.astype("uint8") if samples.dtype == bool else samples
        pixels = full_range(samples, (1 << facts.bits) - 1)
    if facts.photometric == MIN_IS_WHITE:
        pixels = pixels.copy()
        tones = pixels[:, :, 0] if pixels.ndim == 3 else pixels
        tones[...] = ~tones
    if facts.premultiplied:
        pixels = without_premultiplication(pixels)
    return bgr_of(pixels)


def _looked_up(samples: NDArray[Any], source: Source, facts: Facts) -> Pixels:
    """The colours of a palette, of which ``samples`` are the numbers, and alpha behind them where it is."""
    colors = np.atleast_2d(np.asarray(0 if facts.colormap is None else facts.colormap))
    if colors.shape[0] != 3 or colors.dtype != np.uint16:
        raise damaged(source.name, "its palette is missing")
    numbers = samples if samples.ndim == 2 else samples[:, :, 0]
    looked_up = np.take(np.ascontiguousarray(colors.T), numbers, axis=0, mode="clip")
    if facts.bits <= 8:
        looked_up = (looked_up >> 8).astype("uint8")
    if facts.alpha:
        alpha = full_range(samples[:, :, 1], (1 << facts.bits) - 1)
        looked_up = np.dstack([looked_up, alpha.astype(looked_up.dtype)])
    return bgr_of(looked_up)


def _from_foreign(samples: NDArray[Any], source: Source, facts: Facts, notices: list[Notice]) -> Pixels:
    """CMYK, or Lab, with further channels or of more bits than Pillow reads, as sRGB of 8 bits."""
    if samples.dtype.itemsize > 1:
        notices.append(less_deep(facts.bits))
        samples = samples >> (8 * samples.dtype.itemsize - 8)
    if facts.premultiplied:
        samples = without_premultiplication(samples[:, :, : facts.colors + 1])
    image = pillow.from_samples(samples[:, :, : facts.colors].astype("uint8"), source.mode)
    converted, notice = pillow.to_srgb(image, source.metadata.icc)
    notices.append(notice)
    pixels = pillow.to_pixels(converted)
    return np.dstack([pixels, samples[:, :, facts.colors].astype("uint8")]) if facts.alpha else pixels
