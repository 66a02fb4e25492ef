"""A dated folder for each model: recipe, log, curve, metrics, hashes and the checkpoint to go on from."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import torch

matplotlib.use("Agg")
from matplotlib import pyplot

from training.recipe import Recipe
from training.train import load_checkpoint
from xlsr_cli.engine.models import ModelSpec

CHECKPOINT = "checkpoint.pt"
RECORDS = Path(__file__).parent / "records"


def write_record(spec: ModelSpec, runs: Path, records: Path, date: str) -> Path:
    """Record how ``spec`` came about in ``records / {date}-{model}``; returns the folder."""
    run = runs / spec.recipe
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    folder = records / f"{date}-{spec.name}"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(_light(checkpoint), folder / CHECKPOINT)
    shutil.copyfile(run / "log.jsonl", folder / "log.jsonl")
    (folder / "recipe.toml").write_text(recipe_text(Recipe(**checkpoint["recipe"])), encoding="utf-8")
    (folder / "metrics.toml").write_text(_metrics_text(spec, int(checkpoint["step"])), encoding="utf-8")
    plot_curve(run / "log.jsonl", folder / "curve.png", spec.name)
    return folder


def _light(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The averaged weights and what was solved from them; training soon finds the rest again."""
    return {key: checkpoint[key] for key in ("recipe", "step", "average", "solved") if key in checkpoint}


def is_recorded(spec: ModelSpec, records: Path) -> bool:
    """Whether ``records`` hold a record of exactly this file."""
    texts = (path.read_text(encoding="utf-8") for path in records.glob(f"*-{spec.name}/metrics.toml"))
    return any(f'sha256 = "{spec.sha256}"' in text for text in texts)


def restore_runs(records: Path, runs: Path) -> None:
    """Put the newest recorded checkpoint of each recipe where training continues from it."""
    for folder in sorted(records.glob(f"*/{CHECKPOINT}")):
        checkpoint = load_checkpoint(folder.parent)
        assert checkpoint is not None
        run = runs / Recipe(**checkpoint["recipe"]).name
        run.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder, run / CHECKPOINT)
        shutil.copyfile(folder.parent / "log.jsonl", run / "log.jsonl")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a training log: ``step``, ``loss``, sometimes ``psnr``, at last perhaps ``solved``."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def plot_curve(log: Path, picture: Path, title: str) -> None:
    """Loss (averaged over about a hundredth of the run) and held-out PSNR over steps, as a PNG."""
    entries = read_log(log)
    losses = [entry for entry in entries if "loss" in entry]
    span = max(1, len(losses) // 100)
    groups = [losses[i : i + span] for i in range(0, len(losses), span)]
    figure, loss_axis = pyplot.subplots(figsize=(8, 4), layout="constrained")
    loss_axis.plot(
        [group[-1]["step"] for group in groups],
        [sum(entry["loss"] for entry in group) / len(group) for group in groups],
        color="tab:blue",
    )
    loss_axis.set(xlabel="step", title=title)
    loss_axis.set_ylabel("loss", color="tab:blue")
    scored = [entry for entry in entries if entry.get("psnr") is not None]
    if scored:
        psnr_axis = loss_axis.twinx()
        psnr_axis.plot(
            [entry["step"] for entry in scored],
            [entry["psnr"] for entry in scored],
            color="tab:red",
            marker=".",
        )
        psnr_axis.set_ylabel("held-out PSNR, dB", color="tab:red")
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)


def recipe_text(recipe: Recipe) -> str:
    """A recipe as TOML, every field that is set."""
    values = {key: value for key, value in asdict(recipe).items() if value is not None}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _metrics_text(spec: ModelSpec, step: int) -> str:
    lines = [f'model = "{spec.name}"', f"steps = {step}", f'revision = "{spec.revision}"']
    lines += [f'sha256 = "{spec.sha256}"', f'golden = "{spec.golden}"']
    lines += ["", "[psnr]"] + [f"{name} = {value}" for name, value in spec.psnr.items()]
    return "\n".join(lines) + "\n"
