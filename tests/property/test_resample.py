"""The fixed-point filter against the same filter in floating point, and what it promises besides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xlsr_cli.engine import resample
from xlsr_cli.engine.resample import Filter, resize
from xlsr_cli.options import Size

FILTERS = st.sampled_from(["cubic", "lanczos3"])
DTYPES = st.sampled_from([np.uint8, np.uint16])
CHANNELS = st.sampled_from([(), (1,), (2,), (3,), (4,), (5,)])
SITINGS = st.sampled_from([(0.0, 0.0), (0.25, 0.0), (0.25, 0.25)])
SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def lengths(draw: st.DrawFn) -> tuple[int, int]:
    """(source, target) of one side: whole factors, odd ones, shrinking, and no change at all."""
    source = draw(SIDES)
    whole = st.integers(1, 6).map(lambda factor: factor * source)
    return source, draw(whole | st.integers(1, 160))


def noise(seed: int, dtype: type, *shape: int) -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)


def by_definition(
    pixels: NDArray[Any], size: Size, kind: Filter, siting: tuple[float, float]
) -> NDArray[Any]:
    """The filter as a textbook has it, in float64: rows, then columns."""
    top = np.iinfo(pixels.dtype).max
    down = _matrix(pixels.shape[0], size.height, kind, siting[1])
    across = _matrix(pixels.shape[1], size.width, kind, siting[0])
    tall = np.einsum("ij,jk...->ik...", down, pixels.astype(np.float64))
    if is_fast(pixels, size):  # what overshoots is clipped between the passes, too
        tall = np.clip(tall, 0, top)
    return np.clip(np.einsum("ik...,lk->il...", tall, across), 0, top)


def is_fast(pixels: NDArray[Any], size: Size) -> bool:
    """Whole factors of 8-bit pictures have 7-bit weights and round between the passes."""
    factors = (size.height / pixels.shape[0], size.width / pixels.shape[1])
    return pixels.dtype == np.uint8 and all(factor in (1, 2, 3, 4) for factor in factors)


def allowed(pixels: NDArray[Any], size: Size, kind: Filter) -> float:
    """The largest error: of rounding the answer, and every weight to 14 bits (or twice, and to 7)."""
    if is_fast(pixels, size):
        return 4.0
    shrinks = (max(1.0, pixels.shape[0] / size.height), max(1.0, pixels.shape[1] / size.width))
    taps = sum((4 if kind == "cubic" else 6) * shrink + 1 for shrink in shrinks)
    return float(0.52 + np.iinfo(pixels.dtype).max * taps * 0.5 / 2**14)


def _matrix(source: int, target: int, kind: Filter, siting: float) -> NDArray[np.float64]:
    factor = target / source
    stretch = max(1.0, 1.0 / factor)
    reach = (2 if kind == "cubic" else 3) * stretch
    matrix = np.zeros((target, source))
    for index in range(target):
        centre = (index + 0.5 - siting) / factor - 0.5 + siting
        for tap in range(math.floor(centre - reach), math.ceil(centre + reach) + 1):
            matrix[index, min(max(tap, 0), source - 1)] += _weight(kind, (tap - centre) / stretch)
        matrix[index] /= matrix[index].sum()
    return matrix


def _weight(kind: Filter, x: float) -> float:
    x = abs(x)
    if kind == "lanczos3":
        if x >= 3:
            return 0.0
        return 1.0 if x == 0 else 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


@settings(max_examples=200, deadline=None)
@given(
    rows=lengths(),
    columns=lengths(),
    channels=CHANNELS,
    dtype=DTYPES,
    kind=FILTERS,
    siting=SITINGS,
    seed=SEEDS,
)
def test_it_is_the_filter_in_floating_point(
    rows: tuple[int, int],
    columns: tuple[int, int],
    channels: tuple[int, ...],
    dtype: type,
    kind: Filter,
    siting: tuple[float, float],
    seed: int,
) -> None:
    pixels = noise(seed, dtype, rows[0], columns[0], *channels)
    size = Size(width=columns[1], height=rows[1])
    answer = resize(pixels, size, filter=kind, siting=siting)
    assert answer.dtype == dtype
    assert answer.shape == (size.height, size.width, *channels)
    error = np.abs(answer - by_definition(pixels, size, kind, siting))
    assert error.max() <= allowed(pixels, size, kind)


@given(rows=lengths(), columns=lengths(), value=st.integers(0, 65535), dtype=DTYPES, kind=FILTERS)
def test_a_flat_picture_stays_flat(
    rows: tuple[int, int], columns: tuple[int, int], value: int, dtype: type, kind: Filter
) -> None:
    value = value if dtype == np.uint16 else value >> 8
    answer = resize(
        np.full((rows[0], columns[0], 3), value, dtype), Size(width=columns[1], height=rows[1]), filter=kind
    )
    assert (answer == value).all()


@given(rows=lengths(), columns=lengths(), dtype=DTYPES, kind=FILTERS, siting=SITINGS, seed=SEEDS)
def test_channels_do_not_mix(
    rows: tuple[int, int],
    columns: tuple[int, int],
    dtype: type,
    kind: Filter,
    siting: tuple[float, float],
    seed: int,
) -> None:
    pixels = noise(seed, dtype, rows[0], columns[0], 3)
    size = Size(width=columns[1], height=rows[1])
    together = resize(pixels, size, filter=kind, siting=siting)
    for channel in range(3):
        alone = resize(pixels[..., channel], size, filter=kind, siting=siting)
        np.testing.assert_array_equal(together[..., channel], alone)


@given(
    rows=lengths(),
    columns=lengths(),
    dtype=DTYPES,
    kind=FILTERS,
    samples=st.integers(1, 3000),
    seed=SEEDS,
)
def test_bands_leave_no_trace(
    rows: tuple[int, int], columns: tuple[int, int], dtype: type, kind: Filter, samples: int, seed: int
) -> None:
    pixels = noise(seed, dtype, rows[0], columns[0], 2)
    size = Size(width=columns[1], height=rows[1])
    whole = resize(pixels, size, filter=kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "_BAND_SAMPLES", samples)
        patch.setattr(resample, "_FAST_BAND_SAMPLES", samples)
        np.testing.assert_array_equal(resize(pixels, size, filter=kind), whole)


@given(height=SIDES, width=SIDES, seed=SEEDS)
def test_the_same_size_is_the_same_picture_and_another_array(height: int, width: int, seed: int) -> None:
    pixels = noise(seed, np.uint8, height, width, 3)
    answer = resize(pixels, Size(width=width, height=height))
    np.testing.assert_array_equal(answer, pixels)
    answer ^= 0xFF
    assert (answer != pixels).all()


@pytest.mark.parametrize("kind", ["cubic", "lanczos3"])
@pytest.mark.parametrize("source", [(9, 7), (8, 8)])
@pytest.mark.parametrize("target", [(27, 21), (24, 16), (20, 13), (5, 4)])
def test_extremes_do_not_overflow(source: tuple[int, int], target: tuple[int, int], kind: Filter) -> None:
    """A chess board of black and white makes every filter overshoot as far as it can."""
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        board = (np.indices(source).sum(axis=0) % 2 * top).astype(dtype)
        for pixels in (board, (top - board).astype(dtype)):
            size = Size(width=target[1], height=target[0])
            error = np.abs(resize(pixels, size, filter=kind) - by_definition(pixels, size, kind, (0.0, 0.0)))
            assert error.max() <= allowed(pixels, size, kind)
