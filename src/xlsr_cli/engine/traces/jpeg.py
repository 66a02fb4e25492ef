"""What JPEG compression left in pixels: the steps that it rounded the 8×8 DCT's coefficients to.

A decoded JPEG's coefficients stand close to multiples of these steps, at the place of the block grid and
nowhere else (Fan and de Queiroz, "Identification of bitmap compression history: JPEG detection and
quantizer estimation", IEEE Transactions on Image Processing 12(2), 2003). All sums are of integers, in
floating point where a product of matrices wants it: any order gives the same bits on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.traces.samples import is_new, windows

#: float64 that holds whole numbers below 2**53.
Exact = NDArray[np.float64]
Integers = NDArray[np.int64]
#: float32 that holds whole numbers; their sums stay below 2**24.
Small = NDArray[np.float32]

#: Luma steps of ITU-T T.81, table K.1, in rows of rising horizontal frequency: libjpeg's at quality 50.
LUMA_STEPS: Integers = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)

#: How many blocks are looked at where the grid is, and how many places where it is looked for.
_BLOCKS, _WINDOWS = 256, 64
#: Fewer blocks than that without clipped colours are too few.
_FEW = 24
#: BT.601 weights of B, G and R, as JFIF has them, and the cosines, with so many bits behind the point.
_WEIGHT_BITS, _COSINE_BITS = 12, 11
_WEIGHTS = np.round(np.array([0.114, 0.587, 0.299]) * (1 << _WEIGHT_BITS)).astype(np.float32)
#: Coefficients are counted in bins of a quarter, up to ``_LARGEST``; larger ones tell no more.
_BINS_PER_UNIT, _LARGEST, _LARGEST_OF_WINDOWS = 4, 120, 40
#: So many steps are tried, from 2: a step of 1 leaves nothing that rounding to 8 bits would not.
_STEPS, _STEPS_OF_WINDOWS = 78, 20
#: Steps of the constant coefficient that count: qualities of 6 to 50 have them.
_STEPS_OF_BRIGHTNESS = 16, 130
#: Its deviation: in a smooth block all pixels are rounded the same way.
_DEVIATION_OF_BRIGHTNESS = 2.0
#: So much of it a block leaves no doubt about the place either.
_CERTAIN = 40
#: So many times the evidence at the corner makes another place the likelier one.
_MUCH_MORE = 2
#: A picture of fewer shades than that is drawn: JPEG's ringing makes more of them.
_MANY_SHADES = 40
#: Deviation of a decoded coefficient from its multiple: from rounding Y′CbCr, then RGB, to 8 bits.
_DEVIATION = 0.4
#: The share of coefficients that stand anywhere, since colours were clipped to 0 … 255.
_ASTRAY = 0.15
#: Units of evidence a nat.
_UNITS = 16
#: OpenBLAS multiplies matrices of up to so many products (rows by columns by terms) on one thread.
_ALONE = 1 << 18
#: What the best step of a frequency has to be better by, since it is the best of so many.
_CHOSEN = round(_UNITS * math.log(_STEPS))
#: What ``evidence`` has to reach: photographs and drawings that never were JPEG stay below it.
_ENOUGH = 30 * _UNITS


@dataclass(frozen=True, kw_only=True)
class JpegTraces:
    """A picture was a JPEG: of about this libjpeg ``quality`` (1 to 100), its grid at ``left``, ``top``.

    ``evidence`` is how much more likely that is than not, in sixteenths of a nat. ``certain``: the grid is
    at no other place.
    """

    quality: int
    left: int
    top: int
    evidence: int
    certain: bool


def jpeg_traces(pixels: NDArray[Any]) -> JpegTraces | None:
    """What JPEG left in ``pixels``; None where nothing is found.

    uint8, (H, W) or (H, W, C): gray, gray and alpha, BGR or BGRA. Looks at 256 blocks of 8×8, and where they
    show nothing, at 64 windows for a grid that begins elsewhere.
    """
    found = _traces_at(pixels, 0, 0)
    if found is not None and found.certain:
        return found
    place = _likeliest_place(pixels)
    if place is None or place == (0, 0):
        return found
    # Of a picture that was cropped at one side alone, some of the evidence is at the corner.
    elsewhere = _traces_at(pixels, *place)
    if found is None or (elsewhere is not None and elsewhere.evidence > _MUCH_MORE * found.evidence):
        return elsewhere
    return found


def quality_for_scale(scale: float) -> int:
    """libjpeg's quality whose steps are ``scale`` times those of quality 50 (``jpeg_quality_scaling``)."""
    quality = 100 - 50 * scale if scale <= 1 else 50 / scale
    return min(100, max(1, math.floor(quality + 0.5)))


