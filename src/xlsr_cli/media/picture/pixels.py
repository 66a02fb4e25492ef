"""Arithmetic on pixels for reading and writing: depth, alpha, orientation, differences of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.engine.pixels import Pixels

#: Rows are processed in blocks of about this many samples, so that wide intermediates stay small.
_BLOCK = 1 << 20


def full_range(pixels: NDArray[Any], maximum: int) -> Pixels:
    """Scale samples of 0 to ``maximum`` to the full range of uint8 (up to 255) or uint16, rounded."""
    import numpy as np

    if maximum in (0xFF, 0xFFFF):
        return pixels.astype(np.uint8 if maximum == 0xFF else np.uint16, copy=False)
    top, kind = (0xFF, np.uint8) if maximum < 0xFF else (0xFFFF, np.uint16)
    steps = np.arange(maximum + 1, dtype=np.uint32)
    table = ((steps * top + maximum // 2) // maximum).astype(kind)
    result: Pixels = np.take(table, pixels, mode="clip")
    return result


#: How far resampling may have moved a value out of its range: 1/255 of the range.
_ROUNDING = 1 / 255


def from_floats(samples: NDArray[Any], name: str) -> Pixels:
    """Floating point of 0 to 1 as 16 bits.

    Raises :class:`InputError` for other ranges, which have no agreed meaning; ``name`` is the file's.
    """
    import numpy as np

    low, high = float(np.min(samples)), float(np.max(samples))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{name} holds numbers that are not finite; convert it to 16 bits first")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"{name} holds floating point from {low:g} to {high:g} where 0 to 1 is a picture; "
            "scale it or convert it to 16 bits first"
        )
    pixels: Pixels = np.rint(np.clip(samples, 0, 1) * np.float64(0xFFFF)).astype(np.uint16)
    return pixels


def bgr_of(pixels: Pixels) -> Pixels:
    """A copy in OpenCV's order: RGB and RGBA become BGR and BGRA, gray and gray + alpha stay."""
    import numpy as np

    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    result: Pixels = np.ascontiguousarray(pixels)
    return result


def reduced(pixels: Pixels, bits: int) -> Pixels:
    """Samples of 16 bits rounded to the nearest of ``bits`` (8 gives uint8, 9 to 15 uint16)."""
    import numpy as np

    top = (1 << bits) - 1
    steps = np.arange(0x10000, dtype=np.uint32)
    table = ((steps * top + 0x7FFF) // 0xFFFF).astype(np.uint8 if bits == 8 else np.uint16)
    result: Pixels = np.take(table, pixels)
    return result


def without_premultiplication(pixels: Pixels) -> Pixels:
    """Divide the colours of (H, W, 2) or (H, W, 4) by their alpha, the last channel."""
    import numpy as np

    top = np.iinfo(pixels.dtype).max
    result = pixels.copy()
    for rows in _blocks(pixels):
        alpha = pixels[rows, :, -1:].astype(np.uint64)
        divisor = np.maximum(alpha, 1)
        colors = (pixels[rows, :, :-1].astype(np.uint64) * top + divisor // 2) // divisor
        result[rows, :, :-1] = np.where(alpha == 0, 0, np.minimum(colors, top))
    return result


def over_white(pixels: Pixels) -> Pixels:
    """Lay (H, W, 2) or (H, W, 4) over white: what is transparent becomes white, alpha is gone."""
    import numpy as np

    top = int(np.iinfo(pixels.dtype).max)
    result = np.empty((*pixels.shape[:2], pixels.shape[2] - 1), pixels.dtype)
    for rows in _blocks(pixels):
        alpha = pixels[rows, :, -1:].astype(np.uint64)
        mixed = pixels[rows, :, :-1] * alpha + (top - alpha) * top
        result[rows] = (mixed + top // 2) // top
    return result[:, :, 0] if result.shape[2] == 1 else result


def as_color(pixels: Pixels) -> Pixels:
    """Gray as BGR, gray + alpha as BGRA; colours as they are."""
    import numpy as np

    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, np.newaxis], 3, axis=2)
    return pixels[:, :, [0, 0, 0, 1]] if pixels.shape[2] == 2 else pixels


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """The output of a decoder with the ``channels`` that the header says.

    Decoders may expand gray to colour or add a fourth channel. Nothing is invented here except an opaque
    alpha.
    """
    import numpy as np

    given = 1 if pixels.ndim == 2 else pixels.shape[2]
    if given == channels:
        return pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels
    if given == 1 and channels == 3:
        return as_color(pixels)
    if channels == 1:
        return np.ascontiguousarray(pixels[:, :, 0])
    if channels == 3:
        return np.ascontiguousarray(as_color(pixels)[:, :, :3])
    if given == 4 and channels == 2:
        return np.ascontiguousarray(pixels[:, :, [0, 3]])
    if given == 2:
        return as_color(pixels)
    opaque = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    if channels == 2:
        return np.dstack([pixels if given == 1 else pixels[:, :, 0], opaque])
    return np.dstack([as_color(pixels)[:, :, :3], opaque])


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """``pixels`` upright, given how EXIF's ``orientation`` (1 to 8) says that they lie."""
    import numpy as np

    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def changed(before: Pixels, after: Pixels) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds every difference; one pixel without any."""
    apart = before != after
    return bounds(apart.any(axis=2) if apart.ndim == 3 else apart)


def bounds(mask: NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds all of ``mask``; one pixel where it is empty."""
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _blocks(pixels: Pixels) -> list[slice]:
    rows = max(1, _BLOCK // max(1, pixels[0].size))
    return [slice(top, top + rows) for top in range(0, pixels.shape[0], rows)]
