"""The compression that training simulates: JPEG, WebP, AVIF, and the processing of cameras.

A level is a range of compression that one network is trained for. Every crop is compressed anew, so no two
steps see the same one; films are made beforehand (:mod:`training.films`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xlsr_cli.engine.traces.jpeg import LUMA_STEPS

Pixels = NDArray[np.uint8]
Random = np.random.Generator

#: The table of quality 50 that mozjpeg takes by default for luma and chroma alike (Robidoux's, as
#: ImageMagick had it), row by row.
ROBIDOUX = (
    (16, 16, 16, 18, 25, 37, 56, 85),
    (16, 17, 20, 27, 34, 40, 53, 75),
    (16, 20, 24, 31, 43, 62, 91, 135),
    (18, 27, 31, 40, 53, 74, 106, 156),
    (25, 34, 43, 53, 69, 94, 131, 189),
    (37, 40, 62, 74, 94, 124, 169, 238),
    (56, 53, 91, 106, 131, 169, 226, 311),
    (85, 75, 135, 156, 189, 238, 311, 418),
)
#: Flat tables and libjpeg's with the high frequencies spared, as some cameras and editors write them.
_FLAT = tuple((18,) * 8 for _ in range(8))

#: How far a crop is extended before it is compressed, so that it may begin anywhere within a block.
MARGIN = 16


@dataclass(frozen=True, kw_only=True)
class Level:
    """The compression of one level: ranges of quality, and how often a camera's processing is added.

    ``rare`` is a range beyond the level that one JPEG in twelve has instead, so that the network does no harm
    there. ``webp_share`` and ``avif_share`` of the crops went through these codecs, the others through JPEG.
    ``alone``: libjpeg's 4:2:0 at ``jpeg`` and nothing else.
    """

    jpeg: tuple[int, int]
    rare: tuple[int, int]
    webp: tuple[int, int]
    avif: tuple[int, int]
    camera: float = 0.0
    webp_share: float = 0.16
    avif_share: float = 0.14
    alone: bool = False


LEVELS = {
    "light": Level(jpeg=(80, 98), rare=(70, 100), webp=(82, 99), avif=(72, 96), camera=0.12),
    "strong": Level(jpeg=(30, 86), rare=(8, 92), webp=(25, 84), avif=(25, 74), avif_share=0.22),
}
#: Files of the highest qualities, of which every level may be shown a share (``near_lossless`` of a recipe).
NEAR_LOSSLESS = Level(jpeg=(96, 100), rare=(94, 100), webp=(95, 100), avif=(93, 99))


def one_quality(quality: int) -> Level:
    """JPEG at ``quality`` alone: the range of a network that others are compared with."""
    only = (quality, quality)
    return Level(jpeg=only, rare=only, webp=only, avif=only, alone=True)


def compress(picture: Pixels, level: Level, random: Random) -> Pixels:
    """``picture``, uint8 (H, W, 3) BGR or (H, W, 1), compressed at ``level`` and decoded again."""
    if level.alone:
        return through_file(picture, "JPEG", quality=level.jpeg[0], subsampling=2)
    if random.random() < level.camera:
        picture = _as_a_camera(picture, random)
    kind = random.random()
    if kind < 1 - level.webp_share - level.avif_share:
        return _jpeg_maybe_twice(picture, level, random)
    if kind < 1 - level.avif_share:
        return through_file(picture, "WEBP", quality=int(random.integers(*level.webp)), method=2)
    return through_file(picture, "AVIF", quality=int(random.integers(*level.avif)), speed=10, max_threads=1)


def _jpeg_maybe_twice(picture: Pixels, level: Level, random: Random) -> Pixels:
    """Compress one picture in six twice: first at about the same quality or a better one, on another grid."""
    low, high = level.rare if random.random() < 1 / 12 else level.jpeg
    quality = int(random.integers(low, high + 1))
    if random.random() < 1 / 6:
        rows, columns = random.integers(0, 8, 2)
        before = np.pad(picture, ((rows, 0), (columns, 0), (0, 0)), mode="edge")
        first = int(random.integers(quality, 99)) if quality < 98 else quality
        picture = _jpeg(before, first, random)[rows:, columns:]
    return _jpeg(picture, quality, random)


def _jpeg(picture: Pixels, quality: int, random: Random) -> Pixels:
    """Compress with a common quantization table; 4:2:0 in seven cases of ten, else 4:2:2 or 4:4:4."""
    subsampling = int(random.choice([2, 2, 2, 2, 2, 2, 2, 1, 0, 0]))
    kind = random.random()
    if kind < 0.7:
        return through_file(picture, "JPEG", quality=quality, subsampling=subsampling)
    table = scaled_table(ROBIDOUX if kind < 0.9 else _FLAT if kind < 0.95 else LUMA_STEPS.tolist(), quality)
    return through_file(picture, "JPEG", qtables=[table, table], subsampling=subsampling)


def scaled_table(table: Sequence[Sequence[int]], quality: int) -> list[int]:
    """A quality-50 table at ``quality``, by libjpeg's rule (jpeg_quality_scaling), for 8-bit tables."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return [int(np.clip((step * percent + 50) // 100, 1, 255)) for row in table for step in row]


def through_file(picture: Pixels, kind: str, **options: object) -> Pixels:
    """``picture`` written by Pillow as ``kind`` and read back, in the channels that it had."""
    gray = picture.shape[2] == 1
    image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if gray else picture[..., ::-1]))
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    decoded = np.asarray(Image.open(stream).convert("L" if gray else "RGB"), dtype=np.uint8)
    return decoded[..., None] if gray else np.ascontiguousarray(decoded[..., ::-1])


def _as_a_camera(picture: Pixels, random: Random) -> Pixels:
    """Add a little sensor noise, and the sharpening of phones."""
    noisy = picture.astype(np.float32)
    if random.integers(2):
        noisy += random.normal(0.0, random.uniform(0.5, 2.5), picture.shape).astype(np.float32)
    if random.integers(2):
        blurred = cv2.GaussianBlur(noisy, (0, 0), float(random.uniform(0.6, 1.2)))
        noisy += np.float32(random.uniform(0.1, 0.5)) * (noisy - blurred.reshape(noisy.shape))
    return np.asarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
