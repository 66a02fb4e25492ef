"""What JPEG compression left in pixels: the steps that it rounded the 8×8 DCT's coefficients to.

A decoded JPEG's coefficients stand close to multiples of these steps, at the place of the block grid and
nowhere else (Fan and de Queiroz, "Identification of bitmap compression history: JPEG detection and
quantizer estimation", IEEE Transactions on Image Processing 12(2), 2003). All sums are of whole numbers below
2**24 in float32, which holds them exactly: any order gives the same bits on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.traces.samples import BLOCK, MANY, SIDE, Sample, is_new

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
#: float64 that no decision depends on to the last bit.
Floats = NDArray[np.float64]
#: float32 that holds whole numbers; they and their sums stay below 2**24.
Exact = NDArray[np.float32]

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

#: Fewer blocks, or windows, of 32 than that without clipped colours are too few.
_FEW_BLOCKS, _FEW_WINDOWS = 3, 20
#: Coefficients up to ``_FINE_UP_TO`` are counted in bins of a half, others in bins of one.
_FINE, _FINE_UP_TO = 2, 20
#: So many steps are tried, from 2, and coefficients of that size tell no more: of blocks, of few blocks, and
#: of windows. A step of 1 leaves nothing that rounding to 8 bits would not.
_STEPS = 78
_OF_BLOCKS, _AT_FIRST, _OF_WINDOWS = (_STEPS, 120), (40, 60), (20, 50)
#: Steps of the constant coefficient that count: qualities of 6 to 50 have them.
_STEPS_OF_BRIGHTNESS = 16, 130
#: Its deviation: in a smooth block all pixels are rounded the same way.
_DEVIATION_OF_BRIGHTNESS = 2.0
#: So much of it a block leaves no doubt about the place either.
_CERTAIN = 40
#: So many times the evidence at the corner makes another place the likelier one.
_MUCH_MORE = 2
#: A picture of fewer shades than that is drawn: JPEG's ringing makes more of them. Half as many squares may
#: show fewer.
_MANY_SHADES, _SOME_SHADES = 40, 20
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
#: The same where little is enough to look closer: in blocks that may say nothing, and in windows. Of 3,300
#: JPEGs that are found, all reached 180 at first; of clean pictures, one of fifty reaches 140.
_CHOSEN_AT_FIRST, _WORTH_A_LOOK = 16, 128
_CHOSEN_OF_WINDOWS, _WORTH_ANOTHER = 32, 40


@dataclass(frozen=True, kw_only=True)
class JpegTraces:
    """A picture was a JPEG: of about this libjpeg ``quality`` (1 to 100), its grid at ``left``, ``top``.

    ``evidence`` is how much more likely that is than not, in sixteenths of a nat. ``certain``: the grid is
    at no other place. ``usual``: the steps are those of one of libjpeg's tables.
    """

    quality: int
    left: int
    top: int
    evidence: int
    certain: bool
    usual: bool


def traces_in(sample: Sample) -> JpegTraces | None:
    """What JPEG left in a picture, uint8: gray, gray and alpha, BGR or BGRA; None where nothing is found.

    Looks at 128 blocks of 8×8, at 256 if they show something, and else at 32 windows for a grid that begins
    elsewhere.
    """
    if not _has_many_shades(sample.levels, _SOME_SHADES):
        return None
    found = _traces_at(sample, 0, 0)
    if found is not None and found.certain:
        return found
    place = _likeliest_place(sample.overlapping())
    if place is None or place == (0, 0):
        return found
    # Of a picture that was cropped at one side alone, some of the evidence is at the corner.
    left, top = place
    elsewhere = _traces_at(Sample(sample.pixels[top:, left:]), left, top)
    if found is None or elsewhere is None:
        return found or elsewhere
    # Half a block away, coefficients are means of two, and so multiples of half the steps.
    is_mean = BLOCK // 2 in place and found.usual and not elsewhere.usual
    return found if is_mean or elsewhere.evidence <= _MUCH_MORE * found.evidence else elsewhere


def quality_for_scale(scale: float) -> int:
    """libjpeg's quality whose steps are ``scale`` times those of quality 50 (``jpeg_quality_scaling``)."""
    quality = 100 - 50 * scale if scale <= 1 else 50 / scale
    return min(100, max(1, math.floor(quality + 0.5)))


