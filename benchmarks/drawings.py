"""Measure halos: how far enlarged drawings leave the range of their source pixels.

``python -m benchmarks.drawings`` draws text, pixel art, line art, shapes and a window, in fonts that no
network learned, and prints the mean overshoot beyond the range of the 5×5 source pixels around, in levels.
It prints the table of ``docs/restore.md``. Needs Matplotlib, for its fonts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from xlsr_cli.engine.restore import look
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.quality.bicubic import imresize, to_uint8

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

_FONTS = [
    Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    for name in ("STIXGeneral.ttf", "STIXGeneralBol.ttf", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf")
]
_WORDS = (
    "The quick brown fox jumps", "over the lazy dog 0123456789", "Pack my box with five dozen",
    "liquor jugs & sphinx of quartz", "def f(x): return x**2 + 3*x",
)  # fmt: skip
_SIDE, _SEEDS = 160, 4


def text(seed: int, paper: Colour = (255, 255, 255), ink: Colour = (0, 0, 0), mode: str = "L") -> Pixels:
    """Lines in several fonts and sizes, antialiased (``L``) or not (``1``); RGB, as all that follow."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (_SIDE, _SIDE), paper)
    draw = ImageDraw.Draw(image)
    draw.fontmode = mode
    top = 4
    while top < _SIDE - 10:
        size = int(random.integers(9, 22))
        draw.text((4, top), str(random.choice(_WORDS)), fill=ink, font=_font(random, size))
        top += size * 27 // 20
    return np.asarray(image)


def sprites(seed: int) -> Pixels:
    """Mirrored figures of 16×16 in eight colours."""
    random = np.random.default_rng(seed)
    palette = random.integers(0, 256, (8, 3), dtype=np.uint8)
    half = np.where(random.random((4, 4, 16, 8)) < 0.6, random.integers(1, 8, (4, 4, 16, 8)), 0)
    figures = np.concatenate([half, half[..., ::-1]], axis=3)
    return np.asarray(palette[np.concatenate(np.concatenate(figures, axis=1), axis=1)])


def lines(seed: int) -> Pixels:
    """Black lines and circles on white, drawn large and shrunk by averaging."""
    random = np.random.default_rng(seed)
    large = 4 * _SIDE
    image = Image.new("RGB", (large, large), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        points = [(int(x), int(y)) for x, y in random.integers(0, large, (3, 2))]
        draw.line(points, fill=(0, 0, 0), width=int(random.integers(4, 12)))
        (x, y), radius = points[0], int(random.integers(20, 200))
        draw.ellipse((x, y, x + radius, y + radius), outline=(0, 0, 0), width=int(random.integers(4, 12)))
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX))


def shapes(seed: int) -> Pixels:
    """Boxes and ellipses of plain colours."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (_SIDE, _SIDE), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, width, height = (int(v) for v in random.integers((-10, -10, 6, 6), (_SIDE, _SIDE, 70, 70)))
        kind = draw.rectangle if random.random() < 0.6 else draw.ellipse
        kind((x, y, x + width, y + height), fill=_colour(random))
    return np.asarray(image)


def window(seed: int) -> Pixels:
    """A screenshot: a window with a title, boxes to tick, and buttons."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (192, 192), (240, 240, 240))
    draw = ImageDraw.Draw(image)
    font = _font(random, 13)
    draw.rectangle((6, 6, 185, 185), fill=(255, 255, 255), outline=(120, 120, 120))
    draw.rectangle((7, 7, 184, 24), fill=(0, 120, 215))
    draw.text((12, 8), "Settings - Display", fill=(255, 255, 255), font=font)
    for row, words in enumerate(_WORDS):
        top = 34 + row * 28
        draw.rectangle((16, top, 26, top + 10), outline=(90, 90, 90))
        draw.text((34, top - 3), words[:18], fill=(20, 20, 20), font=font)
        draw.rectangle((130, top - 4, 178, top + 14), fill=(225, 225, 225), outline=(173, 173, 173))
        draw.text((140, top - 3), "OK", fill=(0, 0, 0), font=font)
    return np.asarray(image)


KINDS: dict[str, Callable[[int], Pixels]] = {
    "text": text,
    "text, light on dark": lambda seed: text(seed, (30, 30, 46), (205, 214, 244)),
    "text, not antialiased": lambda seed: text(seed, mode="1"),
    "pixel art": sprites,
    "line art": lines,
    "shapes": shapes,
    "window": window,
}


def overshoot(answer: Pixels, source: Pixels, scale: int) -> float:
    """How far ``answer`` leaves the range of the 5×5 pixels of ``source`` around, on average, in levels."""
    around = np.ones((5, 5), np.uint8)
    most, least = (
        bound(source, around).repeat(scale, axis=0).repeat(scale, axis=1).astype(np.int64)
        for bound in (cv2.dilate, cv2.erode)
    )
    return float((np.maximum(answer - most, 0) + np.maximum(least - answer, 0)).mean())


def bicubic(source: Pixels, scale: int) -> Pixels:
    """MATLAB's bicubic enlargement."""
    return to_uint8(imresize(source, source.shape[0] * scale, source.shape[1] * scale))


def main() -> None:
    """Print the table, and how many of the drawings ``auto`` recognizes as drawings."""
    scales = (2, 3, 4)
    print("| drawing | " + " | ".join(f"×{s} bicubic | ×{s} clean | ×{s} auto" for s in scales) + " |")
    print("|---|" + "---|---|---|" * len(scales))
    found = 0
    for name, draw in KINDS.items():
        pictures = [np.ascontiguousarray(draw(seed)[..., ::-1]) for seed in range(_SEEDS)]
        found += sum(look(picture, 2).level == "drawing" for picture in pictures)
        cells = []
        for scale in scales:
            clean, auto = Upscaler(scale, restore="off"), Upscaler(scale)
            for enlarge in (lambda p, s=scale: bicubic(p, s), clean, auto):
                cells.append(f"{np.mean([overshoot(enlarge(p), p, scale) for p in pictures]):.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"{found} of {_SEEDS * len(KINDS)} taken for drawings")


def _font(random: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONTS[int(random.integers(len(_FONTS)))]), size)


def _colour(random: np.random.Generator) -> Colour:
    red, green, blue = (int(level) for level in random.integers(0, 256, 3))
    return red, green, blue


if __name__ == "__main__":
    main()