def _traces_at(pixels: NDArray[Any], left: int, top: int) -> JpegTraces | None:
    blocks = _luma(windows(pixels[top:, left:], side=8, every=8, most=_BLOCKS))
    bins = _distinct(_bins(_coefficients(blocks)[_FREQUENCIES]))
    evidence = _evidence(bins, _rewards(_LARGEST, _STEPS))
    best = evidence.argmax(axis=1)
    weights = np.maximum(0, evidence[np.arange(len(best)), best] - _CHOSEN)
    total = int(weights.sum())
    shades = np.bincount(blocks.astype(np.int64).ravel() >> _WEIGHT_BITS) if total >= _ENOUGH else 0
    if np.count_nonzero(shades) < _MANY_SHADES:
        return None
    certain = total >= _CERTAIN * blocks.shape[2] or _brightness_is_rounded(blocks)
    # Lines alone, all of one contrast, are no evidence: what changes both ways has to agree, or where that
    # is rounded to nothing, how bright blocks are.
    if not certain and weights[_MIXED].sum() < total * _MIXED_SHARE:
        return None
    # The median of what each frequency says, by its evidence.
    scales = (2 + best) / LUMA_STEPS.reshape(-1)[_FREQUENCIES]
    order = np.argsort(scales, kind="stable")
    middle = int(np.searchsorted(np.cumsum(weights[order]), total / 2))
    return JpegTraces(
        quality=quality_for_scale(float(scales[order][middle])),
        left=left,
        top=top,
        evidence=total,
        certain=certain,
    )


def _likeliest_place(pixels: NDArray[Any]) -> tuple[int, int] | None:
    """Left and top of the grid for which a few frequencies speak most, if any does, were it a JPEG's."""
    seen = _luma(windows(pixels, side=15, every=8, most=_WINDOWS)).astype(np.float64)
    if not seen.size:
        return None
    across = np.matmul(_SLIDING.reshape(-1, 15), seen).reshape(15, len(_SLID), 8, -1)
    rewards = _rewards(_LARGEST_OF_WINDOWS, _STEPS_OF_WINDOWS)
    speaking = np.zeros(64, dtype=np.int64)
    # One after the other: small arrays are reused, large ones are asked of the system and cleared each time.
    for index, chosen in enumerate(_SLID_WITH):
        both = _SLIDING[chosen].reshape(-1, 15) @ across[:, index].reshape(15, -1)
        evidence = _evidence(_bins(both.reshape(-1, seen.shape[2])), rewards).max(axis=1)
        speaking += np.maximum(0, evidence - _CHOSEN).reshape(-1, 64).sum(axis=0)
    top, left = divmod(int(speaking.argmax()), 8)
    return (left, top) if speaking.any() else None


def _luma(found: NDArray[Any]) -> Small:
    """Luma of windows (N, C, side, side), scaled by the weights' bits: (side, side, N).

    Those that hold 0 or 255 are left out, since clipped, unless there are hardly any others.
    """
    number, channels, side, _ = found.shape
    flat = np.moveaxis(found, 1, -1).reshape(number, side * side * channels)
    clipped = (flat - np.uint8(1) >= 254).any(axis=1)
    flat = flat[~clipped] if number - np.count_nonzero(clipped) >= _FEW else flat
    colours = flat.reshape(-1, channels)
    if channels < 3:
        luma = colours[:, 0].astype(np.float32) * (1 << _WEIGHT_BITS)
    else:
        luma = colours[:, :3].astype(np.float32) @ _WEIGHTS
    return np.ascontiguousarray(luma.reshape(-1, side * side).T).reshape(side, side, -1)


def _cosines() -> Exact:
    """The orthonormal DCT of 8 values, (frequency, place), scaled by the cosines' bits."""
    place = np.arange(8)
    rows = np.sqrt(2 / 8) * np.cos((2 * place + 1) * place[:, None] * np.pi / 16)
    rows[0] /= np.sqrt(2)
    return np.asarray(np.round(rows * (1 << _COSINE_BITS)))


_COSINES = _cosines()
#: The frequencies that are looked at, as places in a flat block; the highest ones are zero nearly always.
_FREQUENCIES = np.array([8 * v + u for v in range(8) for u in range(8) if 1 <= u + v <= 7])
#: Those of them that change both ways.
_MIXED = (_FREQUENCIES % 8 > 0) & (_FREQUENCIES >= 8)
_MIXED_SHARE = 0.2
#: Numbers by which blocks are told apart, modulo 2**64.
_ODD = np.cumprod(np.full(64, 0x9E3779B97F4A7C15, dtype=np.uint64)).astype(np.int64)

