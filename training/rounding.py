"""Round a tuned network's weights to 7 bits: layer after layer, and each layer's weights jointly.

Rounding each weight to its nearest step loses 0.9 dB at ×2: the features of the tail are so much alike that
their errors add up. The aim is the point on the lattice of steps whose answers, for real inputs, are the
nearest to those of the trained weights. Rounding one weight after the other, and moving the targets of the
others by the error made so far, is Babai's nearest plane (Babai 1986; as a way to quantize networks, Frantar
et al. 2022, "GPTQ"). It leaves a third of a grey level.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.data import Crops
from training.network import conv_matrix, conv_patches, store_matrix, weighed
from training.quantize import LEVELS, WEIGHT_MAX, QuantizedXLSR, fill_steps, smallest_step

#: Batches of crops that each layer's inputs are taken from: a million pixels.
BATCHES = 100


def _as_it_is() -> None:
    """Train nothing between two layers."""


@torch.no_grad()
def round_weights(
    network: QuantizedXLSR, crops: Crops, batches: int = BATCHES, settle: Callable[[], None] = _as_it_is
) -> None:
    """Make all weights of ``network`` 7-bit multiples of their ``step`` and all biases whole.

    Each layer is rounded for the inputs that the layers before it, rounded already, give it on ``batches`` of
    crops; each crop counts as much as its weight says. Copies of the picture stay what they are: what 7 bits
    hold exactly is not changed. A rounded layer is not trained again. After each but the last, ``settle`` may
    train the layers behind, to compensate for the rounding.
    """
    fill_steps(network)
    for name, conv in network.convolutions().items():
        gram = _gram(network, name, conv, crops, batches)
        rounded, step = round_jointly(conv_matrix(conv), gram, smallest_step(conv.weight).double())
        conv.get_buffer("step").copy_(step)
        store_matrix(conv, rounded)
        conv.requires_grad_(False)
        if conv is not network.tail:
            settle()


def _gram(network: QuantizedXLSR, name: str, conv: nn.Conv2d, crops: Crops, batches: int) -> Tensor:
    """Float64 sums over pixels of inputs by inputs, (in·k·k + 1) square."""
    size = len(conv_matrix(conv))
    gram = torch.zeros(size, size, dtype=torch.float64)
    for _ in range(batches):
        low, _, weight = crops.next()
        patches = conv_patches(conv, network.inputs(low)[name])
        gram += (weighed(patches, weight).T @ patches).double()
    return gram


def round_jointly(trained: Tensor, gram: Tensor, smallest: Tensor) -> tuple[Tensor, Tensor]:
    """``trained`` (N + 1, K) on a grid of 7-bit weights and whole biases, and each channel's step (K,).

    A step is ``smallest`` (K,), which holds the largest weight, or half of that where the other weights
    compensate for what is cut off. The steps of the bias are so small that it is set last, to the best value.
    """
    exact, bias_gram = trained[:-1], gram[:-1, -1] / gram[-1, -1]
    triangle, order = _sorted_cholesky(gram[:-1, :-1] - torch.outer(bias_gram, gram[-1, :-1]))
    best, step = torch.zeros_like(exact), smallest
    least = torch.full_like(smallest, torch.inf)
    for candidate in (smallest, smallest / 2):
        whole = _nearest_plane(exact[order] / candidate, triangle)
        error = (triangle @ (exact[order] - whole * candidate)).square().sum(dim=0)
        better = error < least
        least, step = torch.where(better, error, least), torch.where(better, candidate, step)
        best[order] = torch.where(better, whole * candidate, best[order])
    unit = step / LEVELS
    bias = ((trained[-1] + bias_gram @ (exact - best)) / unit).round() * unit
    return torch.cat([best, bias[None]]), step


def _nearest_plane(target: Tensor, triangle: Tensor) -> Tensor:
    """The 7-bit integers (N, K) for which ``triangle`` times the distance from ``target`` is small."""
    whole = torch.zeros_like(target)
    missed = torch.zeros_like(target)
    for index in reversed(range(len(target))):
        carried = triangle[index, index + 1 :] @ missed[index + 1 :] / triangle[index, index]
        whole[index] = (target[index] + carried).round().clamp(-WEIGHT_MAX, WEIGHT_MAX)
        missed[index] = target[index] - whole[index]
    return whole


def _sorted_cholesky(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Upper triangle R and an order with RᵀR = gram[order][:, order], each pivot the smallest that is left.

    No other weight can compensate for the one that is rounded last; so that is the one that matters least
    (sorted QR, Wübben et al. 2001).
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
