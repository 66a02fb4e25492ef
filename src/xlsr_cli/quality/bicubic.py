"""MATLAB-compatible antialiased bicubic resizing, as the super-resolution literature shrinks pictures.

OpenCV's and Pillow's bicubic filters use other coefficients or rounding, and give other scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.resample import keys_cubic


def _contributions(size_in: int, size_out: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights and source indices, both shaped (size_out, taps), for one axis.

    MATLAB stretches the kernel by 1/scale when it shrinks (antialiasing), normalises each row of
    weights, and mirrors the picture at its border (the border pixel is repeated).
    """
    scale = size_out / size_in
    stretch = min(scale, 1.0)
    support = 4.0 / stretch
    taps = int(np.ceil(support)) + 2
    centre = (np.arange(size_out) + 0.5) / scale - 0.5
    left = np.floor(centre - support / 2.0).astype(np.intp)
    source = left[:, None] + np.arange(taps)[None, :]
    weights = stretch * keys_cubic(stretch * (centre[:, None] - source))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(size_in), np.arange(size_in - 1, -1, -1)])
    used = np.any(weights != 0.0, axis=0)
    return weights[:, used], mirror[source % (2 * size_in)][:, used]


def _resize_rows(picture: NDArray[np.float64], size_out: int) -> NDArray[np.float64]:
    weights, source = _contributions(picture.shape[0], size_out)
    out = np.zeros((size_out, *picture.shape[1:]))
    for tap in range(weights.shape[1]):
        out += weights[:, tap].reshape(-1, *[1] * (picture.ndim - 1)) * picture[source[:, tap]]
    return out


def imresize(
    picture: NDArray[np.uint8] | NDArray[np.float64], height: int, width: int
) -> NDArray[np.float64]:
    """Resize as MATLAB's ``imresize(picture, [height width], "bicubic")``, without the final rounding.

    ``picture`` is (H, W) or (H, W, C), any channel order; the result is float64 in the same units and
    is *not* clipped: a caller that wants a uint8 picture rounds it with :func:`to_uint8`.

    Raises ``ValueError`` when a side would be smaller than one pixel.
    """
    if height < 1 or width < 1:
        raise ValueError(f"cannot resize to {width}x{height}: both sides must be at least 1 pixel")
    rows_first = _resize_rows(np.asarray(picture, dtype=np.float64), height)
    return np.swapaxes(_resize_rows(np.swapaxes(rows_first, 0, 1), width), 0, 1)


def to_uint8(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round half up and clip to 0 … 255, as MATLAB's ``uint8()`` does for values that are not negative."""
    return np.clip(np.floor(picture + 0.5), 0, 255).astype(np.uint8)


def shrink(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The literature's low-resolution input: crop to a multiple of ``scale``, shrink, round to uint8.

    ``picture`` is uint8 (H, W) or (H, W, C); the result is uint8 (H // scale, W // scale[, C]).
    """
    height, width = picture.shape[0] // scale, picture.shape[1] // scale
    cropped = picture[: height * scale, : width * scale]
    return to_uint8(imresize(cropped, height, width))
