"""Crops side by side: the source, bicubic, the clean networks, and those that ``auto`` chooses.

``python -m training.crops --pictures DIR`` writes ``docs/pictures/restore.png`` from held-out pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.drawings import bicubic, sprites, window
from training.card import CROPS, read_colour
from training.data import full_range_luma
from training.films import FRAMES, through_encoder
from training.levels import through_jpeg
from xlsr_cli.engine.models import Restore
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.quality.bicubic import shrink

Pixels = NDArray[np.uint8]

#: Scale, the crop's side in small pixels, and how much larger each of the enlarged ones is shown.
_SCALE, _SIDE, _SHOWN = 2, 48, 2
_TITLES = ("source", "bicubic", "clean network", "auto")


def rows(pictures: Path) -> list[tuple[str, Pixels, Restore]]:
    """What each row shows: a name, the small picture (BGR), and the level that its file asks for."""
    photograph, other = (shrink(read_colour(pictures / name), _SCALE) for name in CROPS[:2])
    return [
        ("JPEG 50", through_jpeg(photograph, 50), "strong"),
        ("JPEG 80", through_jpeg(other, 80), "light"),
        ("x264, crf 30", _film(pictures), "strong"),
        ("screenshot", np.ascontiguousarray(window(0)[..., ::-1]), "drawing"),
        ("sprite", np.ascontiguousarray(sprites(1)[..., ::-1]), "drawing"),
    ]


def _film(pictures: Path) -> Pixels:
    """The last frame, gray, of a held-out picture that is panned over by a pixel a frame, at crf 30."""
    luma = full_range_luma(shrink(read_colour(pictures / CROPS[2]), _SCALE))
    height, width = ((side - FRAMES) // 2 * 2 for side in luma.shape[:2])
    frames = [np.ascontiguousarray(luma[at : at + height, at : at + width]) for at in range(FRAMES)]
    return np.asarray(through_encoder(frames, "libx264", 30)[-1].repeat(3, axis=2))


def draw(pictures: Path, target: Path) -> None:
    """Write the picture, a row for each source."""
    lines = []
    for name, small, level in rows(pictures):
        ways: list[Callable[[Pixels], NDArray[np.generic]]] = [
            lambda p: p.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1),
            lambda p: bicubic(p, _SCALE),
            Upscaler(_SCALE, restore="off"),
            Upscaler(_SCALE, restore=level),
        ]
        drawn = level == "drawing"  # a window's title is at the top
        top, left = (0 if drawn else (side - _SIDE) // 2 * _SCALE for side in small.shape[:2])
        side = _SIDE * _SCALE
        parts = [np.asarray(way(small), np.uint8)[top : top + side, left : left + side] for way in ways]
        line = np.hstack([part.repeat(_SHOWN, axis=0).repeat(_SHOWN, axis=1) for part in parts])
        _write(line, name, (6, line.shape[0] - 8))
        lines.append(line)
    header = np.full((26, lines[0].shape[1], 3), 255, dtype=np.uint8)
    for index, title in enumerate(_TITLES):
        _write(header, title, (6 + index * _SIDE * _SCALE * _SHOWN, 18))
    cv2.imwrite(str(target), np.vstack([header, *lines]), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def _write(picture: Pixels, words: str, place: tuple[int, int]) -> None:
    size, below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    (left, bottom), (width, height) = place, size
    picture[bottom - height - 2 : bottom + below, left - 2 : left + width + 2] = 255
    cv2.putText(picture, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)


def main() -> None:
    """Draw from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of training pictures")
    parser.add_argument("--target", type=Path, default=Path("docs/pictures/restore.png"))
    arguments = parser.parse_args()
    draw(arguments.pictures, arguments.target)


if __name__ == "__main__":
    main()
