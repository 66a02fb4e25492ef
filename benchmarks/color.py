"""What ``--color auto`` rests on: the quality of both ways on clean inputs and on JPEGs.

``python -m benchmarks.color --eval DIR`` prints a table: PSNR in dB on Y′ and on RGB, a border of *scale*
pixels cropped, mean over all colour pictures. The low-resolution input is made by MATLAB's bicubic and, where
the row says so, compressed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.options import ColorMode
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.metrics import crop_border, luma_psnr, psnr

Pixels = NDArray[np.uint8]
Upscale = Callable[[Pixels], Pixels]

_SAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}
INPUTS: tuple[tuple[int | None, str], ...] = (
    (None, ""),
    (95, "4:4:4"),
    (90, "4:2:0"),
    (75, "4:2:0"),
)


def compressed(picture: Pixels, quality: int | None, sampling: str) -> Pixels:
    """``picture`` (BGR) after JPEG; untouched where ``quality`` is None."""
    if quality is None:
        return picture
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLINGS[sampling]]
    _, encoded = cv2.imencode(".jpg", picture, flags)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def bicubic(scale: int) -> Upscale:
    """MATLAB's bicubic enlargement by ``scale``."""
    return lambda low: to_uint8(imresize(low, low.shape[0] * scale, low.shape[1] * scale))


def scores(upscale: Upscale, pictures: list[Pixels], scale: int, quality: int | None, sampling: str) -> str:
    """``Y′ / RGB`` in dB over ``pictures``."""
    on_luma, on_rgb = [], []
    for picture in pictures:
        height, width = (side // scale * scale for side in picture.shape[:2])
        reference = picture[:height, :width]
        answer = upscale(compressed(shrink(reference, scale), quality, sampling))
        on_luma.append(luma_psnr(reference, answer, scale))
        on_rgb.append(psnr(crop_border(reference, scale), crop_border(answer, scale)))
    return f"{np.mean(on_luma):.2f} / {np.mean(on_rgb):.2f}"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--eval", type=Path, required=True, help="folder of PNG pictures, searched below")
    decoded = [cv2.imread(str(path)) for path in sorted(parser.parse_args().eval.rglob("*.png"))]
    pictures = [np.asarray(picture, dtype=np.uint8) for picture in decoded if picture is not None]
    modes: tuple[ColorMode, ...] = ("rgb", "ycbcr")
    print("| scale | input | bicubic | rgb | ycbcr |\n|---|---|---|---|---|")
    for scale in (2, 3, 4):
        ways: list[Upscale] = [bicubic(scale), *(Upscaler(scale, color=mode) for mode in modes)]
        for quality, sampling in INPUTS:
            name = "clean" if quality is None else f"JPEG {quality}, {sampling}"
            cells = " | ".join(scores(way, pictures, scale, quality, sampling) for way in ways)
            print(f"| ×{scale} | {name} | {cells} |")


if __name__ == "__main__":
    main()
