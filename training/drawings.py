"""Synthetic drawings to train on: text, lines, shapes, windows, gradients, and sprites.

What is smooth is drawn large and shrunk by averaging, as a screen's antialiasing does: bicubic shrinking
would leave halos in the small picture that no screenshot has. What has no antialiasing (sprites, pixel fonts)
is drawn small, and its truth is its nearest-neighbour enlargement. Everything is drawn from one seed.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.data import Pair, full_range_luma

Pixels = NDArray[np.uint8]
Random = np.random.Generator
Colour = tuple[int, int, int]
Draw = Callable[[ImageDraw.ImageDraw, "Canvas"], None]

#: The side of a small picture, and the number of pictures of each kind.
SIDE = 72
SMOOTH, PIXELS, SPRITES = 900, 300, 300
#: How much larger than the large picture smooth ones are drawn.
_OVERSAMPLING = 2
_FONTS = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVu*.ttf"))


class Canvas:
    """Where to draw and in which colours: ``unit`` canvas pixels are one pixel of the small picture."""

    def __init__(self, random: Random, unit: int) -> None:
        self.random, self.unit = random, unit
        self.side = SIDE * unit
        self.palette = [self._any_colour() for _ in range(int(random.integers(2, 7)))]

    def _any_colour(self) -> Colour:
        if self.random.random() < 0.5:
            gray = int(self.random.choice([0, 255, *self.random.integers(0, 256, 3)]))
            return gray, gray, gray
        red, green, blue = (int(level) for level in self.random.integers(0, 256, 3))
        return red, green, blue

    def colour(self) -> Colour:
        """One of the picture's few colours."""
        return self.palette[int(self.random.integers(len(self.palette)))]

    def place(self) -> tuple[int, int]:
        """A point: most lie on the small picture's grid, as a screen's do."""
        x, y = self.random.uniform(-0.1, 1.0, 2) * self.side
        if self.random.random() < 0.75:
            x, y = x // self.unit * self.unit, y // self.unit * self.unit
        return int(x), int(y)

    def length(self, least: float, most: float) -> int:
        """A length of ``least`` to ``most`` small pixels, nearly always whole ones."""
        small = self.random.uniform(least, most)
        return max(1, round(round(small) * self.unit if self.random.random() < 0.8 else small * self.unit))


def _box(draw: ImageDraw.ImageDraw, canvas: Canvas) -> None:
    x, y = canvas.place()
    corner = (x + canvas.length(2, 40) - 1, y + canvas.length(2, 30) - 1)
    border = canvas.colour() if canvas.random.random() < 0.6 else None
    radius = canvas.length(1, 6) if canvas.random.random() < 0.3 else 0
    draw.rounded_rectangle(
        ((x, y), corner), radius=radius, fill=canvas.colour(), outline=border, width=canvas.length(1, 2)
    )


def _line(draw: ImageDraw.ImageDraw, canvas: Canvas) -> None:
    x, y = canvas.place()
    kind = canvas.random.integers(3)
    end = (
        (x + canvas.length(4, 60), y)
        if kind == 0
        else (x, y + canvas.length(4, 60))
        if kind == 1
        else canvas.place()
    )
    width = canvas.length(1, 3)
    if kind < 2:
        end = (end[0] - 1 + (width if kind == 1 else 0), end[1] - 1 + (width if kind == 0 else 0))
        draw.rectangle(((x, y), (max(x, end[0]), max(y, end[1]))), fill=canvas.colour())
    else:
        draw.line(((x, y), end), fill=canvas.colour(), width=width)


def _ellipse(draw: ImageDraw.ImageDraw, canvas: Canvas) -> None:
    x, y = canvas.place()
    corner = (x + canvas.length(3, 40), y + canvas.length(3, 40))
    fill = canvas.colour() if canvas.random.random() < 0.6 else None
    draw.ellipse(((x, y), corner), fill=fill, outline=canvas.colour(), width=canvas.length(1, 3))


def _polygon(draw: ImageDraw.ImageDraw, canvas: Canvas) -> None:
    points = [canvas.place() for _ in range(int(canvas.random.integers(3, 6)))]
    draw.polygon(points, fill=canvas.colour())


