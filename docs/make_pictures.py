"""Make ``docs/before_after.png``, the picture at the top of the README, with the models as they are.

Run ``python docs/make_pictures.py`` after the models change.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xlsr_cli import Upscaler

HERE = Path(__file__).parent
SAMPLE = HERE / "sample" / "gae-aulenti.png"
RESULT = HERE / "before_after.png"

SCALE = 4
#: What the panels show, in pixels of the sample: left, top, width, height.
LEFT, TOP, WIDTH, HEIGHT = 128, 32, 96, 108
GAP, CAPTION = 12, 40
WHITE, INK, MARK = (255, 255, 255), (40, 40, 40), (230, 60, 60)


def make() -> Image.Image:
    """The sample with a frame around a part of it, then that part by bicubic and by xlsr."""
    sample = cv2.imread(str(SAMPLE), cv2.IMREAD_COLOR)
    assert sample is not None
    bicubic = cv2.resize(sample, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    ours = Upscaler(SCALE)(sample)
    panels = [
        (_whole(sample), f"the file, {sample.shape[1]}x{sample.shape[0]}"),
        (_part(bicubic), f"bicubic x{SCALE}"),
        (_part(ours), f"xlsr x{SCALE}"),
    ]
    width = sum(panel.width for panel, _ in panels) + GAP * (len(panels) - 1)
    sheet = Image.new("RGB", (width, HEIGHT * SCALE + CAPTION), WHITE)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=22)
    x = 0
    for panel, caption in panels:
        sheet.paste(panel, (x, 0))
        draw.text((x + panel.width / 2, HEIGHT * SCALE + CAPTION / 2), caption, INK, font, anchor="mm")
        x += panel.width + GAP
    return sheet


def _whole(sample: np.ndarray) -> Image.Image:
    """All of the sample, its pixels as squares, with a frame around the part that the others show."""
    side = HEIGHT * SCALE
    ratio = side / sample.shape[0]
    picture = _image(cv2.resize(sample, (side, side), interpolation=cv2.INTER_NEAREST))
    frame = [LEFT * ratio, TOP * ratio, (LEFT + WIDTH) * ratio, (TOP + HEIGHT) * ratio]
    ImageDraw.Draw(picture).rectangle(frame, outline=MARK, width=3)
    return picture


def _part(picture: np.ndarray) -> Image.Image:
    rows = slice(TOP * SCALE, (TOP + HEIGHT) * SCALE)
    return _image(picture[rows, LEFT * SCALE : (LEFT + WIDTH) * SCALE])


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    make().save(RESULT, optimize=True)
