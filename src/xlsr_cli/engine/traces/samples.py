"""Small windows of a picture, spread over it: looking at them costs the same for every size."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

#: By so many 65536ths of the columns, the golden section, each row of windows begins later than the one
#: before, lest a picture whose width fits the number of windows be seen in one column alone.
_SHIFT = 40503
#: Side of the squares that both looks examine, and of JPEG's blocks in them; so many squares show whether
#: there is anything to find, and so many what it is.
SIDE, BLOCK = 16, 8
SOME, MANY = 32, 64
#: BT.601 weights of B, G and R, as JFIF has them, with so many bits behind the point.
WEIGHT_BITS = 12
_WEIGHTS = np.array([467, 2404, 1225], dtype=np.float32)


class Sample:
    """Squares of 16×16 of a picture, evenly spread: at most ``most``.

    ``pixels``: (H, W, C), uint8 or uint16. ``squares``: (N, 16, 16, C); they begin at multiples of 8, so each
    holds four of the blocks that JPEG makes. Of a narrower picture (N, 8, 8, C), or none.
    """

    def __init__(self, pixels: NDArray[Any], most: int = SOME) -> None:
        self.pixels = pixels.reshape(*pixels.shape[:2], -1)
        self.squares = _squares(self.pixels, most)
        # No cached_property: before Python 3.12 it holds a lock, which a fork beside a thread leaves locked.
        self._luma: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._clipped: NDArray[np.bool_] | None = None

    def overlapping(self) -> Sample:
        """Squares from every multiple of 8, where a picture is too small for ``SOME`` side by side."""
        if len(self.squares) >= SOME:
            return self
        found = Sample(self.pixels, 0)
        found.squares = windows(self.pixels, side=SIDE, every=BLOCK, most=SOME)
        return found

    @property
    def luma(self) -> NDArray[Any]:
        """Luma of the squares, scaled, as ``luma`` has it: (side, side, N)."""
        return self._both_lumas()[0]

    @property
    def levels(self) -> NDArray[Any]:
        """Luma of the squares in levels, as ``luma`` has it: (side, side, N)."""
        return self._both_lumas()[1]

    @property
    def clipped(self) -> NDArray[np.bool_]:
        """Which blocks of the squares hold 0 or the largest value: (down, across, N)."""
        if self._clipped is None:
            self._clipped = _clipped(self.squares)
        return self._clipped

    def _both_lumas(self) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._luma is None:
            self._luma = luma(self.squares)
        return self._luma


def _clipped(squares: NDArray[Any]) -> NDArray[np.bool_]:
    """Which blocks of ``squares`` (N, side, side, C) hold 0 or the largest value: (down, across, N)."""
    number, side, _, channels = squares.shape
    each = side // BLOCK
    extreme = squares - 1 >= np.iinfo(squares.dtype).max - 1
    if not extreme.any():
        return np.zeros((each, each, number), np.bool_)
    rows = extreme.reshape(number * each, BLOCK * side * channels).astype(np.float32)
    sums = rows @ _sums(each, channels)
    return np.asarray(sums.reshape(number, each, each).transpose(1, 2, 0) > 0)


@functools.cache
def _sums(each: int, channels: int) -> NDArray[np.float32]:
    """The matrix that sums up ``each`` blocks side by side, their rows one after the other."""
    across = np.kron(np.eye(each), np.ones((BLOCK * channels, 1)))
    return np.tile(across, (BLOCK, 1)).astype(np.float32)


def luma(found: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Luma of windows (N, side, side, C), twice: (side, side, N), float32, of uint16 float64, whole numbers.

    Scaled by the weights' bits, and as JPEG has it: rounded, which undoes how it rounded R, G and B.
    """
    number, side, _, channels = found.shape
    exact = np.float32 if found.dtype == np.uint8 else np.float64
    colours: NDArray[Any] = found.reshape(-1, channels).astype(exact)
    if channels > 2:
        scaled = colours[:, :3] @ _WEIGHTS.astype(exact)
    else:
        scaled = colours[:, 0] * exact(1 << WEIGHT_BITS)
    if number:
        scaled = np.asarray(cv2.transpose(scaled.reshape(number, side * side)))
    scaled = scaled.reshape(side, side, number)
    return scaled, np.asarray(np.rint(scaled * exact(2.0**-WEIGHT_BITS)))


def windows(pixels: NDArray[Any], *, side: int, every: int, most: int) -> NDArray[Any]:
    """At most ``most`` windows of ``pixels``, (H, W) or (H, W, C), evenly spread: (N, side, side, C).

    They begin at multiples of ``every``. What alpha hides is black: what nobody sees has no say. A picture
    that holds no window gives none.
    """
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    down, across = ((extent - side) // every + 1 for extent in pixels.shape[:2])
    if down < 1 or across < 1:
        return np.zeros((0, side, side, pixels.shape[2]), pixels.dtype)
    rows, columns = _spread(down, across, most)
    return _cut(pixels, rows * every, columns * every, side)


def _squares(pixels: NDArray[Any], most: int) -> NDArray[Any]:
    """Squares of ``pixels`` (H, W, C) side by side; the last one reaches back to where a block begins."""
    height, width, _ = pixels.shape
    last_row, last_column = (height - SIDE) // BLOCK, (width - SIDE) // BLOCK
    if last_row < 0 or last_column < 0:
        return windows(pixels, side=BLOCK, every=BLOCK, most=4 * most)
    rows, columns = _spread((last_row + 3) // 2, (last_column + 3) // 2, most)
    rows, columns = np.minimum(2 * rows, last_row), np.minimum(2 * columns, last_column)
    return _cut(pixels, BLOCK * rows, BLOCK * columns, SIDE)


def _spread(down: int, across: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of at most ``most`` of ``down`` × ``across`` places."""
    number = min(most, down * across)
    rows, columns = np.divmod(np.arange(number) * (down * across) // number, across)
    return rows, (columns + (rows * across * _SHIFT >> 16)) % across


def _cut(pixels: NDArray[Any], tops: NDArray[np.int64], lefts: NDArray[np.int64], side: int) -> NDArray[Any]:
    height, width, channels = pixels.shape
    y, x, channel = pixels.strides
    shape = (height - side + 1, width - side + 1, side, side, channels)
    # Channels last, as pixels lie in memory, while windows are copied.
    found = as_strided(pixels, shape, (y, x, y, x, channel), writeable=False)[tops, lefts]
    return visible(found)


def visible(found: NDArray[Any]) -> NDArray[Any]:
    """``found`` (…, C) with black for the colours that alpha hides."""
    if found.shape[-1] not in (2, 4):
        return found
    hidden = found[..., -1:] == 0
    return np.where(hidden, found.dtype.type(0), found) if hidden.any() else found


def is_new(ordered: NDArray[Any]) -> NDArray[np.bool_]:
    """Where ``ordered`` (N,) differs from what is before. (``np.unique`` would load masked arrays first.)"""
    found = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=found[1:])
    return found
