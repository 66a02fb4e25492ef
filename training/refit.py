"""Solve the last layer exactly, by least squares.

With the features given, the tail is a linear regression with 289 unknowns a channel. That helps where
training ended with a loss that is no squared error, or with products in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.data import Crops
from training.network import FoldedXLSR, conv_matrix, conv_patches, store_matrix, weighed

#: Batches of crops that the normal equations are summed over: four million pixels.
BATCHES = 400
#: How strongly the solution is drawn to the trained weights, as a share of the mean square of the features.
_RIDGE = 1e-5


@torch.no_grad()
def refit_tail(network: FoldedXLSR, crops: Crops, batches: int = BATCHES) -> None:
    """Replace the tail of ``network`` by the one with the least squared error over ``batches`` of crops.

    Each crop counts as much as its weight says.
    """
    trained = conv_matrix(network.tail)
    gram, moments = _normal_equations(network, trained, crops, batches)
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    store_matrix(network.tail, torch.linalg.solve(gram + ridge, moments + ridge @ trained))


def _normal_equations(
    network: FoldedXLSR, trained: Tensor, crops: Crops, batches: int
) -> tuple[Tensor, Tensor]:
    """Float64 sums over pixels: features by features (289, 289), features by targets (289, K).

    A target of 0 or 1 that the trained tail already passes counts as met: the Clipped ReLU cuts it there.
    """
    gram = trained.new_zeros(len(trained), len(trained))
    moments = trained.new_zeros(trained.shape)
    for _ in range(batches):
        low, high, weight = crops.next()
        patches = conv_patches(network.tail, network.features(low))
        target = functional.pixel_unshuffle(high, network.scale).permute(0, 2, 3, 1).flatten(0, 2)
        answer = patches @ trained.float()
        met = ((answer > 1) & (target == 1)) | ((answer < 0) & (target == 0))
        heavy = weighed(patches, weight)
        gram += (heavy.T @ patches).double()
        moments += (heavy.T @ torch.where(met, answer, target)).double()
    return gram, moments
