"""What JPEG compression left in pixels: the steps that it rounded the 8×8 DCT's coefficients to.

A decoded JPEG's coefficients stand close to multiples of these steps, at the place of the block grid and
nowhere else (Fan and de Queiroz, "Identification of bitmap compression history: JPEG detection and
quantizer estimation", IEEE Transactions on Image Processing 12(2), 2003). All sums are of integers, in
float64 where a product of matrices wants it: any order of summation gives the same bits on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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
_BLOCKS, _WINDOWS = 1024, 192
#: Fewer blocks than that without clipped colours are too few.
_FEW = 24
#: BT.601 weights of B, G and R, as JFIF has them, and the cosines, with so many bits behind the point.
_WEIGHT_BITS, _COSINE_BITS = 12, 11
_WEIGHTS = np.round(np.array([0.114, 0.587, 0.299]) * (1 << _WEIGHT_BITS))
#: Coefficients are counted in bins of a quarter, up to ``_LARGEST``; larger ones tell no more.
_BINS_PER_UNIT, _LARGEST, _LARGEST_OF_WINDOWS = 4, 120, 60
#: So many steps are tried, from 2: a step of 1 leaves nothing that rounding to 8 bits would not.
_STEPS, _STEPS_OF_WINDOWS = 78, 28
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

    uint8, (H, W) or (H, W, C): gray, gray and alpha, BGR or BGRA. Looks at about a thousand blocks of 8×8,
    whatever the size, and costs a few milliseconds.
    """
    found = _traces_at(pixels, 0, 0)
    if found is not None and found.certain:
        return found
    # Of a picture that was cropped at one side alone, some of the evidence is at the corner.
    elsewhere = _traces_at(pixels, *_likeliest_place(pixels))
    if found is None or (elsewhere is not None and elsewhere.evidence > _MUCH_MORE * found.evidence):
        return elsewhere
    return found


def quality_for_scale(scale: float) -> int:
    """libjpeg's quality whose steps are ``scale`` times those of quality 50 (``jpeg_quality_scaling``)."""
    quality = 100 - 50 * scale if scale <= 1 else 50 / scale
    return min(100, max(1, math.floor(quality + 0.5)))


def _traces_at(pixels: NDArray[Any], left: int, top: int) -> JpegTraces | None:
    blocks = _windows(pixels[top:, left:], side=8, most=_BLOCKS)
    bins = _distinct(_bins(blocks.reshape(-1, 64) @ _TRANSFORM))
    evidence = _evidence(bins, _rewards(_LARGEST, _STEPS))
    best = evidence.argmax(axis=1)
    weights = np.maximum(0, evidence[np.arange(len(best)), best] - _CHOSEN)
    total = int(weights.sum())
    if total < _ENOUGH or len(np.unique(blocks)) < _MANY_SHADES:
        return None
    certain = total >= _CERTAIN * len(blocks) or _brightness_is_rounded(blocks)
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


def _likeliest_place(pixels: NDArray[Any]) -> tuple[int, int]:
    """Left and top of the grid for which a few frequencies speak most, were it a JPEG's."""
    windows = _windows(pixels, side=15, most=_WINDOWS)
    rows = (windows @ _SLIDING).swapaxes(1, 2) @ _SLIDING  # (N, left and u, top and v)
    both = rows.reshape(-1, 8, _SLID, 8, _SLID)
    chosen = np.stack([both[:, :, u, :, v] for u, v in _SLID_PAIRS], axis=-1)
    rewards = _rewards(_LARGEST_OF_WINDOWS, _STEPS_OF_WINDOWS)
    evidence = _evidence(_bins(chosen.reshape(len(windows), -1)), rewards).max(axis=1)
    evidence = np.maximum(0, evidence - _CHOSEN)
    best = int(evidence.reshape(64, -1).sum(axis=1).argmax())
    return best // 8, best % 8


