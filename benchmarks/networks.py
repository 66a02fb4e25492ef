"""XLSR as others would deploy it: the published layers, exported straight, for onnxruntime and ncnn.

Zero-padded NCHW convolutions, float in 0 … 1, depth-to-space in the graph. Weights are random unless a
trained network is given: no kernel's speed depends on them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from training.network import BLOCKS, FEATURES, GROUPS, SKIP_FEATURES, XLSR

_OPSET = 17
_IR_VERSION = 8

Weights = dict[str, NDArray[np.float32]]


def straight_weights(network: XLSR | None, scale: int) -> Weights:
    """The weights of ``network``, or random ones, by layer: ``head.weight``, ``mix.0.bias`` …"""
    if network is None:
        torch.manual_seed(0)
        network = XLSR(scale)
    return {name: value.detach().numpy() for name, value in network.state_dict().items()}


def write_onnx(weights: Weights, scale: int, path: Path) -> None:
    """The straight float32 export: (1, 3, H, W) to (1, 3, H·s, W·s)."""
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(name: str, features: str, groups: int = 1) -> str:
        border = weights[f"{name}.weight"].shape[2] // 2
        inputs = [features, f"{name}.weight", f"{name}.bias"]
        return add("Conv", inputs, f"{name}.out", pads=[border] * 4, group=groups)

    features = conv("mix.0", add("Relu", [conv("head", "picture")], "head.relu"))
    for block in range(BLOCKS):
        grouped = conv(f"grouped.{block}", features, GROUPS)
        features = conv(f"mix.{block + 1}", add("Relu", [grouped], f"grouped.{block}.relu"))
    joined = add("Concat", [features, conv("skip", "picture")], "joined", axis=1)
    features = conv("tail", add("Relu", [conv("fuse", joined)], "fuse.relu"))
    shuffled = add("DepthToSpace", [features], "shuffled", blocksize=scale, mode="CRD")
    add("Clip", [shuffled, "zero", "one"], "upscaled")
    constants = weights | {"zero": np.float32(0), "one": np.float32(1)}
    graph = helper.make_graph(
        nodes,
        "xlsr",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("upscaled", TensorProto.FLOAT, [1, 3, "tall", "wide"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """A few crops of the picture that is measured."""

    def __init__(self, picture: NDArray[np.float32]) -> None:
        self._crops: Iterator[NDArray[np.float32]] = iter(
            [picture[:, :, :64, left : left + 64] for left in range(0, picture.shape[3] - 64, 64)]
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next crop by input name, or None."""
        crop = next(self._crops, None)
        return None if crop is None else {"picture": crop}


def write_stock_quantized(straight: Path, picture: NDArray[np.float32], path: Path) -> None:
    """The straight export, quantized by onnxruntime's static quantizer with its defaults.

    ``picture`` is (1, 3, H, W) in 0 … 1, to calibrate with.
    """
    quantize_static(str(straight), str(path), _Calibration(picture))


def write_ncnn(weights: Weights, scale: int, param: Path, binary: Path) -> None:
    """The same network as ncnn's two files: layers as text, weights as bytes."""
    layers: list[str] = []
    content = bytearray()

    def add(kind: str, name: str, inputs: str, outputs: str, parameters: str = "") -> str:
        ins, outs = inputs.split(), outputs.split()
        layers.append(f"{kind} {name} {len(ins)} {len(outs)} {inputs} {outputs} {parameters}".strip())
        return outputs

    def conv(name: str, features: str, *, relu: bool = False, groups: int = 1) -> str:
        weight = weights[f"{name}.weight"]
        kind = "Convolution" if groups == 1 else "ConvolutionDepthWise"
        values = {0: weight.shape[0], 1: weight.shape[2], 4: weight.shape[2] // 2, 5: 1, 6: weight.size}
        values |= {7: groups} if groups > 1 else {}
        values |= {9: 1} if relu else {}
        content.extend(struct.pack("<I", 0) + weight.tobytes() + weights[f"{name}.bias"].tobytes())
        parameters = " ".join(f"{key}={value}" for key, value in values.items())
        return add(kind, name, features, f"{name}.out", parameters)

    add("Input", "picture", "", "picture")
    add("Split", "both", "picture", "picture.0 picture.1")
    features = conv("mix.0", conv("head", "picture.0", relu=True))
    for block in range(BLOCKS):
        grouped = conv(f"grouped.{block}", features, relu=True, groups=GROUPS)
        features = conv(f"mix.{block + 1}", grouped)
    skip = conv("skip", "picture.1")
    joined = add("Concat", "joined", f"{features} {skip}", "joined", "0=0")
    features = conv("tail", conv("fuse", joined, relu=True))
    shuffled = add("PixelShuffle", "shuffled", features, "shuffled", f"0={scale}")
    add("Clip", "upscaled", shuffled, "upscaled", "0=0 1=1")
    blobs = sum(int(layer.split()[3]) for layer in layers)
    param.write_text("\n".join(["7767517", f"{len(layers)} {blobs}", *layers]) + "\n", encoding="ascii")
    binary.write_bytes(bytes(content))


def write_peak(path: Path, channels: int = 256) -> int:
    """A graph of three wide integer convolutions: the most that the integer units reach.

    uint8 NHWC (1, H, W, channels) in and out. Returns the multiply-accumulates per output pixel.
    """
    random = np.random.default_rng(0)
    weight = random.integers(-63, 64, (channels, channels, 3, 3)).astype(np.int8)
    constants = {
        "unit": np.float32(1 / 255), "zero": np.uint8(0), "weight": weight,
        "weight.scale": np.full(channels, 1e-4, np.float32), "weight.zero": np.zeros(channels, np.int8),
    }  # fmt: skip
    quantized = ["unit", "zero", "weight", "weight.scale", "weight.zero", "unit", "zero"]
    nodes = [helper.make_node("Transpose", ["picture"], ["layer0"], perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("QLinearConv", [f"layer{n}", *quantized], [f"layer{n + 1}"], pads=[1] * 4)
        for n in range(3)
    ]
    nodes += [helper.make_node("Transpose", ["layer3"], ["answer"], perm=[0, 2, 3, 1])]
    shape: list[str | int | None] = [1, "height", "width", channels]
    graph = helper.make_graph(
        nodes,
        "peak",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.UINT8, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=_IR_VERSION)
    onnx.save(model, path)
    return 3 * weight.size


def straight_macs(scale: int) -> int:
    """Multiply-accumulates per input pixel of the published network."""
    per_block = FEATURES * FEATURES // GROUPS * 9 + FEATURES * FEATURES
    ends = 3 * FEATURES * 9 + FEATURES * FEATURES + 3 * SKIP_FEATURES * 9
    return ends + BLOCKS * per_block + (FEATURES + SKIP_FEATURES) * FEATURES + FEATURES * 3 * scale**2 * 9
