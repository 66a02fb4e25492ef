"""ONNX files from trained networks, with standard operators only.

int8: uint8 NHWC windows in, (1, H - 2, W - 2, 36) for colour and 12 for luma: each pixel of a tile with the
3×3 around it as its channels (:func:`xlsr_cli.engine.tiles.tile.windows`), every fourth of which is ignored.
uint8 NHWC (1, H - 10, W - 10, K) out, K being C·s² padded to a multiple of 16. Both paddings select the fast
symmetric kernels of onnxruntime. On windows, the layers that see the picture are 1×1 convolutions, which use
these kernels better than a 3×3 one of three channels. Luma's fuse layer reads the pixels from the windows: a
skip convolution would only copy them. fp32: (1, H, W, C), float32 in 0 … 1, nothing padded.

Channels are ordered so that depth-to-space copies runs: channel (i·s + j)·C + c is colour c of the pixel
in row i, column j of the s×s block. Depth-to-space itself is left to the caller, who copies bytes
straight to where they belong.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training.anchor import NEIGHBOURS
from training.network import BLOCKS, FEATURES, FoldedXLSR
from training.quantize import Layer

#: Operator set 13 is understood by every runtime of the last five years.
_OPSET = 13
_IR_VERSION = 8
#: Input channels of the int8 graphs: nine times BGR and padding, or nine pixels and three of padding.
INPUT_CHANNELS = {3: 36, 1: 12}
#: The channel of the window that holds each value of a 3×3 filter (C, 3, 3), by the number of colours.
_TAPS = {
    3: np.array([4 * tap + colour for colour in range(3) for tap in range(9)]),
    1: np.array([tap // 3 * 4 + tap % 3 for tap in range(9)]),
}
_OUTPUT_MULTIPLE = 16


def run_order(colours: int, scale: int) -> NDArray[np.intp]:
    """PyTorch's tail channel (c·s + i)·s + j for each channel of the shipped order (i·s + j)·C + c."""
    return np.arange(colours * scale * scale).reshape(colours, scale, scale).transpose(1, 2, 0).ravel()


class _Graph:
    """Nodes and constants of one model, added in the order of the data."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.setdefault(name, value)
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def crop(self, name: str, output: str, border: int) -> str:
        """The NCHW tensor ``name`` without ``border`` rows and columns on each side."""
        starts = self.constant("crop_starts", np.array([border, border], dtype=np.int64))
        ends = self.constant("crop_ends", np.array([-border, -border], dtype=np.int64))
        axes = self.constant("crop_axes", np.array([2, 3], dtype=np.int64))
        return self.node("Slice", [name, starts, ends, axes], output)

    def save(self, path: Path, name: str, element: int, inputs: int, outputs: int) -> None:
        shape: list[str | int | None] = [1, "height", "width", inputs]
        shape_out: list[str | int | None] = [1, "out_height", "out_width", outputs]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("picture", element, shape)],
            [helper.make_tensor_value_info("upscaled", element, shape_out)],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in self.constants.items()],
        )
        model = helper.make_model(
            graph,
            producer_name="xlsr",
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))


def export_int8(layers: dict[str, Layer], *, scale: int, colours: int, path: Path) -> None:
    """Write the integer graph of ``layers`` (as in :func:`training.quantize.integer_layers`)."""
    graph = _Graph()
    layers = _for_windows(layers, colours)
    tail = _padded(_reorder(layers["tail"], run_order(colours, scale)))
    picture = graph.node("Transpose", ["picture"], "planes", perm=[0, 3, 1, 2])
    features = _integer_conv(graph, "head", layers["head"], picture)
    for index in range(BLOCKS):
        features = _integer_conv(graph, f"body.{index}", layers[f"body.{index}"], features)
    # Cropping the skip convolution's answer moves fewer bytes than cropping the windows would.
    skip = _integer_conv(graph, "skip", layers["skip"], picture) if "skip" in layers else picture
    joined = graph.node("Concat", [features, graph.crop(skip, "inner", BLOCKS)], "joined", axis=1)
    features = _integer_conv(graph, "fuse", layers["fuse"], joined)
    features = _integer_conv(graph, "tail", tail, features)
    graph.node("Transpose", [features], "upscaled", perm=[0, 2, 3, 1])
    graph.save(path, path.stem, TensorProto.UINT8, INPUT_CHANNELS[colours], tail.weight.shape[0])


def _for_windows(layers: dict[str, Layer], colours: int) -> dict[str, Layer]:
    """Head and skip read windows. Luma's skip convolution would copy pixels: fuse reads them itself."""
    changed = {"head": _on_windows(layers["head"], colours)}
    if colours == 3:
        return layers | changed | {"skip": _on_windows(layers["skip"], colours)}
    fuse = layers["fuse"]
    skip_weight = np.zeros_like(changed["head"].weight)
    skip_weight[:, _TAPS[1][list(NEIGHBOURS)]] = fuse.weight[:, FEATURES : FEATURES + 9]
    changed["fuse"] = replace(fuse, weight=np.concatenate([fuse.weight[:, :FEATURES], skip_weight], axis=1))
    return {name: layer for name, layer in layers.items() if name != "skip"} | changed


