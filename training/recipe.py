"""A recipe: one small TOML file that says how a checkpoint is made."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from xlsr_cli.engine.models import Restore

Form = Literal["xlsr", "folded", "int8"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.

    ``form`` is the network that is trained: ``xlsr`` as published, ``folded``, or ``int8`` (the folded
    network with fake quantization). ``start`` names the recipe whose checkpoint it continues from. ``crop``
    counts low-resolution pixels, the halo included. ``luma_weight`` adds that much of the same loss on Y′, on
    which pictures are scored and to which eyes are most sensitive. ``loss`` is Charbonnier's, or squares as
    PSNR counts them (:mod:`training.loss`); ``enough`` is added to the mean squared error of each picture, in
    squared grey levels, so that pictures that are right already do not decide. Crops of which the answer has
    hardly more than bicubic's PSNR count ``lagging`` times. ``shrunk`` are sizes at which every picture is
    shown a second time. With ``bfloat16`` products are computed in that format, but for the last
    ``exact_steps``: it is faster, but rounds the weights to eight bits, so that training ends where the
    rounded ones are best.
    ``flat`` crops of each batch are plain colours and ramps. ``restore`` is what the low-resolution side went
    through (:mod:`training.compress`), or that it is drawn (:mod:`training.drawings`); ``films`` adds frames
    of films (:mod:`training.films`).
    ``quality`` makes it JPEG of that quality alone, for comparison. ``clean`` is the share of crops that are
    not compressed, ``near_lossless`` the share that went through files of the highest qualities, whatever
    the level. ``teacher`` is the share of each target that comes from the network that this one starts from.
    ``overshoot`` adds that much of the mean overshoot to the loss.
    ``anchored`` keeps the picture among the features (:mod:`training.anchor`).
    The held-out pictures are scored every ``score_every`` steps. ``refit`` solves the last layer once
    training is over (:mod:`training.refit`); the int8 form is always rounded then (:mod:`training.rounding`),
    with ``settle`` steps of training for the layers behind after each layer. ``tail_range`` is the share of
    what calibration saw that the ranges of the tail's 8-bit input hold: less is finer, and saturates sooner.
    ``groups`` and ``clipped`` exist for the ablation record.
    """

    name: str
    form: Form
    scale: int
    colours: int
    steps: int
    batch: int = 16
    crop: int = 36
    learning_rate: float = 2e-3
    final_learning_rate: float = 1e-6
    warmup: int = 200
    optimizer: Literal["adam", "muon", "soap"] = "adam"
    bfloat16: bool = True
    exact_steps: int = 0
    loss: Literal["charbonnier", "psnr"] = "charbonnier"
    enough: float = 5.0
    lagging: float = 1.0
    ema: float = 0.999
    epsilon: float = 1e-3
    luma_weight: float = 1.0
    intensities: list[float] = field(default_factory=lambda: [1.0])
    shrunk: list[float] = field(default_factory=list)
    flat: int = 0
    restore: Restore = "off"
    films: bool = False
    quality: int | None = None
    clean: float = 0.0
    near_lossless: float = 0.0
    teacher: float = 0.0
    overshoot: float = 0.0
    score_every: int = 5000
    anchored: bool = False
    refit: bool = False
    settle: int = 0
    tail_range: float = 0.99999
    start: str | None = None
    groups: int = 4
    clipped: bool = True
    seed: int = 1

    @property
    def solves(self) -> bool:
        """Whether a solver runs after training: for the last layer, or for the integers of the weights."""
        return self.refit or self.form == "int8"


class BadRecipe(Exception):
    """The recipe cannot be used; the message names the file and the field."""


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Raises :class:`BadRecipe` for an unreadable file or unknown fields."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadRecipe(f"cannot read the recipe {path}: {error}") from error
    known = {entry.name for entry in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise BadRecipe(f"{path}: unknown field {unknown[0]!r}; known are {', '.join(sorted(known))}")
    try:
        recipe = Recipe(**{"name": path.stem, **values})
    except TypeError as error:
        raise BadRecipe(f"{path}: {error}") from error
    if recipe.scale not in (2, 3, 4) or recipe.colours not in (1, 3):
        raise BadRecipe(f"{path}: scale must be 2, 3 or 4 and colours 1 or 3")
    return recipe
