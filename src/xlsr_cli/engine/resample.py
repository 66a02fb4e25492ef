"""A separable polyphase filter in fixed point: the same bytes on every CPU.

``cv2.resize`` computes cubic weights in float and its answer depends on the CPU's vector width. Here the
weights are integers whose sum is exact, sums are integers, and rounding is a shift.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

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
#: The same for whole factors, which are several times as fast. Catmull-Rom at ×2 is exact in 7 bits.
_FAST_BITS = 7
#: Less than the smallest part of a weighted sum: it makes OpenCV, which rounds halves to even, round them up.
_HALVES_UP = 2.0 ** -(_FAST_BITS + 2)
#: Samples of a band: what lies between the two passes stays in the cache, and memory is bounded. Those of
#: whole factors are bytes, so more of them do.
_BAND_SAMPLES, _FAST_BAND_SAMPLES = 1 << 18, 1 << 19


def resize(
    pixels: NDArray[Any],
    size: Size,
    *,
    filter: Filter = "cubic",
    siting: tuple[float, float] = (0.0, 0.0),
    becomes: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """``pixels`` resized to ``size``: uint8 or uint16, (H, W) or (H, W, C), any channels; the dtype stays.

    ``cubic`` is Keys' with a = -0.5 (Catmull-Rom), ``lanczos3`` Lanczos with three lobes; both are
    stretched when shrinking, against aliasing. Beyond the border, the border pixel is repeated.
    ``siting`` (x, y) is how far the samples lie from the centre of what they stand for, to the left and
    to the top, in source samples: 0 for pictures, 0.25 for chroma that is co-sited with the left luma
    sample of a pair. ``becomes`` is the same for the result, in its samples, where not ``siting``.
    """
    if pixels.shape[:2] == (size.height, size.width) and becomes in (None, siting):
        return pixels.copy()
    answer = np.empty((size.height, size.width, *pixels.shape[2:]), dtype=pixels.dtype)
    resized = Resized(pixels, size, filter=filter, siting=siting, becomes=becomes)
    for band in resized.bands():
        answer[band] = resized.rows(band)
    return answer


class Resized:
    """The result of :func:`resize`, band by band: for threads, and for callers that never need it whole."""

    def __init__(
        self,
        pixels: NDArray[Any],
        size: Size,
        *,
        filter: Filter = "cubic",
        siting: tuple[float, float] = (0.0, 0.0),
        becomes: tuple[float, float] | None = None,
    ) -> None:
        """The arguments are those of :func:`resize`."""
        height, width = pixels.shape[:2]
        self._pixels, self._size = pixels, size
        across, down = becomes or siting
        self._down = _axis(height, size.height, filter, siting[1], down)
        self._across = _axis(width, size.width, filter, siting[0], across)
        whole = bool(self._down.whole_factor and self._across.whole_factor)
        self._fast = whole and pixels.dtype == np.uint8

    def bands(self) -> list[slice]:
        """Rows of the answer, from the top down, a few at a time; :meth:`rows` takes no other slices."""
        multiple = max(1, self._down.whole_factor)
        samples = self._size.width * math.prod(self._pixels.shape[2:])
        most = _FAST_BAND_SAMPLES if self._fast else _BAND_SAMPLES
        step = max(1, most // samples // multiple) * multiple
        height = self._size.height
        return [slice(top, min(top + step, height)) for top in range(0, height, step)]

    def rows(self, band: slice) -> NDArray[Any]:
        """The rows ``band`` of the answer. May be called from several threads at once."""
        resized = _resized_fast if self._fast else _resized_exactly
        return resized(self._pixels, band, self._down, self._across)


class _Axis(NamedTuple):
    """How one side is resized: for each output, ``taps`` weights and the first source index (unclipped).

    ``whole_factor`` is s where output j has the phase j mod s and 0 elsewhere; ``kernels`` are then the
    weights of each phase for OpenCV, None for a phase that is the pixel itself.
    """

    weights: NDArray[np.int32]  # (outputs, taps), each row sums to 2 ** _WEIGHT_BITS
    first: NDArray[np.intp]  # (outputs,)
    source: int
    whole_factor: int
    kernels: tuple[NDArray[np.float32] | None, ...]  # each (taps,)

    @property
    def taps(self) -> int:
        return int(self.weights.shape[1])


@functools.lru_cache(maxsize=64)
def _axis(source: int, target: int, filter: Filter, siting: float, becomes: float) -> _Axis:
    factor = target / source
    stretch = max(1.0, 1.0 / factor)
    position = (np.arange(target) + 0.5 - becomes) / factor - 0.5 + siting
    reach = _RADIUS[filter] * stretch
    taps = int(np.ceil(2 * reach))
    first = np.floor(position - reach).astype(np.intp) + 1
    distance = (position[:, None] - (first[:, None] + np.arange(taps))) / stretch
    weights = _kernel(filter, distance)
    whole = target // source if target % source == 0 else 0
    if whole > 4:
        whole = 0
    fixed = _to_fixed_point(weights, _WEIGHT_BITS)
    kernels = tuple(_kernels(fixed[:whole], first))
    return _Axis(weights=fixed, first=first, source=source, whole_factor=whole, kernels=kernels)


def _kernels(weights: NDArray[np.int32], first: NDArray[np.intp]) -> Iterator[NDArray[np.float32] | None]:
    """The weights of each phase in a few bits, as exact fractions; None for the pixel itself."""
    fixed = _to_fixed_point(weights.astype(np.float64), _FAST_BITS) if len(weights) else weights
    for start, row in zip(first, fixed, strict=False):
        itself = np.count_nonzero(row) == 1 and 0 <= -start < len(row) and row[-start]
        yield None if itself else row.astype(np.float32) / np.float32(1 << _FAST_BITS)


def _kernel(filter: Filter, x: NDArray[np.float64]) -> NDArray[np.float64]:
    if filter == "cubic":
        return keys_cubic(x)
    x = np.abs(x)
    return np.where(x < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


def keys_cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1.0, near, np.where(x <= 2.0, far, 0.0))


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


def _resized_exactly(pixels: NDArray[Any], band: slice, rows: _Axis, columns: _Axis) -> NDArray[Any]:
    """The rows ``band`` of the answer. Any factor, 14-bit weights; int32 sums for uint8, int64 for uint16."""
    sums = np.int64 if pixels.dtype == np.uint16 else np.int32
    tall = _filtered(pixels, rows, band, sums, _WEIGHT_BITS - _BETWEEN_BITS)
    wide = _filtered(_transposed(tall), columns, slice(None), sums, _WEIGHT_BITS + _BETWEEN_BITS)
    np.clip(wide, 0, np.iinfo(pixels.dtype).max, out=wide)
    return _transposed(wide.astype(pixels.dtype))


def _filtered(
    pixels: NDArray[Any], axis: _Axis, outputs: slice, sums: type[np.signedinteger[Any]], shift: int
) -> NDArray[Any]:
    """The rows ``outputs``: weighted sums of rows of ``pixels``, divided by 2 ** shift, rounded half up."""
    first, weights = axis.first[outputs], axis.weights[outputs].astype(sums)
    lowest = max(0, int(first[0]))
    source = pixels[lowest : int(first[-1]) + axis.taps].astype(sums)
    total = np.full((len(first), *pixels.shape[1:]), 1 << (shift - 1), dtype=sums)
    product = np.empty_like(total)
    for tap in range(axis.taps):
        row = np.clip(first + tap, 0, axis.source - 1) - lowest
        np.take(source, row, axis=0, out=product, mode="clip")
        product *= weights[:, tap].reshape(-1, *[1] * (pixels.ndim - 1))
        total += product
    total >>= shift
    return total


def _resized_fast(pixels: NDArray[Any], band: slice, rows: _Axis, columns: _Axis) -> NDArray[Any]:
    """The rows ``band`` of the answer. Whole factors of uint8: one filter per phase, in OpenCV."""
    factor = rows.whole_factor
    start, stop = band.start // factor, band.stop // factor
    lowest, highest = max(0, start - rows.taps), min(rows.source, stop + rows.taps)
    phases = [phase[start - lowest : stop - lowest] for phase in _phases(pixels[lowest:highest], rows, 0)]
    tall = np.empty(((stop - start) * factor, *pixels.shape[1:]), dtype=np.uint8)
    for number, phase in enumerate(phases):
        tall[number::factor] = phase
    return _interleaved(_phases(tall, columns, 1))


def _phases(pixels: NDArray[np.uint8], axis: _Axis, side: Literal[0, 1]) -> list[NDArray[np.uint8]]:
    """What lies at each phase of every pixel along ``side``: ``axis.whole_factor`` arrays of the same shape.

    OpenCV sums in float32, which is exact here on every CPU: products of bytes and weights of a few bits.
    """
    phases, shape = [], (1, -1) if side else (-1, 1)
    for first, kernel in zip(axis.first, axis.kernels, strict=False):
        if kernel is None:
            phases.append(pixels)
            continue
        anchor = (-int(first), 0) if side else (0, -int(first))
        phase = cv2.filter2D(
            pixels,
            -1,
            kernel.reshape(shape),
            anchor=anchor,
            delta=_HALVES_UP,
            borderType=cv2.BORDER_REPLICATE,
        )
        phases.append(np.asarray(phase, dtype=np.uint8).reshape(pixels.shape))
    return phases


def _interleaved(phases: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(H, W[, C]) arrays as one that is so many times as wide and takes a pixel of each in turn."""
    first = phases[0]
    height, width, *channels = first.shape
    word = {1: np.uint8, 2: np.uint16}.get(math.prod(channels))
    if word is None or not first.size:
        wide = np.stack(phases, axis=2)
    else:  # OpenCV does it several times as fast, for single values
        planes = [np.ascontiguousarray(phase).reshape(height, -1).view(word) for phase in phases]
        wide = np.asarray(cv2.merge(planes)).view(np.uint8)
    return wide.reshape(height, width * len(phases), *channels)


def _transposed(pixels: NDArray[Any]) -> NDArray[Any]:
    """Rows and columns swapped, channels kept, contiguous."""
    flat = pixels.ndim == 2 or pixels.shape[2] in (2, 3, 4)
    if flat and pixels.size and pixels.dtype in (np.uint8, np.uint16, np.int32):
        return np.asarray(cv2.transpose(pixels))
    return np.ascontiguousarray(np.swapaxes(pixels, 0, 1))