def _traces_at(sample: Sample, left: int, top: int) -> JpegTraces | None:
    """What is found if the grid begins where ``sample`` does; where it leaves a doubt, more squares tell."""
    for some in (sample, None):
        blocks, clipped = _blocks(some or Sample(sample.pixels, MANY))
        bins = _bins(_BASIS @ blocks, _BASIS_BITS)
        ignored = clipped | _repeated(bins)
        evidence = _evidence(bins, ignored, _rewards(*_OF_BLOCKS))
        found = _traces_of(blocks, ignored, evidence, left, top)
        if found is not None and found.certain:
            break
        if not (_are_few(clipped) or _speak(evidence)):
            return None
    return found


def _traces_of(blocks: Exact, ignored: Flags, evidence: Exact, left: int, top: int) -> JpegTraces | None:
    """What ``evidence`` (step, frequency) of ``blocks`` (64, N) says of the grid at ``left`` and ``top``."""
    weights = np.maximum(evidence.max(axis=0) - np.float32(_CHOSEN), 0)
    total = int(weights.sum())
    if total < _ENOUGH:
        return None
    blocks = blocks[:, ~ignored]
    if not _has_many_shades(blocks, _MANY_SHADES):
        return None
    certain = total >= _CERTAIN * blocks.shape[1] or _brightness_is_rounded(blocks)
    usual, mixed = _quality_of_libjpeg(evidence, total)
    # Gradients change one way only. What changes both ways has to agree, or where that is rounded to nothing,
    # how bright blocks are.
    if usual and not mixed and not _brightness_is_rounded(blocks):
        return None
    quality = usual or _quality_of_others(blocks, evidence, weights)
    if not quality:
        return None
    return JpegTraces(quality=quality, left=left, top=top, evidence=total, certain=certain, usual=usual > 0)


