"""Looking at a picture's pixels costs the same for every size, and sees all of its parts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlsr_cli.engine.traces.samples import Sample, is_new, windows


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    side=st.sampled_from([8, 15, 16]),
    every=st.sampled_from([8, 16]),
    most=st.integers(1, 80),
)
def test_windows_are_different_ones_within_the_picture(
    height: int, width: int, side: int, every: int, most: int
) -> None:
    places = np.arange(height * width, dtype=np.uint32).reshape(height, width, 1)
    found = windows(places, side=side, every=every, most=most)
    down, across = ((extent - side) // every + 1 for extent in (height, width))
    assert found.shape == (min(most, max(0, down) * max(0, across)), side, side, 1)
    rows, columns = np.divmod(found[:, 0, 0, 0], width)
    assert not (rows % every).any()
    assert not (columns % every).any()
    assert len({*zip(rows.tolist(), columns.tolist(), strict=True)}) == len(found)
    np.testing.assert_array_equal(found[:, -1, -1, 0], (rows + side - 1) * width + columns + side - 1)


@pytest.mark.parametrize("width", [64, 128, 256, 504, 640, 1000])
def test_windows_are_spread_over_rows_and_columns(width: int) -> None:
    places = np.arange(2048 * width, dtype=np.uint32).reshape(2048, width)
    rows, columns = np.divmod(windows(places, side=8, every=8, most=256)[:, 0, 0, 0], width)
    for where, extent in ((rows, 2048), (columns, width)):
        eighths = np.bincount(where * 8 // extent, minlength=8)
        assert eighths.min() > 0.5 * 256 / 8
        assert eighths.max() < 2 * 256 / 8


@pytest.mark.parametrize("channels", [2, 4])
def test_what_alpha_hides_is_black(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (40, 40, channels), np.uint8)
    pixels[:20, :, -1] = 0
    found = windows(pixels, side=8, every=8, most=25)
    hidden = found[..., -1:].repeat(channels, axis=-1) == 0
    assert hidden.any()
    assert not found[hidden].any()
    assert found[~hidden].all()


@given(height=st.integers(1, 90), width=st.integers(1, 90))
def test_small_pictures_are_seen_whole_by_blocks(height: int, width: int) -> None:
    places = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    squares = Sample(places, 64).squares[..., 0]
    whole = places[: height // 8 * 8, : width // 8 * 8]
    np.testing.assert_array_equal(np.unique(squares), np.unique(whole))
    rows, columns = np.divmod(squares[:, 0, 0], width) if squares.size else (np.zeros(0, int),) * 2
    assert not (rows % 8).any()
    assert not (columns % 8).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_know_luma_and_clipped_blocks(dtype: type, channels: int) -> None:
    most = np.iinfo(dtype).max
    pixels = np.random.default_rng(channels).integers(1, most, (40, 56, channels), dtype)
    pixels[3, 20, 0], pixels[17, 50, 0] = 0, most
    sample = Sample(pixels)
    weights = np.array([467, 2404, 1225]) if channels > 2 else np.array([4096])
    scaled = (sample.squares[..., : len(weights)].astype(np.int64) * weights).sum(axis=-1)
    np.testing.assert_array_equal(sample.luma, scaled.transpose(1, 2, 0))
    np.testing.assert_array_equal(sample.levels, np.rint(sample.luma / 4096))
    blocks = sample.squares.reshape(-1, 2, 8, 2, 8, channels)
    clipped = ((blocks == 0) | (blocks == most)).any(axis=(2, 4, 5)).transpose(1, 2, 0)
    assert clipped.any()
    np.testing.assert_array_equal(sample.clipped, clipped)


def test_new_values_are_those_unlike_the_one_before() -> None:
    assert is_new(np.array([1, 1, 2, 5, 5])).tolist() == [True, False, True, True, False]
    assert is_new(np.array([])).tolist() == []


def test_looking_loads_no_masked_arrays() -> None:
    code = (
        "import sys, numpy as np; from xlsr_cli.engine.restore import look; eye = np.eye(64, dtype=np.uint8);"
        "look(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), 2); look(eye, 2);"
        "sys.exit('numpy.ma' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
