"""What JPEG left in pixels is found, and nothing is found where there never was a JPEG."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.photographs import Pixels, drawing, photograph
from xlsr_cli.engine.restore import look
from xlsr_cli.engine.traces.jpeg import jpeg_traces, quality_for_scale


def through_jpeg(pixels: Pixels, quality: int, subsampling: int = 2) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    decoded = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded, np.uint8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), quality=st.integers(15, 95), subsampling=st.sampled_from([0, 1, 2]))
def test_the_quality_is_found_in_the_pixels(seed: int, quality: int, subsampling: int) -> None:
    found = jpeg_traces(through_jpeg(photograph(seed), quality, subsampling))
    assert found is not None
    assert (found.left, found.top) == (0, 0)
    assert abs(found.quality - quality) <= 3


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
    assert look(deep).level == "off"


@pytest.mark.parametrize(("scale", "quality"), [(1, 50), (0.5, 75), (2, 25), (0.02, 99), (100, 1), (0, 100)])
def test_scales_are_libjpegs(scale: float, quality: int) -> None:
    assert quality_for_scale(scale) == quality
