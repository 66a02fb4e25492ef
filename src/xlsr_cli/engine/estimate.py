"""Predict what an upscale will do and cost: passes, memory, seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from xlsr_cli.engine.choice import Choice, Plane
from xlsr_cli.engine.models import ModelPrecision
from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.tiles.tile import blank_tile
from xlsr_cli.engine.tiles.tiling import BYTES_PER_PIXEL, Tiling
from xlsr_cli.options import Size

#: How many times that onnxruntime's allocator takes from the system, measured.
ALLOCATOR = 1.3
#: Memory for activations is given back after a network's output of at least this many bytes; after a smaller
#: one, it is kept for the next picture or frame.
LARGE = 64 << 20
#: Side of the tile that is timed, and of the picture that is upscaled as a trial.
_TIMED_SIDE = 128
_TRIED_SIDE = 96


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One run of one model over one picture of ``size`` (its input), in ``tiles`` tiles."""

    model: str
    scale: int
    size: Size
    tiles: int
    macs: int
    precision: ModelPrecision
    colours: int

    @property
    def answer(self) -> Size:
        """The size of the output."""
        return Size(width=self.size.width * self.scale, height=self.size.height * self.scale)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps from ``source`` to ``target``.

    ``passes`` in order; ``resample`` tells whether the last output is shrunk to ``target``. ``peak_memory``
    is an estimate in bytes of everything at once: input, output, what lies between, and tiles.
    ``kept_memory`` is what of it remains when the call returns: the output, and what serves the next call.
    ``seconds`` is an estimate for the whole call, from a tile and a small picture that were timed.
    """

    source: Size
    target: Size
    passes: tuple[Pass, ...]
    resample: bool
    threads: int
    peak_memory: int
    kept_memory: int
    seconds: float


class Estimator:
    """Predicts what a call will do, and roughly what it will cost.

    ``tiling`` is how pictures are cut. ``trial`` enlarges an array to a size on one thread.
    """

    def __init__(self, choice: Choice, tiling: Tiling, trial: Callable[[Pixels, Size], Pixels]) -> None:
        self._choice = choice
        self._tiling = tiling
        self._trial = trial
        self._seconds_per_pixel: dict[str, float] = {}

    def plan(self, source: Size, target: Size, *, channels: int, dtype: np.dtype[Any]) -> Plan:
        """The steps from ``source`` to ``target`` for ``channels`` (1 to 4) of uint8 or uint16.

        Loads the models, and times a tile of each and a small picture.
        """
        groups = self.passes(source, target, channels=channels, dtype=dtype)
        passes = tuple(chain(*groups))
        for plane in self._choice.planes(channels):
            for session in self._choice.sessions(source, target, plane, dtype):
                self._time(session)
        threads = self._tiling.workers
        around = self._seconds_around(source, target, channels, dtype, passes)
        result = target.pixels * channels * dtype.itemsize
        return Plan(
            source=source,
            target=target,
            passes=passes,
            resample=passes[-1].answer != target,
            threads=threads,
            peak_memory=self.peak_memory(source, target, channels=channels, dtype=dtype),
            kept_memory=result if result >= LARGE else result + _tile_memory(groups, threads),
            seconds=self._network_seconds(passes) / threads + around,
        )

    def passes(self, source: Size, target: Size, *, channels: int, dtype: np.dtype[Any]) -> list[list[Pass]]:
        """The passes of the colours and, where there is alpha, those of the alpha. Loads the models."""
        return [self._passes(source, target, plane, dtype) for plane in self._choice.planes(channels)]

    def peak_memory(self, source: Size, target: Size, *, channels: int, dtype: np.dtype[Any]) -> int:
        """Bytes of all arrays that are alive at once, at the worst moment, and of the tiles' activations."""
        groups = self.passes(source, target, channels=channels, dtype=dtype)
        alpha, colours = channels in (2, 4), 3 if channels > 2 else 1
        by_luma = colours == 3 and groups[0][0].colours == 1
        split = alpha or by_luma
        held = source.pixels * (channels + (channels if split else 0) + (colours if alpha else 0))
        moments = [_plane_pixels(groups[0], target) * groups[0][0].colours]
        if by_luma:
            moments.append(target.pixels * (1 + 3))
        if alpha:
            moments.append(target.pixels * colours + _plane_pixels(groups[1], target))
            moments.append(target.pixels * (colours + 4))  # the bounds of alpha
            moments.append(target.pixels * (colours + 1 + channels))
        return (held + max(moments)) * dtype.itemsize + _tile_memory(groups, self._tiling.workers)

    def _passes(self, source: Size, target: Size, plane: Plane, dtype: np.dtype[Any]) -> list[Pass]:
        passes = []
        size = source
        for session in self._choice.sessions(source, target, plane, dtype):
            spec = session.spec
            step = Pass(
                model=spec.name,
                scale=spec.scale,
                size=size,
                tiles=len(self._tiling.regions(size, spec)),
                macs=spec.macs,
                precision=spec.precision,
                colours=3 if plane.colour == "rgb" else 1,
            )
            passes.append(step)
            size = step.answer
        return passes

    def _time(self, session: Session) -> None:
        """Core-seconds per input pixel of one network: a tile is run and timed, once per model."""
        if session.spec.name in self._seconds_per_pixel:
            return
        tile = blank_tile(session.spec, _TIMED_SIDE)
        session.run(tile)
        started = time.perf_counter()
        session.run(tile)
        self._seconds_per_pixel[session.spec.name] = (time.perf_counter() - started) / _TIMED_SIDE**2

    def _network_seconds(self, passes: tuple[Pass, ...]) -> float:
        """Core-seconds of the networks alone."""
        return sum(self._seconds_per_pixel[step.model] * step.size.pixels for step in passes)

    def _seconds_around(
        self, source: Size, target: Size, channels: int, dtype: np.dtype[Any], passes: tuple[Pass, ...]
    ) -> float:
        """Seconds of what is done around the network: colour, fitting the size, alpha in one thread."""
        if self._choice.foreign:  # such a network takes nearly all of the time, and a trial is slow
            return 0.0
        shrink = math.sqrt(_TRIED_SIDE**2 / source.pixels)
        size = Size(
            width=max(_TRIED_SIDE, round(target.width / source.width * _TRIED_SIDE)),
            height=max(_TRIED_SIDE, round(target.height / source.height * _TRIED_SIDE)),
        )
        tried = np.arange(_TRIED_SIDE**2 * channels).reshape(_TRIED_SIDE, _TRIED_SIDE, channels).astype(dtype)
        self._trial(tried, size)
        started = time.perf_counter()
        self._trial(tried, size)
        elapsed = time.perf_counter() - started
        around = max(0.0, elapsed - self._network_seconds(passes) * shrink**2) / shrink**2
        return around if channels in (2, 4) else around / self._tiling.workers


def _plane_pixels(passes: list[Pass], target: Size) -> int:
    """Pixels alive at the worst moment between the source, which does not count, and the target."""
    moments = [(step.size.pixels if place else 0) + step.answer.pixels for place, step in enumerate(passes)]
    last = passes[-1].answer
    return max(moments if last == target else [*moments, last.pixels + target.pixels])


def _tile_memory(groups: list[list[Pass]], threads: int) -> int:
    """Bytes of activations; every model keeps its own."""
    models = {
        step.model: min(threads, step.tiles)
        * math.ceil(step.size.pixels / step.tiles)
        * BYTES_PER_PIXEL[step.precision]
        for group in groups
        for step in group
    }
    return int(sum(models.values()) * ALLOCATOR)
