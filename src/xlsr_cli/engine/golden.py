"""The golden answer of each bundled model: its output for one fixed picture, the same on every machine."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.models import ModelSpec
from xlsr_cli.engine.session import Session

#: An awkward size on purpose: no side is a multiple of a vector or a cache line.
_HEIGHT, _WIDTH = 61, 83
#: Number of values of a float model's answer that are in the manifest.
SAMPLES = 16
#: Largest difference of such a value between CPUs: float32 sums are reordered, nothing more.
FLOAT_TOLERANCE = 1e-4


def golden_input(spec: ModelSpec) -> NDArray[Any]:
    """The fixed picture as ``spec`` takes it: (1, 61, 83, C), uint8, or float32 in 0 … 1.

    Smooth waves, edges and noise, from integer arithmetic alone.
    """
    rows, columns, channels = np.ogrid[0:_HEIGHT, 0:_WIDTH, 0 : spec.input_channels]
    ramp = (rows * 3 + columns * 2 + channels * 40) % 256
    checks = (((rows // 7) + (columns // 5)) % 2) * 90
    state = (rows * 7919 + columns * 104729 + channels * 1299709 + 12345).astype(np.int64)
    noise = (state * 1103515245 + 12345 >> 16) % 61
    picture: NDArray[np.uint8] = ((ramp + checks + noise) % 256).astype(np.uint8)[None]
    if spec.precision == "int8":
        return picture
    return np.asarray(picture.astype(np.float32) / np.float32(255))


def golden_hash(answer: NDArray[np.uint8], spec: ModelSpec) -> str:
    """sha256 of an int8 model's answer, its padding channels left out."""
    used = spec.colours * spec.scale**2
    return hashlib.sha256(np.ascontiguousarray(answer[..., :used]).tobytes()).hexdigest()


def golden_samples(answer: NDArray[np.float32]) -> tuple[float, ...]:
    """Evenly spread values of a float model's answer."""
    flat = answer.reshape(-1)
    where = np.linspace(0, flat.size - 1, SAMPLES).astype(np.intp)
    return tuple(round(float(value), 6) for value in flat[where])


def answers_golden(session: Session) -> bool:
    """Whether a bundled model gives its golden answer here: int8 exactly, fp32 within FLOAT_TOLERANCE.

    Raises what :meth:`Session.run` raises.
    """
    spec = session.spec
    answer = session.run(golden_input(spec))
    if spec.precision == "int8":
        return golden_hash(answer, spec) == spec.golden
    samples = np.asarray(golden_samples(answer))
    expected = np.asarray(spec.golden_samples)
    return samples.shape == expected.shape and bool(np.all(np.abs(samples - expected) <= FLOAT_TOLERANCE))
