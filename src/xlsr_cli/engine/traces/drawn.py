"""Recognise drawn pictures: pixel art, screenshots, text, line art, flat graphics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.traces.samples import is_new, visible, windows

#: Side and number of the squares that are examined, evenly spread.
_SIDE, _SQUARES = 16, 144
#: So many are examined first. If that many of them show something, and fewer than so many of a hundred pairs
#: of neighbours are equal in them, the picture is no drawing.
_FEW_SQUARES, _ENOUGH_SHOWN, _HARDLY_ANY = 36, 12, 8
#: In 255ths of the range: a square with that much contrast shows something.
_CONTRAST = 40
#: Of the squares that show something, all but this share have to hold equal neighbours.
_EXCEPT = 0.25
#: How many of a hundred pairs of neighbours have to be equal in such a square, how many of those that
#: differ by no more than ``_NEARLY`` 255ths, and how many where a picture has only ``_FEW_COLOURS``, as pixel
#: art has.
_EQUAL, _EQUAL_OF_NEAR, _NEARLY = 40, 60, 8
_EQUAL_OF_FEW, _FEW_COLOURS = 20, 32


def looks_drawn(pixels: NDArray[Any]) -> bool:
    """Whether ``pixels``, uint8 or uint16, (H, W) or (H, W, C), are drawn and never were a photograph.

    In a drawing, neighbours are exactly equal right beside strokes and edges. In a photograph they are where
    it is blown out or black, hardly ever where something is to be seen, and what is nearly equal is hardly
    ever equal. Looks at no more than 144 squares of 16×16, whatever the size, and for a photograph at 36.
    """
    unit = np.iinfo(pixels.dtype).max // 255
    few = _shown(_squares(pixels, _FEW_SQUARES), unit)
    if few.shape[1] >= _ENOUGH_SHOWN and not _some_are_equal(few):
        return False
    squares = _squares(pixels, _SQUARES)
    shown = _shown(squares, unit)
    if not shown.shape[1]:
        return False
    equal, of_near = (
        np.sort(shares)[int(_EXCEPT * shown.shape[1])] for shares in _equal(shown, _NEARLY * unit)
    )
    if equal >= _EQUAL and of_near >= _EQUAL_OF_NEAR:
        return True
    return bool(equal >= _EQUAL_OF_FEW and _colours(squares) <= _FEW_COLOURS)


def _squares(pixels: NDArray[Any], most: int) -> NDArray[Any]:
    """(C, N, side, side) of ``pixels``: a small picture is one square as it is."""
    if min(pixels.shape[:2]) >= _SIDE:
        found = windows(pixels, side=_SIDE, every=_SIDE, most=most)
    else:
        found = visible(np.moveaxis(pixels.reshape(1, *pixels.shape[:2], -1), -1, 1))
        found = found[..., : 2 * _SIDE, : 2 * _SIDE]
    return np.ascontiguousarray(np.moveaxis(found, 1, 0))


def _shown(squares: NDArray[Any], unit: int) -> NDArray[Any]:
    """Those of ``squares`` (C, N, side, side) that show something."""
    flat = squares.reshape(*squares.shape[:2], -1)
    spread = flat.max(axis=2) - flat.min(axis=2)
    return squares[:, spread.max(axis=0) >= _CONTRAST * unit]


def _some_are_equal(squares: NDArray[Any]) -> bool:
    """Whether side by side or above one another, more than hardly any pixels of ``squares`` are equal."""
    for first, second in (
        (squares[..., 1:], squares[..., :-1]),
        (squares[..., 1:, :], squares[..., :-1, :]),
    ):
        equal = (first == second).all(axis=0)
        if 100 * np.count_nonzero(equal) >= _HARDLY_ANY * equal.size:
            return True
    return False


def _equal(squares: NDArray[Any], nearly: int) -> NDArray[np.int64]:
    """How many of a hundred pairs are equal in each square, of all and of those that differ by ``nearly``.

    ``squares``: (C, N, side, side); gives (2, N). Of pairs side by side and pairs above one another the
    larger number.
    """
    found = []
    for first, second in (
        (squares[..., 1:], squares[..., :-1]),
        (squares[..., 1:, :], squares[..., :-1, :]),
    ):
        differences = (np.maximum(first, second) - np.minimum(first, second)).max(axis=0)
        equal = np.count_nonzero(differences == 0, axis=(1, 2))
        near = np.count_nonzero(differences <= nearly, axis=(1, 2))
        found.append([100 * equal // max(1, differences[0].size), 100 * equal // np.maximum(1, near)])
    return np.asarray(np.maximum(*np.asarray(found)))


def _colours(squares: NDArray[Any]) -> int:
    """How many different colours ``squares``, (C, N, side, side), hold."""
    bits = 8 * squares.itemsize
    packed = np.zeros(squares.shape[1:], dtype=np.uint64)
    for plane in squares:
        packed = packed << np.uint64(bits) | plane
    return int(np.count_nonzero(is_new(np.sort(packed, axis=None))))
