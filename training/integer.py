"""The quantized graph in numpy integers: what every runtime must give, bit for bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.network import BLOCKS
from training.quantize import LEVELS, Layer

Pixels = NDArray[np.uint8]


def run_layer(layer: Layer, features: Pixels) -> Pixels:
    """One valid integer convolution: uint8 (H, W, in) to uint8 (H - k + 1, W - k + 1, out).

    The sum is int32; it is scaled in float32 and rounded half to even, as onnxruntime's MLAS does.
    """
    kernel = layer.weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(features, (kernel, kernel), axis=(0, 1))
    flat = windows.reshape(*windows.shape[:2], -1).astype(np.int32)
    total = flat @ layer.weight.reshape(layer.weight.shape[0], -1).T.astype(np.int32) + layer.bias
    scaled = total.astype(np.float32) * multipliers(layer)
    return np.asarray(np.clip(np.rint(scaled), 0, LEVELS).astype(np.uint8))


def multipliers(layer: Layer) -> NDArray[np.float32]:
    """What each output channel's sum is multiplied by: (input scale · weight scale) / output scale.

    In float32 and in this order, as onnxruntime computes it.
    """
    unit = np.float32(1.0 / LEVELS)
    return np.asarray((unit * layer.weight_scale) / unit, dtype=np.float32)


def run_network(layers: dict[str, Layer], picture: Pixels) -> Pixels:
    """uint8 (H, W, C) to uint8 (H - 10, W - 10, C·s²), before depth-to-space; channels as in PyTorch."""
    features = run_layer(layers["head"], picture)
    for index in range(BLOCKS):
        features = run_layer(layers[f"body.{index}"], features)
    skip = run_layer(layers["skip"], picture)[BLOCKS:-BLOCKS, BLOCKS:-BLOCKS]
    features = run_layer(layers["fuse"], np.concatenate([features, skip], axis=2))
    return run_layer(layers["tail"], features)
