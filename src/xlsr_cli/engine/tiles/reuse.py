"""What the previous frame leaves to the next one: tiles whose input did not change."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.tiles.tiling import Region

#: Small enough that a cursor or a caret changes little, large enough that the halo stays cheap.
_TILE = 48
#: Above this share of changed tiles, computing the frame in large tiles is cheaper.
_WORTH_IT = 0.6


class Reuse:
    """Remembers, for one sequence of frames, each network pass's last input and answer.

    Give the same object to :class:`~xlsr_cli.engine.upscaler.Upscaler` with every frame, or, where frames
    are computed several at a time, what :meth:`begin` returns for each. The answer is
    bit-identical to computing everything: a tile is left out only when all of its input bytes, halo
    included, equal those of the frame before.

    ``tiles`` and ``reused`` count all tiles so far and those that were not computed again.
    """

    def __init__(self) -> None:
        self.tiles = 0
        self.reused = 0
        self._changed = threading.Condition()
        self._last: FrameReuse | None = None

    def begin(self) -> FrameReuse:
        """The next frame's share of the memory. To be called in the order of the frames, from one thread."""
        self._last = FrameReuse(self, self._last)
        return self._last

    def count(self, tiles: int, reused: int) -> None:
        """Add to the counts."""
        with self._changed:
            self.tiles += tiles
            self.reused += reused


@dataclass(kw_only=True, eq=False)
class _Pass:
    """A copy of what went into one pass of one frame, and its answer once there is one."""

    pixels: NDArray[Any]
    answer: NDArray[Any] | None = None


class FrameReuse:
    """What one frame finds in the one before it and leaves to the one behind it.

    A frame waits for the one before where it needs its input or its answer, and for nothing else: frames
    without common tiles are computed side by side. The frame before must therefore have begun its work, and
    every frame must be closed in the end, whatever becomes of it.
    """

    def __init__(self, reuse: Reuse, before: FrameReuse | None) -> None:
        self._reuse, self._before = reuse, before
        self._changed = reuse._changed
        self._passes: dict[object, _Pass] = {}
        self._closed = False

    def changed_regions(
        self, key: object, pixels: NDArray[Any], halo: int
    ) -> tuple[NDArray[Any], list[Region]] | None:
        """(last answer, regions of ``pixels`` to compute again), or None when all of it must be.

        ``key`` names the pass: its model and its place in the chain. ``pixels`` are (H, W) or (H, W, C).
        Where there is something to compute, the answer is a copy to write into.
        """
        before = self._pass_before(key, pixels)
        grid = _Grid(pixels.shape)
        changed = None if before is None else grid.changed(before.pixels, pixels, halo)
        answer = None
        if before is not None and changed is not None and changed.sum() <= _WORTH_IT * changed.size:
            answer = self._answer_of(before)
        if answer is None or changed is None:
            self._reuse.count(grid.tiles, 0)
            return None
        self._reuse.count(grid.tiles, grid.tiles - int(changed.sum()))
        return (answer.copy() if changed.any() else answer), _joined(grid.regions(changed))

    def same(self, key: object, pixels: NDArray[Any]) -> NDArray[Any] | None:
        """The answer of the frame before, where ``pixels`` are the same; nothing is counted."""
        before = self._pass_before(key, pixels)
        if before is None or not np.array_equal(before.pixels, pixels):
            return None
        return self._answer_of(before)

    def remember(self, key: object, answer: NDArray[Any]) -> None:
        """Keep the answer of a pass that was looked for, which becomes read-only for everyone."""
        answer.setflags(write=False)
        with self._changed:
            self._passes[key].answer = answer
            self._changed.notify_all()

    def close(self) -> None:
        """The frame is done, or will never be: nobody waits for it any longer. May be repeated."""
        with self._changed:
            self._closed, self._before = True, None
            self._changed.notify_all()

    def _pass_before(self, key: object, pixels: NDArray[Any]) -> _Pass | None:
        """The same pass of the frame before, where it has one of this shape; this one's is made known."""
        mine = _Pass(pixels=pixels.copy())
        with self._changed:
            self._passes[key] = mine
            self._changed.notify_all()
            before = self._before
            if before is None:
                return None
            self._changed.wait_for(lambda: key in before._passes or before._closed)
            found = before._passes.get(key)
        fits = found is not None and found.pixels.shape == pixels.shape and found.pixels.dtype == pixels.dtype
        return found if fits else None

    def _answer_of(self, found: _Pass) -> NDArray[Any] | None:
        """The answer of a pass of the frame before; None where it failed."""
        before = self._before
        assert before is not None
        with self._changed:
            self._changed.wait_for(lambda: found.answer is not None or before._closed)
            return found.answer


class _Grid:
    """Tiles of :data:`_TILE` pixels over a frame of ``shape``, (H, W) or (H, W, C)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._height, self._width = shape[:2]
        self._tops = range(0, self._height, _TILE)
        self._lefts = range(0, self._width, _TILE)

    @property
    def tiles(self) -> int:
        """How many there are."""
        return len(self._tops) * len(self._lefts)

    def changed(self, before: NDArray[Any], pixels: NDArray[Any], halo: int) -> NDArray[np.bool_]:
        """Which tiles differ in a pixel of theirs or of the ``halo`` around: (rows, columns) of bool."""
        differs = before != pixels
        if differs.ndim == 3:
            differs = np.logical_or.reduce([differs[..., channel] for channel in range(differs.shape[2])])
        if halo:
            reach = np.ones((2 * halo + 1, 2 * halo + 1), dtype=np.uint8)
            differs = np.asarray(cv2.dilate(differs.view(np.uint8), reach)).view(np.bool_)
        rows = np.logical_or.reduceat(differs, self._tops, axis=0)
        return np.asarray(np.logical_or.reduceat(rows, self._lefts, axis=1))

    def regions(self, chosen: NDArray[np.bool_]) -> list[Region]:
        """The chosen tiles, row by row."""
        return [
            Region(
                top=self._tops[row],
                bottom=min(self._tops[row] + _TILE, self._height),
                left=self._lefts[column],
                right=min(self._lefts[column] + _TILE, self._width),
            )
            for row, column in np.argwhere(chosen).tolist()
        ]


def _joined(regions: list[Region]) -> list[Region]:
    """Neighbours in a row made one: fewer, wider tiles with less halo between them."""
    joined: list[Region] = []
    for region in regions:
        if joined and joined[-1].top == region.top and joined[-1].right == region.left:
            joined[-1] = joined[-1]._replace(right=region.right)
        else:
            joined.append(region)
    return joined
