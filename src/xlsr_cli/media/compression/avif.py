"""The quantizer of an AVIF picture, from the header of its AV1 frame."""

from __future__ import annotations

import io

import av.error

from xlsr_cli.media.compression import headers
from xlsr_cli.media.video.pyav import open_input


def quantizer_of(data: bytes) -> int | None:
    """AV1's quantizer index, 0 (lossless) to 255, of the AVIF ``data``; None where it cannot be read.

    The first item's: of a picture made of tiles its first tile, of an animation its first frame.
    """
    try:
        with open_input(io.BytesIO(data), format="mov") as container:
            stream = container.streams.video[0]
            packet = next(packet for packet in container.demux(stream) if packet.size)
            found = headers.quantizers("av1", stream, [packet])
    except (av.error.FFmpegError, OSError, ValueError, IndexError, StopIteration):
        return None
    return found[0] if found else None
