"""The quantizer of an AVIF picture, from the header of its AV1 frame."""

from __future__ import annotations

import io

import av.error
import cv2

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression, Quantizers, by_quantizer, by_scale
from xlsr_cli.media.compression import again, headers
from xlsr_cli.media.video.pyav import open_undecoded

_LIMITS = Quantizers("AVIF", 255, by_scale((-2, 127.5, 30), (3, 117.5, 15), (-11, 112.5, 20)))


def compression_of(data: bytes, scale: int) -> tuple[Compression | None, str]:
    """By AV1's quantizer index and the bits a pixel; a lossless picture may be anything."""
    found = _first_frame(data)
    return None if found is None or not found[0] else by_quantizer(_LIMITS, scale, *found), ""


def compressed_alike(pixels: Pixels, value: float) -> Pixels:
    """By AV1's quantizer index ``value``."""
    return again.by_quantizer(".avif", cv2.IMWRITE_AVIF_QUALITY, pixels, value, quantizer_of)


def quantizer_of(data: bytes) -> int | None:
    """AV1's quantizer index, 0 (lossless) to 255, of the AVIF ``data``; None where it cannot be read.

    The first item's: of a picture made of tiles its first tile, of an animation its first frame.
    """
    found = _first_frame(data)
    return None if found is None else found[0]


def _first_frame(data: bytes) -> tuple[int, float] | None:
    """The quantizer index, and the bits a pixel."""
    try:
        with open_undecoded(io.BytesIO(data), format="mov") as container:
            stream = container.streams.video[0]
            packet = next(packet for packet in container.demux(stream) if packet.size)
            size = packet.size  # reading the header takes it away
            found = headers.quantizers("av1", stream, [packet])
            pixels = stream.codec_context.width * stream.codec_context.height
    except (av.error.FFmpegError, OSError, ValueError, IndexError, StopIteration):
        return None
    return (found[0], 8 * size / max(1, pixels)) if found else None
