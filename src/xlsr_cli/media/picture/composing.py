"""Compose animations: each frame is a rectangle that changes a canvas.

PNG specification, third edition (W3C, 2025), section 12.8, and GIF89a (CompuServe, 1990), section 23, as
browsers understand them: the canvas is transparent at first and where a frame is cleared, whatever the
background colour of a GIF is. Pillow composes differently: it blends before it restores, and fills a GIF's
canvas with a colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from fractions import Fraction  # loads decimal arithmetic, which still pictures do not need

#: What happens to the rectangle of a frame when its time is over: it stays, becomes transparent, or becomes
#: what it was before.
Disposal = Literal["stay", "clear", "restore"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FramePart:
    """What one frame changes: ``pixels`` (uint8 BGRA, straight alpha) at ``left`` and ``top`` of the canvas.

    ``over``: they are laid over what is there, else they replace it. ``delay``: seconds that it is shown.
    """

    pixels: Pixels
    left: int
    top: int
    delay: Fraction
    over: bool
    disposal: Disposal


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """``plays``: how often an animation is played, 0 for ever. ``parts``: of each frame, decoded one by one;
    the iterator raises where a frame is damaged. ``still``: a picture stands before them that is none."""

    plays: int
    parts: Iterator[FramePart]
    still: bool = False


def composed(parts: Iterable[FramePart], size: Size) -> Iterator[tuple[FramePart, Pixels]]:
    """Each part with the composed canvas: uint8 BGRA of ``size``, which must not be changed.

    What lies outside of the canvas is cut off.
    """
    canvas: Pixels = np.zeros((size.height, size.width, 4), np.uint8)
    for part in parts:
        area = canvas[part.top :, part.left :][: part.pixels.shape[0], : part.pixels.shape[1]]
        pixels = part.pixels[: area.shape[0], : area.shape[1]]
        before = area.copy() if part.disposal == "restore" else None
        area[...] = _over(area, pixels) if part.over else pixels
        yield part, canvas.copy()
        if part.disposal == "clear":
            area[...] = 0
        elif before is not None:
            area[...] = before


def _over(below: Pixels, above: Pixels) -> Pixels:
    """``above`` laid over ``below``, both uint8 BGRA with straight alpha (PNG, section 12.8)."""
    alpha = above[..., 3:]
    if not np.any((alpha > 0) & (alpha < 255)):
        opaque: Pixels = np.where(alpha > 0, above, below)
        return opaque
    front = alpha.astype(np.float32) / 255
    back = below[..., 3:].astype(np.float32) / 255 * (1 - front)
    total = front + back
    colors = above[..., :3] * front + below[..., :3] * back
    result = np.empty_like(below)
    result[..., :3] = np.rint(colors / np.where(total > 0, total, 1))
    result[..., 3:] = np.rint(total * 255)
    return result
