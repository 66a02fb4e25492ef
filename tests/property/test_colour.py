"""Colour and alpha: nothing drifts on the way through Y′CbCr, and what nobody sees colours nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xlsr_cli.engine import color
from xlsr_cli.engine.upscaler import Upscaler

SIDES = st.integers(1, 24)
SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([np.uint8, np.uint16])


def noise(seed: int, dtype: type, *shape: int) -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)


def patchy(seed: int, height: int, width: int, dtype: type = np.uint8) -> NDArray[Any]:
    """Alpha with holes, half-transparent pixels and opaque ones."""
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).choice([0, 0, 1, top // 2, top], (height, width)).astype(dtype)


@pytest.fixture(scope="module")
def every_colour() -> NDArray[np.uint8]:
    """All 2²⁴ of them, (4096, 4096, 3)."""
    level = np.arange(256, dtype=np.uint8)
    return np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(4096, 4096, 3)


def test_every_8_bit_colour_comes_back_within_one_level(every_colour: NDArray[np.uint8]) -> None:
    back = color.merge_ycc(color.split_ycc(every_colour))
    apart = np.maximum(back, every_colour) - np.minimum(back, every_colour)
    assert apart.max() <= 1


def test_every_8_bit_colour_is_bt_601_full_range(every_colour: NDArray[np.uint8]) -> None:
    luma, *chroma = color.split_ycc(every_colour)
    blue, green, red = (every_colour[::7, ::5, channel].astype(np.float64) for channel in range(3))
    exact = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(luma[::7, ::5] - exact).max() < 0.51
    for channel, (component, weight) in enumerate([(red, 1.402), (blue, 1.772)]):
        wanted = np.clip((component - exact) / weight + 128, 0, 255)
        assert np.abs(chroma[channel][::7, ::5] - wanted).max() < 1
    assert np.abs(color.gray_of(every_colour[::7, ::5]) - exact).max() < 0.51


@given(seed=SEEDS)
def test_16_bit_colours_come_back_within_a_tenth_of_an_8_bit_level(seed: int) -> None:
    pixels = noise(seed, np.uint16, 64, 64, 3)
    back = color.merge_ycc(color.split_ycc(pixels))
    assert np.abs(back.astype(int) - pixels).max() <= 257 // 10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_has_no_chroma_and_stays_exactly_gray(dtype: type) -> None:
    gray = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[:, None]
    luma, *chroma = color.split_ycc(np.ascontiguousarray(np.repeat(gray[..., None], 3, axis=2)))
    np.testing.assert_array_equal(luma, gray)
    assert (np.stack(chroma) == (np.iinfo(dtype).max + 1) // 2).all()
    np.testing.assert_array_equal(color.merge_ycc([luma, *chroma]), np.repeat(gray[..., None], 3, axis=2))


@given(height=SIDES, width=SIDES, channels=st.integers(1, 4), dtype=DTYPES, seed=SEEDS)
def test_alpha_split_and_merged_is_the_picture(
    height: int, width: int, channels: int, dtype: type, seed: int
) -> None:
    pixels = noise(seed, dtype, height, width, channels)
    merged = color.merge_alpha(*color.split_alpha(pixels))
    np.testing.assert_array_equal(merged.reshape(pixels.shape), pixels)


@given(height=SIDES, width=SIDES, deep=st.booleans(), dtype=DTYPES, reach=st.integers(1, 12), seed=SEEDS)
def test_visible_colours_stay_and_hidden_ones_come_from_them(
    height: int, width: int, deep: bool, dtype: type, reach: int, seed: int
) -> None:
    alpha = patchy(seed, height, width, dtype)
    colour = noise(seed + 1, dtype, height, width, *([3] if deep else []))
    filled = color.bleed_under_alpha(colour, alpha, reach)
    visible = alpha > 0
    np.testing.assert_array_equal(filled[visible], colour[visible])
    if visible.any():
        near = _within(visible, reach)
        low, high = colour[visible].min(axis=0), colour[visible].max(axis=0)
        assert ((filled[near] >= low) & (filled[near] <= high)).all()
        np.testing.assert_array_equal(filled[~near], colour[~near])


def _within(visible: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Which pixels are at most ``reach`` rows and columns from a visible one."""
    rows, columns = np.nonzero(visible)
    down = np.abs(np.arange(visible.shape[0])[:, None, None] - rows)
    across = np.abs(np.arange(visible.shape[1])[None, :, None] - columns)
    return np.asarray(np.maximum(down, across).min(axis=2) <= reach)


@given(
    height=SIDES,
    width=SIDES,
    down=st.integers(1, 5),
    across=st.integers(1, 5),
    dtype=DTYPES,
    seed=SEEDS,
)
def test_alpha_stays_within_its_surroundings(
    height: int, width: int, down: int, across: int, dtype: type, seed: int
) -> None:
    alpha = patchy(seed, height, width, dtype)
    wild = noise(seed + 1, dtype, height * down, width * across)
    bound = color.bound_alpha(wild, alpha)
    padded = np.pad(alpha, 1, mode="edge")
    around = np.stack([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)])
    low, high = (
        np.repeat(np.repeat(edge, down, axis=0), across, axis=1) for edge in (around.min(0), around.max(0))
    )
    np.testing.assert_array_equal(bound, np.clip(wild, low, high))


SCALES = (1.3, 2, 2.6, 3, 4, 5, 6, 8, 12, 16)
_UPSCALERS = {
    (scale, mode): Upscaler(scale, color=mode, threads=1)  # type: ignore[arg-type]
    for scale in SCALES
    for mode in ("rgb", "ycbcr")
}


@settings(max_examples=60, deadline=None)
@given(
    scale=st.sampled_from(SCALES),
    mode=st.sampled_from(["rgb", "ycbcr"]),
    top=st.integers(0, 16),
    left=st.integers(0, 16),
    gray=st.booleans(),
    seed=SEEDS,
)
def test_hidden_colours_have_no_say_in_visible_ones(
    scale: float, mode: str, top: int, left: int, gray: bool, seed: int
) -> None:
    """The same picture over two different hidden grounds looks the same, whatever chain of models runs."""
    alpha = np.zeros((22, 22), np.uint8)
    alpha[top : top + 6, left : left + 6] = patchy(seed, *alpha[top : top + 6, left : left + 6].shape)
    colours = 1 if gray else 3
    first, second = (
        np.where(alpha[..., None] > 0, noise(seed, np.uint8, 22, 22, colours), ground)
        for ground in (noise(seed + 1, np.uint8, 22, 22, colours), np.uint8(0))
    )
    upscaler = _UPSCALERS[scale, mode]
    one, other = (upscaler(np.dstack([colour, alpha])) for colour in (first, second))
    np.testing.assert_array_equal(one[..., -1], other[..., -1])
    visible = one[..., -1] > 0
    np.testing.assert_array_equal(one[visible], other[visible])
