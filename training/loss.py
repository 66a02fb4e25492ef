"""The losses of training: Charbonnier's, or squared errors weighed as PSNR weighs them.

PSNR is a logarithm of the mean squared error of one picture, and its mean over pictures is reported. So the
weight of a squared error is inverse to the error of its picture. Otherwise busy pictures, whose squares are a
hundred times those of calm ones, would decide alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data import Pair
from training.network import HALO
from training.recipe import Recipe
from xlsr_cli.engine.resample import keys_cubic

#: The weight of plain colours and ramps, which have nearly no error.
PLAIN_WEIGHT = 255.0**2 / 5
#: Of bicubic's mean squared error: what has more gains less than 0.15 dB.
_LAGS = 10**-0.015

#: BT.601 luma of full-range B, G, R.
LUMA_BGR = (0.114, 0.587, 0.299)


def loss_of(answer: Tensor, low: Tensor, high: Tensor, weight: Tensor, recipe: Recipe) -> Tensor:
    """The loss that ``recipe`` wants of ``answer`` and its target ``high``, (N, C, H, W), in 0 … 1.

    ``low`` is (N, C, H / s + 2·HALO, W / s + 2·HALO), ``weight`` (N,).
    """
    error = answer - high
    if recipe.loss == "charbonnier":
        return _charbonnier(error, recipe)
    squares = _squares(error, recipe)
    if recipe.lagging > 1:
        weight = weight * torch.where(_lags(squares, low, high, recipe), recipe.lagging, 1.0)
    return (weight * squares).mean()


@torch.no_grad()
def _lags(squares: Tensor, low: Tensor, high: Tensor, recipe: Recipe) -> Tensor:
    """Which crops, with mean ``squares`` (N,), gain too little over bicubic."""
    # An answer is rounded to bytes later, as bicubic's is here.
    rounding = 1 / 12 / 255**2
    return squares + rounding > _LAGS * _squares(bicubic(low, recipe.scale) - high, recipe)


def bicubic(low: Tensor, scale: int) -> Tensor:
    """MATLAB's bicubic enlargement of ``low`` (N, C, H, W) without its halo, rounded to bytes: in 0 … 1."""
    offsets = (np.arange(scale) + 0.5) / scale - 0.5
    taps = torch.from_numpy(keys_cubic(offsets[:, None] - np.arange(-2, 3))).to(low)
    kernel = torch.einsum("ik,jl->ijkl", taps, taps).reshape(scale * scale, 1, 5, 5)
    planes = low[:, :, HALO - 2 : 2 - HALO, HALO - 2 : 2 - HALO].flatten(0, 1)[:, None]
    large = functional.pixel_shuffle(functional.conv2d(planes, kernel), scale)
    return large.reshape(*low.shape[:2], *large.shape[2:]).clamp(0, 1).mul(255).round().div(255)


@torch.no_grad()
def weights(network: nn.Module, pairs: list[Pair], recipe: Recipe) -> list[float]:
    """The weight that PSNR gives to each of ``pairs`` when ``network`` answers."""
    device = next(network.parameters()).device

    def planes(picture: Tensor) -> Tensor:
        return picture.to(device).permute(2, 0, 1)[None] / 255

    def mean_square(answer: Tensor, pair: Pair) -> float:
        return 255.0**2 * float(_squares(answer - planes(torch.from_numpy(pair.high[inner, inner])), recipe))

    inner = slice(HALO * recipe.scale, -HALO * recipe.scale)
    weighed = []
    for pair in pairs:
        squares = mean_square(network(planes(torch.from_numpy(pair.low))), pair)
        weighed.append(255.0**2 / (squares + recipe.enough))
    return weighed


def overshoot(answer: Tensor, low: Tensor, scale: int) -> Tensor:
    """How far ``answer`` (N, C, H·s, W·s) leaves the range of the 5×5 pixels of ``low`` around, on average.

    ``low`` is (N, C, H + 2·HALO, W + 2·HALO).
    """
    seen = low[:, :, HALO - 2 : 2 - HALO, HALO - 2 : 2 - HALO]
    most = functional.interpolate(functional.max_pool2d(seen, 5, stride=1), scale_factor=scale)
    least = functional.interpolate(-functional.max_pool2d(-seen, 5, stride=1), scale_factor=scale)
    return (functional.relu(answer - most) + functional.relu(least - answer)).mean()


def _charbonnier(error: Tensor, recipe: Recipe) -> Tensor:
    """Mean of sqrt(error² + ε²), plus ``luma_weight`` times the same of the error's Y′."""
    loss = (error.square() + recipe.epsilon**2).sqrt().mean()
    if _counts_luma(recipe):
        loss = loss + recipe.luma_weight * (_luma(error).square() + recipe.epsilon**2).sqrt().mean()
    return loss


def _squares(error: Tensor, recipe: Recipe) -> Tensor:
    """Each crop's mean square (N,); for colours, averaged with that of Y′, which counts ``luma_weight``."""
    squares = error.square().mean(dim=(1, 2, 3))
    if _counts_luma(recipe):
        luma = _luma(error).square().mean(dim=(1, 2))
        squares = (squares + recipe.luma_weight * luma) / (1 + recipe.luma_weight)
    return squares


def _counts_luma(recipe: Recipe) -> bool:
    return recipe.colours == 3 and recipe.luma_weight > 0


def _luma(error: Tensor) -> Tensor:
    return torch.einsum("nchw,c->nhw", error, error.new_tensor(LUMA_BGR))