#: Where the grid is looked for, these frequencies are worked out across, and with each of them those down
#: (their places in the first row).
_SLID = (0, 1, 2, 4)
_SLID_WITH = ([1, 2, 3], [0, 1], [0, 2], [0])


def _sliding() -> Exact:
    """Those coefficients of 15 values from each of 8 places: (frequency, place, 15)."""
    rows = np.zeros((len(_SLID), 8, 15))
    for place in range(8):
        rows[:, place, place : place + 8] = _COSINES[list(_SLID)]
    return rows


_SLIDING = _sliding()


def _coefficients(blocks: Small) -> Exact:
    """The DCT of ``blocks`` (8, 8, N), scaled: (64, N), frequencies in rows of a rising one across."""
    if not blocks.size:
        return np.zeros((64, 0))
    # Two small products: a large one would wake BLAS's other threads.
    down = (_COSINES @ blocks.reshape(8, -1).astype(np.float64)).reshape(8, 8, -1)
    return np.asarray(np.matmul(_COSINES, down)).reshape(64, -1)


def _brightness_is_rounded(blocks: Small) -> bool:
    """Whether the blocks' constant coefficients stand at multiples of a step as large as low qualities have.

    Drawings have multiples of small steps: those of a few colours.
    """
    sums = blocks.sum(axis=(0, 1), dtype=np.float64)
    constant = np.sort(np.floor(sums / (8 << _WEIGHT_BITS) + 0.5)) - 8 * 128
    constant = constant[is_new(constant)]
    steps: Integers = np.arange(*_STEPS_OF_BRIGHTNESS)
    off: Exact = constant[:, None] - steps * np.floor(constant[:, None] / steps + 0.5)
    evidence: Exact = np.round(_UNITS * _nats(off, steps, _DEVIATION_OF_BRIGHTNESS))
    return int(evidence.sum(axis=0).max()) >= _ENOUGH + _CHOSEN


def _bins(coefficients: Exact) -> Integers:
    """The size of each coefficient, in bins."""
    scale = _BINS_PER_UNIT / (1 << (_WEIGHT_BITS + 2 * _COSINE_BITS))
    return np.asarray(np.abs(coefficients) * scale + 0.5).astype(np.int64)


def _distinct(blocks: Integers) -> Integers:
    """Each block (columns) once: letters and patterns repeat, and what repeats is no second evidence."""
    sums = _ODD[: len(blocks)] @ blocks
    order = np.argsort(sums, kind="stable")
    return np.asarray(blocks[:, order[is_new(sums[order])]])


def _evidence(bins: Integers, rewards: Small) -> Integers:
    """For every row of ``bins`` and every step (columns): how much likelier it is than none."""
    rows, ends = len(bins), len(rewards)
    places = np.minimum(bins, ends - 1) + np.arange(0, rows * ends, ends)[:, None]
    counts = np.zeros(rows * ends, dtype=np.float32)
    np.add.at(counts, places.ravel(), np.float32(1))
    # In parts for which BLAS wakes no other thread.
    together = next(part for part in range(_ALONE // rewards.size, 0, -1) if rows % part == 0)
    evidence = np.asarray(np.matmul(counts.reshape(-1, together, ends), rewards))
    return evidence.reshape(rows, -1).astype(np.int64)


@functools.cache
def _rewards(largest: int, steps: int) -> Small:
    """What a coefficient of a bin up to ``largest`` (rows) says for each of the first ``steps`` (columns).

    The logarithm of how dense coefficients are there if they were rounded to multiples of the step, above
    how dense if they were not. What is rounded to nothing says nothing for a step, only against it: most
    coefficients of any picture are near zero.
    """
    step = np.arange(2, 2 + steps)
    values = np.arange(largest * _BINS_PER_UNIT + 1)[:, None] / _BINS_PER_UNIT
    off = values - step * np.floor(values / step + 0.5)
    nats = _nats(off, step, math.hypot(_DEVIATION, 0.3 / _BINS_PER_UNIT))
    rewards = np.round(_UNITS * np.where(values < step / 2, np.minimum(nats, 0), nats)).astype(np.float32)
    rewards[-1] = 0
    return rewards


def _nats(off: Exact, step: Integers | Exact, width: float) -> Exact:
    """What a coefficient ``off`` from the next multiple of ``step`` says for it, ``width`` being usual."""
    normal = np.exp(-((off / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return np.asarray(np.log(_ASTRAY + (1 - _ASTRAY) * step * normal))
