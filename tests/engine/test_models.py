"""The manifest, damaged files, models from outside, and the machine's cores."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xlsr_cli.cli.app import main
from xlsr_cli.engine import cgroup, models, session
from xlsr_cli.engine.cgroup import usable_cores
from xlsr_cli.engine.golden import answers_golden
from xlsr_cli.engine.models import (
    Colour,
    ModelPrecision,
    Restore,
    bundled_hashes,
    bundled_model,
    bundled_models,
    find_model,
    load_bytes,
    models_folder,
    read_manifest,
)
from xlsr_cli.engine.session import Session, provider_name
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import ExitCode, ModelError, ResourceError, UsageError


def test_there_is_a_model_for_every_scale_colour_and_precision() -> None:
    wanted = {
        f"xlsr_x{scale}_{colour}_{precision}"
        for scale in (2, 3, 4)
        for colour in ("rgb", "luma")
        for precision in ("int8", "fp32")
    }
    clean = {spec.name for spec in bundled_models() if spec.restore == "off"}
    assert clean == wanted
    assert sum(spec.path.stat().st_size for spec in bundled_models()) < 4_100_000


@pytest.mark.parametrize("restore", ["light", "strong"])
@pytest.mark.parametrize("colour", ["rgb", "luma"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_compressed_sources_have_networks_of_the_same_shape(
    colour: Colour, precision: ModelPrecision, restore: Restore
) -> None:
    for scale in (2, 3, 4):
        _check_shape(scale, colour, precision, restore)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_drawings_have_networks_of_the_same_shape(scale: int, precision: ModelPrecision) -> None:
    _check_shape(scale, "rgb", precision, "drawing")


def _check_shape(scale: int, colour: Colour, precision: ModelPrecision, restore: Restore) -> None:
    spec, clean = (bundled_model(scale, colour, precision, kind) for kind in (restore, "off"))
    assert spec.name == f"xlsr_x{scale}_{colour}_{restore}_{precision}"
    same = ("scale", "colour", "precision", "layout", "halo", "input_channels", "macs")
    assert [getattr(spec, key) for key in same] == [getattr(clean, key) for key in same]
    assert spec.sha256 != clean.sha256


@pytest.mark.parametrize("spec", bundled_models(), ids=lambda spec: spec.name)
def test_every_model_gives_its_golden_answer(spec: models.ModelSpec) -> None:
    assert answers_golden(Session.bundled(spec))


@pytest.mark.parametrize("spec", bundled_models(), ids=lambda spec: spec.name)
def test_the_manifest_describes_every_file_fully(spec: models.ModelSpec) -> None:
    assert spec.halo == 5
    assert spec.parameters > 30_000
    assert spec.macs > 30_000
    assert len(spec.sha256) == 64
    assert len(spec.revision) == 40
    assert spec.recipe
    assert {"Set5", "Set14"} <= set(spec.psnr)
    assert bool(spec.golden) == (spec.precision == "int8")
    assert bool(spec.golden_samples) == (spec.precision == "fp32")


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    spec = bundled_models()[0]
    damaged = tmp_path / spec.path.name
    content = bytearray(spec.path.read_bytes())
    content[len(content) // 2] ^= 0x10
    damaged.write_bytes(content)
    with pytest.raises(ModelError, match="damaged") as caught:
        load_bytes(replace(spec, path=damaged))
    assert caught.value.exit_code == ExitCode.MODEL
    assert str(damaged) in str(caught.value)
    with pytest.raises(ModelError, match="cannot read"):
        load_bytes(replace(spec, path=tmp_path / "missing.onnx"))


@pytest.mark.parametrize("text", ["", "[[model]]\nname = 'x'", "model = 3", "[["])
def test_a_damaged_manifest_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="reinstall"):
        read_manifest(tmp_path)


def test_integers_without_windows_are_refused(tmp_path: Path) -> None:
    """Networks of older versions took the pixels themselves."""
    text = (models_folder() / "manifest.toml").read_text("utf-8").replace('"windows"', '"runs"', 1)
    (tmp_path / "manifest.toml").write_text(text, "utf-8")
    with pytest.raises(ModelError, match="xlsr_x2_rgb_int8 is int8 and has the layout 'runs'"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="missing or damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("spec", bundled_models(), ids=lambda spec: spec.name)
def test_a_model_is_found_among_those_of_its_kind(spec: models.ModelSpec) -> None:
    """Only the tables of a kind are parsed for a picture: they have to be all of that kind."""
    kind = (spec.colour, spec.precision, spec.restore)
    same = [each for each in bundled_models() if (each.colour, each.precision, each.restore) == kind]
    assert list(bundled_models(*kind)) == same
    assert bundled_model(spec.scale, *kind) == spec


def test_hashes_of_models_are_those_of_their_tables() -> None:
    assert bundled_hashes() == sorted(spec.sha256 for spec in bundled_models())
    assert len(bundled_hashes()) == len(list(models_folder().glob("*.onnx")))


def test_models_are_found_by_name_file_and_path(tmp_path: Path) -> None:
    spec = bundled_models()[0]
    assert find_model(spec.name) is spec
    assert find_model(spec.path.name) is spec
    assert find_model(str(spec.path)) is spec
    outside = tmp_path / "mine.onnx"
    shutil.copyfile(spec.path, outside)
    assert find_model(str(outside)) == outside
    assert models_folder().is_dir()


def test_a_manifest_beside_a_file_describes_it(tmp_path: Path) -> None:
    """What training makes can be used from wherever it lies, by file or folder and name."""
    shutil.copytree(models_folder(), tmp_path / "models")
    mine = tmp_path / "models" / "xlsr_x3_rgb_int8.onnx"
    spec = find_model(str(mine))
    assert isinstance(spec, models.ModelSpec)
    assert (spec.path, spec.scale) == (mine, 3)
    pixels = np.random.default_rng(3).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Upscaler(3, model=str(mine))(pixels), Upscaler(3)(pixels))
    stranger = shutil.copyfile(mine, mine.with_name("stranger.onnx"))
    assert find_model(str(stranger)) == stranger


@pytest.mark.parametrize(
    ("model", "choice"),
    [
        ("xlsr_x2_luma_int8", {"color": "rgb"}),
        ("xlsr_x2_rgb_int8", {"color": "ycbcr"}),
        ("xlsr_x2_rgb_int8", {"precision": "fp32"}),
        ("xlsr_x2_rgb_fp32", {"precision": "int8"}),
        ("outside.onnx", {"precision": "int8"}),
    ],
)
def test_a_choice_that_contradicts_the_named_model_is_refused(model: str, choice: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"contradicts model {model}"):
        Upscaler(2, model=model, **choice)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("this is not a network", encoding="utf-8")
    with pytest.raises(ModelError, match="not an ONNX model"):
        Upscaler(2, model=str(path))(np.zeros((8, 8, 3), np.uint8))


def test_a_bundled_kind_of_graph_from_outside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copyfile(bundled_models()[0].path, path)
    with pytest.raises(ModelError, match=r"takes tensor\(uint8\)"):
        Upscaler(2, model=str(path))(np.zeros((8, 8, 3), np.uint8))


def test_an_unknown_provider_is_named() -> None:
    assert provider_name("cpu") == provider_name("CPUExecutionProvider") == "CPUExecutionProvider"
    with pytest.raises(ResourceError, match="warp"):
        provider_name("warp")


class TestTheCommand:
    @pytest.fixture
    def own_models(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A copy of the bundled models that a test may damage."""
        folder = tmp_path / "models"
        shutil.copytree(models_folder(), folder)
        monkeypatch.setattr(models, "models_folder", lambda: folder)
        models.bundled_models.cache_clear()
        yield folder
        models.bundled_models.cache_clear()

    def test_list_names_every_model(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "list"]) == 0
        head, _, *rows = capsys.readouterr().out.splitlines()
        assert [row.split()[0] for row in rows] == [spec.name for spec in bundled_models()]
        assert head.index("Set5") < head.index("Set14")
        assert main(["models", "list", "--json"]) == 0
        listed = json.loads(capsys.readouterr().out)
        assert [entry["name"] for entry in listed] == [spec.name for spec in bundled_models()]

    @pytest.mark.parametrize("name", ["xlsr_x3_rgb_int8", "xlsr_x3_rgb_fp32.onnx"])
    def test_info_tells_size_work_scores_licence_and_data(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        spec = find_model(name)
        assert isinstance(spec, models.ModelSpec)
        assert main(["models", "info", name]) == 0
        text = capsys.readouterr().out
        for shown in (
            spec.sha256,
            f"{spec.macs:,}",
            f"{spec.psnr['Set5']:.2f}",
            spec.licence,
            "MODEL_CARD.md",
        ):
            assert shown in text
        assert "bicubic" in text
        assert main(["models", "info", name, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["bytes"] == spec.path.stat().st_size
        assert told["psnr"] == spec.psnr

    def test_info_of_what_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "info", "nothing"]) == 5
        (line,) = capsys.readouterr().err.splitlines()
        assert "xlsr_x2_rgb_int8" in line

    def test_verify_finds_what_is_damaged(self, own_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "verify", "--json"]) == 0
        assert set(json.loads(capsys.readouterr().out).values()) == {"ok"}
        damaged = own_models / "xlsr_x4_luma_fp32.onnx"
        damaged.write_bytes(damaged.read_bytes()[:-1])
        assert main(["models", "verify"]) == 5
        captured = capsys.readouterr()
        wrong = [line for line in captured.out.splitlines() if not line.endswith(" ok")]
        assert len(wrong) == 1
        assert "damaged" in wrong[0]
        assert f"1 of {len(bundled_models())} models" in captured.err


