"""Tiles cover a picture exactly, and tiled equals whole, bit for bit, for every bundled model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlsr_cli.engine.models import ModelSpec, bundled_models
from xlsr_cli.engine.tiles import tiling
from xlsr_cli.engine.tiles.tile import windows as tile_windows
from xlsr_cli.engine.tiles.tiling import Region
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.options import Size

SIDES = st.integers(1, 90)
SIZES = st.builds(
    lambda width, height: Size(width=width, height=height), st.integers(1, 400), st.integers(1, 400)
)
SEEDS = st.integers(0, 2**32 - 1)


@given(
    size=SIZES,
    tile=st.none() | st.integers(8, 500),
    workers=st.integers(1, 9),
    max_pixels=st.sampled_from([4096, 10_000, 131_072]),
)
def test_tiles_cover_every_pixel_once(size: Size, tile: int | None, workers: int, max_pixels: int) -> None:
    seen = np.zeros((size.height, size.width), dtype=np.uint8)
    regions = tiling.plan_tiles(size, tile=tile, workers=workers, max_pixels=max_pixels)
    for region in regions:
        assert region.pixels > 0
        region.of(seen)[...] += 1
    assert seen.min() == seen.max() == 1


@given(size=SIZES, workers=st.integers(1, 9))
def test_every_worker_gets_a_tile_where_the_picture_is_large_enough(size: Size, workers: int) -> None:
    regions = tiling.plan_tiles(size, tile=None, workers=workers, max_pixels=131_072)
    assert len(regions) >= min(workers, max(size.height, size.width) // 32)


@given(
    size=SIZES | st.builds(lambda long: Size(width=long, height=1), st.integers(1, 10**6)),
    turned=st.booleans(),
    workers=st.integers(1, 9),
    max_pixels=st.sampled_from([4096, 10_000, 131_072]),
)
def test_no_planned_tile_is_larger_than_memory_allows(
    size: Size, turned: bool, workers: int, max_pixels: int
) -> None:
    size = Size(width=size.height, height=size.width) if turned else size
    regions = tiling.plan_tiles(size, tile=None, workers=workers, max_pixels=max_pixels)
    assert max(region.pixels for region in regions) <= max_pixels
    assert len(regions) <= 3 * workers + 3 * size.pixels / max_pixels


@given(size=SIZES, workers=st.integers(2, 9))
def test_no_worker_waits_while_another_has_a_round_more_to_do(size: Size, workers: int) -> None:
    regions = tiling.plan_tiles(size, tile=None, workers=workers, max_pixels=4096)
    if size.pixels > workers * 4096 and len(regions) < size.height:
        assert len(regions) % workers == 0


@given(height=SIDES, width=SIDES, halo=st.integers(0, 12), seed=SEEDS, data=st.data())
def test_a_tile_sees_what_the_extended_picture_shows(
    height: int, width: int, halo: int, seed: int, data: st.DataObject
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    extended = np.pad(pixels, ((halo, halo), (halo, halo), (0, 0)), mode="reflect")
    regions = tiling.plan_tiles(
        Size(width=width, height=height), tile=data.draw(st.integers(12, 60)), workers=1, max_pixels=4096
    )
    region = data.draw(st.sampled_from(regions))
    tile = tiling.cut(pixels, region, halo)
    expected = extended[region.top : region.bottom + 2 * halo, region.left : region.right + 2 * halo]
    np.testing.assert_array_equal(tile, expected)


@given(top=st.integers(0, 50), left=st.integers(0, 50), height=st.integers(1, 40), width=st.integers(1, 40))
def test_quarters_are_the_region(top: int, left: int, height: int, width: int) -> None:
    region = Region(top=top, bottom=top + height, left=left, right=left + width)
    seen = np.zeros((100, 100), dtype=np.uint8)
    for piece in tiling.quarters(region):
        piece.of(seen)[...] += 1
    assert region.of(seen).min() == 1
    assert seen.sum() == region.pixels


@given(
    scale=st.integers(2, 4),
    colours=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    seed=SEEDS,
)
def test_placing_runs_is_depth_to_space(
    scale: int, colours: int, dtype: type, height: int, width: int, padding: int, seed: int
) -> None:
    used = colours * scale * scale
    runs = np.random.default_rng(seed).integers(0, 255, (height, width, used + padding)).astype(dtype)
    shape = (20 * scale, 20 * scale) if colours == 1 else (20 * scale, 20 * scale, colours)
    picture = np.zeros(shape, dtype=dtype)
    region = Region(top=3, bottom=3 + height, left=5, right=5 + width)
    tiling.place_runs(runs, picture, region, scale)
    blocks = runs[..., :used].reshape(height, width, scale, scale, colours).transpose(0, 2, 1, 3, 4)
    expected = blocks.reshape(height * scale, width * scale, colours)
    placed = region.scaled(scale).of(picture).reshape(expected.shape)
    np.testing.assert_array_equal(placed, expected)
    assert np.count_nonzero(picture) == np.count_nonzero(expected)


@given(height=st.integers(3, 40), width=st.integers(3, 40), seed=st.integers(0, 9))
def test_windows_are_the_neighbours_of_each_pixel(height: int, width: int, seed: int) -> None:
    larger = np.random.default_rng(seed).integers(0, 256, (height, width + 5), dtype=np.uint8)
    tile = larger[:, 2 : 2 + width]  # a view, as tiles inside of a picture are
    answer = tile_windows(tile)
    assert answer.shape == (height - 2, width - 2, 12) and answer.flags.c_contiguous
    for row in range(3):
        for column in range(3):
            expected = tile[row : height - 2 + row, column : width - 2 + column]
            np.testing.assert_array_equal(answer[..., 4 * row + column], expected)


@given(height=st.integers(3, 40), width=st.integers(3, 40), seed=st.integers(0, 9))
def test_windows_of_colour_are_the_neighbours_of_each_pixel(height: int, width: int, seed: int) -> None:
    larger = np.random.default_rng(seed).integers(0, 256, (height, width + 5, 3), dtype=np.uint8)
    tile = larger[:, 2 : 2 + width]
    answer = tile_windows(tile)
    assert answer.shape == (height - 2, width - 2, 36) and answer.flags.c_contiguous
    for row in range(3):
        for column in range(3):
            expected = tile[row : height - 2 + row, column : width - 2 + column]
            first = 4 * (3 * row + column)
            np.testing.assert_array_equal(answer[..., first : first + 3], expected)


@pytest.mark.parametrize("spec", bundled_models(), ids=lambda spec: spec.name)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=SIDES,
    width=SIDES,
    tile=st.none() | st.integers(8, 64),
    threads=st.sampled_from([1, 2, 4]),
    seed=SEEDS,
)
def test_tiled_equals_whole(
    spec: ModelSpec, height: int, width: int, tile: int | None, threads: int, seed: int
) -> None:
    shape = (height, width, 3) if spec.colour == "rgb" else (height, width)
    dtype, top = (np.uint8, 256) if spec.precision == "int8" else (np.uint16, 65536)
    pixels = np.random.default_rng(seed).integers(0, top, shape).astype(dtype)
    whole = _upscaler(spec, None, 1)(pixels)
    tiled = _upscaler(spec, tile, threads)(pixels)
    assert whole.shape[:2] == (height * spec.scale, width * spec.scale)
    np.testing.assert_array_equal(tiled, whole)


_UPSCALERS: dict[tuple[str, int | None, int], Upscaler] = {}


def _upscaler(spec: ModelSpec, tile: int | None, threads: int) -> Upscaler:
    """One per setting, so that hypothesis does not load a model for each example."""
    key = (spec.name, tile, threads)
    if key not in _UPSCALERS:
        _UPSCALERS[key] = Upscaler(spec.scale, model=spec.name, tile=tile, threads=threads)
    return _UPSCALERS[key]
