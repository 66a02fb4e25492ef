"""PSNR and SSIM, held against scikit-image and against the published bicubic rows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from xlsr_cli.quality import metrics
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import compare, luma

#: Keys of scikit-image for the SSIM of Wang et al. 2004.
WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


def pair(height: int, width: int, channels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random picture and one near it, uint8."""
    random = np.random.default_rng(seed)
    shape = (height, width) if channels == 1 else (height, width, channels)
    picture = cv2.GaussianBlur(random.integers(0, 256, shape).astype(np.float64), (0, 0), 2.0) * 3 - 256
    noise = random.normal(0, 8, shape)
    return tuple(np.clip(each, 0, 255).astype(np.uint8) for each in (picture, picture + noise))  # type: ignore[return-value]


@settings(deadline=None, max_examples=25)
@given(st.integers(11, 60), st.integers(11, 60), st.sampled_from([1, 3]), st.integers(0, 99))
def test_equal_to_scikit_image(height: int, width: int, channels: int, seed: int) -> None:
    reference, test = pair(height, width, channels, seed)
    found = compare(reference, test)
    a, b = luma(reference), luma(test)
    assert found.psnr_y == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-6)
    assert found.ssim_y == pytest.approx(structural_similarity(a, b, **WANG), abs=1e-6)
    if channels == 1:
        assert found.psnr_rgb is None
        assert found.ssim_rgb is None
        return
    assert found.psnr_rgb == pytest.approx(peak_signal_noise_ratio(reference, test), abs=1e-6)
    whole = structural_similarity(reference, test, channel_axis=2, **WANG)
    assert found.ssim_rgb == pytest.approx(whole, abs=1e-6)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, test = pair(100, 40, 3, 1)
    whole = compare(reference, test)
    for rows in (1, 7, 12, 93, 99):
        monkeypatch.setattr(metrics, "_STRIP", rows)
        assert vars(compare(reference, test)) == pytest.approx(vars(whole), abs=1e-9)


def test_equal_pictures() -> None:
    picture, _ = pair(20, 20, 3, 2)
    found = compare(picture, picture)
    assert found.psnr_y == found.psnr_rgb == float("inf")
    assert found.ssim_y == pytest.approx(1.0)


def test_the_border_does_not_count() -> None:
    reference, _ = pair(30, 30, 3, 3)
    test = reference.copy()
    test[:2] = 255 - test[:2]
    assert compare(reference, test).psnr_y < 30
    assert compare(reference, test, border=2).psnr_y == float("inf")


def test_16_bits_count_in_8_bit_steps() -> None:
    reference, test = pair(30, 30, 3, 4)
    deep = compare(reference.astype(np.uint16) * 257, test.astype(np.uint16) * 257)
    assert vars(deep) == pytest.approx(vars(compare(reference, test)), abs=1e-9)


def test_gray_beside_colour_counts_as_colour() -> None:
    gray, other = pair(30, 30, 1, 5)
    found = compare(gray, np.dstack([other] * 3))
    assert found == compare(np.dstack([gray] * 3), np.dstack([other] * 3))
    assert found.psnr_rgb == pytest.approx(compare(gray, other).psnr_y)


def test_smaller_than_the_window() -> None:
    tiny = np.zeros((5, 20), np.uint8)
    assert np.isnan(compare(tiny, tiny + 1).ssim_y)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        compare(np.zeros((5, 5), np.uint8), np.zeros((5, 6), np.uint8))


@pytest.mark.parametrize(
    ("scale", "name", "published"),
    [
        (2, "Set5", 33.66),
        (3, "Set5", 30.39),
        (4, "Set5", 28.42),
        (2, "Set14", 30.24),
        (3, "Set14", 27.55),
        (4, "Set14", 26.00),
    ],
)
def test_the_published_bicubic_rows(shared_data: Path, scale: int, name: str, published: float) -> None:
    scores = []
    for path in sorted((shared_data / "eval" / name).glob("*.png")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        height, width = (side // scale * scale for side in picture.shape[:2])
        reference = picture[:height, :width]
        enlarged = to_uint8(imresize(shrink(reference, scale), height, width))
        scores.append(compare(reference, enlarged, border=scale).psnr_y)
    assert np.mean(scores) == pytest.approx(published, abs=0.03)
