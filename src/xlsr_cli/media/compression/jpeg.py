"""How strongly a JPEG was compressed, from its quantization table."""

from __future__ import annotations

import cv2

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression, jpeg
from xlsr_cli.media.compression import again, jpeg_tables


def compression_of(data: bytes, scale: int) -> tuple[Compression | None, str]:
    """The libjpeg quality of the JPEG ``data``, and its bits a pixel."""
    quality = jpeg_tables.quality_of(data)
    if quality is None:
        return None, "the quantization tables make no sense"
    return jpeg(quality, scale, jpeg_tables.bits_of(data)), ""


def compressed_alike(pixels: Pixels, value: float) -> Pixels:
    """By the libjpeg quality ``value``."""
    return again.through(".jpg", cv2.IMWRITE_JPEG_QUALITY, pixels, round(value))[0]