def _windows(pixels: NDArray[Any], *, side: int, most: int) -> Exact:
    """At most ``most`` windows of luma (N, side, side) on a grid of 8, evenly spread.

    Those that hold 0 or 255 are left out, since clipped, unless there are hardly any others.
    """
    across, down = ((extent - side) // 8 + 1 for extent in (pixels.shape[1], pixels.shape[0]))
    if across < 1 or down < 1:
        return np.zeros((1, side, side))
    number = min(most, across * down)
    places = np.arange(number) * (across * down) // number
    everywhere = sliding_window_view(pixels, (side, side), axis=(0, 1))
    # (N, side, side) or (N, C, side, side)
    windows = everywhere[8 * (places // across), 8 * (places % across)]
    windows = np.moveaxis(windows, 1, -1) if windows.ndim == 4 else windows
    flat = windows.reshape(number, -1)
    whole = (flat.max(axis=1) < 255) & (flat.min(axis=1) > 0)
    return _luma(windows[whole] if whole.sum() >= _FEW else windows)


def _luma(windows: NDArray[Any]) -> Exact:
    """Luma of (N, H, W) or (N, H, W, C), scaled by the weights' bits."""
    if windows.ndim == 3:
        return windows.astype(np.float64) * (1 << _WEIGHT_BITS)
    if windows.shape[-1] < 3:
        return windows[..., 0].astype(np.float64) * (1 << _WEIGHT_BITS)
    return np.asarray(windows[..., :3].astype(np.float64) @ _WEIGHTS)


def _cosines() -> Exact:
    """The orthonormal DCT of 8 values, (frequency, place), scaled by the cosines' bits."""
    place = np.arange(8)
    rows = np.sqrt(2 / 8) * np.cos((2 * place + 1) * place[:, None] * np.pi / 16)
    rows[0] /= np.sqrt(2)
    return np.asarray(np.round(rows * (1 << _COSINE_BITS)))


#: The frequencies that are looked at, as places in a flat block; the highest ones are zero nearly always.
_FREQUENCIES = np.array([8 * v + u for v in range(8) for u in range(8) if 1 <= u + v <= 7])
#: Those of them that change both ways.
_MIXED = (_FREQUENCIES % 8 > 0) & (_FREQUENCIES >= 8)
_MIXED_SHARE = 0.2
#: Numbers by which blocks are told apart, modulo 2**64.
_ODD = np.cumprod(np.full(64, 0x9E3779B97F4A7C15, dtype=np.uint64)).astype(np.int64)
#: A flat block's coefficients of these frequencies, (64, frequencies).
_TRANSFORM = np.kron(_cosines(), _cosines())[_FREQUENCIES].T.copy()

#: Of the places of the grid, so many frequencies each way are worked out, and these pairs are looked at.
_SLID = 5
_SLID_PAIRS = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2), (0, 4), (4, 0)]


def _sliding() -> Exact:
    """The first DCT coefficients of 15 values from each of 8 places: (15, place and frequency)."""
    rows = np.zeros((15, 8, _SLID))
    for place in range(8):
        rows[place : place + 8, place] = _cosines()[:_SLID].T
    return rows.reshape(15, -1)


_SLIDING = _sliding()


def _brightness_is_rounded(blocks: Exact) -> bool:
    """Whether the blocks' constant coefficients stand at multiples of a step as large as low qualities have.

    Drawings have multiples of small steps: those of a few colours.
    """
    constant = np.unique(np.floor(blocks.sum(axis=(1, 2)) / (8 << _WEIGHT_BITS) + 0.5)) - 8 * 128
    steps: Integers = np.arange(*_STEPS_OF_BRIGHTNESS)
    off: Exact = constant[:, None] - steps * np.floor(constant[:, None] / steps + 0.5)
    evidence: Exact = np.round(_UNITS * _nats(off, steps, _DEVIATION_OF_BRIGHTNESS))
    return int(evidence.sum(axis=0).max()) >= _ENOUGH + _CHOSEN


def _bins(coefficients: Exact) -> Integers:
    """The size of each coefficient, in bins."""
    scale = _BINS_PER_UNIT / (1 << (_WEIGHT_BITS + 2 * _COSINE_BITS))
    return np.floor(np.abs(coefficients) * scale + 0.5).astype(np.int64)


def _distinct(blocks: Integers) -> Integers:
    """Each block (rows) once: letters and patterns repeat, and what repeats is no second evidence."""
    sums = blocks @ _ODD[: blocks.shape[1]]
    return blocks[np.unique(sums, return_index=True)[1]]


def _evidence(bins: Integers, rewards: Small) -> Integers:
    """For every column of ``bins`` (rows) and every step (columns): how much likelier it is than none."""
    columns, most = bins.shape[1], len(rewards)
    kept = (bins + np.arange(columns) * most)[bins < most]
    counts = np.bincount(kept, minlength=columns * most).reshape(columns, most)
    return (counts.astype(np.float32) @ rewards).astype(np.int64)


@functools.cache
def _rewards(largest: int, steps: int) -> Small:
    """What a coefficient of a bin up to ``largest`` (rows) says for each of the first ``steps`` (columns).

    The logarithm of how dense coefficients are there if they were rounded to multiples of the step, above
    how dense if they were not. What is rounded to nothing says nothing for a step, only against it: most
    coefficients of any picture are near zero.
    """
    step = np.arange(2, 2 + steps)
    values = np.arange(largest * _BINS_PER_UNIT)[:, None] / _BINS_PER_UNIT
    off = values - step * np.floor(values / step + 0.5)
    nats = _nats(off, step, math.hypot(_DEVIATION, 0.3 / _BINS_PER_UNIT))
    return np.round(_UNITS * np.where(values < step / 2, np.minimum(nats, 0), nats)).astype(np.float32)


def _nats(off: Exact, step: Integers | Exact, width: float) -> Exact:
    """What a coefficient ``off`` from the next multiple of ``step`` says for it, ``width`` being usual."""
    normal = np.exp(-((off / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return np.asarray(np.log(_ASTRAY + (1 - _ASTRAY) * step * normal))
