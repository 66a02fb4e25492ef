"""XLSR as published, and the folded form that is shipped.

Both are built from *valid* convolutions: an input of H×W pixels gives (H - 2·HALO)·s × (W - 2·HALO)·s.
The caller extends the picture by HALO pixels, so no layer ever sees padding of zeros. That
makes folding and tiling exact at every pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Receptive-field radius in input pixels: head, three grouped convolutions, tail, each 3×3.
HALO = 5
FEATURES = 32
SKIP_FEATURES = 16
GROUPS = 4
BLOCKS = 3


def _conv(inputs: int, outputs: int, kernel: int, groups: int = 1) -> nn.Conv2d:
    """A valid convolution, He-normal with its variance scaled by 0.1 (Ayazoglu 2021, section 3.3)."""
    conv = nn.Conv2d(inputs, outputs, kernel, groups=groups)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    with torch.no_grad():
        conv.weight.mul_(0.1**0.5)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _crop(features: Tensor, border: int) -> Tensor:
    return features[:, :, border:-border, border:-border]


class XLSR(nn.Module):
    """The network of Ayazoglu (CVPR Workshops 2021), layer by layer.

    ``colours`` is 3 (BGR) or 1 (luma). ``groups`` is 4 in the paper; 32 gives the depthwise variant of
    its ablation. Input float (N, colours, H, W) in 0 … 1; output float (N, colours, (H-10)·s, (W-10)·s),
    clipped to 0 … 1 by the Clipped ReLU unless ``clipped`` is false.
    """

    def __init__(self, scale: int, colours: int = 3, groups: int = GROUPS, clipped: bool = True) -> None:
        super().__init__()
        self.scale, self.colours, self.clipped = scale, colours, clipped
        self.head = _conv(colours, FEATURES, 3)
        self.skip = _conv(colours, SKIP_FEATURES, 3)
        self.mix = nn.ModuleList(_conv(FEATURES, FEATURES, 1) for _ in range(BLOCKS + 1))
        self.grouped = nn.ModuleList(_conv(FEATURES, FEATURES, 3, groups) for _ in range(BLOCKS))
        self.fuse = _conv(FEATURES + SKIP_FEATURES, FEATURES, 1)
        self.tail = _conv(FEATURES, colours * scale * scale, 3)

    def forward(self, picture: Tensor) -> Tensor:
        features = self.mix[0](functional.relu(self.head(picture)))
        for grouped, mix in zip(self.grouped, list(self.mix)[1:], strict=True):
            features = mix(functional.relu(grouped(features)))
        skip = _crop(self.skip(picture), BLOCKS)
        features = functional.relu(self.fuse(torch.cat([features, skip], dim=1)))
        return _finish(self.tail(features), self.scale, self.clipped)


class FoldedXLSR(nn.Module):
    """XLSR with every 1×1 convolution folded into the layer after it: the form that is shipped.

    The Gblocks become three dense 3×3 convolutions with a ReLU. Same input and output as :class:`XLSR`.
    """

    def __init__(self, scale: int, colours: int = 3, clipped: bool = True) -> None:
        super().__init__()
        self.scale, self.colours, self.clipped = scale, colours, clipped
        self.head = _conv(colours, FEATURES, 3)
        self.skip = _conv(colours, SKIP_FEATURES, 3)
        self.body = nn.ModuleList(_conv(FEATURES, FEATURES, 3) for _ in range(BLOCKS))
        self.fuse = _conv(FEATURES + SKIP_FEATURES, FEATURES, 1)
        self.tail = _conv(FEATURES, colours * scale * scale, 3)

    def forward(self, picture: Tensor) -> Tensor:
        return _finish(self.tail(self.features(picture)), self.scale, self.clipped)

    def features(self, picture: Tensor) -> Tensor:
        """The input of the tail for ``picture`` (N, colours, H, W): (N, 32, H - 8, W - 8), none negative."""
        features = functional.relu(self.head(picture))
        for conv in self.body:
            features = functional.relu(conv(features))
        skip = _crop(self.skip(picture), BLOCKS)
        return functional.relu(self.fuse(torch.cat([features, skip], dim=1)))


def _finish(features: Tensor, scale: int, clipped: bool) -> Tensor:
    """Depth-to-space, then the Clipped ReLU."""
    picture = functional.pixel_shuffle(features, scale)
    return picture.clamp(0.0, 1.0) if clipped else picture


def conv_matrix(conv: nn.Conv2d) -> Tensor:
    """Weights and biases of a convolution as float64 (in·k·k + 1, out), the biases in the last row."""
    assert conv.bias is not None
    return torch.cat([conv.weight.flatten(1), conv.bias[:, None]], dim=1).double().T


def store_matrix(conv: nn.Conv2d, matrix: Tensor) -> None:
    """Put back what :func:`conv_matrix` gave."""
    assert conv.bias is not None
    conv.weight.copy_(matrix[:-1].T.reshape(conv.weight.shape))
    conv.bias.copy_(matrix[-1])


def conv_patches(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """The rows by which :func:`conv_matrix` is multiplied, one per output pixel: (pixels, in·k·k + 1)."""
    patches = functional.unfold(features, conv.kernel_size).transpose(1, 2).flatten(0, 1)
    return torch.cat([patches, patches.new_ones(len(patches), 1)], dim=1)


def weighed(patches: Tensor, weight: Tensor) -> Tensor:
    """``patches`` (pixels, K) of a batch, multiplied by the ``weight`` (N,) of their crops."""
    return patches * weight.repeat_interleave(len(patches) // len(weight))[:, None]


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers, biases included."""
    return sum(parameter.numel() for parameter in network.parameters())


