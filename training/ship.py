"""From checkpoints to the files in ``models/``: exported, checked, scored and described."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from training.anchor import NEIGHBOURS
from training.evaluate import Upscale, score_folder
from training.export import INPUT_CHANNELS, export_fp32, export_int8, run_order
from training.integer import run_network
from training.network import FEATURES, HALO, SKIP_FEATURES, FoldedXLSR, parameter_count
from training.quantize import Layer, QuantizedXLSR, integer_layers
from training.recipe import Recipe
from training.train import load_checkpoint, restore_network
from xlsr_cli.engine.golden import golden_hash, golden_input, golden_samples
from xlsr_cli.engine.models import Colour, ModelPrecision, ModelSpec, Restore
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.tiles.tile import windows
from xlsr_cli.engine.upscaler import Upscaler

LICENCE = "Apache-2.0"
#: Awkward tile sizes (height, width), halo included, on which onnxruntime must equal the integers.
CHECKED_TILES = ((11, 11), (12, 17), (27, 64), (64, 65), (75, 131))


class NotExact(Exception):
    """onnxruntime does not compute what the integer reference computes."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Results of training for one scale, colour and kind of source: the float network and the integers."""

    scale: int
    colours: int
    restore: Restore
    network: FoldedXLSR
    layers: dict[str, Layer]
    float_recipe: str
    int8_recipe: str

    @property
    def colour(self) -> Colour:
        """``rgb`` or ``luma``."""
        return "rgb" if self.colours == 3 else "luma"

    @property
    def name(self) -> str:
        """``x2_rgb``, or ``x2_rgb_light`` where sources are compressed: what recipes and files begin with."""
        return network_name(self.scale, self.colour, self.restore)


def network_name(scale: int, colour: Colour, restore: Restore) -> str:
    """``x2_rgb``, or ``x2_rgb_light``."""
    return f"x{scale}_{colour}" + ("" if restore == "off" else f"_{restore}")


def collect(runs: Path) -> Iterator[Trained]:
    """The networks in ``runs``; those that are not tuned and rounded yet are left out."""
    kinds: tuple[Restore, ...] = get_args(Restore)
    for restore, scale, colours in itertools.product(kinds, (2, 3, 4), (3, 1)):
        colour: Colour = "rgb" if colours == 3 else "luma"
        tuned = runs / f"{network_name(scale, colour, restore)}_int8"
        checkpoint = load_checkpoint(tuned)
        if checkpoint is None or "solved" not in checkpoint:
            continue
        float_recipe = Recipe(**checkpoint["recipe"]).start
        assert float_recipe is not None
        network, quantized = _restored(runs / float_recipe), _restored(tuned)
        assert isinstance(network, FoldedXLSR)
        assert isinstance(quantized, QuantizedXLSR)
        yield Trained(
            scale=scale,
            colours=colours,
            restore=restore,
            network=network,
            layers=integer_layers(quantized),
            float_recipe=float_recipe,
            int8_recipe=tuned.name,
        )


def _restored(run: Path) -> FoldedXLSR | QuantizedXLSR:
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    network = restore_network(Recipe(**checkpoint["recipe"]), checkpoint)
    assert isinstance(network, FoldedXLSR | QuantizedXLSR)
    return network


def ship(trained: Trained, models: Path, eval_folder: Path | None, revision: str) -> list[ModelSpec]:
    """Write the int8 and the fp32 file of ``trained`` and describe them.

    Raises :class:`NotExact` when onnxruntime's answer differs from the integer reference anywhere.
    """
    name = f"xlsr_{trained.name}"
    models.mkdir(parents=True, exist_ok=True)
    int8, fp32 = models / f"{name}_int8.onnx", models / f"{name}_fp32.onnx"
    export_int8(trained.layers, scale=trained.scale, colours=trained.colours, path=int8)
    export_fp32(trained.network, path=fp32)
    specs = [
        _describe(trained, int8, "int8", trained.int8_recipe, revision, eval_folder),
        _describe(trained, fp32, "fp32", trained.float_recipe, revision, eval_folder),
    ]
    check_exact(Session.bundled(specs[0]), trained)
    return specs


