"""The folded network with 8-bit arithmetic in it: fake quantization for training, integers for export.

Every tensor is an 8-bit picture: uint8 with scale 1/255 and zero point 0, whose saturation is at once
ReLU and Clipped ReLU. ReLU is positively homogeneous, so :func:`normalise` divides each channel by the
largest activation that calibration saw and multiplies the next layer's weights for it; the signed skip
branch is moved into the range, and the fuse layer's bias takes the shift out again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.anchor import double_anchor, exact_copies, factor_skip, is_anchored, skip_to_neighbours
from training.network import BLOCKS, FEATURES, FoldedXLSR

#: Largest weight: seven bits and a sign. Two products of 8-bit activations and 7-bit weights fit the
#: 16-bit intermediate of CPUs with AVX2 but without VNNI, so every CPU gets the same sums.
WEIGHT_MAX = 63
#: Largest activation.
LEVELS = 255
#: The quantile at which calibration cuts a range: the few outliers beyond are not worth resolution.
RANGE_QUANTILE = 0.99999
#: The most by which a channel is stretched to fill its step; what saturates then is lost.
_MOST_STRETCH = 1.15
#: Each layer between two others: who reads it, and as which of its inputs.
_READERS = (
    ("head", "body.0", 0), ("skip", "fuse", FEATURES), ("body.0", "body.1", 0), ("body.1", "body.2", 0),
    ("body.2", "fuse", 0), ("fuse", "tail", 0),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One integer convolution: ``uint8 = clip((conv(uint8, weight) + bias) / 2**shift)``, half to even.

    ``weight`` int8 (out, in, k, k) within ±63; ``shift`` int32 (out,), not negative; ``bias`` int32 (out,).
    All sums stay below 2²⁴ in magnitude, so float32 holds them exactly.
    """

    weight: NDArray[np.int8]
    shift: NDArray[np.int32]
    bias: NDArray[np.int32]


def smallest_step(weight: Tensor) -> Tensor:
    """The smallest power of two (out,) as a step with which 7 bits hold each filter (out, in, k, k).

    Steps that are powers of two make every product and every scaled sum exact, in integers as in float32.
    """
    largest = weight.detach().double().abs().amax(dim=(1, 2, 3)).clamp(min=1e-6)
    # A rounding error above the limit is no reason for the next step: the weight was made to fit.
    return torch.exp2(torch.ceil(torch.log2(largest / WEIGHT_MAX) - 1e-5).clamp(max=0)).to(weight.dtype)


class QuantizedXLSR(nn.Module):
    """Fake-quantized :class:`FoldedXLSR`: it computes in float what the integers will compute.

    Input float on the grid of 1/255; output float on the same grid, in 0 … 1. Activations are rounded in
    training, weights once it is over: :mod:`training.rounding` makes them multiples of each convolution's
    buffer ``step`` (outputs,).
    """

    def __init__(self, scale: int, colours: int = 3) -> None:
        super().__init__()
        folded = FoldedXLSR(scale, colours)
        self.scale, self.colours = scale, colours
        self.head, self.skip, self.body = folded.head, folded.skip, folded.body
        self.fuse, self.tail = folded.fuse, folded.tail
        for conv in self.convolutions().values():
            conv.register_buffer("step", torch.ones(len(conv.weight)))

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """head, skip, body.0 … body.2, fuse, tail: each after those that it reads from."""
        named = {name: module for name, module in self.named_modules() if isinstance(module, nn.Conv2d)}
        assert list(named) == ["head", "skip", *(f"body.{index}" for index in range(BLOCKS)), "fuse", "tail"]
        return named

    def forward(self, picture: Tensor) -> Tensor:
        features = self.inputs(picture)["tail"]
        return functional.pixel_shuffle(_eight_bits(self.tail(features)), self.scale)

    def inputs(self, picture: Tensor) -> dict[str, Tensor]:
        """What each convolution sees of ``picture`` (N, colours, H, W), in steps of 1/255."""
        seen = {"head": picture, "skip": picture}
        features = _eight_bits(self.head(picture))
        for index, conv in enumerate(self.body):
            seen[f"body.{index}"] = features
            features = _eight_bits(conv(features))
        skip = _eight_bits(self.skip(picture))[:, :, BLOCKS:-BLOCKS, BLOCKS:-BLOCKS]
        seen["fuse"] = torch.cat([features, skip], dim=1)
        seen["tail"] = _eight_bits(self.fuse(seen["fuse"]))
        return seen


