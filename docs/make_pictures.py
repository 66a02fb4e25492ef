"""Make ``docs/before_after.png``, the picture at the top of the README, with the models as they are.

Run ``python docs/make_pictures.py`` after the models change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xlsr_cli import Upscaler
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import luma_psnr

HERE = Path(__file__).parent
RESULT = HERE / "before_after.png"

GAP, CAPTION, FONT_SIZE = 16, 36, 20
#: The size of one panel; each row shows as much of its sample as fits at its zoom.
WIDTH, HEIGHT = 300, 210
WHITE, INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A sample that is shrunk by ``scale`` and enlarged again, shown from ``left``, ``top`` on, each of
    its pixels as a square of ``zoom``."""

    name: str
    scale: int
    left: int
    top: int
    zoom: int


ROWS = (
    Row(name="gae-aulenti.png", scale=2, left=120, top=30, zoom=3),
    Row(name="message.png", scale=3, left=0, top=0, zoom=2),
)


def make() -> Image.Image:
    """For each sample: shrunk, enlarged by bicubic, enlarged by xlsr, and as it was."""
    width, height = 4 * WIDTH + 3 * GAP, len(ROWS) * (HEIGHT + CAPTION)
    sheet = Image.new("RGB", (width, height), WHITE)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=FONT_SIZE)
    for number, row in enumerate(ROWS):
        y = number * (HEIGHT + CAPTION)
        for place, (caption, pixels) in enumerate(_panels(row).items()):
            x = place * (WIDTH + GAP)
            sheet.paste(_part(pixels, row), (x, y))
            draw.text((x + WIDTH / 2, y + HEIGHT + CAPTION / 2), caption, INK, font, anchor="mm")
    return sheet


def _panels(row: Row) -> dict[str, np.ndarray]:
    """Pictures of the sample's size by their captions; PSNR on luma, over all of the sample."""
    sample = cv2.imread(str(HERE / "sample" / row.name), cv2.IMREAD_COLOR)
    assert sample is not None, row.name
    height, width = (side // row.scale * row.scale for side in sample.shape[:2])
    original = np.asarray(sample[:height, :width], dtype=np.uint8)
    small = shrink(original, row.scale)
    bicubic = to_uint8(imresize(small, height, width))
    ours = Upscaler(row.scale)(small)
    scored = {
        f"{name}, {luma_psnr(original, pixels, row.scale):.1f} dB": pixels
        for name, pixels in (("bicubic", bicubic), ("xlsr", ours))
    }
    squares = np.repeat(np.repeat(small, row.scale, axis=0), row.scale, axis=1)
    return {f"shrunk to 1/{row.scale}": squares, **scored, "original": original}


def _part(pixels: np.ndarray, row: Row) -> Image.Image:
    rows = slice(row.top, row.top + HEIGHT // row.zoom)
    part = pixels[rows, row.left : row.left + WIDTH // row.zoom]
    squares = np.repeat(np.repeat(part, row.zoom, axis=0), row.zoom, axis=1)
    return Image.fromarray(cv2.cvtColor(squares, cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    make().save(RESULT, optimize=True)
