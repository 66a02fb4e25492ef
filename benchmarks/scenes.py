"""A made film that looks like one: scenes of cameras that pan and stand still, with grain, and titles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.options import Size

#: Frames of a scene, at most: a cut comes at a random place before.
_LONGEST = 300


def scenes(size: Size, frames: int, *, seed: int = 1) -> Iterator[np.ndarray]:
    """``frames`` pictures of ``size``, uint8 BGR, cut into scenes of two to twelve seconds.

    One scene of eight is a title that does not change; the others pan by up to 4 pixels a frame, or stand
    still, with grain that never repeats.
    """
    random = np.random.default_rng(seed)
    world = made_picture(Size(width=3 * size.width, height=3 * size.height))
    left = frames
    while left > 0:
        count = min(left, int(random.integers(_LONGEST // 6, _LONGEST)))
        yield from _scene(random, world, size, count)
        left -= count


def _scene(random: np.random.Generator, world: np.ndarray, size: Size, frames: int) -> Iterator[np.ndarray]:
    turned = world[:: random.choice([-1, 1]), :: random.choice([-1, 1])]
    light = random.uniform(0.6, 1.2)
    title = random.random() < 1 / 8
    grain = 0.0 if title else random.uniform(0.5, 3.0)
    speed = np.zeros(2) if title else random.uniform(-4, 4, 2) * (random.random() < 0.75)
    room = np.array([2 * size.height, 2 * size.width])
    place = random.uniform(0, room)
    for _ in range(frames):
        top, start = place.astype(int)
        seen = turned[top : top + size.height, start : start + size.width] * light
        yield np.clip(seen + random.normal(0, grain, seen.shape[:2])[..., None], 0, 255).astype(np.uint8)
        beyond = (place + speed < 0) | (place + speed > room)
        speed = np.where(beyond, -speed, speed)
        place = place + speed
