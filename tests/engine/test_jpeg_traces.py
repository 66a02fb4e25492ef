"""What JPEG left in pixels is found, and nothing is found where there never was a JPEG."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.photographs import Pixels, drawing, photograph
from xlsr_cli.engine.restore import look
from xlsr_cli.engine.traces import jpeg as traces
from xlsr_cli.engine.traces.jpeg import JpegTraces, quality_for_scale, traces_in
from xlsr_cli.engine.traces.samples import Sample

CASES = Path(__file__).parents[1] / "fixtures" / "cases"


def jpeg_traces(pixels: Pixels) -> JpegTraces | None:
    return traces_in(Sample(pixels))


def through_jpeg(pixels: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    decoded = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded, np.uint8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), quality=st.integers(15, 95), subsampling=st.sampled_from([0, 1, 2]))
@example(seed=2346, quality=15, subsampling=0)  # half a block away, means of two look like another JPEG
def test_the_quality_is_found_in_the_pixels(seed: int, quality: int, subsampling: int) -> None:
    found = jpeg_traces(through_jpeg(photograph(seed), quality, subsampling))
    assert found is not None
    assert (found.left, found.top) == (0, 0)
    assert abs(found.quality - quality) <= 3


@pytest.mark.parametrize("quality", [40, 79, 80, 95, 96])
def test_the_quality_is_libjpegs_to_the_number(quality: int) -> None:
    for seed in range(8):
        found = jpeg_traces(through_jpeg(photograph(seed), quality))
        assert found is not None
        assert found.quality == quality


@pytest.mark.parametrize("quality", [60, 80, 92])
def test_tables_that_are_not_libjpegs_are_found(quality: int) -> None:
    steep = traces.LUMA_STEPS.reshape(-1) ** 1.25 * 0.45 * (2 - quality / 50)
    table = np.round(steep).clip(1, 255).astype(int).tolist()
    for seed in range(4):
        file = io.BytesIO()
        Image.fromarray(photograph(seed)).save(file, "JPEG", qtables=[table] * 2)
        found = jpeg_traces(np.asarray(Image.open(file))[..., ::-1])
        assert found is not None
        assert abs(found.quality - quality) <= 12


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    quality=st.integers(50, 92),
    left=st.integers(0, 7),
    top=st.integers(0, 7),
)
def test_it_is_found_where_the_picture_was_cropped(seed: int, quality: int, left: int, top: int) -> None:
    found = jpeg_traces(through_jpeg(photograph(seed), quality)[top:, left:])
    assert found is not None
    assert (found.left, found.top) == (-left % 8, -top % 8)
    assert abs(found.quality - quality) <= 3


@pytest.mark.parametrize("place", [(0, 0), (5, 3)])
@pytest.mark.parametrize("quality", [30, 50, 75, 85, 90, 95])
def test_the_look_is_right_of_small_and_hard_pictures(quality: int, place: tuple[int, int]) -> None:
    left, top = place
    for seed in range(4):
        hard = photograph(seed).astype(np.float64)
        clipped = np.clip((hard - 128) * 2.5 + 128, 0, 255).astype(np.uint8)  # many blocks hold 0 or 255
        smooth = cv2.GaussianBlur(photograph(seed), (0, 0), 1.0 if quality <= 90 else 0.5)
        small = photograph(seed, 80, 88)
        for picture in (clipped, smooth, small):
            found = jpeg_traces(through_jpeg(picture, quality)[top:, left:])
            assert found is not None
            assert (found.left, found.top) == (-left % 8, -top % 8)
            assert abs(found.quality - quality) <= 2


def test_what_is_summed_is_exact_in_float32() -> None:
    worst = np.where(traces._BASIS > 0, 255, 0).astype(np.float64)
    assert (np.abs(traces._BASIS.astype(np.float64)) * np.maximum(worst, 255 - worst)).sum(
        axis=1
    ).max() < 1 << 24
    across = 255 * np.abs(traces._ACROSS).astype(np.float64).sum(axis=1).max()
    assert across < 1 << 24
    rounded = across / (1 << traces._ACROSS_BITS - traces._PLACES_BITS)
    assert max(rounded * np.abs(down).astype(np.float64).sum(axis=1).max() for down in traces._DOWN) < 1 << 24
    assert (255 * 8 + 20) * float(traces._ODD.sum()) < 1 << 24
    assert len(set(traces._ODD.tolist())) > 30


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from([photograph, drawing]))
def test_nothing_is_found_where_nothing_was(seed: int, kind: object) -> None:
    assert callable(kind)
    assert jpeg_traces(kind(seed)) is None


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_found_in_noise_nor_in_what_was_enlarged(seed: int) -> None:
    random = np.random.default_rng(seed)
    assert jpeg_traces(random.integers(0, 256, (96, 120, 3), np.uint8)) is None
    small = photograph(seed, 24, 30)
    assert jpeg_traces(cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)) is None
    assert jpeg_traces(cv2.resize(small, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)) is None


def smooth_pictures(seed: int, height: int, width: int) -> list[Pixels]:
    """Gradients, with and without noise, and patterns that repeat: coefficients of one size everywhere."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    slopes = random.uniform(-0.4, 0.8, (2, 3)) * 200
    ramp = random.uniform(20, 120, 3) + (slopes[0] * x[..., None] / width + slopes[1] * y[..., None] / height)
    tile = cv2.GaussianBlur(random.normal(128, 80, (16, 16, 3)), (0, 0), 1)
    tiles = np.tile(tile, (height // 16 + 1, width // 16 + 1, 1))[:height, :width]
    noise = random.normal(0, 0.6, ramp.shape)
    found = [
        ramp,
        ramp[..., 0],
        ramp + noise,
        tiles + noise,
        60 + 90 * abs(2 * y / height - 1) + 40 * x / width,
    ]
    return [np.clip(np.round(picture), 0, 255).astype(np.uint8) for picture in found]


@pytest.mark.parametrize("size", [(50, 66), (96, 128), (160, 192), (33, 47), (256, 256)])
def test_even_gradients_and_patterns_are_no_coarse_steps(size: tuple[int, int]) -> None:
    for seed in range(6):
        for picture in smooth_pictures(seed, *size):
            assert jpeg_traces(picture) is None
            for quality in (90, 95, 98):
                found = jpeg_traces(through_jpeg(picture, quality))
                assert found is None or abs(found.quality - quality) <= 5


@pytest.mark.parametrize("name", ["iptc_split_app13", "motion_photo", "progressive_no_eoi"])
def test_a_small_gradient_of_quality_95_is_not_taken_for_a_coarse_one(name: str) -> None:
    pixels = cv2.imread(str(CASES / f"{name}.jpg"))
    assert pixels is not None
    assert look(np.asarray(pixels, np.uint8), 2).level == "off"


def test_the_second_compression_is_what_is_found() -> None:
    first = through_jpeg(photograph(3), 90)[3:, 5:]
    found = jpeg_traces(through_jpeg(first, 60))
    assert found is not None
    assert abs(found.quality - 60) <= 3


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (8, 8), (9, 30, 2), (14, 14, 4), (1, 500, 3), (500, 3)])
def test_small_pictures_of_every_kind_are_looked_at(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert jpeg_traces(pixels) is None


def test_gray_and_alpha_are_looked_at_as_colour_is() -> None:
    gray = through_jpeg(photograph(1)[..., 1], 70)
    alpha = np.random.default_rng(0).integers(0, 256, gray.shape, np.uint8)
    colours = through_jpeg(photograph(1), 70)
    for pixels in (gray, gray[..., None], np.dstack([gray, alpha]), np.dstack([colours, alpha])):
        found = jpeg_traces(pixels)
        assert found is not None
        assert abs(found.quality - 70) <= 2


def test_the_look_is_the_same_in_any_memory_order() -> None:
    pixels = through_jpeg(photograph(5), 80)
    assert jpeg_traces(np.asfortranarray(pixels)) == jpeg_traces(pixels)
    assert jpeg_traces(pixels[::-1][::-1]) == jpeg_traces(pixels)


def test_16_bits_are_taken_for_clean() -> None:
    deep = through_jpeg(photograph(1), 40).astype(np.uint16) * 257
    assert look(deep, 2).level == "off"


@pytest.mark.parametrize(("scale", "quality"), [(1, 50), (0.5, 75), (2, 25), (0.02, 99), (100, 1), (0, 100)])
def test_scales_are_libjpegs(scale: float, quality: int) -> None:
    assert quality_for_scale(scale) == quality
