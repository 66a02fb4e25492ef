"""Score a network on folders of pictures, the way the literature does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.data import Pair, full_range_luma
from training.network import HALO
from xlsr_cli.quality.bicubic import shrink
from xlsr_cli.quality.metrics import crop_border, luma_psnr, psnr

Pixels = NDArray[np.uint8]
#: uint8 (H, W, C) to uint8 (H·s, W·s, C), C = 3 (BGR) or 1 (luma)
Upscale = Callable[[Pixels], Pixels]

#: MATLAB's rgb2ycbcr scales full-range luma by 219/255, and an error in dB by this much.
_STUDIO_DB = 20.0 * float(np.log10(255.0 / 219.0))


def torch_upscale(network: nn.Module, *, wraps: bool = False) -> Upscale:
    """Run a float network on a whole picture, its border extended by reflection.

    Values outside of a byte saturate, or wrap around.
    """

    @torch.no_grad()
    def upscale(low: Pixels) -> Pixels:
        padded = np.pad(low, ((HALO, HALO), (HALO, HALO), (0, 0)), mode="reflect")
        batch = torch.from_numpy(padded).permute(2, 0, 1)[None].float().div(255.0)
        levels = network(batch)[0].mul(255.0).add(0.5).floor()
        high = levels.remainder(256.0) if wraps else levels.clamp(0.0, 255.0)
        return np.asarray(high.permute(1, 2, 0).to(torch.uint8).numpy())

    return upscale


def score_folder(upscale: Upscale, folder: Path, scale: int, colours: int) -> float:
    """Mean PSNR in dB over the PNG files of ``folder``: luma, ``scale`` pixels of border cropped."""
    files = sorted(folder.glob("*.png"))
    return float(np.mean([score_picture(upscale, path, scale, colours) for path in files]))


def score_picture(upscale: Upscale, path: Path, scale: int, colours: int) -> float:
    """PSNR in dB of one picture file; gray on its own values, colour on BT.601 Y′ (16 … 235)."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ValueError(f"{path} cannot be read as a picture")
    reference = np.asarray(picture, dtype=np.uint8)
    height, width = (side // scale * scale for side in reference.shape[:2])
    reference = reference[:height, :width]
    low = shrink(reference, scale)
    if reference.ndim == 2:
        return luma_psnr(reference, _upscale_gray(upscale, low, colours), scale)
    if colours == 1:
        high = upscale(full_range_luma(low))
        # Both on the Y′ plane: the full-range error, in units of the 16 … 235 scale.
        return _plane_psnr(_exact_luma(reference), high[..., 0], scale) + _STUDIO_DB
    return luma_psnr(reference, upscale(low), scale)


def score_planes(upscale: Upscale, folder: Path, scale: int, colours: int) -> float:
    """As :func:`score_folder`, on the Y′ planes alone: each is shrunk, enlarged and scored as a gray picture.

    So a luma model and a colour model see the same picture, without colours.
    """
    scores = []
    for path in sorted(folder.glob("*.png")):
        bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        plane = full_range_luma(np.asarray(bgr, dtype=np.uint8))[..., 0]
        plane = plane[: plane.shape[0] // scale * scale, : plane.shape[1] // scale * scale]
        high = _upscale_gray(upscale, shrink(plane, scale), colours)
        scores.append(_plane_psnr(plane, high, scale) + _STUDIO_DB)
    return float(np.mean(scores))


def score_pairs(upscale: Upscale, pairs: list[Pair], scale: int) -> float:
    """Mean PSNR in dB over (low, high) pairs in memory, on luma."""
    scores = []
    for pair in pairs:
        high = upscale(pair.low)
        if pair.high.shape[2] == 1:
            scores.append(_plane_psnr(pair.high[..., 0], high[..., 0], scale) + _STUDIO_DB)
        else:
            scores.append(luma_psnr(pair.high, high, scale))
    return float(np.mean(scores))


def _upscale_gray(upscale: Upscale, low: Pixels, colours: int) -> Pixels:
    high = upscale(np.repeat(low[..., None], colours, axis=2))
    if colours == 1:
        return high[..., 0]
    return full_range_luma(high)[..., 0]


def _exact_luma(bgr: Pixels) -> NDArray[np.float64]:
    """BT.601 full-range Y′, not rounded, float64 (H, W)."""
    return np.asarray(bgr.astype(np.float64) @ np.array([0.114, 0.587, 0.299]))


def _plane_psnr(reference: NDArray[np.generic], test: NDArray[np.generic], border: int) -> float:
    return psnr(crop_border(reference, border), crop_border(test, border))
