"""Train one recipe: ``python -m training.train training/recipes/x3_rgb.toml --pictures DIR``.

Stops and resumes at any moment: a checkpoint (weights, optimizer, EMA, random state) is written every
two minutes, and the same command continues from it.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from training.anchor import anchor, exact_copies, hold, is_anchored
from training.compress import LEVELS, Level, one_quality
from training.data import (
    Crops,
    NoPictures,
    Pair,
    compressed,
    hold_out,
    keep_pairs,
    listing_hash,
    load_pairs,
    middle,
    shrunk_too,
)
from training.drawings import drawing_pairs
from training.evaluate import score_pairs, torch_upscale
from training.films import film_pairs
from training.loss import LUMA_BGR, PLAIN_WEIGHT, loss_of, overshoot, weights
from training.network import XLSR, FoldedXLSR, fold, parameter_count
from training.optimizer import build_optimizers, learning_rate_at
from training.quantize import QuantizedXLSR, normalise
from training.recipe import BadRecipe, Recipe, load_recipe
from training.refit import refit_tail
from training.rounding import round_weights

CHECKPOINT_SECONDS = 120.0
LOG_EVERY = 100
CALIBRATION_BATCHES = 32
#: Every n-th photograph is shown among drawings: screenshots contain photographs.
PHOTOGRAPHS_EVERY = 20


def train(recipe: Recipe, pictures: Path, runs: Path, device: torch.device) -> nn.Module:
    """Train ``recipe`` on a folder of pictures; checkpoint and log go to ``runs / recipe.name``.

    Returns the network with its averaged (EMA) weights, on the CPU. A finished run is only loaded.
    """
    run = runs / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = load_checkpoint(run)
    if checkpoint is not None and _is_finished(recipe, checkpoint):
        return restore_network(recipe, checkpoint)
    training, held = pairs_for(recipe, pictures, runs)
    network = build_network(recipe, runs, _crops(recipe, training)).to(device)
    if recipe.loss == "psnr":
        # Before the checkpoint is loaded, so that a resumed run uses the same weights of pictures.
        training = _weighed(network, training, recipe)
    crops = _crops(recipe, training)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher = _teacher(recipe, runs)
    average = copy.deepcopy(network)
    optimizers = build_optimizers(network, recipe)
    step = _resume(checkpoint, network, average, optimizers, crops)
    log = _open_log(run / "log.jsonl", step)
    saved, shown, loss_sum = time.monotonic(), (time.monotonic(), step), 0.0
    while step < recipe.steps:
        _set_rate(optimizers, learning_rate_at(step, recipe))
        batch = _taught(recipe, crops.next(), teacher)
        loss_sum += _step(recipe, network, optimizers, batch, device, _rounds(recipe, step))
        _update_average(average, network, min(recipe.ema, (step + 1) / (step + 10)))
        step += 1
        if step % LOG_EVERY == 0:
            entry: dict[str, Any] = {"step": step, "loss": loss_sum / LOG_EVERY}
            if step % recipe.score_every == 0 or step == recipe.steps:
                entry["psnr"] = _held_out_psnr(average, held, recipe.scale)
            log.write(json.dumps(entry) + "\n")
            log.flush()
            _show(recipe, step, shown, entry)
            shown, loss_sum = (time.monotonic(), step), 0.0
        if time.monotonic() - saved > CHECKPOINT_SECONDS or step == recipe.steps:
            _save(run, recipe, step, network, average, optimizers, crops)
            saved = time.monotonic()
    if recipe.solves:
        _solve(recipe, run, crops, held, log, teacher)
    log.close()
    finished = load_checkpoint(run)
    assert finished is not None
    return restore_network(recipe, finished)


def pairs_for(recipe: Recipe, pictures: Path, kept: Path) -> tuple[list[Pair], list[Pair]]:
    """(training pairs, held-out pairs) of the folder ``pictures``; slow results are cached in ``kept``.

    Held-out pairs have been compressed as the recipe's level is. Raises :class:`NoPictures`.
    """
    shape = (recipe.scale, recipe.colours)

    def shrink_all() -> tuple[list[Pair], list[Pair]]:
        training, held = hold_out(load_pairs(pictures, *shape))
        return shrunk_too(training, recipe.scale, recipe.shrunk), held

    name = listing_hash(pictures, *shape, recipe.shrunk)
    training, held = keep_pairs(kept / f"pairs_{name}.npz", shrink_all)
    if recipe.restore == "drawing":
        drawn, drawn_held = hold_out(drawing_pairs(recipe.scale, recipe.colours))
        return drawn + training[::PHOTOGRAPHS_EVERY], drawn_held
    held = compressed(held, _level(recipe))
    if recipe.films:
        films = kept / f"films_{name}_{recipe.restore}.npz"
        training += keep_pairs(films, lambda: (film_pairs(training, recipe.restore, recipe.scale), []))[0]
    return training, held


def _level(recipe: Recipe) -> Level | None:
    return LEVELS.get(recipe.restore) if recipe.quality is None else one_quality(recipe.quality)


def _weighed(network: nn.Module, pairs: list[Pair], recipe: Recipe) -> list[Pair]:
    """``pairs``, each with the weight that PSNR gives to its middle.

    The weight of a picture is the same at every quality of a level. If each file were weighed by its own
    error, the best ones would decide.
    """
    seen = compressed([middle(pair, recipe.scale) for pair in pairs], _level(recipe))
    found = weights(network, seen, recipe)
    return [replace(pair, weight=weight) for pair, weight in zip(pairs, found, strict=True)]


def _is_finished(recipe: Recipe, checkpoint: dict[str, Any]) -> bool:
    return bool(checkpoint["step"] >= recipe.steps and (not recipe.solves or "solved" in checkpoint))


def _solve(
    recipe: Recipe, run: Path, crops: Crops, held: list[Pair], log: TextIO, teacher: nn.Module | None
) -> None:
    """Solve the last layer of the trained network, or its integers, and add the result to its checkpoint."""
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    network = restore_network(recipe, checkpoint)
    if isinstance(network, QuantizedXLSR):
        _hold_anchors(network, recipe)
        round_weights(network, crops, settle=lambda: _settle(recipe, network, crops, teacher))
    else:
        assert isinstance(network, FoldedXLSR)
        refit_tail(network, crops)
    psnr = _held_out_psnr(network, held, recipe.scale)
    log.write(json.dumps({"step": recipe.steps, "solved": True, "psnr": psnr}) + "\n")
    _store(run, checkpoint | {"recipe": asdict(recipe), "solved": network.state_dict()})


def _settle(recipe: Recipe, network: nn.Module, crops: Crops, teacher: nn.Module | None) -> None:
    """Train the layers not rounded yet for ``recipe.settle`` steps, from half the learning rate to 0."""
    if not recipe.settle:
        return
    phase = replace(recipe, steps=recipe.settle, warmup=0, learning_rate=recipe.learning_rate / 2)
    optimizers = build_optimizers(network, phase)
    for step in range(phase.steps):
        _set_rate(optimizers, learning_rate_at(step, phase))
        batch = _taught(phase, crops.next(), teacher)
        with torch.enable_grad():
            _step(phase, network, optimizers, batch, torch.device("cpu"), bfloat16=False)


def _set_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def _teacher(recipe: Recipe, runs: Path) -> nn.Module | None:
    """The network that ``recipe`` starts from, if it serves as a teacher."""
    if not recipe.teacher or recipe.start is None:
        return None
    checkpoint = load_checkpoint(runs / recipe.start)
    assert checkpoint is not None
    return restore_network(Recipe(**checkpoint["recipe"]), checkpoint).eval()


@torch.no_grad()
def _taught(
    recipe: Recipe, batch: tuple[Tensor, Tensor, Tensor], teacher: nn.Module | None
) -> tuple[Tensor, Tensor, Tensor]:
    """``batch`` with targets between the pictures and the answers of ``teacher``."""
    low, high, weight = batch
    return (low, high if teacher is None else high.lerp(teacher(low), recipe.teacher), weight)


def build_network(recipe: Recipe, runs: Path, crops: Crops) -> nn.Module:
    """A fresh network for ``recipe``, or one that continues the network of the recipe it starts from.

    From published to folded form it is folded, from folded to int8 form normalised on training crops;
    anchors are put in where the recipe wants them and the start has none.
    Where scale or colours differ, the layers that fit are taken and the others stay as initialised: the
    body has the same shape at every scale.
    """
    network = _start_network(recipe, runs, crops)
    _hold_anchors(network, recipe)
    return network


def _hold_anchors(network: nn.Module, recipe: Recipe) -> None:
    if recipe.anchored:
        anchors = (recipe.colours, recipe.colours)
        copies = exact_copies(recipe.colours) if recipe.form == "int8" else anchors
        for layer, rows in zip((network.skip, network.fuse), copies, strict=True):
            hold(layer, rows)  # type: ignore[arg-type]


def _start_network(recipe: Recipe, runs: Path, crops: Crops) -> nn.Module:
    torch.manual_seed(recipe.seed)
    if recipe.start is None:
        return _empty_network(recipe)
    checkpoint = load_checkpoint(runs / recipe.start)
    if checkpoint is None:
        raise BadRecipe(f"recipe {recipe.name} starts from {recipe.start}, which has no checkpoint yet")
    start = Recipe(**checkpoint["recipe"])
    source = restore_network(start, checkpoint)
    if isinstance(source, XLSR) and recipe.form != "xlsr":
        source = fold(source)
    lows = [crops.next()[0] for _ in range(CALIBRATION_BATCHES)]
    if recipe.anchored and isinstance(source, FoldedXLSR) and not is_anchored(source):
        source = anchor(source, lows)
    if recipe.form == "int8" and isinstance(source, FoldedXLSR):
        return normalise(source, lows, recipe.tail_range)
    network = _empty_network(recipe)
    _take_what_fits(network, source)
    return network


def _empty_network(recipe: Recipe) -> nn.Module:
    if recipe.form == "xlsr":
        return XLSR(recipe.scale, recipe.colours, recipe.groups, recipe.clipped)
    if recipe.form == "folded":
        return FoldedXLSR(recipe.scale, recipe.colours, recipe.clipped)
    return QuantizedXLSR(recipe.scale, recipe.colours)


def _take_what_fits(network: nn.Module, source: nn.Module) -> None:
    """Copy every tensor of equal shape; a three-colour input layer becomes a luma one by summing."""
    target = network.state_dict()
    for name, value in source.state_dict().items():
        if value.shape == target[name].shape:
            target[name] = value
        elif value.ndim == 4 and value.shape[0] == target[name].shape[0] and target[name].shape[1] == 1:
            target[name] = value.sum(dim=1, keepdim=True)
    network.load_state_dict(_tail_of(source, target))


def _tail_of(source: nn.Module, target: dict[str, Tensor]) -> dict[str, Tensor]:
    """At equal scale, a luma tail starts as the luma of the colour tail's three answers."""
    weight, bias = source.state_dict()["tail.weight"], source.state_dict()["tail.bias"]
    if weight.shape[0] == 3 * target["tail.weight"].shape[0]:
        luma = weight.new_tensor(LUMA_BGR)
        target["tail.weight"] = torch.einsum("cnihw,c->nihw", weight.unflatten(0, (3, -1)), luma)
        target["tail.bias"] = torch.einsum("cn,c->n", bias.unflatten(0, (3, -1)), luma)
    return target