def _eight_bits(out: Tensor) -> Tensor:
    """Saturate and round: ReLU, Clipped ReLU and the conversion to uint8 in one.

    Rounding, half to even, has the gradient of the identity (straight-through estimator).
    """
    levels = out.clamp(0.0, 1.0) * LEVELS
    return (levels + (levels.round() - levels).detach()) / LEVELS


@torch.no_grad()
def normalise(
    folded: FoldedXLSR, pictures: Iterable[Tensor], tail_range: float = RANGE_QUANTILE
) -> QuantizedXLSR:
    """The same function with every channel's activations in 0 … 1, ranges taken from ``pictures``.

    ``pictures`` are float (N, C, H, W) in 0 … 1, typical of what the network will see. ``tail_range`` is the
    quantile at which the ranges of the tail's input are cut.
    """
    seen = list(pictures)
    folded = _with_exact_copies(folded, seen) if folded.colours == 1 else _with_orthogonal_skip(folded)
    ranges = _activation_ranges(folded, seen, tail_range)
    network = QuantizedXLSR(folded.scale, folded.colours)
    network.load_state_dict(folded.state_dict(), strict=False)
    before = torch.ones(folded.colours)
    for conv, largest in zip([network.head, *network.body], ranges.layers, strict=True):
        _rescale(conv, before, largest)
        before = largest
    span = (ranges.skip_high - ranges.skip_low).clamp(min=1e-3)
    _rescale(network.skip, torch.ones(folded.colours), span)
    assert network.skip.bias is not None and network.fuse.bias is not None
    network.skip.bias -= ranges.skip_low / span
    network.fuse.bias += network.fuse.weight[:, FEATURES:, 0, 0] @ ranges.skip_low
    _rescale(network.fuse, torch.cat([before, span]), ranges.fuse)
    _rescale(network.tail, ranges.fuse, torch.ones(len(network.tail.weight)))
    fill_steps(network)
    for conv in network.convolutions().values():
        conv.get_buffer("step").copy_(smallest_step(conv.weight))
    return network


@torch.no_grad()
def fill_steps(network: QuantizedXLSR) -> None:
    """Scale each channel between two layers so that its largest weight is as many steps as 7 bits hold.

    A step is a power of two, so a channel's weights may use only half of their range. ReLU is positively
    homogeneous: what a channel is stretched by, the layer that reads it divides by. Copies of the picture
    stay what they are, and the skip branch, which lies in the middle of its range, is never stretched.
    At ×2, where rounded weights cost most, a channel that would have to be stretched too far is shrunk.
    Above, it stays: shrinking doubles the steps of its activations, of which smooth pictures use few.
    """
    layers = network.convolutions()
    copies = dict(zip(("skip", "fuse"), exact_copies(network.colours), strict=True))
    for name, reader, first in _READERS:
        conv = layers[name]
        stretch = _stretch(conv, 1.0 if name == "skip" else _MOST_STRETCH, shrinks=network.scale == 2)
        if name in copies and _holds_copies(conv):
            stretch[: copies[name]] = 1.0
        assert conv.bias is not None
        conv.weight *= stretch.reshape(-1, 1, 1, 1)
        conv.bias *= stretch
        layers[reader].weight[:, first : first + len(stretch)] /= stretch.reshape(1, -1, 1, 1)


def _stretch(conv: nn.Conv2d, most: float, shrinks: bool) -> Tensor:
    """The factor of each filter to fill its step: at most ``most``, else less than 1, or 1."""
    fill = WEIGHT_MAX * smallest_step(conv.weight) / conv.weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-6)
    return torch.where(fill <= most, fill, fill / 2 if shrinks else 1.0)


def _holds_copies(conv: nn.Conv2d) -> bool:
    """Whether the first filter copies one of its inputs."""
    first = conv.weight[0].flatten()
    return bool((first != 0).sum() == 1 and first.max() == 1.0)


def _with_exact_copies(folded: FoldedXLSR, pictures: list[Tensor]) -> FoldedXLSR:
    """Luma with copies of the pixels for a skip branch, and a second anchor where there is one."""
    folded = copy.deepcopy(folded)
    skip_to_neighbours(folded)
    if is_anchored(folded):
        double_anchor(folded, pictures)
    return folded


