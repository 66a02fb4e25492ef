"""Read size and depth of a picture from as little of its file as possible, for planning thousands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import codec_of, pillow
from xlsr_cli.options import Size

_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True, slots=True)
class Glance:
    """What a header says: the ``size`` as displayed, and whether it has 16 bits (``deep``) and ``alpha``.

    ``frames``: of an animation, where its header says it.
    """

    size: Size
    deep: bool = False
    alpha: bool = False
    frames: int = 1


def glance(path: Path, format: Format, head: bytes) -> Glance | None:
    """Look at the header of the picture at ``path``, which is of ``format`` and begins with ``head``.

    Nothing is checked and nothing raised: None where it does not say, or the file is damaged.
    """
    try:
        if format.header_in_head or format.library:
            data = head if format.header_in_head else path.read_bytes()
            source = codec_of(format).read_header(data, str(path), format)
            return Glance(size=source.size, deep=source.depth > 8, alpha=source.channels in (2, 4))
        with pillow.quiet(), pillow.open_image(path, format) as opened:
            width, height = opened.size
            if "exif" in opened.info and opened.getexif().get(_ORIENTATION, 1) in _TURNED:
                width, height = height, width
            return Glance(
                size=Size(width=width, height=height),
                deep=opened.mode.startswith("I"),
                alpha=opened.has_transparency_data,
                frames=1 if format.animation is None else _frames(opened),
            )
    except Exception:  # any decoder may fail in any way on a damaged file
        return None


def _frames(opened: Any) -> int:
    """How many frames Pillow finds; 1 if the file breaks off."""
    try:
        return int(getattr(opened, "n_frames", 1))
    except Exception:  # as above
        return 1
