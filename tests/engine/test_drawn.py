"""Drawings are found by their content, and enlarged without halos."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.photographs import Pixels, drawing, photograph
from xlsr_cli.engine.restore import look
from xlsr_cli.engine.traces.drawn import is_drawn
from xlsr_cli.engine.traces.samples import Sample
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.options import Size


def looks_drawn(pixels: NDArray[Any]) -> bool:
    return is_drawn(Sample(pixels))


def sprite(seed: int, side: int = 48) -> Pixels:
    """(H, W, 3): mirrored figures of 16×16 in eight colours."""
    random = np.random.default_rng(seed)
    half = random.integers(0, 8, (side // 16, side // 16, 16, 8)) * (random.random((1, 1, 16, 8)) < 0.6)
    figures = np.concatenate([half, half[..., ::-1]], axis=3)
    palette = random.integers(0, 256, (8, 3), dtype=np.uint8)
    return palette[np.concatenate(np.concatenate(figures, axis=1), axis=1)]


def silhouette(seed: int, side: int = 160) -> Pixels:
    """(H, W, 3): black in front of a smooth sky, with a sensor's noise where it is not black."""
    random = np.random.default_rng(seed)
    sky = cv2.resize(
        random.integers(60, 200, (3, 3, 3), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC
    )
    ground = 80 + np.cumsum(random.normal(0, 1, side)).astype(np.int64)
    sky[np.arange(side)[:, None] > ground] = 0
    light = cv2.GaussianBlur(sky, (0, 0), 0.8).astype(np.float64)
    return np.clip(np.rint(light + (light > 0) * random.normal(0, 1.5, light.shape)), 0, 255).astype(np.uint8)


def outside(answer: NDArray[Any], source: NDArray[Any], scale: int) -> NDArray[np.int64]:
    """How far each value leaves the range of the 5×5 source pixels around."""
    around = np.ones((5, 5), np.uint8)

    def enlarged(bound: NDArray[Any]) -> NDArray[np.int64]:
        return bound.repeat(scale, axis=0).repeat(scale, axis=1).reshape(answer.shape).astype(np.int64)

    most, least = enlarged(cv2.dilate(source, around)), enlarged(cv2.erode(source, around))
    return np.maximum(answer - most, 0) + np.maximum(least - answer, 0)


@pytest.mark.parametrize("seed", range(12))
def test_drawings_are_told_from_photographs(seed: int) -> None:
    for picture in (drawing(seed), sprite(seed)):
        assert looks_drawn(picture)
        assert looks_drawn(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        assert looks_drawn(picture.astype(np.uint16) * 257)
        assert look(picture, 2).level == "drawing"
    for picture in (photograph(seed), silhouette(seed)):
        assert not looks_drawn(picture)
        assert not looks_drawn(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        assert not looks_drawn(picture.astype(np.uint16) * 257)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3, 3), (15, 15, 4), (16, 16, 2), (17, 40, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_of_every_shape_are_looked_at(shape: tuple[int, ...], dtype: type) -> None:
    assert not looks_drawn(np.full(shape, 77, dtype))
    assert not looks_drawn(np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype))


def test_the_look_is_the_same_in_any_memory_order() -> None:
    pixels = drawing(3)
    assert look(np.asfortranarray(pixels), 2) == look(pixels, 2)


@pytest.mark.parametrize("scale", [2, 3, 4, 6])
@pytest.mark.parametrize("kind", ["colour", "gray", "alpha", "16 bits", "ycbcr", "fp32"])
def test_no_drawing_gets_a_halo(scale: int, kind: str) -> None:
    pixels = np.vstack([sprite(scale)[:, :40], drawing(scale)[:33, :40]])
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if kind == "gray" else pixels
    pixels = pixels.astype(np.uint16) * 257 if kind == "16 bits" else pixels
    if kind == "alpha":
        pixels = np.dstack([np.full_like(pixels, 90), np.where(pixels[..., 0] > 99, 255, 0).astype(np.uint8)])
    options: dict[str, Any] = {"ycbcr": {"color": "ycbcr"}, "fp32": {"precision": "fp32"}}.get(kind, {})
    answer = Upscaler(scale, restore="drawing", threads=1, **options)(pixels)
    if kind == "ycbcr":  # nothing is promised for colours alone: cubic interpolation enlarges them
        pixels, answer = (cv2.cvtColor(p, cv2.COLOR_BGR2YCrCb)[..., 0] for p in (pixels, answer))
        assert outside(answer, pixels, scale).mean() < 1
    elif scale < 5:
        assert not outside(answer, pixels, scale).any()
    else:  # two networks: the second one's 5×5 reach a little further
        assert outside(answer, pixels, scale).mean() < 0.5


def test_tiles_and_frames_are_as_the_whole_picture() -> None:
    pixels = drawing(1)[:70, :90]
    whole = Upscaler(2, restore="drawing", threads=1)(pixels)
    np.testing.assert_array_equal(Upscaler(2, restore="drawing", threads=2, tile=24)(pixels), whole)


def test_auto_takes_the_networks_for_drawings() -> None:
    pixels = sprite(2)
    np.testing.assert_array_equal(Upscaler(2)(pixels), Upscaler(2, restore="drawing")(pixels))
    size = Size(width=48, height=48)
    names = Upscaler(2, restore="drawing").model_names(size, channels=3, depth=8)
    assert names == ("xlsr_x2_rgb_drawing_int8",)


def test_pixel_art_stays_crisp() -> None:
    pixels = sprite(5)
    answer = Upscaler(2)(pixels)
    truth = pixels.repeat(2, axis=0).repeat(2, axis=1)
    off = np.abs(answer.astype(np.int64) - truth)
    smooth = np.abs(
        cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).astype(np.int64) - truth
    )
    assert off.mean() < 0.25 * smooth.mean()
