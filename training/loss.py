"""What training makes small: Charbonnier's error, or squares as PSNR counts them.

PSNR is the logarithm of one picture's mean squared error, and its mean over pictures is what is reported.
So a squared error counts in inverse proportion to the error of the picture it is in: busy pictures, whose
squares are a hundred times those of calm ones, do not decide alone.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from training.data import Pair
from training.network import HALO
from training.recipe import Recipe

#: Added to a picture's mean squared error, in squared grey levels: what is right already shall not decide
#: either.
_ENOUGH = 5.0
#: What plain colours and ramps count, which have no error to speak of.
PLAIN_WEIGHT = 255.0**2 / _ENOUGH

#: BT.601 luma of full-range B, G, R.
LUMA_BGR = (0.114, 0.587, 0.299)


def loss_of(error: Tensor, weight: Tensor, recipe: Recipe) -> Tensor:
    """The loss that ``recipe`` wants of ``error`` (N, C, H, W), in units of 0 … 1; ``weight`` is (N,)."""
    if recipe.loss == "charbonnier":
        return _charbonnier(error, recipe)
    return (weight * _squares(error, recipe)).mean()


@torch.no_grad()
def weigh(network: nn.Module, pairs: list[Pair], recipe: Recipe) -> list[Pair]:
    """``pairs`` with the weights that PSNR gives them when ``network`` answers."""
    device = next(network.parameters()).device

    def planes(picture: Tensor) -> Tensor:
        return picture.to(device).permute(2, 0, 1)[None] / 255

    weighed = []
    for pair in pairs:
        inner = slice(HALO * recipe.scale, -HALO * recipe.scale)
        answer = network(planes(torch.from_numpy(pair.low)))
        error = answer - planes(torch.from_numpy(pair.high[inner, inner]))
        squares = 255.0**2 * float(_squares(error, recipe))
        weighed.append(replace(pair, weight=255.0**2 / (squares + _ENOUGH)))
    return weighed


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
