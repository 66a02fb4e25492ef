"""The shipped integer models are what :mod:`training.integer` defines: integers and shifts, nothing else."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.golden import answers
from xlsr_cli.engine.golden import golden_hash, golden_input
from xlsr_cli.engine.models import ModelSpec, bundled_models

onnx = pytest.importorskip("onnx", reason="onnx is not installed (--group train)")
pytest.importorskip("torch", reason="PyTorch is not installed (--group train)")

from training.integer import run_layer  # noqa: E402
from training.quantize import Layer  # noqa: E402

INT8 = [spec for spec in bundled_models() if spec.precision == "int8"]
Pixels = NDArray[np.uint8]


class Graph:
    """A shipped int8 file, computed by the definition. Tensors are (H, W, C)."""

    def __init__(self, spec: ModelSpec) -> None:
        graph = onnx.load(str(spec.path)).graph
        self.constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
        self.made_by = {node.output[0]: node for node in graph.node}
        self.output = graph.output[0].name

    def run(self, picture: Pixels) -> Pixels:
        """uint8 (1, H, W, C) as the model takes it; its answer."""
        self.known = {"picture": picture[0]}
        return self.value(self.output)[None]

    def value(self, name: str) -> Any:
        """The tensor of this name; transposing changes nothing here, as channels are always last."""
        if name not in self.known:
            node = self.made_by[name]
            self.known[name] = getattr(self, node.op_type)(*node.input)
        return self.known[name]

    def Transpose(self, name: str) -> Pixels:
        return self.value(name)

    def Concat(self, *names: str) -> Pixels:
        return np.concatenate([self.value(name) for name in names], axis=2)

    def Slice(self, name: str, starts: str, ends: str, axes: str) -> Pixels:
        assert self.constants[axes].tolist() == [2, 3]
        (top, left), (bottom, right) = self.constants[starts], self.constants[ends]
        return self.value(name)[top:bottom, left:right]

    def QuantizeLinear(self, name: str, scale: str, zero: str) -> Pixels:
        """A convolution between dequantizing and quantizing: one layer of integers."""
        assert (self.constants[scale], self.constants[zero]) == (1, 0)
        conv = self.made_by[name]
        assert conv.op_type == "Conv"
        features, weight, bias = (self.made_by[each] for each in conv.input)
        assert all(each.op_type == "DequantizeLinear" for each in (features, weight, bias))
        assert self.constants[features.input[1]] == 1
        step = self.constants[weight.input[1]]
        np.testing.assert_array_equal(self.constants[bias.input[1]], step)
        shift = -np.log2(step)
        assert (shift == np.rint(shift)).all()
        layer = Layer(
            weight=self.constants[weight.input[0]],
            shift=shift.astype(np.int32),
            bias=self.constants[bias.input[0]],
        )
        assert np.abs(layer.weight).max() <= 63
        return run_layer(layer, self.value(features.input[0]))


@pytest.mark.parametrize("spec", INT8, ids=lambda spec: spec.name)
def test_the_definition_gives_the_golden_hash(spec: ModelSpec) -> None:
    assert golden_hash(Graph(spec).run(golden_input(spec)), spec) == spec.golden


@pytest.mark.slow
def test_the_definition_and_the_runtime_agree_on_noise() -> None:
    hashes = {}
    for spec in INT8:
        graph = Graph(spec)
        each = [golden_hash(graph.run(tile), spec) for tile in answers.noise(spec)]
        hashes[spec.name] = hashlib.sha256("".join(each).encode()).hexdigest()
    assert hashes == answers.noise_hashes()