def _rounds(recipe: Recipe, step: int) -> bool:
    """Whether products of this step are computed in bfloat16."""
    # Fake quantization needs the exact grid of 1/255, which bfloat16 cannot hold.
    return recipe.bfloat16 and recipe.form != "int8" and step < recipe.steps - recipe.exact_steps


def _step(
    recipe: Recipe,
    network: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    batch: tuple[Tensor, Tensor, Tensor],
    device: torch.device,
    bfloat16: bool,
) -> float:
    low, high, weight = (side.to(device) for side in batch)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
        answer = network(low)
    loss = loss_of(answer.float(), low, high, weight, recipe)
    if recipe.overshoot:
        loss = loss + recipe.overshoot * overshoot(answer.float(), low, recipe.scale)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    targets: list[Tensor] = list(average.parameters())
    sources: list[Tensor] = list(network.parameters())
    torch._foreach_lerp_(targets, sources, 1.0 - decay)


def _held_out_psnr(average: nn.Module, held: list[Pair], scale: int) -> float | None:
    if not held:
        return None
    return score_pairs(torch_upscale(copy.deepcopy(average).cpu().eval()), held, scale)


def _open_log(path: Path, step: int) -> TextIO:
    """The log to append to, without the entries that a resumed run will write again."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    kept = [line for line in lines if (entry := json.loads(line))["step"] <= step and "solved" not in entry]
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    return path.open("a", encoding="utf-8")


def _crops(recipe: Recipe, pairs: list[Pair]) -> Crops:
    return Crops(
        pairs,
        scale=recipe.scale,
        crop=recipe.crop,
        batch=recipe.batch,
        intensities=recipe.intensities,
        seed=recipe.seed,
        flat=recipe.flat,
        flat_weight=PLAIN_WEIGHT if recipe.loss == "psnr" else 1.0,
        level=_level(recipe),
        clean=recipe.clean,
        near_lossless=recipe.near_lossless,
    )


def _save(
    run: Path,
    recipe: Recipe,
    step: int,
    network: nn.Module,
    average: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    crops: Crops,
) -> None:
    state = {
        "recipe": asdict(recipe),
        "step": step,
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": crops.random.bit_generator.state,
    }
    _store(run, state)


def _store(run: Path, state: dict[str, Any]) -> None:
    temporary = run / "checkpoint.pt.part"
    torch.save(state, temporary)
    os.replace(temporary, run / "checkpoint.pt")


def load_checkpoint(run: Path) -> dict[str, Any] | None:
    """The checkpoint in folder ``run``, on the CPU, or None where there is none."""
    path = run / "checkpoint.pt"
    if not path.exists():
        return None
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint


def restore_network(recipe: Recipe, checkpoint: dict[str, Any]) -> nn.Module:
    """The network of a checkpoint, on the CPU: its averaged weights, or what was solved from them."""
    network = _empty_network(recipe)
    network.load_state_dict(checkpoint.get("solved", checkpoint["average"]))
    return network.eval()


def _resume(
    checkpoint: dict[str, Any] | None,
    network: nn.Module,
    average: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    crops: Crops,
) -> int:
    if checkpoint is None:
        return 0
    average.load_state_dict(checkpoint["average"])
    if "network" not in checkpoint:  # a record keeps only averages
        network.load_state_dict(checkpoint["average"])
        return int(checkpoint["step"])
    network.load_state_dict(checkpoint["network"])
    for optimizer, state in zip(optimizers, checkpoint["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    crops.random.bit_generator.state = checkpoint["random"]
    return int(checkpoint["step"])


def _show(recipe: Recipe, step: int, since: tuple[float, int], entry: dict[str, Any]) -> None:
    rate = (step - since[1]) / max(1e-9, time.monotonic() - since[0])
    left = (recipe.steps - step) / rate
    line = f"{recipe.name} {step}/{recipe.steps}  loss {entry['loss']:.5f}  {rate:.0f} steps/s"
    line += f"  {left / 60:.1f} min left"
    psnr = f"  held-out {entry['psnr']:.3f} dB\n" if entry.get("psnr") is not None else ""
    end = "\r" if sys.stderr.isatty() and not psnr else "\n" if step % 1000 == 0 and not psnr else ""
    if sys.stderr.isatty() or psnr or end:
        print(line + psnr, end=end, file=sys.stderr, flush=True)


def git_revision() -> str:
    """The revision that trains, or ``unknown`` outside a repository."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Train one recipe from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of training pictures")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where checkpoints and logs go")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network = train(load_recipe(arguments.recipe), arguments.pictures, arguments.runs, device)
    except (BadRecipe, NoPictures) as error:
        print(f"training: {error}", file=sys.stderr)
        return 3
    print(f"{arguments.recipe.stem}: {parameter_count(network)} parameters trained")
    return 0


if __name__ == "__main__":
    sys.exit(main())
