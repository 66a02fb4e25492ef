"""What an upscale will do, worked out from sizes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xlsr_cli.engine.models import ModelPrecision
from xlsr_cli.options import Size

#: Chains of model scales for each total factor, the cheapest first: the smaller model goes first, since
#: the second one works on the larger picture.
CHAINS: tuple[tuple[int, ...], ...] = ((2,), (3,), (4,), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4))

#: Bytes of activations per input pixel of a tile, measured: onnxruntime keeps about three feature maps
#: of 32 and one of 48 channels alive, plus the padded answer.
BYTES_PER_PIXEL = {"int8": 250, "fp32": 1000}
#: How much more than that onnxruntime's allocator takes from the system, measured.
ALLOCATOR = 1.3
#: After a network's answer of so many bytes, memory for activations is given back; below, keeping it for
#: the next picture or frame is worth more.
LARGE = 64 << 20
#: Memory for activations when nothing else is asked for, all workers together.
DEFAULT_TILE_MEMORY = 128 << 20
#: Tiles are not planned smaller than this: below, the halo costs more than the tile.
MIN_TILE_PIXELS = 64 * 64
#: No tile is larger, even where memory would allow it: features of a tile should stay in the cache.
MAX_TILE_PIXELS = 1 << 17


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
        """The size that comes out."""
        return Size(width=self.size.width * self.scale, height=self.size.height * self.scale)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps from ``source`` to ``target``.

    ``passes`` in order; ``resample`` tells that the last answer is shrunk to ``target``. ``peak_memory``
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


def chain_for(source: Size, target: Size) -> tuple[int, ...]:
    """The model scales whose product just reaches ``target`` from ``source``.

    >>> chain_for(Size(width=100, height=100), Size(width=250, height=250))
    (3,)
    """
    factor = max(target.width / source.width, target.height / source.height)
    return next(chain for chain in CHAINS if math.prod(chain) >= factor)


def foreign_chain(scale: int, source: Size, target: Size) -> tuple[int, ...]:
    """The same for a model from outside, which knows one scale only: as often as it takes."""
    factor = max(target.width / source.width, target.height / source.height)
    times = 1
    while scale**times < factor:
        times += 1
    return (scale,) * times


def tile_pixels(precision: str, workers: int, max_memory: int | None) -> int:
    """The largest tile, in input pixels, whose activations fit the memory, ``workers`` at once."""
    budget = DEFAULT_TILE_MEMORY if max_memory is None else max_memory
    fits = budget // (workers * BYTES_PER_PIXEL[precision])
    return max(MIN_TILE_PIXELS, min(MAX_TILE_PIXELS, fits))


def peak_memory(
    source: Size, target: Size, groups: list[list[Pass]], *, channels: int, itemsize: int, threads: int
) -> int:
    """Bytes of all arrays that are alive at once, at the worst moment, and of the tiles' activations.

    ``groups`` are the passes of the colours and, where there is alpha, those of the alpha.
    """
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
    return (held + max(moments)) * itemsize + _tile_memory(groups, threads)


def kept_memory(result: int, groups: list[list[Pass]], *, threads: int) -> int:
    """Bytes that remain of a call whose ``result`` has so many bytes."""
    return result if result >= LARGE else result + _tile_memory(groups, threads)


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
