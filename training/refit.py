"""Solve the last layer exactly: least squares, and for 8 bits least squares in integers.

With the features given, the tail is a linear regression with 289 unknowns a channel, for which some million
pixels are plenty. In integers it is the
search for the lattice point closest to that solution. Rounding every weight to its nearest step is a poor
answer (0.9 dB lost at ×2): the features are so much alike that errors add up. Rounding one weight after the
other, each time with the errors made so far in the others' targets, is Babai's nearest plane (Babai 1986; as
a way to quantize networks, Frantar et al. 2022, "GPTQ"), and leaves a third of a grey level.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.data import Crops
from training.network import FoldedXLSR, store_tail, tail_inputs, tail_matrix
from training.quantize import LEVELS, WEIGHT_MAX, QuantizedXLSR

#: Batches of crops that the normal equations are summed over: four million pixels.
BATCHES = 400
#: How strongly the solution is pulled to the trained weights, as a share of the features' mean square.
_RIDGE = 1e-5
#: Steps that are tried for each channel, from the smallest that holds its largest weight to 1.5 times that.
_STEPS = 24


@torch.no_grad()
def refit_tail(network: FoldedXLSR | QuantizedXLSR, crops: Crops, batches: int = BATCHES) -> None:
    """Replace the tail of ``network`` by the one with the least squared error over ``batches`` of crops.

    Each crop counts as much as its weight says.
    """
    trained = tail_matrix(network.tail)
    gram, moments = _normal_equations(network, trained, crops, batches)
    ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    solved = torch.linalg.solve(gram + ridge, moments + ridge @ trained)
    if isinstance(network, QuantizedXLSR):
        solved, step = _rounded(solved, gram)
        network.tail_step.copy_(step)
    store_tail(network.tail, solved)


def _normal_equations(
    network: FoldedXLSR | QuantizedXLSR, trained: Tensor, crops: Crops, batches: int
) -> tuple[Tensor, Tensor]:
    """Float64 sums over pixels: features by features (289, 289), features by targets (289, K).

    A target of 0 or 1 that the trained tail already passes counts as met: the Clipped ReLU cuts it there.
    """
    gram = trained.new_zeros(len(trained), len(trained))
    moments = trained.new_zeros(trained.shape)
    for _ in range(batches):
        low, high, weight = crops.next()
        patches = tail_inputs(network.features(low))
        target = functional.pixel_unshuffle(high, network.scale).permute(0, 2, 3, 1).flatten(0, 2)
        answer = patches @ trained.float()
        met = ((answer > 1) & (target == 1)) | ((answer < 0) & (target == 0))
        weighed = patches * weight.repeat_interleave(len(patches) // len(weight))[:, None]
        gram += (weighed.T @ patches).double()
        moments += (weighed.T @ torch.where(met, answer, target)).double()
    return gram, moments


def _rounded(solved: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """``solved`` (289, K) on a grid of 7-bit weights and integer biases, and the step (K,) of each channel.

    The bias has steps so small that it may be left out at first and set to whatever is best in the end.
    """
    exact, bias_gram = solved[:-1], gram[:-1, -1] / gram[-1, -1]
    triangle, order = _sorted_cholesky(gram[:-1, :-1] - torch.outer(bias_gram, gram[-1, :-1]))
    smallest = exact.abs().amax(dim=0).clamp(min=1e-6) / WEIGHT_MAX
    best, step = torch.zeros_like(exact), smallest
    least = torch.full_like(smallest, torch.inf)
    for candidate in (smallest * (1 + 0.5 * index / _STEPS) for index in range(_STEPS)):
        whole = _nearest_plane(exact[order] / candidate, triangle)
        error = (triangle @ (exact[order] - whole * candidate)).square().sum(dim=0)
        better = error < least
        least, step = torch.where(better, error, least), torch.where(better, candidate, step)
        best[order] = torch.where(better, whole * candidate, best[order])
    unit = step / LEVELS
    bias = ((solved[-1] + bias_gram @ (exact - best)) / unit).round() * unit
    return torch.cat([best, bias[None]]), step


def _nearest_plane(target: Tensor, triangle: Tensor) -> Tensor:
    """The 7-bit integers (288, K) for which ``triangle`` times the distance from ``target`` is small."""
    whole = torch.zeros_like(target)
    missed = torch.zeros_like(target)
    for index in reversed(range(len(target))):
        carried = triangle[index, index + 1 :] @ missed[index + 1 :] / triangle[index, index]
        whole[index] = (target[index] + carried).round().clamp(-WEIGHT_MAX, WEIGHT_MAX)
        missed[index] = target[index] - whole[index]
    return whole


def _sorted_cholesky(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Upper triangle R and an order with RᵀR = gram[order][:, order], each pivot the smallest that is left.

    What is rounded last cannot be made up for by anything else; so that is what matters least (sorted QR,
    Wübben et al. 2001).
    """
    size = len(gram)
    rest = gram + 1e-9 * gram.diagonal().mean() * torch.eye(size, dtype=gram.dtype)
    triangle = torch.zeros_like(rest)
    order = torch.arange(size)
    for index in range(size):
        swap = torch.arange(size)
        smallest = index + int(rest.diagonal()[index:].argmin())
        swap[[index, smallest]] = swap[[smallest, index]]
        rest, triangle, order = rest[swap][:, swap], triangle[:, swap], order[swap]
        triangle[index, index:] = rest[index, index:] / rest[index, index].clamp(min=1e-12).sqrt()
        told = triangle[index, index + 1 :]
        rest[index + 1 :, index + 1 :] -= torch.outer(told, told)
    return triangle, order