def _describe(
    trained: Trained,
    path: Path,
    precision: ModelPrecision,
    recipe: str,
    revision: str,
    eval_folder: Path | None,
) -> ModelSpec:
    content = path.read_bytes()
    values = {
        "name": path.stem,
        "path": path,
        "scale": trained.scale,
        "colour": trained.colour,
        "precision": precision,
        "restore": trained.restore,
        "layout": "windows" if precision == "int8" else "runs",
        "halo": HALO,
        "input_channels": INPUT_CHANNELS[trained.colours] if precision == "int8" else trained.colours,
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": _parameters(trained, precision),
        "macs": _macs(trained, precision),
        "recipe": recipe,
        "revision": revision,
        "licence": LICENCE,
    }
    session = Session(ModelSpec(**values), content)  # type: ignore[arg-type]
    answer = session.run(golden_input(session.spec))
    if precision == "int8":
        values["golden"] = golden_hash(answer, session.spec)
    else:
        values["golden_samples"] = golden_samples(answer)
    if eval_folder is not None:
        upscale = model_upscale(session)
        values["psnr"] = {
            folder.name: round(score_folder(upscale, folder, trained.scale, trained.colours), 3)
            for folder in sorted(eval_folder.iterdir())
            if folder.is_dir()
        }
    return ModelSpec(**values)  # type: ignore[arg-type]


def _parameters(trained: Trained, precision: ModelPrecision) -> int:
    """Trainable numbers of the graph, biases included."""
    left_out = SKIP_FEATURES if _needs_no_skip(trained, precision) else 0
    return parameter_count(trained.network) - left_out - _weights_left_out(trained, precision)


def _macs(trained: Trained, precision: ModelPrecision) -> int:
    """Multiply-accumulates per input pixel of the folded network: each weight is used once a pixel."""
    banks = [parameter.numel() for parameter in trained.network.parameters() if parameter.ndim == 4]
    assert banks[0] == FEATURES * trained.colours * 9
    return sum(banks) - _weights_left_out(trained, precision)


def _weights_left_out(trained: Trained, precision: ModelPrecision) -> int:
    """Those of the skip convolution, and of the fuse layer for more filters than there are pixels."""
    if not _needs_no_skip(trained, precision):
        return 0
    return trained.network.skip.weight.numel() + FEATURES * (SKIP_FEATURES - len(NEIGHBOURS))


def _needs_no_skip(trained: Trained, precision: ModelPrecision) -> bool:
    """Whether the fuse layer reads the picture's pixels itself."""
    return trained.colours == 1 and precision == "int8"


def check_exact(session: Session, trained: Trained) -> None:
    """Compare onnxruntime with the numpy integers, bit for bit, on random tiles of awkward sizes."""
    random = np.random.default_rng(7)
    order = run_order(trained.colours, trained.scale)
    for height, width in CHECKED_TILES:
        tile = random.integers(0, 256, (height, width, trained.colours), dtype=np.uint8)
        given = windows(tile if trained.colours == 3 else tile[..., 0])[None]
        answer = session.run(given)[0][..., : len(order)]
        expected = run_network(trained.layers, tile)[..., order]
        if not np.array_equal(answer, expected):
            raise NotExact(f"{session.spec.name}: onnxruntime differs from the integers at {width}x{height}")


def model_upscale(session: Session) -> Upscale:
    """Enlarge a picture by the engine, with exactly this model."""
    upscaler = Upscaler(session.spec.scale, threads=1)
    upscaler.choice.use(session)

    def upscale(low: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(upscaler(low), dtype=np.uint8)

    return upscale


def write_manifest(specs: list[ModelSpec], models: Path) -> None:
    """``manifest.toml``: one table per model file."""
    lines = ["# Written by training.make; every field is explained at xlsr_cli.engine.models.ModelSpec."]
    for spec in specs:
        lines += ["", "[[model]]", f'name = "{spec.name}"', f'file = "{spec.path.name}"']
        lines += [f"{key} = {getattr(spec, key)}" for key in ("scale", "halo", "input_channels")]
        lines += [f"{key} = {getattr(spec, key)}" for key in ("parameters", "macs")]
        lines += [
            f'{key} = "{getattr(spec, key)}"'
            for key in ("colour", "precision", "restore", "layout", "sha256", "recipe", "revision", "licence")
        ]
        if spec.golden:
            lines.append(f'golden = "{spec.golden}"')
        if spec.golden_samples:
            lines.append(f"golden_samples = {list(spec.golden_samples)}")
        table = ", ".join(f"{name} = {value}" for name, value in spec.psnr.items())
        lines.append(f"psnr = {{ {table} }}")
    (models / "manifest.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