def fold(network: XLSR) -> FoldedXLSR:
    """The same function with the 1×1 convolutions multiplied into their neighbours, in float64.

    Exact because nothing lies between a 1×1 convolution and the layer after it, and because valid
    convolutions add no zeros that a bias would have changed.
    """
    folded = FoldedXLSR(network.scale, network.colours, network.clipped)
    for name in ("head", "skip", "tail"):
        getattr(folded, name).load_state_dict(getattr(network, name).state_dict())
    for dense, grouped, mix in zip(folded.body, network.grouped, network.mix, strict=False):
        assert isinstance(grouped, nn.Conv2d)
        _store(dense, *_compose(mix, _dense_weight(grouped), grouped.bias))
    weight = network.fuse.weight
    features_part, features_bias = _compose(network.mix[BLOCKS], weight[:, :FEATURES], network.fuse.bias)
    _store(folded.fuse, torch.cat([features_part, weight[:, FEATURES:].double()], dim=1), features_bias)
    return folded


def _dense_weight(grouped: nn.Conv2d) -> Tensor:
    """A grouped convolution's weight as the dense (out, in, 3, 3) one, zero across groups."""
    per_group_in = grouped.in_channels // grouped.groups
    per_group_out = grouped.out_channels // grouped.groups
    dense = grouped.weight.new_zeros(grouped.out_channels, grouped.in_channels, 3, 3)
    for group in range(grouped.groups):
        rows = slice(group * per_group_out, (group + 1) * per_group_out)
        columns = slice(group * per_group_in, (group + 1) * per_group_in)
        dense[rows, columns] = grouped.weight[rows]
    return dense


def _compose(first: nn.Module, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of ``convolution(weight, bias)`` after the 1×1 convolution ``first``."""
    assert isinstance(first, nn.Conv2d) and first.bias is not None and bias is not None
    matrix = first.weight[:, :, 0, 0].double()
    composed = torch.einsum("omhw,mi->oihw", weight.double(), matrix)
    shift = torch.einsum("omhw,m->o", weight.double(), first.bias.double())
    return composed, bias.double() + shift


def _store(conv: nn.Module, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)
