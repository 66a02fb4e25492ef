"""Split a picture into colour, chroma and alpha, and merge them again. Nothing else converts colours.

Everything on uint8 is integer arithmetic: OpenCV's BT.601 conversions of integers are fixed-point with
14 bits, and morphology and comparisons have nothing to round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def split_ycc(bgr: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Y′, Cr and Cb of uint8 or uint16 (H, W, 3) BGR: BT.601 full range; each (H, W)."""
    luma, red, blue = map(np.asarray, cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)))
    return luma, red, blue


def merge_ycc(planes: Sequence[NDArray[Any]], answer: NDArray[Any] | None = None) -> NDArray[Any]:
    """The inverse of :func:`split_ycc`: BGR (H, W, 3); written into ``answer``, contiguous, where given."""
    return np.asarray(cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2BGR, dst=answer))


def split_alpha(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """(colour, alpha): (H, W) or (H, W, 3), and (H, W) or None, of a picture with 1 to 4 channels."""
    if pixels.ndim == 2:
        return pixels, None
    channels = pixels.shape[2]
    if channels == 1:
        return np.ascontiguousarray(pixels[..., 0]), None
    if channels == 3:
        return pixels, None
    colour = pixels[..., 0] if channels == 2 else pixels[..., :3]
    return np.ascontiguousarray(colour), np.ascontiguousarray(pixels[..., -1])


def merge_alpha(colour: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[Any]:
    """The inverse of :func:`split_alpha`: (H, W), (H, W, 2), (H, W, 3) or (H, W, 4)."""
    if alpha is None:
        return colour
    channels = 1 if colour.ndim == 2 else colour.shape[2]
    merged = np.empty((*alpha.shape, channels + 1), dtype=alpha.dtype)
    pairs = [place for channel in range(channels + 1) for place in (channel, channel)]
    return np.asarray(cv2.mixChannels([colour, alpha], [merged], pairs)[0])


def bleed_under_alpha(colour: NDArray[Any], alpha: NDArray[Any], reach: int) -> NDArray[Any]:
    """``colour`` with the colours of visible pixels spread into the transparent pixels beside them.

    Colours of fully transparent pixels are arbitrary, often black; without this step the network would mix
    them into the visible edge as a fringe. ``colour`` (H, W) or (H, W, 3), ``alpha`` (H, W), uint8 or
    uint16. Pixels further than ``reach`` from visible ones keep what they had.
    """
    known = (alpha > 0).astype(np.uint8)
    if known.all() or not known.any():
        return colour
    filled = colour.copy()
    ring = np.ones((3, 3), dtype=np.uint8)
    for _ in range(reach):
        grown = np.asarray(cv2.dilate(known, ring), dtype=np.uint8)
        fresh = (grown > known).nonzero()
        if not len(fresh[0]):
            break
        filled[fresh] = _mean_of_known(filled, known, fresh)
        known = grown
    return filled


def _mean_of_known(
    colour: NDArray[Any], known: NDArray[np.uint8], where: tuple[NDArray[np.intp], ...]
) -> NDArray[Any]:
    """For each pixel in ``where``, the mean of its known neighbours, rounded half up."""
    height, width = known.shape
    deep = colour.ndim == 3
    total = np.zeros((len(where[0]), *colour.shape[2:]), dtype=np.int64)
    count = np.zeros(len(where[0]), dtype=np.int64)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            rows = np.clip(where[0] + down, 0, height - 1)
            columns = np.clip(where[1] + across, 0, width - 1)
            weight = known[rows, columns].astype(np.int64)
            total += colour[rows, columns] * (weight[:, None] if deep else weight)
            count += weight
    divisor = count[:, None] if deep else count
    return ((2 * total + divisor) // (2 * divisor)).astype(colour.dtype)


def bound_alpha(upscaled: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """``upscaled`` alpha, clipped to the range of the 3×3 source pixels around.

    So opaque and transparent areas stay exactly so, and edges do not ring. ``alpha``
    is the source (H, W), ``upscaled`` the larger plane, both uint8 or uint16.
    """
    ring = np.ones((3, 3), dtype=np.uint8)
    size = (upscaled.shape[1], upscaled.shape[0])
    low = cv2.resize(cv2.erode(alpha, ring), size, interpolation=cv2.INTER_NEAREST_EXACT)
    high = cv2.resize(cv2.dilate(alpha, ring), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(np.clip(upscaled, low, high))


def gray_of(bgr: NDArray[Any]) -> NDArray[Any]:
    """BT.601 luma (H, W) of uint8 or uint16 (H, W, 3) BGR."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2GRAY))
