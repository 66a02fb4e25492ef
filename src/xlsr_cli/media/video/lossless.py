"""Pictures as a film that loses nothing: what an animation becomes before it is enlarged as a film."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.media.video import pyav
from xlsr_cli.options import Size

#: Ticks per second. GIF has 100, WebP 1000; other delays are rounded, and errors do not add up.
_TICKS = 1000


def write_lossless(path: Path, size: Size, shown: Iterable[tuple[Pixels, Fraction]], *, alpha: bool) -> None:
    """QuickTime Animation of ``shown``: uint8 frames of ``size``, gray, BGR or BGRA, and their seconds."""
    pix_fmt = "argb" if alpha else "rgb24"
    begin = Fraction(0)
    with pyav.open_output(str(path), format="mov") as output:
        stream: Any = output.add_stream("qtrle", rate=_TICKS)
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, pix_fmt
        stream.codec_context.time_base = Fraction(1, _TICKS)
        for pixels, delay in shown:
            frame = av.VideoFrame.from_ndarray(_with_alpha(pixels), format="bgra").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(begin * _TICKS), Fraction(1, _TICKS)
            begin += delay
            frame.duration = round(begin * _TICKS) - frame.pts
            for packet in stream.encode(frame):
                packet.duration = frame.duration
                output.mux(packet)
        output.mux(stream.encode(None))


def _with_alpha(pixels: Pixels) -> Pixels:
    planes = pixels.reshape(*pixels.shape[:2], -1)
    if planes.shape[2] == 1:
        planes = np.repeat(planes, 3, axis=2)
    if planes.shape[2] == 3:
        planes = np.concatenate([planes, np.full((*planes.shape[:2], 1), 255, np.uint8)], axis=2)
    return np.ascontiguousarray(planes)
