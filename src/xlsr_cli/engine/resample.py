"""A separable polyphase filter in fixed point: the same bytes on every CPU.

``cv2.resize`` computes cubic weights in float and its answer depends on the CPU's vector width. Here the
weights are integers whose sum is exact, sums are integers, and rounding is a shift.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.options import Size

Filter = Literal["cubic", "lanczos3"]
_RADIUS: dict[Filter, float] = {"cubic": 2.0, "lanczos3": 3.0}

#: Fraction bits of a weight, and of what lies between the two passes: 255·64 with a quarter of
#: overshoot fits int16, and times 2¹⁴ with the weights' absolute sum (below 2) fits int32.
_WEIGHT_BITS = 14
_BETWEEN_BITS = 6
#: The same for whole factors, where values centred on zero and 7-bit weights fit int16 arithmetic, which
#: is several times as fast. Catmull-Rom at ×2 is exact in 7 bits.
_FAST_BITS = 7


def resize(
    pixels: NDArray[Any],
    size: Size,
    *,
    filter: Filter = "cubic",
    siting: tuple[float, float] = (0.0, 0.0),
) -> NDArray[Any]:
    """``pixels`` at ``size``: uint8 or uint16, (H, W) or (H, W, C), any channels; same dtype back.

    ``cubic`` is Keys' with a = -0.5 (Catmull-Rom), ``lanczos3`` Lanczos with three lobes; both are
    stretched when shrinking, so that nothing aliases. Beyond the border the border pixel goes on.
    ``siting`` (x, y) is how far the samples lie from the centre of what they stand for, to the left and
    to the top, in source samples: 0 for pictures, 0.25 for chroma that is co-sited with the left luma
    sample of a pair; it is the same in the result.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (size.height, size.width):
        return pixels.copy()
    rows = _axis(height, size.height, filter, siting[1])
    columns = _axis(width, size.width, filter, siting[0])
    if pixels.dtype == np.uint8 and rows.whole_factor and columns.whole_factor:
        return _resize_fast(pixels, rows, columns)
    return _resize_exact(pixels, rows, columns)


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """How one side is resized: for each output, ``taps`` weights and the first source index (unclipped).

    ``whole_factor`` is s where output j has the phase j mod s and 0 elsewhere.
    """

    weights: NDArray[np.int32]  # (outputs, taps), each row sums to 2 ** _WEIGHT_BITS
    first: NDArray[np.intp]  # (outputs,)
    source: int
    whole_factor: int

    @property
    def taps(self) -> int:
        return int(self.weights.shape[1])


@functools.lru_cache(maxsize=64)
def _axis(source: int, target: int, filter: Filter, siting: float) -> _Axis:
    factor = target / source
    stretch = max(1.0, 1.0 / factor)
    position = (np.arange(target) + 0.5 - siting) / factor - 0.5 + siting
    reach = _RADIUS[filter] * stretch
    taps = int(np.ceil(2 * reach))
    first = np.floor(position - reach).astype(np.intp) + 1
    distance = (position[:, None] - (first[:, None] + np.arange(taps))) / stretch
    weights = _kernel(filter, distance)
    whole = target // source if target % source == 0 else 0
    if whole > 4:
        whole = 0
    return _Axis(
        weights=_to_fixed_point(weights, _WEIGHT_BITS), first=first, source=source, whole_factor=whole
    )


def _kernel(filter: Filter, x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    if filter == "lanczos3":
        return np.where(x < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1.0, near, np.where(x < 2.0, far, 0.0))


def _to_fixed_point(weights: NDArray[np.float64], bits: int) -> NDArray[np.int32]:
    """Integers whose rows sum to exactly 2 ** bits, so that a flat picture stays as it is.

    The remainder of rounding goes to each row's largest weight. Values a hair from a half could round
    differently with another libm: six decimals of them decide.
    """
    exact = weights / weights.sum(axis=1, keepdims=True) * (1 << bits)
    fixed: NDArray[np.int32] = np.floor(np.round(exact, 6) + 0.5).astype(np.int32)
    largest = fixed.argmax(axis=1)
    fixed[np.arange(len(fixed)), largest] += (1 << bits) - fixed.sum(axis=1, dtype=np.int32)
    return fixed


def _resize_exact(pixels: NDArray[Any], rows: _Axis, columns: _Axis) -> NDArray[Any]:
    """Any factor, 14-bit weights; int32 sums for uint8, int64 for uint16."""
    deep = pixels.dtype == np.uint16
    sums, between = (np.int64, np.int32) if deep else (np.int32, np.int16)
    shift = _WEIGHT_BITS - _BETWEEN_BITS
    tall = _filter_rows(pixels, rows, sums, shift).astype(between)
    wide = _filter_rows(_transposed(tall), columns, sums, _WEIGHT_BITS + _BETWEEN_BITS)
    top = np.iinfo(pixels.dtype).max
    return _transposed(np.clip(wide, 0, top).astype(pixels.dtype))


def _filter_rows(
    pixels: NDArray[Any], axis: _Axis, sums: type[np.signedinteger[Any]], shift: int
) -> NDArray[Any]:
    """Weighted sums of rows, divided by 2 ** shift, rounded half up."""
    shape = (len(axis.first), *pixels.shape[1:])
    total = np.full(shape, 1 << (shift - 1), dtype=sums)
    broadcast = (-1, *[1] * (pixels.ndim - 1))
    for tap in range(axis.taps):
        source = np.clip(axis.first + tap, 0, axis.source - 1)
        total += pixels[source] * axis.weights[:, tap].astype(sums).reshape(broadcast)
    total >>= shift
    return total


def _resize_fast(pixels: NDArray[Any], rows: _Axis, columns: _Axis) -> NDArray[Any]:
    """Whole factors of uint8: one multiplication of a whole slice per phase and tap, in int16."""
    centred = pixels.astype(np.int16) - 128
    tall = _filter_phases(centred, rows)
    wide = _filter_phases(_transposed(tall), columns)
    return _transposed((wide + 128).astype(np.uint8))


def _filter_phases(centred: NDArray[np.int16], axis: _Axis) -> NDArray[np.int16]:
    """Rows of int16 in -128 … 127, upscaled by ``axis.whole_factor``, clipped to the same range."""
    factor = axis.whole_factor
    if factor == 1:
        return centred
    before = max(0, -int(axis.first[0]))
    behind = max(0, int(axis.first[-1]) + axis.taps - axis.source)
    pad = [(before, behind)] + [(0, 0)] * (centred.ndim - 1)
    padded = np.pad(centred, pad, mode="edge")
    out = np.empty((axis.source * factor, *centred.shape[1:]), dtype=np.int16)
    weights = _to_fixed_point(axis.weights[:factor].astype(np.float64), _FAST_BITS).astype(np.int16)
    for phase in range(factor):
        total = np.full(centred.shape, 1 << (_FAST_BITS - 1), dtype=np.int16)
        for tap in range(axis.taps):
            if weights[phase, tap]:
                start = before + int(axis.first[phase]) + tap
                total += padded[start : start + axis.source] * weights[phase, tap]
        total >>= _FAST_BITS
        np.clip(total, -128, 127, out=out[phase::factor])
    return out


def _transposed(pixels: NDArray[Any]) -> NDArray[Any]:
    """Rows and columns swapped, channels kept, contiguous."""
    if pixels.dtype in (np.uint8, np.int16, np.int32) and pixels.size and pixels.ndim == 2:
        return np.asarray(cv2.transpose(pixels))
    return np.ascontiguousarray(np.swapaxes(pixels, 0, 1))
