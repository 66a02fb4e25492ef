"""Keep the picture itself among the features: the first channels of skip and fuse copy the input.

A plain colour must come out as it went in, but in 8 bits thirty-two rounded features add up to several
levels of error, the same at every pixel of a plain area, where eyes see it. A copy of an 8-bit picture is
exact in 8 bits. So the first ``colours`` filters of the skip convolution are set to the identity, the first
``colours`` filters of the fuse layer take just these, and the tail can build the picture on them; what the
other features add is a correction, small where the picture is plain. (Du et al., "Anchor-based Plain Net
for Mobile Image Super-Resolution", CVPR Workshops 2021, add such an anchor at the end; here it is a choice
of XLSR's own weights, so the layers stay what they are.)
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from training.network import FEATURES, SKIP_FEATURES, FoldedXLSR, conv_matrix, conv_patches, store_matrix

#: The taps of a 3×3 filter in the order in which luma's skip filters copy them: the centre first.
NEIGHBOURS = (4, 0, 1, 2, 3, 5, 6, 7, 8)


@torch.no_grad()
def anchor(folded: FoldedXLSR, pictures: list[Tensor]) -> FoldedXLSR:
    """``folded`` with anchors, close enough to its function to be trained on from there.

    The anchors replace the features that contribute least on ``pictures`` (float (N, C, H, W) in 0 … 1). The
    remaining skip filters are fitted to what the skip branch gave to the other features. The tail starts
    without the anchors.
    """
    network = copy.deepcopy(folded)
    colours = network.colours
    skip, fuse, tail = network.skip, network.fuse, network.tail
    assert skip.bias is not None and fuse.bias is not None
    order = _importance(network, pictures).argsort()
    mixing = fuse.weight[:, FEATURES:, 0, 0]
    fuse.bias += mixing @ skip.bias
    product = (mixing @ skip.weight.flatten(1)).double()
    for layer in (fuse.weight, fuse.bias, product):
        layer.copy_(layer[order])
    tail.weight.copy_(tail.weight[:, order])
    tail.weight[:, :colours] = 0.0
    centres = [colour * 9 + 4 for colour in range(colours)]
    direct = product[colours:, centres].clone()
    product[:, centres] = 0.0
    factor_skip(network, product[colours:], colours)
    fuse.weight[colours:, FEATURES : FEATURES + colours, 0, 0] = direct.float()
    _set_identity(network)
    return network


@torch.no_grad()
def factor_skip(network: FoldedXLSR, product: Tensor, first: int) -> None:
    """Set the skip filters from ``first`` on and the fuse weights for them: together they give ``product``.

    ``product`` is float64 (32 - first, C·9), for the fuse layer's outputs from ``first`` on. Its singular
    value decomposition gives orthogonal filters. Where its rank is higher than the number of filters, the
    smallest singular values are lost. The skip branch's biases become zero.
    """
    skip, fuse = network.skip, network.fuse
    assert skip.bias is not None
    left, strength, right = torch.linalg.svd(product, full_matrices=False)
    rank = min(SKIP_FEATURES - first, len(strength))
    skip.bias.zero_()
    skip.weight[first:] = 0.0
    fuse.weight[:, FEATURES + first :] = 0.0
    skip.weight[first : first + rank] = right[:rank].reshape(rank, *skip.weight.shape[1:]).float()
    columns = slice(FEATURES + first, FEATURES + first + rank)
    fuse.weight[first:, columns, 0, 0] = (left[:, :rank] * strength[:rank]).float()


@torch.no_grad()
def skip_to_neighbours(network: FoldedXLSR) -> None:
    """Make the skip filters of a luma ``network`` copies of the nine pixels they see, its function kept.

    With one colour there are fewer pixels under a filter than filters, so the fuse layer can read the pixels
    themselves, centre first (which keeps an anchor in its place); the other filters become zero. Copies are
    exact in 8 bits, and a graph whose input brings each pixel's neighbours along needs no skip convolution.
    """
    skip, fuse = network.skip, network.fuse
    assert network.colours == 1 and skip.bias is not None and fuse.bias is not None
    mixing = fuse.weight[:, FEATURES:, 0, 0].double()
    product = mixing @ skip.weight.double().flatten(1)
    fuse.bias += (mixing @ skip.bias.double()).float()
    for parameter in (skip.weight, skip.bias, fuse.weight[:, FEATURES:]):
        parameter.zero_()
    for place, tap in enumerate(NEIGHBOURS):
        skip.weight[place, 0].view(-1)[tap] = 1.0
        fuse.weight[:, FEATURES + place, 0, 0] = product[:, tap].float()


@torch.no_grad()
def double_anchor(network: FoldedXLSR, pictures: list[Tensor]) -> None:
    """Turn the feature of an anchored luma ``network`` that carries least into a second copy of the picture.

    The tail's weight for the picture is about 0.8, all others are a quarter of that or less; and the largest
    weight decides how finely all of them are rounded to 7 bits. With two copies it is halved. The tail makes
    up for the lost feature as well as the others can tell it. ``pictures`` as in :func:`anchor`.
    """
    fuse, tail = network.fuse, network.tail
    assert network.colours == 1 and fuse.bias is not None
    least, solved = _without_least(network, pictures)
    store_matrix(tail, solved)
    for layer in (fuse.weight, fuse.bias):
        layer[least] = layer[1]
        layer[1] = layer[0]
    tail.weight[:, least] = tail.weight[:, 1]
    tail.weight[:, 0] /= 2
    tail.weight[:, 1] = tail.weight[:, 0]


def _without_least(network: FoldedXLSR, pictures: list[Tensor]) -> tuple[int, Tensor]:
    """The feature (never the first) that the tail misses least, and the best tail without it.

    The tail is float64 (289, outputs), the bias in the last row: the least-squares fit to the answers of the
    whole tail. The inverse of the features' second moments gives it for each feature.
    """
    tail = conv_matrix(network.tail)
    moments = torch.zeros(len(tail), len(tail), dtype=torch.float64)
    for picture in pictures:
        patches = conv_patches(network.tail, network.features(picture))
        moments += (patches.T @ patches).double()
    inverse = torch.linalg.inv(moments + 1e-6 * moments.diagonal().mean() * torch.eye(len(moments)))
    best, least, solved = torch.inf, 0, tail
    for feature in range(1, FEATURES):
        taps = slice(feature * 9, feature * 9 + 9)
        shift = torch.linalg.solve(inverse[taps, taps], tail[taps])
        cost = float((tail[taps] * shift).sum())
        if cost < best:
            best, least, solved = cost, feature, tail - inverse[:, taps] @ shift
    return least, solved


def exact_copies(colours: int) -> tuple[int, int]:
    """How many of the first skip filters, and of the first features, copy the picture in the int8 form."""
    return (len(NEIGHBOURS), 2) if colours == 1 else (colours, colours)


def hold(layer: nn.Module, rows: int) -> None:
    """Freeze the first ``rows`` filters of ``layer``: they get no gradient."""
    for parameter in layer.parameters():
        parameter.register_hook(partial(_without_first, rows=rows))  # type: ignore[no-untyped-call]


def is_anchored(folded: FoldedXLSR) -> bool:
    """Whether skip and fuse begin with copies of the picture, exactly."""
    held = copy.deepcopy(folded)
    _set_identity(held)
    return all(
        torch.equal(one, other)
        for layer in ("skip", "fuse")
        for one, other in zip(
            getattr(held, layer).parameters(), getattr(folded, layer).parameters(), strict=True
        )
    )


def _without_first(gradient: Tensor, rows: int) -> Tensor:
    gradient = gradient.clone()
    gradient[:rows] = 0.0
    return gradient


@torch.no_grad()
def _set_identity(network: FoldedXLSR) -> None:
    assert network.skip.bias is not None and network.fuse.bias is not None
    for colour in range(network.colours):
        network.skip.weight[colour] = 0.0
        network.skip.weight[colour, colour, 1, 1] = 1.0
        network.fuse.weight[colour] = 0.0
        network.fuse.weight[colour, FEATURES + colour] = 1.0
        network.skip.bias[colour] = 0.0
        network.fuse.bias[colour] = 0.0


def _importance(network: FoldedXLSR, pictures: list[Tensor]) -> Tensor:
    """How much each feature of the fuse layer moves the answer: its deviation times its tail weights."""
    seen = [network.features(picture).transpose(0, 1).flatten(1) for picture in pictures]
    deviation: Tensor = torch.cat(seen, dim=1).std(dim=1)
    return deviation * network.tail.weight.square().sum(dim=(0, 2, 3)).sqrt()
