"""The quantized network in integers: additions, products and shifts, which every runtime must equal exactly.

A layer is a valid convolution of uint8 by int8 with int32 sums and biases; each channel's sum is divided by
its power of two, rounded half to even, and cut to 0 … 255. There are no other operations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.network import BLOCKS
from training.quantize import LEVELS, Layer

Pixels = NDArray[np.uint8]


def run_layer(layer: Layer, features: Pixels) -> Pixels:
    """One valid convolution: uint8 (H, W, in) to uint8 (H - k + 1, W - k + 1, out)."""
    kernel = layer.weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(features, (kernel, kernel), axis=(0, 1))
    flat = windows.reshape(*windows.shape[:2], -1).astype(np.int32)
    total = flat @ layer.weight.reshape(layer.weight.shape[0], -1).T.astype(np.int32) + layer.bias
    return np.asarray(np.clip(shift_right(total, layer.shift), 0, LEVELS).astype(np.uint8))


def shift_right(total: NDArray[np.int32], shift: NDArray[np.int32]) -> NDArray[np.int32]:
    """``total`` divided by 2**``shift`` (not negative), rounded to the nearest integer, half to even."""
    half = (1 << shift) >> 1
    odd = (total >> shift) & 1
    # Just below a half, one more where the quotient is odd: halves go to the even neighbour.
    return np.asarray(total + np.maximum(half - 1, 0) + odd * np.minimum(half, 1) >> shift)


def run_network(layers: dict[str, Layer], picture: Pixels) -> Pixels:
    """uint8 (H, W, C) to uint8 (H - 10, W - 10, C·s²), before depth-to-space; channels as in PyTorch."""
    features = run_layer(layers["head"], picture)
    for index in range(BLOCKS):
        features = run_layer(layers[f"body.{index}"], features)
    skip = run_layer(layers["skip"], picture)[BLOCKS:-BLOCKS, BLOCKS:-BLOCKS]
    features = run_layer(layers["fuse"], np.concatenate([features, skip], axis=2))
    return run_layer(layers["tail"], features)
