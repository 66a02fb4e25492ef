"""Solve the last layer exactly: least squares, and for 8 bits least squares in integers.

Training ends near a minimum of its own loss, which is no squared error, and rounding each weight to the
nearest step is not the best rounding of all together. With the features given, the tail is a linear
regression with 289 unknowns a channel, for which a few million pixels are plenty.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.data import Crops
from training.network import FoldedXLSR
from training.quantize import LEVELS, WEIGHT_MAX, QuantizedXLSR

#: Batches of crops that the normal equations are summed over: some two million pixels of features.
BATCHES = 150
#: How strongly the solution is pulled to the trained weights, as a share of the features' mean square.
_RIDGE = 1e-5
_MAX_PASSES = 100


@torch.no_grad()
def refit_tail(network: FoldedXLSR | QuantizedXLSR, crops: Crops, batches: int = BATCHES) -> None:
    """Replace the tail of ``network`` by the one with the least squared error over ``batches`` of crops."""
    assert network.tail.bias is not None
    trained = torch.cat([network.tail.weight.flatten(1), network.tail.bias[:, None]], dim=1).double().T
    gram, moments = _normal_equations(network, trained, crops, batches)
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved = torch.linalg.solve(gram + ridge, moments + ridge @ trained)
    if isinstance(network, QuantizedXLSR):
        solved = _rounded(solved, gram, moments)
    network.tail.weight.copy_(solved[:-1].T.reshape(network.tail.weight.shape))
    network.tail.bias.copy_(solved[-1])


def _normal_equations(
    network: FoldedXLSR | QuantizedXLSR, trained: Tensor, crops: Crops, batches: int
) -> tuple[Tensor, Tensor]:
    """Float64 sums over pixels: features by features (289, 289), features by targets (289, K).

    A target of 0 or 1 that the trained tail already passes counts as met: the Clipped ReLU cuts it there.
    """
    gram = trained.new_zeros(len(trained), len(trained))
    moments = trained.new_zeros(trained.shape)
    for _ in range(batches):
        low, high = crops.next()
        patches = functional.unfold(network.features(low), 3).transpose(1, 2).flatten(0, 1)
        patches = torch.cat([patches, patches.new_ones(len(patches), 1)], dim=1)
        target = functional.pixel_unshuffle(high, network.scale).permute(0, 2, 3, 1).flatten(0, 2)
        answer = patches @ trained.float()
        met = ((answer > 1) & (target == 1)) | ((answer < 0) & (target == 0))
        gram += (patches.T @ patches).double()
        moments += (patches.T @ torch.where(met, answer, target)).double()
    return gram, moments


def _rounded(solved: Tensor, gram: Tensor, moments: Tensor) -> Tensor:
    """``solved`` (289, K) on the grid of 7-bit weights and integer biases, by coordinate descent.

    Each step moves one unknown of every channel to the grid point with the least squared error while the
    others stay. The largest weight of a channel stays at ±63, for it defines the channel's step.
    """
    step = solved[:-1].abs().amax(dim=0).clamp(min=1e-6) / WEIGHT_MAX
    unit = torch.cat([step.expand(len(solved) - 1, -1), step[None] / LEVELS])
    whole = (solved / unit).round()
    fixed = whole.abs() == WEIGHT_MAX
    fixed[-1] = False
    limit = torch.full_like(whole, WEIGHT_MAX)
    limit[-1] = torch.inf
    rest = moments - gram @ (whole * unit)
    for _ in range(_MAX_PASSES):
        moved = False
        for index in range(len(whole)):
            wanted = whole[index] + (rest[index] / gram[index, index].clamp(min=1e-9) / unit[index]).round()
            wanted = wanted.clamp(-limit[index], limit[index]).where(~fixed[index], whole[index])
            change = (wanted - whole[index]) * unit[index]
            if bool(change.any()):
                rest -= gram[:, index, None] * change
                whole[index] = wanted
                moved = True
        if not moved:
            break
    return whole * unit
