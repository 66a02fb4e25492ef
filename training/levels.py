"""Gains over bicubic on compressed pictures and films, from which the limits of the levels follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import full_range_luma
from training.evaluate import Upscale
from training.films import FRAMES, through_encoder
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import crop_border, luma_psnr, psnr

Pixels = NDArray[np.uint8]
#: A key frame and two predicted ones.
_SCORED_FRAMES = (0, 3, 6)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture at one quality: the original, the decoded small one, and the PSNR of bicubic.

    uint8 BGR, ``low`` a scale-th of ``high``.
    """

    high: Pixels
    low: Pixels
    bicubic: float


def through_jpeg(picture: Pixels, quality: int | None) -> Pixels:
    """``picture`` after OpenCV's JPEG (4:2:0) at ``quality``; None leaves it alone."""
    if quality is None:
        return picture
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def jpeg_cases(folder: Path, scale: int, quality: int | None) -> list[Case]:
    """A case for each PNG below ``folder``, shrunk by MATLAB's bicubic and stored as JPEG."""
    cases = []
    for path in sorted(folder.rglob("*.png")):
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        high = np.asarray(picture, dtype=np.uint8)
        high = high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]
        low = through_jpeg(shrink(high, scale), quality)
        cases.append(case_of(high, low, scale))
    return cases


def case_of(high: Pixels, low: Pixels, scale: int) -> Case:
    """The case of ``low``, whose original is ``high``."""
    bicubic = luma_psnr(high, to_uint8(imresize(low, *high.shape[:2])), scale)
    return Case(high=high, low=low, bicubic=bicubic)


def gains(upscale: Upscale, cases: Sequence[Case], scale: int, colours: int) -> list[float]:
    """The gain of ``upscale`` over bicubic in each case, in dB on Y′; luma networks see only Y′."""
    if colours == 3:
        return [luma_psnr(case.high, upscale(case.low), scale) - case.bicubic for case in cases]
    found = []
    for case in cases:
        plane = upscale(full_range_luma(case.low))[..., 0].astype(np.float64)
        exact = case.high.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
        error = (219 / 255 * (plane - exact))[scale:-scale, scale:-scale]
        found.append(10 * np.log10(255**2 / np.square(error).mean()) - case.bicubic)
    return found


def film_cases(pictures: Sequence[Pixels], scale: int, crf: int) -> list[Case]:
    """Luma cases (H, W, 1): key and predicted frames of each of ``pictures`` (BGR), panned, after x264."""
    cases = []
    for picture in pictures:
        high = _panned(picture, 2 * scale)
        low = through_encoder([shrink(frame, scale) for frame in high], "libx264", crf)
        for index in _SCORED_FRAMES:
            large = to_uint8(imresize(low[index], *high[index].shape[:2])).reshape(high[index].shape)
            bicubic = psnr(crop_border(high[index], scale), crop_border(large, scale))
            cases.append(Case(high=high[index], low=low[index], bicubic=bicubic))
    return cases


def _panned(picture: Pixels, multiple: int) -> list[Pixels]:
    """FRAMES views of ``picture``, moving down and right: limited-range luma, cut to ``multiple``."""
    luma = full_range_luma(picture).astype(np.float32) * np.float32(219 / 255) + 16
    step = (5, 3)
    height, width = (
        (side - (FRAMES - 1) * by) // multiple * multiple
        for side, by in zip(luma.shape[:2], step, strict=True)
    )
    starts = ((time * step[0], time * step[1]) for time in range(FRAMES))
    views = (luma[top : top + height, left : left + width] for top, left in starts)
    return [np.rint(view).astype(np.uint8) for view in views]


def film_gains(upscale: Upscale, cases: Sequence[Case], scale: int) -> list[float]:
    """The gain of a luma network over bicubic on each of :func:`film_cases`, in dB on the stored Y′."""
    return [
        psnr(crop_border(case.high, scale), crop_border(upscale(case.low), scale)) - case.bicubic
        for case in cases
    ]
