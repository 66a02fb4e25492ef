"""Cut a picture into tiles, each with the halo that its pixels depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.models import ModelSpec
from xlsr_cli.options import Size

#: Bytes of activations per input pixel of a tile, measured: onnxruntime keeps about three feature maps
#: of 32 and one of 48 channels alive, plus the padded answer.
BYTES_PER_PIXEL = {"int8": 250, "fp32": 1000}
#: Default memory for activations, all workers together.
DEFAULT_TILE_MEMORY = 128 << 20
#: Tiles are not planned smaller than this: below, the halo costs more than the tile.
MIN_TILE_PIXELS = 64 * 64
#: No tile is larger, even where memory would allow it: features of a tile should stay in the cache.
MAX_TILE_PIXELS = 1 << 17
#: Tiles are at least this wide where the picture is: the halo's share falls with the tile's side.
_MIN_SIDE = 32
#: Runs of up to this many words are copied word by word, longer ones run by run.
_FEW_WORDS = 3


class Region(NamedTuple):
    """A rectangle of pixels: rows ``top`` … ``bottom - 1``, columns ``left`` … ``right - 1``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.height * self.width

    def scaled(self, scale: int) -> Region:
        """The same rectangle in a picture ``scale`` times as large."""
        return Region(*(edge * scale for edge in self))

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The view of ``pixels`` (H, W[, C]) inside this rectangle."""
        return pixels[self.top : self.bottom, self.left : self.right]


class Tiling(NamedTuple):
    """How pictures are cut: ``side`` of the tiles or None, for ``workers`` at once.

    ``max_memory``: bytes of activations, all workers together.
    """

    side: int | None
    workers: int
    max_memory: int

    def regions(self, size: Size, spec: ModelSpec) -> list[Region]:
        """The tiles of a picture of ``size`` for one model; a single one where its halo is not known."""
        if spec.halo is None:
            return [Region(top=0, bottom=size.height, left=0, right=size.width)]
        if spec.form.size is not None:
            return _inner_tiles(size, spec.form.size, spec.halo)
        fits = self.max_memory // (self.workers * BYTES_PER_PIXEL[spec.precision])
        most = max(MIN_TILE_PIXELS, min(MAX_TILE_PIXELS, fits))
        return plan_tiles(size, tile=self.side, workers=self.workers, max_pixels=most)


def tile_budget(limit: int | None) -> int:
    """Bytes for activations in a process that may take ``limit`` in all; None is no limit.

    A quarter of a small limit: libraries, models and pictures need the others.
    """
    return DEFAULT_TILE_MEMORY if limit is None else min(DEFAULT_TILE_MEMORY, limit // 4)


def plan_tiles(size: Size, *, tile: int | None, workers: int, max_pixels: int) -> list[Region]:
    """Rectangles that cover a picture of ``size`` without overlap, row by row.

    ``tile`` asks for squares of that side. Otherwise each has at most ``max_pixels``, as wide as
    possible: a wide strip shares most of its halo with the strips above and below, whose rows are still in
    the cache. There are at least ``workers`` of them where the picture allows it, and in the end a number
    that keeps all workers busy.
    """
    if tile is not None:
        return list(_grid(size, math.ceil(size.height / tile), math.ceil(size.width / tile), tile))
    columns = math.ceil(size.width * min(_MIN_SIDE, size.height) / max_pixels)
    rows = math.ceil(size.height / max(1, max_pixels // math.ceil(size.width / columns)))
    if rows * columns < workers:
        rows = min(math.ceil(workers / columns), max(rows, size.height // _MIN_SIDE))
        columns = min(math.ceil(workers / rows), max(columns, size.width // _MIN_SIDE))
    else:
        step = workers // math.gcd(workers, columns)
        rows = min(size.height, math.ceil(rows / step) * step)
    return list(_grid(size, rows, columns, None))


def _inner_tiles(size: Size, only: Size, halo: int) -> list[Region]:
    """Tiles that with ``halo`` around them are as large as ``only``; the last ones may be smaller."""
    height, width = only.height - 2 * halo, only.width - 2 * halo
    return [
        Region(top=top, bottom=min(top + height, size.height), left=left, right=min(left + width, size.width))
        for top in range(0, size.height, height)
        for left in range(0, size.width, width)
    ]


def _grid(size: Size, rows: int, columns: int, side: int | None) -> Iterator[Region]:
    """Cut into ``rows`` × ``columns``, all of ``side`` or else as equal as whole pixels allow."""

    def edge(index: int, parts: int, length: int) -> int:
        return min(index * side, length) if side is not None else index * length // parts

    for row in range(rows):
        for column in range(columns):
            region = Region(
                top=edge(row, rows, size.height),
                bottom=edge(row + 1, rows, size.height),
                left=edge(column, columns, size.width),
                right=edge(column + 1, columns, size.width),
            )
            if region.pixels:
                yield region


def quarters(region: Region) -> list[Region]:
    """``region`` cut in the middle of both sides: four regions, or two where a side is one pixel."""
    row, column = (region.top + region.bottom) // 2, (region.left + region.right) // 2
    pieces = [
        Region(top=top, bottom=bottom, left=left, right=right)
        for top, bottom in ((region.top, row), (row, region.bottom))
        for left, right in ((region.left, column), (column, region.right))
    ]
    return [piece for piece in pieces if piece.pixels]


def cut(pixels: NDArray[Any], region: Region, halo: int, only: Size | None = None) -> NDArray[Any]:
    """``region`` of ``pixels`` (H, W[, C]) with ``halo`` more pixels on each side.

    With ``only``, which is at least as large: more rows below and columns on the right, up to that size.
    Beyond the picture's border it goes on by reflection (the border pixel itself is not repeated), as often
    as needed, so that a tile sees exactly what the whole picture, extended, would show there.
    """
    size = Size(width=pixels.shape[1], height=pixels.shape[0])
    top, left = region.top - halo, region.left - halo
    bottom, right = region.bottom + halo, region.right + halo
    if only is not None:
        bottom, right = top + only.height, left + only.width
    inner = Region(
        top=max(0, top), bottom=min(size.height, bottom), left=max(0, left), right=min(size.width, right)
    )
    missing = (inner.top - top, bottom - inner.bottom, inner.left - left, right - inner.right)
    view = inner.of(pixels)
    if not any(missing):
        return view
    return np.asarray(cv2.copyMakeBorder(view, *missing, cv2.BORDER_REFLECT_101))


def place_runs(runs: NDArray[Any], picture: NDArray[Any], region: Region, scale: int) -> None:
    """Depth-to-space: write the answer of a ``runs`` model into ``picture``, as copies of byte runs.

    ``runs`` is (h, w, K) and contiguous, channel (i·s + j)·C + c holding colour c of row i, column j of
    each s×s block; K may be padded. ``picture`` is the whole output, (H·s, W·s, C) or (H·s, W·s),
    contiguous and of the same dtype; ``region`` (h × w) says where in the input the answer belongs.
    """
    height, width, channels = runs.shape
    colours = picture.shape[2] if picture.ndim == 3 else 1
    run = scale * colours * runs.itemsize
    word = _word(run)
    pixel, row = channels * runs.itemsize, picture.strides[0]
    first = region.top * scale * row + region.left * run
    for place in range(0, run, word.itemsize):
        source = np.ndarray((height, scale, width), word, runs, place, (width * pixel, run, pixel))
        target = np.ndarray((height, scale, width), word, picture, first + place, (scale * row, row, run))
        target[...] = source


def _word(run: int) -> np.dtype[Any]:
    """The unit in which a run of this many bytes is copied: numpy is fast at words."""
    size = math.gcd(run, 8)
    return np.dtype(f"u{size}") if run // size <= _FEW_WORDS else np.dtype((np.void, run))
