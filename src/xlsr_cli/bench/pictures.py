"""The pictures of a measurement, and the quality of the results."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.options import Size
from xlsr_cli.quality.bicubic import shrink
from xlsr_cli.quality.metrics import luma_psnr

#: OpenCV's filters that the network is compared with.
FILTERS: dict[str, int] = {"bicubic": cv2.INTER_CUBIC, "Lanczos": cv2.INTER_LANCZOS4}

#: Mean PSNR in dB of OpenCV's filters, by scale, measured like the models' scores in the manifest. OpenCV's
#: bicubic (a = -0.75) is another one than MATLAB's, hence 0.1 to 0.3 dB more than in the literature.
FILTER_PSNR: dict[str, dict[int, dict[str, float]]] = {
    "bicubic": {
        2: {"Set5": 33.975, "Set14": 30.460},
        3: {"Set5": 30.631, "Set14": 27.695},
        4: {"Set5": 28.633, "Set14": 26.119},
    },
    "Lanczos": {
        2: {"Set5": 34.450, "Set14": 30.777},
        3: {"Set5": 30.913, "Set14": 27.887},
        4: {"Set5": 28.890, "Set14": 26.267},
    },
}

#: Larger pictures are scored on their middle, this many pixels a side: PSNR hardly changes, time does.
_SCORED_SIDE = 1024
#: Below, a shrunk picture has nothing left to score.
_SMALLEST_SIDE = 96


def made_picture(size: Size) -> NDArray[np.uint8]:
    """A synthetic picture of ``size``: uint8 BGR, the same on each machine within a level or two.

    Its spectrum falls like that of photographs (amplitude 1/f) and its channels are correlated, so that
    codecs have as much work as with a photograph; the network's speed does not depend on the picture.
    """
    random = np.random.default_rng(2105_10288)
    down = np.fft.fftfreq(size.height)[:, None]
    across = np.fft.rfftfreq(size.width)[None, :]
    falloff = 1.0 / np.maximum(np.hypot(down, across), 1.0 / max(size.width, size.height))
    planes = []
    for _ in range(3):
        phase = random.uniform(0.0, 2.0 * np.pi, falloff.shape)
        plane = np.fft.irfft2(falloff * np.exp(1j * phase), s=(size.height, size.width))
        planes.append(plane / (plane.std() or 1.0))
    shared = planes[0]
    colours = np.dstack([shared + 0.25 * plane for plane in (planes[1], np.zeros_like(shared), planes[2])])
    return np.clip(np.rint(128.0 + 52.0 * colours), 0, 255).astype(np.uint8)


def filtered(pixels: Pixels, size: Size, name: str) -> Pixels:
    """``pixels`` (any that OpenCV takes) resized by one of :data:`FILTERS`."""
    return np.asarray(cv2.resize(pixels, (size.width, size.height), interpolation=FILTERS[name]))


def why_not_scored(pixels: Pixels) -> str:
    """Why :func:`score` has no answer for a picture; empty when it has one."""
    if pixels.dtype != np.uint8:
        return "the picture has 16 bits"
    if min(pixels.shape[:2]) < _SMALLEST_SIDE:
        return f"the picture has less than {_SMALLEST_SIDE} pixels on a side"
    return ""


def score(pixels: Pixels, scale: int, upscale: Callable[[Pixels], Pixels]) -> float:
    """PSNR in dB on luma: ``pixels`` are shrunk ``scale`` times, enlarged by ``upscale``, and compared.

    Of larger pictures the middle is used; alpha is left out. Raises ``ValueError`` where
    :func:`why_not_scored` has a reason.
    """
    if reason := why_not_scored(pixels):
        raise ValueError(reason)
    height, width = pixels.shape[:2]
    top, left = (max(0, side - _SCORED_SIDE) // 2 for side in (height, width))
    middle = pixels[top : top + _SCORED_SIDE, left : left + _SCORED_SIDE]
    colour = middle if middle.ndim == 2 else middle[..., :3] if middle.shape[2] >= 3 else middle[..., 0]
    rows, columns = (side // scale * scale for side in colour.shape[:2])
    reference = np.ascontiguousarray(colour[:rows, :columns])
    low = shrink(reference, scale)
    return luma_psnr(reference, np.asarray(upscale(low), dtype=np.uint8), scale)
