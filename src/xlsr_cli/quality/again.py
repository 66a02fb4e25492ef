"""Compress a picture as strongly as another one was."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression


def compressed_as(pixels: Pixels, compression: Compression) -> Pixels:
    """``pixels`` written and read again in the format of ``compression``, by the same quality or quantizer.

    uint8 or uint16, gray or BGR. Unchanged where the source was not compressed, in 16 bits, and where the
    codec is none of JPEG, WebP and AVIF.
    """
    if pixels.dtype != np.uint8:
        return pixels
    if compression.measure == "quality":
        return _through(".jpg", cv2.IMWRITE_JPEG_QUALITY, pixels, round(compression.value))[0]
    if compression.codec == "WebP":
        from xlsr_cli.media.compression.webp import quantizer_of

        return _by_quantizer(".webp", cv2.IMWRITE_WEBP_QUALITY, pixels, compression.value, quantizer_of)
    if compression.codec == "AVIF":
        from xlsr_cli.media.compression.avif import quantizer_of as quantizer_of_avif

        return _by_quantizer(".avif", cv2.IMWRITE_AVIF_QUALITY, pixels, compression.value, quantizer_of_avif)
    return pixels


def _by_quantizer(
    suffix: str, flag: int, pixels: Pixels, wanted: float, quantizer_of: Callable[[bytes], int | None]
) -> Pixels:
    """With the lowest quality whose quantizer is not above ``wanted``: it falls as quality rises."""
    low, high = 1, 100
    best = pixels
    while low <= high:
        quality = (low + high) // 2
        again, content = _through(suffix, flag, pixels, quality)
        found = quantizer_of(content)
        if found is None or found <= wanted:
            best, high = again, quality - 1
        else:
            low = quality + 1
    return best


def _through(suffix: str, flag: int, pixels: Pixels, quality: int) -> tuple[Pixels, bytes]:
    """The pixels that a file of ``quality`` gives back, and the file."""
    done, encoded = cv2.imencode(suffix, pixels, [flag, quality])
    gray = cv2.IMREAD_GRAYSCALE if pixels.ndim == 2 else cv2.IMREAD_COLOR
    again = cv2.imdecode(encoded, gray) if done else None
    return (pixels if again is None else np.asarray(again, np.uint8)), encoded.tobytes()
