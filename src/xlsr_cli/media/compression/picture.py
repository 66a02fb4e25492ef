"""How strongly a picture file was compressed, from its header."""

from __future__ import annotations

from xlsr_cli.engine.restore import Compression, by_quantizer, jpeg
from xlsr_cli.media.compression import jpeg_tables, webp


def compression_of(data: bytes, format: str) -> tuple[Compression | None, str]:
    """What the picture file ``data`` says of itself; else None, and a sentence where it speaks nonsense.

    ``format`` is the name of its row in :data:`~xlsr_cli.formats.FORMATS`. Never raises for a damaged file.
    """
    if format == "jpeg":
        quality = jpeg_tables.quality_of(data)
        if quality is None:
            return None, "the quantization tables make no sense"
        return jpeg(quality), ""
    if format == "tiff":
        from xlsr_cli.media.compression.tiff import jpeg_inside

        inside = jpeg_inside(data)
        quality = None if inside is None else jpeg_tables.quality_of(inside)
        return None if quality is None else jpeg(quality), ""
    quantizer = _quantizer(data, format)
    return None if quantizer is None else by_quantizer(format, quantizer), ""


def _quantizer(data: bytes, format: str) -> int | None:
    if format == "webp":
        return webp.quantizer_of(data)
    if format == "avif":
        from xlsr_cli.media.compression import avif

        return avif.quantizer_of(data)
    return None
