"""Recognise drawn pictures: pixel art, screenshots, text, line art, flat graphics."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.traces.samples import SOME, WEIGHT_BITS, Sample, is_new, visible, windows

#: Side and number of the squares that are examined, evenly spread.
_SIDE, _SQUARES = 16, 144
#: If so many squares of the sample show something, and in most of them fewer than so many of a hundred pairs
#: of neighbours are equal, the picture is no drawing.
_ENOUGH_SHOWN, _HARDLY_ANY = 11, 8
#: Shares of the sample that leave no doubt: see ``_EQUAL``.
_SURELY_EQUAL, _SURELY_OF_NEAR, _SURELY_UNEQUAL = 60, 80, 10
#: In 255ths of the range: a square with that much contrast shows something.
_CONTRAST = 40
#: Of the squares that show something, all but this share have to hold equal neighbours.
_EXCEPT = 0.25
#: How many of a hundred pairs of neighbours have to be equal in such a square, how many of those that
#: differ by no more than ``_NEARLY`` 255ths, and how many where a picture has only ``_FEW_COLOURS``, as pixel
#: art has.
_EQUAL, _EQUAL_OF_NEAR, _NEARLY = 40, 60, 8
_EQUAL_OF_FEW, _FEW_COLOURS = 20, 32


def is_drawn(sample: Sample) -> bool:
    """Whether a picture is drawn and never was a photograph.

    In a drawing, neighbours are exactly equal right beside strokes and edges. In a photograph they are where
    it is blown out or black, hardly ever where something is to be seen, and what is nearly equal is hardly
    ever equal. Looks at 32 squares of 16×16, whatever the size, and at 144 where these leave a doubt.
    """
    unit = np.iinfo(sample.pixels.dtype).max // 255
    if _is_no_drawing(sample, unit):
        return False
    first = _shares(_planes(sample.squares), unit, _ENOUGH_SHOWN) if len(sample.squares) >= SOME else None
    if first is not None and first[0] >= _SURELY_EQUAL and first[1] >= _SURELY_OF_NEAR:
        return True
    if first is not None and first[0] < _SURELY_UNEQUAL:
        return False
    squares = _squares(sample.pixels)
    shares = _shares(squares, unit, 1)
    if shares is None:
        return False
    if shares[0] >= _EQUAL and shares[1] >= _EQUAL_OF_NEAR:
        return True
    return bool(shares[0] >= _EQUAL_OF_FEW and _colours(squares) <= _FEW_COLOURS)


def _shares(squares: NDArray[Any], unit: int, least: int) -> tuple[int, int] | None:
    """What ``_equal`` says of all but a few squares that show something; None of fewer than ``least``."""
    shown = _contrast(squares) >= _CONTRAST * unit
    number = np.count_nonzero(shown)
    if number < least:
        return None
    equal, of_near = (
        np.sort(shares)[int(_EXCEPT * number)] for shares in _equal(squares, _NEARLY * unit)[:, shown]
    )
    return int(equal), int(of_near)


def _is_no_drawing(sample: Sample, unit: int) -> bool:
    """Whether luma alone shows it: what differs in luma is not equal, and what contrasts in it is seen."""
    luma = sample.luma
    if luma.shape[2] < _ENOUGH_SHOWN:
        return False
    flat = luma.reshape(-1, luma.shape[2])
    shown = flat.max(axis=0) - flat.min(axis=0) >= (_CONTRAST * unit << WEIGHT_BITS)
    down, across = luma[1:] == luma[:-1], luma[:, 1:] == luma[:, :-1]
    pairs = len(down) * len(flat) // len(luma)
    most = np.maximum(_numbers(down), _numbers(across))[shown]
    scarce = np.count_nonzero(most < _HARDLY_ANY * pairs // 100)
    return bool(len(most) >= _ENOUGH_SHOWN and 2 * scarce > len(most))


def _numbers(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many of ``flags`` (…, N) are set in each column."""
    return np.asarray(flags.reshape(-1, flags.shape[-1]).sum(axis=0, dtype=np.int16).astype(np.int64))


def _squares(pixels: NDArray[Any]) -> NDArray[Any]:
    """(side, side, C, N) of ``pixels`` (H, W, C): a small picture is one square as it is."""
    if min(pixels.shape[:2]) < _SIDE:
        return visible(pixels[: 2 * _SIDE, : 2 * _SIDE])[..., None]
    return _planes(windows(pixels, side=_SIDE, every=_SIDE, most=_SQUARES))


def _planes(found: NDArray[Any]) -> NDArray[Any]:
    """(side, side, C, N) of windows (N, side, side, C)."""
    return cv2.transpose(found.reshape(len(found), -1)).reshape(*found.shape[1:], -1)


def _contrast(squares: NDArray[Any]) -> NDArray[Any]:
    """How far values of the same channel differ in each of ``squares`` (side, side, C, N): (N,)."""
    return np.asarray(functools.reduce(np.maximum, squares.max(axis=(0, 1)) - squares.min(axis=(0, 1))))


def _equal(squares: NDArray[Any], nearly: int) -> NDArray[np.int64]:
    """How many of a hundred pairs are equal in each square, of all and of those that differ by ``nearly``.

    ``squares``: (side, side, C, N); gives (2, N). Of pairs side by side and pairs above one another the
    larger number.
    """
    found = []
    for first, second in ((squares[1:], squares[:-1]), (squares[:, 1:], squares[:, :-1])):
        differences = np.maximum(first, second)
        differences -= np.minimum(first, second)
        largest = functools.reduce(np.maximum, differences.transpose(2, 0, 1, 3))
        equal, near = 100 * _numbers(largest == 0), np.maximum(1, _numbers(largest <= nearly))
        pairs = max(1, largest.shape[0] * largest.shape[1])
        found.append([equal // pairs, equal // near])
    return np.asarray(np.maximum(*np.asarray(found)))


def _colours(squares: NDArray[Any]) -> int:
    """How many different colours ``squares``, (side, side, C, N), hold."""
    bits = 8 * squares.itemsize
    packed = np.zeros((*squares.shape[:2], squares.shape[3]), dtype=np.uint64)
    for channel in range(squares.shape[2]):
        packed = packed << np.uint64(bits) | squares[:, :, channel]
    return int(np.count_nonzero(is_new(np.sort(packed, axis=None))))
