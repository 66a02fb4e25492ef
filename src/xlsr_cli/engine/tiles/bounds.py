"""Keep the output of a network within the colours of the source, for drawn pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.tiles.tiling import Region

#: The radius, in source pixels, within which colours are allowed: 5×5.
REACH = 2


def keep_within_sources(tile: NDArray[Any], halo: int, answer: Pixels, region: Region, scale: int) -> None:
    """Clip ``region`` of ``answer``, channel by channel, to the range of the 5×5 source pixels around.

    ``tile`` is the source with ``halo`` (at least 2) around it; ``region`` is in source pixels. So there is
    no ringing beside a stroke, and a plain area stays exactly as it is.
    """
    around = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    inner = slice(halo, -halo)
    place = region.scaled(scale)
    size = (place.right - place.left, place.bottom - place.top)
    clipped = place.of(answer)
    for widest, clip in ((cv2.erode, np.maximum), (cv2.dilate, np.minimum)):
        bound = np.ascontiguousarray(widest(tile, around)[inner, inner])
        enlarged = cv2.resize(bound, size, interpolation=cv2.INTER_NEAREST_EXACT)
        clip(clipped, enlarged.reshape(clipped.shape), out=clipped)
