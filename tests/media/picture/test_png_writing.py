"""PNGs that are written in bands of rows, read by two other libraries."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from xlsr_cli.media.picture.codecs.png import writing as png
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Encoding


def written(pixels: NDArray[Any], threads: int) -> bytes:
    file = io.BytesIO()
    png.write(file, pixels, Metadata(), Encoding(threads=threads))
    return file.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (41, 57), (64, 3)], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_come_back(
    dtype: type[Any], channels: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "_BAND_BYTES", 1000)  # several bands, and several steps in each
    monkeypatch.setattr(png, "_FILTERED_BYTES", 400)
    random = np.random.default_rng(0)
    pixels = random.integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype, endpoint=True)
    pixels = pixels[..., 0] if channels == 1 else pixels
    data = written(pixels, 1)
    assert written(pixels, 3) == data
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # checks every checksum
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert decoded.dtype == dtype
    shown = decoded[:, :, [0, 3]] if channels == 2 else decoded
    np.testing.assert_array_equal(shown, pixels)


def test_a_photograph_takes_no_more_than_libpng_makes_of_it() -> None:
    rows, columns = np.mgrid[0:700, 0:900]
    waves = 128 + 60 * np.sin(rows / 23) + 50 * np.cos(columns / 31)
    noisy = waves[..., None] + np.random.default_rng(0).normal(0, 3, (700, 900, 3))
    pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    parameters = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    parameters += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    assert len(written(pixels, 2)) < 1.02 * len(cv2.imencode(".png", pixels, parameters)[1])
