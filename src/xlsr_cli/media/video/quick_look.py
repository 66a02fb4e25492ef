"""Read size, depth and length of a film from its header, for planning many of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import faults_mapped, is_cover, main_stream, open_video
from xlsr_cli.options import Size

#: The number of frames that is assumed if the header has no length.
_UNKNOWN_FRAMES = 1000


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
