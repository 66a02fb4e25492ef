"""Small windows of a picture, spread over it: looking at them costs the same for every size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

#: By so many 65536ths of the columns, the golden section, each row of windows begins later than the one
#: before, lest a picture whose width fits the number of windows be seen in one column alone.
_SHIFT = 40503


def windows(pixels: NDArray[Any], *, side: int, every: int, most: int) -> NDArray[Any]:
    """At most ``most`` windows of ``pixels``, (H, W) or (H, W, C), evenly spread: (N, C, side, side).

    They begin at multiples of ``every``. What alpha hides is black: what nobody sees has no say. A picture
    that holds no window gives none.
    """
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    down, across = ((extent - side) // every + 1 for extent in pixels.shape[:2])
    if down < 1 or across < 1:
        return np.zeros((0, pixels.shape[2], side, side), pixels.dtype)
    number = min(most, down * across)
    rows, columns = np.divmod(np.arange(number) * (down * across) // number, across)
    columns = (columns + (rows * across * _SHIFT >> 16)) % across
    y, x, channel = pixels.strides
    shape, strides = (down, across, side, side, pixels.shape[2]), (every * y, every * x, y, x, channel)
    # Channels last, as pixels lie in memory, while windows are copied.
    found = as_strided(pixels, shape, strides, writeable=False)[rows, columns]
    return visible(np.moveaxis(found, -1, 1))


def visible(found: NDArray[Any]) -> NDArray[Any]:
    """``found`` (N, C, …) with black for the colours that alpha hides."""
    if found.shape[1] not in (2, 4):
        return found
    hidden = found[:, -1:] == 0
    return np.where(hidden, found.dtype.type(0), found) if hidden.any() else found


def is_new(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Where ``ordered`` (N,) differs from what is before. (``np.unique`` would load masked arrays first.)"""
    found = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=found[1:])
    return found