class TestModelsFromOutside:
    """Float NCHW RGB in 0 … 1: a nearest-neighbour network that swaps nothing but shows its colours."""

    @pytest.fixture
    def nearest(self, tmp_path: Path) -> Path:
        onnx = pytest.importorskip("onnx")
        helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
        scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
        gain = onnx.numpy_helper.from_array(np.array([0.5, 1, 1], np.float32).reshape(1, 3, 1, 1), "gain")
        graph = helper.make_graph(
            [
                helper.make_node("Resize", ["in", "", "scales"], ["large"], mode="nearest"),
                helper.make_node("Mul", ["large", "gain"], ["out"]),
            ],
            "nearest",
            [helper.make_tensor_value_info("in", tensor, [1, 3, "h", "w"])],
            [helper.make_tensor_value_info("out", tensor, [1, 3, "H", "W"])],
            [scales, gain],
        )
        path = tmp_path / "nearest.onnx"
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path

    @pytest.mark.parametrize("halo", [None, 0, 4])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_it_runs_in_tiles_or_whole(self, nearest: Path, halo: int | None, dtype: type) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, (37, 45, 3)).astype(dtype)
        tile = None if halo is None else 16
        answer = Upscaler(2, model=str(nearest), halo=halo, tile=tile)(pixels)
        expected = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1).astype(float)
        expected[..., 2] *= 0.5  # the first RGB channel is the last of BGR
        assert np.abs(answer - expected).max() <= 1

    @staticmethod
    def network(
        path: Path,
        *nodes: tuple[str, list[str], list[str], dict[str, object]],
        shape: tuple[int | str, ...] = (1, 3, "h", "w"),
        beside: bool = False,
        **constants: object,
    ) -> Path:
        """A network from "in" to "out"; ``beside`` keeps its constants in a file of their own."""
        onnx = pytest.importorskip("onnx")
        helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [
                helper.make_node(kind, inputs, outputs, **attributes)
                for kind, inputs, outputs, attributes in nodes
            ],
            "network",
            [helper.make_tensor_value_info("in", tensor, shape)],
            [helper.make_tensor_value_info("out", tensor, ["n", "c", "H", "W"])],
            [
                onnx.numpy_helper.from_array(
                    np.asarray(value, None if isinstance(value, np.generic) else np.float32), name
                )
                for name, value in constants.items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save_model(
            model, path, save_as_external_data=beside, location=f"{path.name}.data", size_threshold=100
        )
        return path

    DOUBLE = ("Resize", ["in", "", "two"], ["out"], {"mode": "nearest"})

    def test_channels_may_be_free(self, tmp_path: Path) -> None:
        path = self.network(tmp_path / "free.onnx", self.DOUBLE, shape=("n", "c", "h", "w"), two=[1, 1, 2, 2])
        assert Upscaler(2, model=str(path))(np.zeros((7, 9, 3), np.uint8)).shape == (14, 18, 3)

    def test_weights_may_lie_in_a_file_beside(self, tmp_path: Path) -> None:
        keep = np.zeros((3, 3, 5, 5))
        keep[[0, 1, 2], [0, 1, 2], 2, 2] = 1
        path = self.network(
            tmp_path / "large.onnx",
            ("Conv", ["in", "keep"], ["kept"], {"pads": [2, 2, 2, 2]}),
            ("Resize", ["kept", "", "two"], ["out"], {"mode": "nearest"}),
            two=[1, 1, 2, 2],
            keep=keep.tolist(),
            beside=True,
        )
        assert path.with_name("large.onnx.data").exists()
        pixels = np.random.default_rng(0).integers(0, 255, (7, 9, 3), dtype=np.uint8)
        np.testing.assert_array_equal(Upscaler(2, model=str(path))(pixels), pixels.repeat(2, 0).repeat(2, 1))

    def test_a_network_that_enlarges_nothing_is_refused(self, tmp_path: Path) -> None:
        path = self.network(tmp_path / "same.onnx", ("Identity", ["in"], ["out"], {}))
        with pytest.raises(ModelError, match="no super-resolution"):
            Upscaler(2, model=str(path))(np.zeros((7, 9, 3), np.uint8))

    def test_a_network_that_cannot_take_every_size_is_refused_for_those(self, tmp_path: Path) -> None:
        path = self.network(
            tmp_path / "eights.onnx",
            ("AveragePool", ["in"], ["small"], {"kernel_shape": [8, 8], "strides": [8, 8]}),
            ("Resize", ["small", "", "sixteen"], ["out"], {"mode": "nearest"}),
            sixteen=[1, 1, 16, 16],
        )
        assert Upscaler(2, model=str(path))(np.zeros((8, 16, 3), np.uint8)).shape == (16, 32, 3)
        with pytest.raises(ModelError, match="cannot take every size"):
            Upscaler(2, model=str(path))(np.zeros((9, 16, 3), np.uint8))

    def test_numbers_that_are_none_are_refused(self, tmp_path: Path) -> None:
        path = self.network(
            tmp_path / "nan.onnx",
            ("Resize", ["in", "", "two"], ["large"], {"mode": "nearest"}),
            ("Sub", ["large", "most"], ["less"], {}),
            ("Sqrt", ["less"], ["out"], {}),
            two=[1, 1, 2, 2],
            most=0.6,
        )
        assert Upscaler(2, model=str(path))(np.full((7, 9, 3), 255, np.uint8)).shape == (14, 18, 3)
        with pytest.raises(ModelError, match="no numbers"):
            Upscaler(2, model=str(path))(np.zeros((7, 9, 3), np.uint8))

    @pytest.mark.skipif(sys.platform == "win32", reason="there a thread that waits hears nothing")
    @pytest.mark.parametrize("threads", [1, 2])
    def test_a_whole_picture_is_interrupted_on_its_way(self, tmp_path: Path, threads: int) -> None:
        """This network loops for ever on more than 100 rows: without a stop, so does the test."""
        onnx = pytest.importorskip("onnx")
        helper, types = onnx.helper, onnx.TensorProto
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["go_on"], ["goes_on"]),
                helper.make_node("Identity", ["before"], ["after"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("turn", types.INT64, []),
                helper.make_tensor_value_info("go_on", types.BOOL, []),
                helper.make_tensor_value_info("before", types.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("goes_on", types.BOOL, []),
                helper.make_tensor_value_info("after", types.FLOAT, None),
            ],
        )
        path = self.network(
            tmp_path / "endless.onnx",
            ("Shape", ["in"], ["shape"], {}),
            ("Cast", ["shape"], ["sides"], {"to": types.FLOAT}),
            ("Gather", ["sides", "rows"], ["height"], {}),
            ("Sub", ["height", "most"], ["excess"], {}),
            ("Relu", ["excess"], ["positive"], {}),
            ("Mul", ["positive", "many"], ["turns"], {}),
            ("Cast", ["turns"], ["count"], {"to": types.INT64}),
            ("Loop", ["count", "", "in"], ["same"], {"body": body}),
            ("Resize", ["same", "", "two"], ["out"], {"mode": "nearest"}),
            two=[1, 1, 2, 2],
            most=100,
            many=1e15,
            rows=np.int64(2),
        )
        upscaler = Upscaler(2, model=str(path), threads=threads)
        assert upscaler(np.zeros((99, 9, 3), np.uint8)).shape == (198, 18, 3)
        timer = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            upscaler(np.zeros((101, 9, 3), np.uint8))
        upscaler.close()  # waits for the worker

    def test_its_scale_is_found_and_chained(self, nearest: Path) -> None:
        pixels = np.full((9, 9, 3), 100, np.uint8)
        assert Upscaler(3, model=str(nearest))(pixels).shape == (27, 27, 3)
        assert Upscaler(2, model=str(nearest))(pixels[..., 0]).shape == (18, 18)


class TestUsableCores:
    def test_the_affinity_mask_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
        monkeypatch.setattr(cgroup, "cpu_quota", lambda: None)
        assert usable_cores() == 3

    @pytest.mark.parametrize(("quota", "cores"), [(0.5, 1), (1.5, 2), (2.0, 2), (64.0, 8)])
    def test_the_cgroup_quota_counts(self, quota: float, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
        assert usable_cores() == cores

    def test_systems_without_affinity_count_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
        monkeypatch.setattr(cgroup, "cpu_quota", lambda: None)
        assert usable_cores() == 6


@pytest.mark.parametrize("scale", sorted({spec.scale for spec in bundled_models()}))
@pytest.mark.parametrize("colour", ["rgb", "luma"])
def test_8_bits_cost_networks_for_clean_pictures_at_most_004_db(scale: int, colour: Colour) -> None:
    exact, rounded = (bundled_model(scale, colour, precision) for precision in ("fp32", "int8"))
    for name in ("Set5", "Set14"):
        assert exact.psnr[name] - rounded.psnr[name] <= 0.04


def test_a_provider_that_sends_pictures_away_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: names)
    assert session.available_providers() == ("CPUExecutionProvider",)
    with pytest.raises(ResourceError, match="offers no provider 'azure' here; it has: cpu"):
        provider_name("azure")