def _text(draw: ImageDraw.ImageDraw, canvas: Canvas) -> None:
    letters = list(string.ascii_letters * 3 + string.digits + ".,:;!?()[]{}<>/+-=*#&@  ")
    size = canvas.length(7, 14) if canvas.random.random() < 0.75 else canvas.length(14, 40)
    font = _font(int(canvas.random.integers(len(_FONTS))), size)
    x, y = canvas.place()
    for line in range(int(canvas.random.integers(1, 5))):
        words = "".join(canvas.random.choice(letters, int(canvas.random.integers(3, 20))))
        draw.text((x, y + line * size * 5 // 4), words, fill=canvas.colour(), font=font)


def _window(draw: ImageDraw.ImageDraw, canvas: Canvas) -> None:
    x, y = canvas.place()
    right, bottom = x + canvas.length(24, 60), y + canvas.length(20, 50)
    bar = canvas.length(7, 11)
    draw.rectangle(
        ((x, y), (right - 1, bottom - 1)), fill=canvas.colour(), outline=canvas.colour(), width=canvas.unit
    )
    draw.rectangle(((x, y), (right - 1, y + bar - 1)), fill=canvas.colour())
    font = _font(int(canvas.random.integers(len(_FONTS))), bar - canvas.unit)
    draw.text(
        (x + canvas.unit * 2, y),
        "File Edit View"[: int(canvas.random.integers(4, 15))],
        fill=canvas.colour(),
        font=font,
    )
    for row in range(int(canvas.random.integers(1, 4))):
        top = y + bar + (row + 1) * canvas.unit * 9
        draw.text(
            (x + 3 * canvas.unit, top), "Open recent 0123"[: 4 + 4 * row], fill=canvas.colour(), font=font
        )


@functools.lru_cache(maxsize=500)
def _font(index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONTS[index]), max(6, size))


_ELEMENTS: tuple[Draw, ...] = (
    _box,
    _box,
    _line,
    _line,
    _line,
    _ellipse,
    _polygon,
    _text,
    _text,
    _text,
    _window,
)


def _scene(canvas: Canvas, antialiased: bool) -> Pixels:
    """A picture of ``canvas``' size, RGB, of a background and some elements."""
    image = Image.fromarray(_background(canvas))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "L" if antialiased else "1"
    for _ in range(int(canvas.random.integers(4, 16))):
        _ELEMENTS[int(canvas.random.integers(len(_ELEMENTS)))](draw, canvas)
    return np.asarray(image, dtype=np.uint8)


def _background(canvas: Canvas) -> Pixels:
    side = canvas.side
    plain = np.full((side, side, 3), canvas.colour(), dtype=np.float32)
    if canvas.random.random() < 0.25:
        share = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
        share = share if canvas.random.integers(2) else share.transpose(1, 0, 2)
        plain += share * (np.asarray(canvas.colour(), dtype=np.float32) - plain)
    return np.rint(plain).astype(np.uint8)


def _sprites(random: Random) -> Pixels:
    """Small figures in a few colours, mirrored as such figures are, in a grid, SIDE pixels a side."""
    canvas = Canvas(random, 1)
    picture = np.asarray(_background(canvas)).copy()
    cell = int(random.choice([8, 12, 16, 24]))
    for top in range(0, SIDE, cell):
        for left in range(0, SIDE, cell):
            if random.random() < 0.8:
                figure = _figure(canvas, cell - int(random.integers(0, 3)))
                seen = figure[..., 3:] > 0
                here = picture[top : top + len(figure), left : left + len(figure)]
                height, width = here.shape[:2]
                here[...] = np.where(seen[:height, :width], figure[:height, :width, :3], here)
    return picture


def _figure(canvas: Canvas, side: int) -> Pixels:
    """A mirrored blob of a few colours with an outline: RGBA."""
    random = canvas.random
    half = random.random((side, (side + 1) // 2)).astype(np.float32)
    if random.random() < 0.7:
        half = np.asarray(cv2.blur(half, (3, 3)), dtype=np.float32)
    levels = np.digitize(half, np.quantile(half, [0.4, 0.6, 0.8]))
    levels = np.hstack([levels, levels[:, ::-1][:, side % 2 :]])
    colours = np.array([(0, 0, 0, 0), *((*canvas.colour(), 255) for _ in range(3))], dtype=np.uint8)
    figure = colours[levels]
    if random.random() < 0.5:
        inside = (levels > 0).astype(np.uint8)
        outline = (cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0) & (inside == 0)
        figure[outline] = (*canvas.palette[0], 255)
    return figure


def drawing_pairs(scale: int, colours: int, seed: int = 11) -> list[Pair]:
    """Pairs of SIDE·scale and SIDE pixels a side, in 3 colours (BGR) or 1 (luma)."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(SMOOTH):
        large = _scene(Canvas(random, scale * _OVERSAMPLING), antialiased=True)
        high = cv2.resize(large, (SIDE * scale, SIDE * scale), interpolation=cv2.INTER_AREA)
        low = cv2.resize(high, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        pairs.append(_pair(high, low, colours))
    for index in range(PIXELS + SPRITES):
        low = _scene(Canvas(random, 1), antialiased=False) if index < PIXELS else _sprites(random)
        pairs.append(_pair(low.repeat(scale, axis=0).repeat(scale, axis=1), low, colours))
    return pairs


def _pair(high: NDArray[np.generic], low: NDArray[np.generic], colours: int) -> Pair:
    large, small = (np.ascontiguousarray(rgb[..., ::-1], dtype=np.uint8) for rgb in (high, low))
    if colours == 1:
        return Pair(high=full_range_luma(large), low=full_range_luma(small))
    return Pair(high=large, low=small)
