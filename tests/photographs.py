"""Pictures that compress as photographs do: made from a seed, with detail at every size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def photograph(seed: int, height: int = 160, width: int = 192) -> Pixels:
    """(H, W, 3): clouds of noise whose power falls with frequency as in nature, edges, no pure colour."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(8):
        grid = random.normal(0, 1, (min(height, 2 + 2**octave), min(width, 2 + 2**octave), 3))
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 34 / 1.5**octave
    for _ in range(10):
        centre = (int(random.integers(width)), int(random.integers(height)))
        shape = np.zeros((height, width), np.uint8)
        cv2.circle(shape, centre, int(random.integers(5, 40)), 255, -1, cv2.LINE_AA)
        total += shape[..., None] / 255 * random.normal(0, 30, 3)
    gray = total.mean(axis=2, keepdims=True)
    return np.clip(128 + gray + 0.4 * (total - gray), 12, 243).astype(np.uint8)


def drawing(seed: int, height: int = 160, width: int = 192) -> Pixels:
    """(H, W, 3): letters in a grid of 8×16, lines and boxes in a few colours."""
    random = np.random.default_rng(seed)
    canvas = np.full((height, width, 3), 250, np.uint8)
    colours = random.integers(0, 250, (5, 3))
    glyphs = (random.random((6, 16, 8)) < 0.4).astype(np.uint8)
    for top in range(0, height - 15, 16):
        for left in range(0, width // 2, 8):
            glyph = glyphs[random.integers(6)][..., None] == 1
            canvas[top : top + 16, left : left + 8] = np.where(glyph, colours[0], 250)
    for number in range(8):
        x, y = int(random.integers(width // 2, width)), int(random.integers(height))
        colour = tuple(int(value) for value in colours[number % 5])
        cv2.rectangle(canvas, (x, y), (x + 24, y + 16), colour, -1 if number % 2 else 1)
    return canvas
