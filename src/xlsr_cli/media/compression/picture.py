"""How strongly a picture file was compressed, from its header."""

from __future__ import annotations

from xlsr_cli.engine.restore import Compression, by_quantizer, jpeg
from xlsr_cli.media.compression import jpeg_tables, webp


def compression_of(data: bytes, format: str) -> Compression | None:
    """What the picture file ``data`` says of itself; None where it says nothing, or nothing sensible.

    ``format`` is one of xlsr's names. Never raises for a damaged file.
    """
    if format == "jpeg":
        quality = jpeg_tables.quality_of(data)
        return None if quality is None else jpeg(quality)
    if format == "webp":
        quantizer = webp.quantizer_of(data)
        return None if quantizer is None else by_quantizer("webp", quantizer)
    if format == "avif":
        from xlsr_cli.media.compression.avif import quantizer_of

        quantizer = quantizer_of(data)
        return None if quantizer is None else by_quantizer("avif", quantizer)
    if format == "tiff":
        from xlsr_cli.media.compression.tiff import jpeg_inside

        inside = jpeg_inside(data)
        quality = None if inside is None else jpeg_tables.quality_of(inside)
        return None if quality is None else jpeg(quality)
    return None
