"""PSNR and SSIM with the conventions of the super-resolution literature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    return picture[..., :3].astype(np.float64) @ _STUDIO_LUMA_BGR + 16.0


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
    mean_square = float(np.mean(error * error))
    return float("inf") if mean_square == 0.0 else 10.0 * float(np.log10(PEAK * PEAK / mean_square))


def luma_psnr(reference: NDArray[np.uint8], test: NDArray[np.uint8], border: int) -> float:
    """PSNR in dB on :func:`luma`, with ``border`` pixels cropped on each side (the scale, by custom)."""
    return psnr(crop_border(luma(reference), border), crop_border(luma(test), border))
