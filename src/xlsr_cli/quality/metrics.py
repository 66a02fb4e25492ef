"""PSNR and SSIM with the conventions of the super-resolution literature.

scikit-image has both, but needs SciPy (some 100 MB), and whole pictures in float64 at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.pixels import Pixels

Plane = NDArray[np.float64]

PEAK = 255.0

#: BT.601 luma of full-range B, G, R in 0 … 255, as MATLAB's ``rgb2ycbcr`` scales it: 16 … 235.
_STUDIO_LUMA_BGR = np.array([24.966, 128.553, 65.481]) / PEAK


def luma(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The plane on which the literature scores a picture.

    ``picture`` is uint8, (H, W) gray or (H, W, 3) BGR. Colour gives BT.601 Y′ in 16 … 235 (not
    rounded); a gray picture is scored on its own values, 0 … 255.
    """
    if picture.ndim == 2:
        return picture.astype(np.float64)
    return _studio_luma(picture[..., :3])


def crop_border(picture: NDArray[np.generic], border: int) -> NDArray[np.generic]:
    """The picture without ``border`` pixels on each side, as long as something is left of it."""
    height, width = picture.shape[:2]
    if border <= 0 or height <= 2 * border or width <= 2 * border:
        return picture
    return picture[border : height - border, border : width - border]


def psnr(reference: NDArray[np.generic], test: NDArray[np.generic]) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255; infinite for equal pictures.

    Both are of one shape. Raises ``ValueError`` when they are not.
    """
    if reference.shape != test.shape:
        raise ValueError(f"pictures differ in shape: {reference.shape} and {test.shape}")
    error = reference.astype(np.float64) - test.astype(np.float64)
    return _decibel(float(np.mean(error * error)))


def luma_psnr(reference: NDArray[np.uint8], test: NDArray[np.uint8], border: int) -> float:
    """PSNR in dB on :func:`luma`, with ``border`` pixels cropped on each side (the scale, by custom)."""
    return psnr(crop_border(luma(reference), border), crop_border(luma(test), border))


#: SSIM's window: an 11-tap Gaussian of σ 1.5 (Wang et al. 2004, section III.B).
_TAPS, _SIGMA = 11, 1.5
_REACH = _TAPS // 2
#: (K₁ L)² and (K₂ L)² of the same paper, with L = 255.
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
#: Rows that are compared at a time: bounds the memory for pictures of any size.
_STRIP = 512


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How similar two pictures are.

    PSNR in dB (infinite for equal pictures) and SSIM (at most 1), on Y′ and over the three channels of
    RGB. Two gray pictures are compared on their own values, and have no RGB numbers.
    """

    psnr_y: float
    ssim_y: float
    psnr_rgb: float | None
    ssim_rgb: float | None


def compare(reference: Pixels, test: Pixels, *, border: int = 0) -> Scores:
    """Compare two pictures of one size: (H, W) gray or (H, W, 3) BGR, uint8 or uint16.

    ``border`` pixels on each side do not count, as long as something is left. Y′ is BT.601 as MATLAB
    computes it, 16 … 235, and the peak 255; 16-bit samples count in steps of 8 bits (÷ 257). Where only
    one of the two is gray, it counts as colour. SSIM is that of Wang et al. 2004 (Gaussian window of
    11 × 11 pixels, σ 1.5, windows that lie inside the picture), over RGB the mean of the three channels;
    it is NaN for pictures smaller than its window. Raises ``ValueError`` when the sizes differ.
    """
    if reference.shape[:2] != test.shape[:2]:
        raise ValueError(f"pictures differ in size: {reference.shape[:2]} and {test.shape[:2]}")
    reference, test = crop_border(reference, border), crop_border(test, border)
    if reference.ndim == test.ndim == 2:
        psnr_y, ssim_y = _compare_plane(reference, test, _in_8_bit_steps)
        return Scores(psnr_y=psnr_y, ssim_y=ssim_y, psnr_rgb=None, ssim_rgb=None)
    reference, test = _as_colour(reference), _as_colour(test)
    psnr_y, ssim_y = _compare_plane(reference, test, _studio_luma)
    errors, similar = [], []
    for channel in range(3):
        one, other = reference[..., channel], test[..., channel]
        psnr_c, ssim_c = _compare_plane(one, other, _in_8_bit_steps)
        errors.append(_mean_square(psnr_c))
        similar.append(ssim_c)
    return Scores(
        psnr_y=psnr_y,
        ssim_y=ssim_y,
        psnr_rgb=_decibel(float(np.mean(errors))),
        ssim_rgb=float(np.mean(similar)),
    )


def _as_colour(picture: Pixels) -> Pixels:
    return picture if picture.ndim == 3 else np.dstack([picture] * 3)


def _in_8_bit_steps(samples: Pixels) -> Plane:
    values = samples.astype(np.float64)
    return values / 257.0 if samples.dtype == np.uint16 else values


def _studio_luma(picture: Pixels) -> Plane:
    return np.asarray(_in_8_bit_steps(picture) @ _STUDIO_LUMA_BGR + 16.0)


def _compare_plane(one: Pixels, other: Pixels, plane: Callable[[Pixels], Plane]) -> tuple[float, float]:
    """PSNR and SSIM of one plane of both pictures, which ``plane`` takes from them, strip by strip."""
    squares = similar = 0.0
    windows = 0
    height, width = one.shape[:2]
    for top in range(0, height, _STRIP):
        bottom = min(height, top + _STRIP)
        below = min(height, bottom + 2 * _REACH)
        a, b = plane(one[top:below]), plane(other[top:below])
        error = a[: bottom - top] - b[: bottom - top]
        squares += float(np.sum(error * error))
        if min(a.shape) >= _TAPS:
            # Each of its rows holds the windows that begin in that row of the strip.
            found = _ssim_map(a, b)
            similar += float(found.sum())
            windows += found.size
    ssim = similar / windows if windows else float("nan")
    return _decibel(squares / (height * width)), ssim


def _ssim_map(a: Plane, b: Plane) -> Plane:
    """SSIM of every window that lies inside (Wang et al. 2004, eq. 13)."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a = _blurred(a * a) - mean_a * mean_a
    variance_b = _blurred(b * b) - mean_b * mean_b
    covariance = _blurred(a * b) - mean_a * mean_b
    luminance = (2.0 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)
    return np.asarray(luminance * (2.0 * covariance + _C2) / (variance_a + variance_b + _C2))


def _blurred(plane: Plane) -> Plane:
    offsets = np.arange(_TAPS) - _REACH
    window = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    window /= window.sum()
    blurred = cv2.sepFilter2D(plane, cv2.CV_64F, window, window)
    return np.asarray(blurred[_REACH:-_REACH, _REACH:-_REACH])


def _decibel(mean_square: float) -> float:
    return float("inf") if mean_square == 0.0 else 10.0 * float(np.log10(PEAK * PEAK / mean_square))


def _mean_square(decibel: float) -> float:
    return 0.0 if np.isinf(decibel) else PEAK * PEAK / 10.0 ** (decibel / 10.0)
