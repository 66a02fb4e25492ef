"""Gains over bicubic on compressed pictures and films: what the choice of a level rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data import full_range_luma
from training.evaluate import Upscale
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import luma_psnr

Pixels = NDArray[np.uint8]
#: None is a picture that was never compressed.
QUALITIES = (10, 20, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 98, 100, None)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One picture at one quality: the original, what a file gave back, and bicubic's PSNR from that.

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
    """What ``upscale`` gains over bicubic in each case, in dB on Y′; luma networks see nothing but Y′."""
    if colours == 3:
        return [luma_psnr(case.high, upscale(case.low), scale) - case.bicubic for case in cases]
    found = []
    for case in cases:
        plane = upscale(full_range_luma(case.low))[..., 0].astype(np.float64)
        exact = case.high.astype(np.float64) @ np.array([0.114, 0.587, 0.299])
        error = (219 / 255 * (plane - exact))[scale:-scale, scale:-scale]
        found.append(10 * np.log10(255**2 / np.square(error).mean()) - case.bicubic)
    return found