def _quality_of_libjpeg(evidence: Exact, total: int) -> tuple[int, bool]:
    """The quality whose table ``evidence`` (step, frequency) speaks for, or 0 where it is not one's.

    And whether enough of it is of frequencies that change both ways. No frequency alone, astray since colours
    were clipped, outweighs all the others. Of equals, the highest quality.
    """
    speaking = np.empty((_STEPS + 1, evidence.shape[1]), np.float32)
    np.maximum(evidence, np.float32(-(total // _AGAINST)), out=speaking[:_STEPS])
    speaking[_STEPS] = 0
    each = speaking.ravel().take(_tables())
    agreeing = each @ np.ones(each.shape[1], np.float32)
    best = int(agreeing.argmax())
    if agreeing[best] < max(_ENOUGH, _AGREEING * total):
        return 0, False
    return 100 - best, bool(each[best, _MIXED].sum() >= _LITTLE_MIXED * agreeing[best])


def _quality_of_others(blocks: Exact, evidence: Exact, weights: Exact) -> int:
    """About the quality, by the median of what each frequency says, of a table that is not libjpeg's.

    ``blocks``: (64, N). ``evidence``: (step, frequency). ``weights``: (frequency,), float32. 0 where it may
    be no table.
    """
    total = weights.sum()
    # Lines alone, all of one contrast, are no evidence: what changes both ways has to agree.
    if weights[_MIXED].sum() < total * _MIXED_SHARE:
        return 0
    steps = 2 + evidence.argmax(axis=0)
    scales = steps / LUMA_STEPS.reshape(-1)[_FREQUENCIES]
    order = np.argsort(scales, kind="stable")
    middle = float(scales[order[np.searchsorted(np.cumsum(weights[order]), total / 2)]])
    alike = (scales <= 2 * middle) & (2 * scales >= middle)
    number = np.count_nonzero(weights)
    least = _ALIKE if number < _MANY_FREQUENCIES else _ALIKE_OF_MANY
    # Cameras' finest tables have but a few steps that tell anything, and of those that are 2 or 3, no shape.
    fine = steps[weights > 0].max() <= _FINEST
    if not fine and (number < _FEW_FREQUENCIES or weights[alike].sum() < least * total):
        return 0
    return quality_for_scale(middle) if _vary(blocks, steps, weights) else 0


def _vary(blocks: Exact, steps: Integers, weights: Exact) -> bool:
    """Whether coefficients of ``blocks`` (64, N) are different multiples of ``steps`` (frequency,).

    In even gradients nearly all of them have one size, and so are close to multiples of that, where a
    photograph has more that are rounded to nothing. In patterns that repeat, blocks have but a few sizes.
    """
    sizes = np.minimum(np.rint(np.abs(_BASIS @ blocks) / (steps[:, None] << _BASIS_BITS)), 63)
    places = (sizes + 64 * np.arange(len(sizes))[:, None]).astype(np.int64)
    counts = np.bincount(places.ravel(), minlength=64 * len(sizes)).reshape(-1, 64)
    alike = counts[:, 1:].max(axis=1) > 2 * counts[:, 0]
    if weights[alike].sum() > _OF_ONE_SIZE * weights.sum():
        return False
    sums = np.sort((_ODD * (weights > 0)) @ sizes)
    shown = sums[sums > 0]
    return bool(_SELDOM * np.count_nonzero(is_new(shown)) > len(shown))


def _speak(evidence: Exact) -> bool:
    """Whether ``evidence`` (step, frequency) is worth a closer look."""
    return bool(np.maximum(evidence.max(axis=0) - np.float32(_CHOSEN_AT_FIRST), 0).sum() >= _WORTH_A_LOOK)


def _are_few(clipped: Flags) -> bool:
    """Whether too few blocks are not ``clipped`` to tell anything."""
    return bool(4 * np.count_nonzero(clipped) > 3 * len(clipped))


def _likeliest_place(sample: Sample) -> tuple[int, int] | None:
    """Left and top of the grid for which a few frequencies speak most, if any does, were it a JPEG's."""
    if not sample.levels.size or len(sample.levels) < SIDE:
        return None
    across = (_ACROSS @ sample.levels).reshape(SIDE, len(_SLID), -1)
    across *= np.float32(2.0 ** (_PLACES_BITS - _ACROSS_BITS))
    np.rint(across, out=across)
    # (frequency and top, left and window)
    both = np.concatenate([down @ across[:, index] for index, down in enumerate(_DOWN)])
    bins = _bins(both.reshape(-1, len(sample.squares)), _PLACES_BITS + _DOWN_BITS)
    ignored = _but_for(np.asarray(sample.clipped.any(axis=(0, 1))), _FEW_WINDOWS)
    evidence = _evidence(bins, ignored, _rewards(*_OF_WINDOWS)).max(axis=0)
    speaking = np.maximum(evidence - np.float32(_CHOSEN_OF_WINDOWS), 0).reshape(-1, 64).sum(axis=0)
    best = int(speaking.argmax())
    if speaking[best] < _WORTH_ANOTHER:
        return None
    top, left = divmod(best, 8)
    blocks = sample.levels[top : top + BLOCK, left : left + BLOCK].reshape(BLOCK * BLOCK, -1)
    bins = _bins(_BASIS @ blocks, _BASIS_BITS)
    speak = _are_few(ignored) or _speak(_evidence(bins, ignored | _repeated(bins), _rewards(*_AT_FIRST)))
    return (left, top) if speak else None


def _blocks(sample: Sample) -> tuple[Exact, Flags]:
    """Luma of blocks, (64, N), and which of them are not to be counted since they hold clipped colours."""
    levels, each = sample.levels, len(sample.levels) // BLOCK
    split = levels.reshape(each, BLOCK, each, BLOCK, -1 if levels.size else 0)
    blocks = np.ascontiguousarray(split.transpose(1, 3, 0, 2, 4)).reshape(
        BLOCK * BLOCK, split[:, 0, :, 0].size
    )
    return blocks, _but_for(sample.clipped, _FEW_BLOCKS)


def _but_for(clipped: Flags, least: int) -> Flags:
    """``clipped``, flat, unless hardly any are left: less than ``least`` of 32."""
    left = clipped.size - np.count_nonzero(clipped)
    return clipped.ravel() if 32 * left >= least * clipped.size else np.zeros(clipped.size, np.bool_)


def _has_many_shades(levels: Exact, many: int) -> bool:
    """Whether there are so many shades that it may have been a JPEG; a quarter of it tells mostly."""
    return not levels.size or any(
        np.count_nonzero(np.bincount(part.ravel().astype(np.int64))) >= many for part in (levels[::4], levels)
    )


def _cosines() -> Floats:
    """The orthonormal DCT of 8 values: (frequency, place)."""
    place = np.arange(8)
    rows = np.sqrt(2 / 8) * np.cos((2 * place + 1) * place[:, None] * np.pi / 16)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)


_COSINES = _cosines()
#: The frequencies that are looked at, as places in a flat block; the highest ones are zero nearly always.
_FREQUENCIES = np.array([8 * v + u for v in range(8) for u in range(8) if 1 <= u + v <= 7])
#: Those of them that change both ways.
_MIXED = (_FREQUENCIES % 8 > 0) & (_FREQUENCIES >= 8)
_MIXED_SHARE = 0.2
#: Of one of libjpeg's tables: that share of the evidence agrees, no frequency has more than one part in so
#: many against it, and that share of what agrees changes both ways.
_AGREEING, _AGAINST, _LITTLE_MIXED = 0.6, 8, 0.05
#: Of other tables: at least so many frequencies say something, and where they are few, and where they are
#: many, that share of it is for steps of up to twice or half the size that is usual.
_FEW_FREQUENCIES, _MANY_FREQUENCIES, _ALIKE, _ALIKE_OF_MANY = 3, 10, 0.85, 0.6
#: Steps that are all as small as that say so by themselves.
_FINEST = 3
#: No more of it than that is of frequencies whose coefficients are nearly all of one size.
_OF_ONE_SIZE = 0.7
#: One in so many blocks differs from all others, once rounded to the steps.
_SELDOM = 4
#: The DCT of 8×8 values, for these frequencies, scaled: (frequency, 64). Times luma it stays below 2**24,
#: since a row's sizes sum up to 8 at most.
_BASIS_BITS = 13
_BASIS: Exact = np.round(np.kron(_COSINES, _COSINES)[_FREQUENCIES] * (1 << _BASIS_BITS)).astype(np.float32)
#: Numbers by which blocks are told apart: times 35 bins of up to 1044 they stay below 2**24.
_ODD: Exact = (np.cumprod(np.full(len(_FREQUENCIES), 0x9E3779B1, np.uint64)) % 449).astype(np.float32)

#: Where the grid is looked for, these frequencies are worked out across, and with each of them those down
#: (their places in the first row).
_SLID = (0, 1, 3, 4)
_SLID_WITH = ([1, 3], [0, 1], [2], [0])


@functools.cache
def _tables() -> Integers:
    """Where a flat (step, frequency) holds libjpeg's steps, of qualities from 100 down: (quality, frequency).

    After the last step it has zeros, for steps that are not tried.
    """
    quality = np.arange(100, 0, -1)[:, None]
    scales = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    steps = (LUMA_STEPS.reshape(-1)[_FREQUENCIES] * scales + 50) // 100
    rows = np.where((steps < 2) | (steps >= 2 + _STEPS), _STEPS, steps - 2)
    return np.asarray(rows * len(_FREQUENCIES) + np.arange(len(_FREQUENCIES)))


def _sliding(bits: int) -> Exact:
    """Those coefficients of 16 values from each of 8 places, scaled: (frequency, place, 16)."""
    rows = np.zeros((len(_SLID), 8, SIDE), np.float32)
    for place in range(8):
        rows[:, place, place : place + 8] = np.round(_COSINES[list(_SLID)] * (1 << bits))
    return rows


#: Bits behind the point: of the cosines across, of what they give once rounded, and of the cosines down. All
#: products stay below 2**24.
_ACROSS_BITS, _PLACES_BITS, _DOWN_BITS = 12, 4, 9
_ACROSS = _sliding(_ACROSS_BITS).reshape(-1, SIDE)
_DOWN = [_sliding(_DOWN_BITS)[chosen].reshape(-1, SIDE) for chosen in _SLID_WITH]


def _brightness_is_rounded(blocks: Exact) -> bool:
    """Whether the blocks' constant coefficients stand at multiples of a step as large as low qualities have.

    Drawings have multiples of small steps: those of a few colours.
    """
    constant = np.sort(np.floor(blocks.sum(axis=0) / 8 + np.float32(0.5))) - 8 * 128
    constant = constant[is_new(constant)]
    rewards, steps = _rewards_of_brightness()
    off = constant[:, None] / steps
    off -= np.rint(off)
    places = np.minimum(np.rint(np.abs(off * steps)), len(rewards) - 1).astype(np.int64)
    evidence = np.take_along_axis(rewards, places, axis=0).sum(axis=0)
    return int(evidence.max()) >= _ENOUGH + _CHOSEN


def _bins(coefficients: Exact, bits: int) -> Exact:
    """The size of each of ``coefficients`` (which are overwritten), in bins."""
    sizes = np.abs(coefficients, out=coefficients)
    sizes *= np.float32(_FINE / (1 << bits))
    bins = np.minimum(sizes, sizes * np.float32(1 / _FINE) + np.float32(_FINE_UP_TO * (_FINE - 1)))
    return np.asarray(np.rint(bins, out=bins))


def _repeated(bins: Exact) -> Flags:
    """Which blocks (columns) were there before: what repeats, as letters do, is no second evidence."""
    sums = _ODD @ bins
    order = np.argsort(sums, kind="stable")
    found = np.empty(len(sums), np.bool_)
    found[order] = ~is_new(sums[order])
    return found


def _evidence(bins: Exact, ignored: Flags, rewards: Exact) -> Exact:
    """For every step (rows) and every row of ``bins`` (columns): how much likelier it is than none.

    ``bins`` are overwritten. Columns that are ``ignored`` say nothing, as do sizes without a reward.
    """
    rows, ends = len(bins), len(rewards)
    np.minimum(bins, np.float32(ends - 1), out=bins)
    if ignored.any():
        np.maximum(bins, ignored * np.float32(ends - 1), out=bins)
    bins += np.arange(0, rows * ends, ends, dtype=np.float32)[:, None]
    counts = np.bincount(bins.astype(np.int64).ravel(), minlength=rows * ends).astype(np.float32)
    # In parts for which BLAS wakes no other thread.
    together = next(part for part in range(min(rows, _ALONE // rewards.size), 0, -1) if rows % part == 0)
    evidence = np.matmul(counts.reshape(-1, together, ends), rewards)
    return np.ascontiguousarray(evidence.reshape(rows, -1).T)


@functools.cache
def _rewards(steps: int, largest: int) -> Exact:
    """What a coefficient of each bin (rows) says for each of the first ``steps`` (columns).

    The logarithm of how dense coefficients are there if they were rounded to multiples of the step, above
    how dense if they were not. What is rounded to nothing says nothing for a step, only against it: most
    coefficients of any picture are near zero.
    """
    fine, coarse = np.arange(_FINE * _FINE_UP_TO), np.arange(_FINE_UP_TO, largest)
    nothing = np.zeros((1, steps), np.float32)
    return np.concatenate([_rewards_of(fine, _FINE, steps), _rewards_of(coarse, 1, steps), nothing])


def _rewards_of(bins: Integers, per_unit: int, steps: int) -> Exact:
    """The rewards of ``bins`` of which there are so many ``per_unit``."""
    step = per_unit * np.arange(2, 2 + steps)
    beyond = bins[:, None] % step
    off = np.minimum(np.minimum(beyond, step - beyond), 5 * per_unit)
    distances = np.arange(5 * per_unit + 1)[:, None] / per_unit
    width = math.hypot(_DEVIATION, 0.3 / per_unit)
    rewards = np.take_along_axis(_nats(distances, step // per_unit, width), off, axis=0)
    small = 2 * bins[:, None] < step
    rewards[small] = np.minimum(rewards[small], 0)
    return rewards


@functools.cache
def _rewards_of_brightness() -> tuple[Exact, Exact]:
    """What a constant coefficient says so far (rows) from a multiple of a step (columns), and steps."""
    steps = np.arange(*_STEPS_OF_BRIGHTNESS)
    return _nats(np.arange(24)[:, None], steps, _DEVIATION_OF_BRIGHTNESS), steps.astype(np.float32)


def _nats(off: Integers | Floats, step: Integers, width: float) -> Exact:
    """What a coefficient ``off`` from the next multiple of ``step`` says for it; ``width`` is usual."""
    normal = np.exp(-((off / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    nats = np.log(_ASTRAY + (1 - _ASTRAY) * step * normal)
    return np.asarray(np.round(_UNITS * nats), np.float32)