def _on_windows(layer: Layer, colours: int) -> Layer:
    """A 3×3 convolution of the picture as a 1×1 one of its windows."""
    filters = len(layer.weight)
    weight = np.zeros((filters, INPUT_CHANNELS[colours], 1, 1), dtype=np.int8)
    weight[:, _TAPS[colours], 0, 0] = layer.weight.reshape(filters, -1)
    return replace(layer, weight=weight)


def export_fp32(network: FoldedXLSR, *, path: Path) -> None:
    """Write the float32 graph of the folded network."""
    graph = _Graph()
    order = run_order(network.colours, network.scale)
    picture = graph.node("Transpose", ["picture"], "planes", perm=[0, 3, 1, 2])
    features = _float_conv(graph, "head", network.head, picture)
    features = graph.node("Relu", [features], "head_relu")
    for index, conv in enumerate(network.body):
        features = _float_conv(graph, f"body.{index}", conv, features)
        features = graph.node("Relu", [features], f"body.{index}_relu")
    skip = _float_conv(graph, "skip", network.skip, graph.crop(picture, "inner", BLOCKS))
    joined = graph.node("Concat", [features, skip], "joined", axis=1)
    features = graph.node("Relu", [_float_conv(graph, "fuse", network.fuse, joined)], "fuse_relu")
    features = _float_conv(graph, "tail", network.tail, features, order)
    zero = graph.constant("zero", np.array(0.0, dtype=np.float32))
    one = graph.constant("one", np.array(1.0, dtype=np.float32))
    features = graph.node("Clip", [features, zero, one], "clipped")
    graph.node("Transpose", [features], "upscaled", perm=[0, 2, 3, 1])
    graph.save(path, path.stem, TensorProto.FLOAT, network.colours, len(order))


def _integer_conv(graph: _Graph, name: str, layer: Layer, features: str) -> str:
    """``layer`` of the uint8 tensor ``features``, as the convolution between dequantizing and quantizing.

    All runtimes understand this form. Activations have scale 1 and weights powers of two, so
    each number in between is exact in float32, whether a runtime computes in integers or not.
    """
    one = graph.constant("one", np.array(1.0, dtype=np.float32))
    zero = graph.constant("zero", np.array(0, dtype=np.uint8))
    step = graph.constant(f"{name}.step", np.exp2(-layer.shift).astype(np.float32))
    weight = graph.constant(f"{name}.weight", layer.weight)
    bias = graph.constant(f"{name}.bias", layer.bias)
    inputs = [
        graph.node("DequantizeLinear", [features, one, zero], f"{name}.input"),
        graph.node("DequantizeLinear", [weight, step], f"{name}.weight_exact", axis=0),
        graph.node("DequantizeLinear", [bias, step], f"{name}.bias_exact", axis=0),
    ]
    exact = graph.node("Conv", inputs, f"{name}.exact")
    return graph.node("QuantizeLinear", [exact, one, zero], f"{name}.out")


def _float_conv(
    graph: _Graph, name: str, conv: nn.Module, features: str, order: NDArray[np.intp] | None = None
) -> str:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    if order is not None:
        weight, bias = weight[order], bias[order]
    inputs = [
        features,
        graph.constant(f"{name}.weight", np.ascontiguousarray(weight)),
        graph.constant(f"{name}.bias", np.ascontiguousarray(bias)),
    ]
    return graph.node("Conv", inputs, f"{name}.out")


def _reorder(layer: Layer, order: NDArray[np.intp]) -> Layer:
    return Layer(
        weight=layer.weight[order],
        shift=layer.shift[order],
        bias=layer.bias[order],
    )


def _padded(layer: Layer) -> Layer:
    """``layer`` with filters of zeros, up to a multiple of ``_OUTPUT_MULTIPLE``."""
    more = -len(layer.weight) % _OUTPUT_MULTIPLE
    return Layer(
        weight=np.pad(layer.weight, ((0, more), (0, 0), (0, 0), (0, 0))),
        shift=np.pad(layer.shift, (0, more)),
        bias=np.pad(layer.bias, (0, more)),
    )
