"""The paper's design argument, in short runs: what the Clipped ReLU and the grouped convolutions buy.

``python -m training.ablation --pictures DIR --eval DIR`` trains four small runs of XLSR's own form at ×3
with the paper's optimizer (Adam) and writes a dated record: PSNR in float and after plain 8-bit
quantization, with and without the Clipped ReLU, with grouped (4) and with depthwise (32) convolutions.

The conversion of the answer to bytes decides what the clip is worth. So both ways are measured: saturation,
as in onnxruntime and in our graphs, and a bare conversion that keeps the low eight bits, as a cast does.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data import Crops, load_pairs
from training.evaluate import Upscale, score_folder, torch_upscale
from training.network import BLOCKS, XLSR, parameter_count
from training.quantize import LEVELS
from training.recipe import Recipe
from training.record import RECORDS, recipe_text
from training.train import train

_BASE = Recipe(
    name="ablation", form="xlsr", scale=3, colours=3, steps=3000, optimizer="adam", learning_rate=2e-3
)
VARIANTS = (
    replace(_BASE, name="ablation_grouped_clipped"),
    replace(_BASE, name="ablation_grouped_unclipped", clipped=False),
    replace(_BASE, name="ablation_depthwise_clipped", groups=32),
    replace(_BASE, name="ablation_depthwise_unclipped", groups=32, clipped=False),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant's numbers: PSNR in dB by set; in 8 bits with bytes that saturate, and that wrap around."""

    name: str
    parameters: int
    float_psnr: dict[str, float]
    int8_psnr: dict[str, float]
    wrapped_psnr: dict[str, float]


class PlainInt8(nn.Module):
    """A published network after plain post-training quantization, per tensor, as converters do it.

    Weights: signed 8 bits, one scale per tensor. Activations: unsigned 8 bits between the smallest and
    the largest value that calibration saw, the output included. A Clipped ReLU bounds the output's range
    to 0 … 1; without it the range must hold every over- and undershoot, and :meth:`forward` gives them back.
    """

    def __init__(self, network: XLSR, calibration: list[Tensor]) -> None:
        super().__init__()
        self.network = network
        self.scale = network.scale
        self._ranges: dict[str, tuple[float, float]] = {}
        self._calibrating = True
        with torch.no_grad():
            for picture in calibration:
                self(picture)
        self._calibrating = False

    def forward(self, picture: Tensor) -> Tensor:
        network = self.network
        features = self._layer("head", network.head, picture, relu=True)
        features = self._layer("mix.0", network.mix[0], features)
        for index in range(BLOCKS):
            features = self._layer(f"grouped.{index}", network.grouped[index], features, relu=True)
            features = self._layer(f"mix.{index + 1}", network.mix[index + 1], features)
        skip = self._layer("skip", network.skip, picture)[:, :, BLOCKS:-BLOCKS, BLOCKS:-BLOCKS]
        features = self._layer("fuse", network.fuse, torch.cat([features, skip], dim=1), relu=True)
        answer = self._layer("tail", network.tail, features, clip=network.clipped)
        return functional.pixel_shuffle(answer, network.scale)

    def _layer(
        self, name: str, conv: nn.Module, features: Tensor, *, relu: bool = False, clip: bool = False
    ) -> Tensor:
        assert isinstance(conv, nn.Conv2d)
        step = conv.weight.abs().max() / 127
        weight = (conv.weight / step).round() * step
        out = functional.conv2d(features, weight, conv.bias, groups=conv.groups)
        out = out.clamp(0.0, 1.0) if clip else functional.relu(out) if relu else out
        low, high = self._ranges.get(name, (0.0, 0.0))
        if self._calibrating:
            self._ranges[name] = (min(low, float(out.min())), max(high, float(out.max())))
            return out
        unit = (high - low) / LEVELS
        return ((out - low) / unit).round().clamp(0, LEVELS) * unit + low


def measure(recipe: Recipe, pictures: Path, evaluation: Path, runs: Path) -> Row:
    """Train one variant and score it in float and in plain 8 bits."""
    network = train(recipe, pictures, runs, torch.device("cpu"))
    assert isinstance(network, XLSR)
    pairs = load_pairs(pictures, recipe.scale, recipe.colours)[::20]
    crops = Crops(pairs, scale=3, crop=64, batch=8, intensities=[1.0], seed=5)
    plain = PlainInt8(network, [crops.next()[0] for _ in range(16)])
    folders = sorted(folder for folder in evaluation.iterdir() if folder.is_dir())

    def scored(upscale: Upscale) -> dict[str, float]:
        return {folder.name: score_folder(upscale, folder, 3, 3) for folder in folders}

    return Row(
        name=recipe.name.removeprefix("ablation_"),
        parameters=parameter_count(network),
        float_psnr=scored(torch_upscale(network)),
        int8_psnr=scored(torch_upscale(plain)),
        wrapped_psnr=scored(torch_upscale(plain, wraps=True)),
    )


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    sets = sorted(rows[0].float_psnr)
    lines = [
        "| variant | parameters | "
        + " | ".join(f"{name} float | int8 | loss | int8, wrapping | loss" for name in sets)
        + " |",
        "|---|---|" + "---|---|---|---|---|" * len(sets),
    ]
    for row in rows:
        cells = [
            " | ".join(
                [f"{row.float_psnr[name]:.2f}"]
                + [
                    f"{psnr[name]:.2f} | {row.float_psnr[name] - psnr[name]:.2f}"
                    for psnr in (row.int8_psnr, row.wrapped_psnr)
                ]
            )
            for name in sets
        ]
        lines.append(f"| {row.name.replace('_', ', ')} | {row.parameters:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_record(rows: list[Row], runs: Path, folder: Path) -> None:
    """The table, and recipe and log of every run, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in VARIANTS:
        (folder / f"{recipe.name}.toml").write_text(recipe_text(recipe), encoding="utf-8")
        shutil.copyfile(runs / recipe.name / "log.jsonl", folder / f"{recipe.name}.jsonl")
    text = f"# What the Clipped ReLU and grouped convolutions buy\n\n{_ABOUT}\n\n{table(rows)}\n"
    (folder / "README.md").write_text(text, encoding="utf-8")


_ABOUT = """\
`python -m training.ablation`: XLSR as published at ×3, short runs, every variant with the same crops in the
same order; PSNR in dB on luma. *int8* is plain post-training quantization, per tensor, ranges from the
smallest to the largest value that calibration saw, the way converters do it and the paper's phones computed
it: not how the shipped models are quantized. Its answers become bytes by saturation, or, *wrapping*, by
keeping the low eight bits, as a bare cast does."""


def main() -> None:
    """Run the ablation, print its table and write its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    rows = [measure(recipe, arguments.pictures, arguments.eval, arguments.runs) for recipe in VARIANTS]
    print(table(rows))
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    write_record(rows, arguments.runs, RECORDS / f"{today}-ablation")


if __name__ == "__main__":
    main()
