"""What the previous frame leaves to the next one: tiles whose input did not change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.tiling import Region, plan_tiles
from xlsr_cli.options import Size

#: Small enough that a cursor or a caret changes little, large enough that the halo stays cheap.
_TILE = 48
#: Above this share of changed tiles, computing the frame in large tiles is cheaper.
_WORTH_IT = 0.6


class Reuse:
    """Remembers, for one sequence of frames, each network pass's last input and answer.

    Give the same object to :class:`~xlsr_cli.engine.upscaler.Upscaler` with every frame. The answer is
    bit-identical to computing everything: a tile is left out only when all of its input bytes, halo
    included, equal those of the frame before. Not to be shared between threads.

    ``tiles`` and ``reused`` count all tiles so far and those that were not computed again.
    """

    def __init__(self) -> None:
        self.tiles = 0
        self.reused = 0
        self._last: dict[object, tuple[NDArray[Any], NDArray[Any]]] = {}

    def changed_regions(
        self, key: object, pixels: NDArray[Any], halo: int
    ) -> tuple[NDArray[Any], list[Region]] | None:
        """(last answer, regions of ``pixels`` to compute again), or None when all of it must be.

        ``key`` names the pass: its model and its place in the chain. Where there is something to compute,
        the answer is a copy to write into.
        """
        size = Size(width=pixels.shape[1], height=pixels.shape[0])
        grid = plan_tiles(size, tile=_TILE, workers=1, max_pixels=size.pixels)
        self.tiles += len(grid)
        last = self._last.get(key)
        if last is None or last[0].shape != pixels.shape or last[0].dtype != pixels.dtype:
            return None
        before, answer = last
        changed = [
            region
            for region in grid
            if not np.array_equal(region.grown(halo, size).of(before), region.grown(halo, size).of(pixels))
        ]
        if len(changed) > _WORTH_IT * len(grid):
            return None
        self.reused += len(grid) - len(changed)
        return (answer.copy() if changed else answer), _joined(changed)

    def remember(self, key: object, pixels: NDArray[Any], answer: NDArray[Any]) -> None:
        """Keep a copy of a frame's input, and its answer, which becomes read-only for everyone."""
        answer.setflags(write=False)
        self._last[key] = (pixels.copy(), answer)


def _joined(regions: list[Region]) -> list[Region]:
    """Neighbours in a row made one: fewer, wider tiles with less halo between them."""
    joined: list[Region] = []
    for region in regions:
        if joined and joined[-1].top == region.top and joined[-1].right == region.left:
            joined[-1] = Region(
                top=region.top, bottom=region.bottom, left=joined[-1].left, right=region.right
            )
        else:
            joined.append(region)
    return joined
