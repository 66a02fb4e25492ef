"""Write pixels with OpenCV and read them again."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from xlsr_cli.engine.pixels import Pixels


def by_quantizer(
    suffix: str, flag: int, pixels: Pixels, wanted: float, quantizer_of: Callable[[bytes], int | None]
) -> Pixels:
    """With the lowest quality whose quantizer is not above ``wanted``: it falls as quality rises."""
    low, high = 1, 100
    best = pixels
    while low <= high:
        quality = (low + high) // 2
        again, content = through(suffix, flag, pixels, quality)
        found = quantizer_of(content)
        if found is None or found <= wanted:
            best, high = again, quality - 1
        else:
            low = quality + 1
    return best


def through(suffix: str, flag: int, pixels: Pixels, quality: int) -> tuple[Pixels, bytes]:
    """The pixels that a file of ``quality`` gives back, and the file."""
    done, encoded = cv2.imencode(suffix, pixels, [flag, quality])
    gray = cv2.IMREAD_GRAYSCALE if pixels.ndim == 2 else cv2.IMREAD_COLOR
    again = cv2.imdecode(encoded, gray) if done else None
    return (pixels if again is None else np.asarray(again, np.uint8)), encoded.tobytes()
