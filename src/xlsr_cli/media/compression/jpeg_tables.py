"""What a JPEG's header tells: the libjpeg quality, by the error that a table causes, and the bits a pixel."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.traces.jpeg import LUMA_STEPS

#: Variances of a photograph's luma coefficients (8×8 DCT, orthonormal): means over 63 small photographs;
#: in rows of rising horizontal frequency, the constant one first.
_VARIANCES = np.array(
    [
        [1054643, 8038, 2937, 1280, 770, 378, 179, 105],
        [10363, 2719, 1382, 751, 434, 227, 122, 73],
        [3463, 1373, 829, 490, 300, 182, 101, 59],
        [1545, 700, 463, 318, 217, 137, 80, 49],
        [682, 378, 282, 208, 150, 103, 64, 38],
        [395, 223, 183, 137, 91, 67, 42, 27],
        [234, 120, 102, 84, 57, 40, 27, 19],
        [125, 70, 57, 50, 37, 27, 18, 12],
    ]
).reshape(-1)


def quality_of(data: bytes) -> int | None:
    """The libjpeg quality (1 to 100) of the JPEG ``data``; None where its tables make no sense.

    Only the header is read. For a table of libjpeg, it is exactly the quality that made it.
    """
    # On a hostile file Pillow raises nearly everything, and each of it means the same.
    try:
        table = _luma_table(data)
    except Exception:
        return None
    return None if table is None else quality_of_table(table)


def bits_of(data: bytes) -> float | None:
    """The bits a pixel from the first scan of the JPEG ``data`` on; None where it has none.

    What is before may be anything: previews, profiles, notes.
    """
    from PIL import JpegImagePlugin

    # As above. Pillow stops where the first scan begins.
    file = io.BytesIO(data)
    try:
        with JpegImagePlugin.JpegImageFile(file) as image:
            return 8 * (len(data) - file.tell()) / (image.width * image.height)
    except Exception:
        return None


def quality_of_table(steps: Sequence[int]) -> int | None:
    """The quality whose table causes as much error as ``steps``; None if ``steps`` is no 8-bit table.

    ``steps`` are 64 in rows, not in zigzag.
    """
    if len(steps) != 64 or min(steps) < 1 or max(steps) > 255:
        return None
    cost = _cost(np.asarray(steps))
    return 1 + int(np.argmin([abs(cost - known) for known in _costs()]))


def _luma_table(data: bytes) -> Sequence[int] | None:
    """The table of the first component, in rows."""
    from PIL import JpegImagePlugin

    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        components = getattr(image, "layer", ())
        table = image.quantization.get(components[0][3]) if components else None
    return None if table is None else list(table)


def _cost(steps: NDArray[np.int64]) -> float:
    """The logarithm of the squared error that rounding to ``steps`` causes in a photograph.

    It is step²/12 for a coefficient that is large beside the step, and its own variance for one that is
    rounded to zero.
    """
    error = steps.astype(np.float64) ** 2 / 12
    return math.log(math.fsum(_VARIANCES * error / (_VARIANCES + error)))


@functools.cache
def _costs() -> tuple[float, ...]:
    """The cost of libjpeg's luma table of each quality from 1 to 100 (``jpeg_quality_scaling``)."""
    costs = []
    for quality in range(1, 101):
        percent = 5000 // quality if quality < 50 else 200 - 2 * quality
        costs.append(_cost(np.clip((LUMA_STEPS.reshape(-1) * percent + 50) // 100, 1, 255)))
    return tuple(costs)
