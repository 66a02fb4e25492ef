"""Size, depth and length of a film from its header, for planning many of them; one frame, for showing it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import faults_mapped, is_cover, main_stream, open_video
from xlsr_cli.options import Size

#: The number of frames that is assumed if the header has no length.
_UNKNOWN_FRAMES = 1000
#: The most frames that are decoded to find one.
_MOST_DECODED = 500
#: Containers round times by at most so many seconds.
_NEAR = Fraction(1, 200)
#: Where seeking led behind a frame: how many seconds before it to seek instead.
_BACK = 8


@dataclass(frozen=True, kw_only=True)
class FilmGlance:
    """``size`` as stored; ``frames``: about how many; ``deep``: more than 8 bits a sample."""

    size: Size
    frames: int
    deep: bool


def quick_look(path: Path) -> FilmGlance | None:
    """Look at the header of the film at ``path``; None where it holds sound alone.

    Raises :class:`InputError` where it is damaged, encrypted or nothing that can be read.
    """
    with faults_mapped(path), open_video(path) as container:
        if container.streams.audio and all(is_cover(stream) for stream in container.streams.video):
            return None
        stream = main_stream(container, path)
        rate = pyav.exact(stream.average_rate) or pyav.exact(stream.guessed_rate) or Fraction(25)
        seconds = Fraction(container.duration or 0, av.time_base)
        frames = stream.frames or round(seconds * rate)
        frames = frames if frames > 0 else _UNKNOWN_FRAMES
        layout = stream.codec_context.format
        deep = layout is not None and any(component.bits > 8 for component in layout.components)
        size = Size(width=max(1, stream.width), height=max(1, stream.height))
        return FilmGlance(size=size, frames=frames, deep=deep)


def quick_frame(path: Path, at: Fraction | None = None) -> tuple[Pixels, Fraction] | None:
    """One frame of the film at ``path``, uint8 BGR (H, W, 3), upright, and its seconds from the first.

    The one that is shown ``at`` that time; without it, the first one that decoding from the middle gives.
    None where it is not found soon, such as behind a key frame that is far away. The colours are near enough
    for a small picture.

    Raises :class:`InputError` where the file cannot be read.
    """
    with open_video(path) as container:
        stream = main_stream(container, path)
        base = pyav.exact(stream.time_base)
        if base is None:
            return None
        first, middle = stream.start_time or 0, Fraction(container.duration or 0, 2 * av.time_base)
        wanted = first + round((middle if at is None else at) / base)
        for start in (wanted, wanted - round(_BACK / base), 0):  # transport streams are sought too far
            try:
                container.seek(start, stream=stream)
                for frame in islice(container.decode(stream), _MOST_DECODED):
                    time = None if frame.pts is None else (frame.pts - first) * base
                    if time is None or (at is not None and time > at + _NEAR):
                        break
                    if at is None or time >= at - _NEAR:
                        pixels = np.rot90(frame.to_ndarray(format="bgr24"), round(frame.rotation / 90))
                        return np.ascontiguousarray(pixels), time
            except (av.error.FFmpegError, ValueError):
                continue
    return None