def _with_orthogonal_skip(folded: FoldedXLSR) -> FoldedXLSR:
    """The same function with the skip branch's filters orthogonal; anchors stay as they are.

    Nothing lies between the skip convolution and the fuse layer, so only their product counts, and
    training leaves filters that nearly cancel each other, whose rounding errors the fuse layer blows up.
    The singular value decomposition of the product has the same rank and nothing that cancels.
    """
    first = folded.colours if is_anchored(folded) else 0
    folded = copy.deepcopy(folded)
    skip, fuse = folded.skip, folded.fuse
    assert skip.bias is not None and fuse.bias is not None
    mixing = fuse.weight[first:, FEATURES + first :, 0, 0].double()
    product = mixing @ skip.weight[first:].double().flatten(1)
    fuse.bias[first:] += mixing.float() @ skip.bias[first:]
    factor_skip(folded, product, first)
    return folded


@dataclass(frozen=True, kw_only=True)
class _Ranges:
    """The ranges that calibration saw, per channel; for anchors 0 … 1, so that they stay copies."""

    layers: list[Tensor]  # the largest after head and each body convolution
    skip_low: Tensor
    skip_high: Tensor
    fuse: Tensor


def _activation_ranges(folded: FoldedXLSR, pictures: list[Tensor], tail_range: float) -> _Ranges:
    seen: dict[str, list[Tensor]] = {}

    def note(name: str, features: Tensor) -> Tensor:
        seen.setdefault(name, []).append(features.transpose(0, 1).flatten(1)[:, ::5])
        return features

    for picture in pictures:
        features = note("0", functional.relu(folded.head(picture)))
        for index, conv in enumerate(folded.body, start=1):
            features = note(str(index), functional.relu(conv(features)))
        skip = note("skip", folded.skip(picture))[:, :, BLOCKS:-BLOCKS, BLOCKS:-BLOCKS]
        note("fuse", functional.relu(folded.fuse(torch.cat([features, skip], dim=1))))

    def quantile(name: str, share: float) -> Tensor:
        # torch.quantile refuses large inputs; sorting does not.
        values = torch.cat(seen[name], dim=1).sort(dim=1).values
        return values[:, round(share * (values.shape[1] - 1))]

    def largest(name: str, share: float = RANGE_QUANTILE) -> Tensor:
        # A channel that is nearly always zero keeps a range that does not make its weights huge.
        high = quantile(name, share)
        return high.clamp(min=1e-2 * float(high.max()))

    ranges = _Ranges(
        layers=[largest(str(index)) for index in range(BLOCKS + 1)],
        skip_low=quantile("skip", 1.0 - RANGE_QUANTILE),
        skip_high=quantile("skip", RANGE_QUANTILE),
        fuse=largest("fuse", tail_range),
    )
    skip_copies, fuse_copies = exact_copies(folded.colours)
    anchored = is_anchored(folded)
    if folded.colours == 1 or anchored:
        ranges.skip_low[:skip_copies] = 0.0
        ranges.skip_high[:skip_copies] = 1.0
    if anchored:
        ranges.fuse[:fuse_copies] = 1.0
    return ranges


def _rescale(conv: nn.Module, before: Tensor, after: Tensor) -> None:
    """Make ``conv`` take channels divided by ``before`` and give its own divided by ``after``."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    conv.weight *= before.reshape(1, -1, 1, 1) / after.reshape(-1, 1, 1, 1)
    conv.bias /= after


@torch.no_grad()
def integer_layers(network: QuantizedXLSR) -> dict[str, Layer]:
    """The integers of ``network``, by the names of :meth:`QuantizedXLSR.convolutions`."""
    return {name: _integer_layer(conv) for name, conv in network.convolutions().items()}


def _integer_layer(conv: nn.Conv2d) -> Layer:
    step = conv.get_buffer("step")
    assert conv.bias is not None
    return Layer(
        weight=(conv.weight / step.reshape(-1, 1, 1, 1)).round().to(torch.int8).numpy(),
        shift=(-torch.log2(step.double())).round().to(torch.int32).numpy(),
        bias=(conv.bias.double() * LEVELS / step.double()).round().to(torch.int32).numpy(),
    )
