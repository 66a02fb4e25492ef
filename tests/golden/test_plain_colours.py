"""Plain areas and gentle ramps come out as they went in: there, eyes see an error of a few levels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from xlsr_cli.engine.models import ModelSpec, bundled_models
from xlsr_cli.engine.upscaler import Upscaler

MODELS = bundled_models()


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_plain_colours_stay_what_they_are(spec: ModelSpec) -> None:
    upscaler = Upscaler(spec.scale, model=spec.name, threads=1)
    random = np.random.default_rng(0)
    pure = list(itertools.product((0, 255), repeat=3))
    colours = np.array([*pure, *random.integers(0, 256, (60, 3))], dtype=np.uint8)[:, : spec.colours]
    errors = [np.abs(upscaler(np.full((3, 3, spec.colours), c)).astype(int) - c).max() for c in colours]
    assert max(errors) <= 2
    assert np.mean(errors) < 1


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_ramps_keep_their_slope_and_their_middle(spec: ModelSpec) -> None:
    upscaler = Upscaler(spec.scale, model=spec.name, threads=1)
    ramp = np.repeat(np.arange(20, 220, 2, dtype=np.uint8)[None], 12, axis=0)[..., None]
    answer = upscaler(np.repeat(ramp, spec.colours, axis=2)).astype(float)
    place = (np.arange(answer.shape[1]) + 0.5) / spec.scale - 0.5
    inner = slice(12 * spec.scale, -12 * spec.scale)
    error = answer[:, inner] - (20 + 2 * place[inner])[None, :, None]
    # At ×2 all exact answers are halves: a network that rounds them all one way is off by just that.
    assert np.abs(error.mean()) <= 0.5
    assert np.abs(error).max() < 3
