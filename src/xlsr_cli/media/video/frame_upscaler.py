"""Enlarge decoded frames for the encoder.

By default, colours are not converted: Y′ goes through the luma model as it is stored, also in limited range,
and chroma planes go through the resampler with the right siting. Colours cannot shift, because no matrix is
applied.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.tiles.reuse import FrameReuse, Reuse
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.video.facts import NOTHING, Crop
from xlsr_cli.media.video.layout import Layout, Siting, expand, layout_of, planes_of, reduce
from xlsr_cli.media.video.tags import (
    RANGE_FULL,
    RANGE_LIMITED,
    SILENT,
    ColorTags,
    Rotation,
    carries_captions,
    turned_size,
)
from xlsr_cli.options import Size

#: Flags of swscale for conversions that lose as little as possible.
_CAREFUL = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
#: While one frame waits for its last tile, or for work on a single core, another one keeps the workers busy.
_AT_ONCE = 2
#: Matrix coefficients of H.273 as swscale numbers them; BT.601 for those that it does not know.
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_SWSCALE_DEFAULT = 5


@dataclass(frozen=True, kw_only=True)
class StoredFrames:
    """The frames of a source: ``size`` as they are to be shown, of which ``crop`` lies around it in what the
    decoder gives, and ``rotation`` turns them upright where the result's are to be."""

    size: Size
    layout: Layout
    tags: ColorTags = SILENT
    siting: Siting = "left"
    crop: Crop = NOTHING
    rotation: Rotation | None = None


@dataclass(frozen=True, kw_only=True)
class EnlargedFrames:
    """The frames of a result, ``pix_fmt`` being what the encoder takes.

    ``asked``: their size before chroma made the sides even; None is ``size`` itself.
    """

    size: Size
    pix_fmt: str
    tags: ColorTags = SILENT
    siting: Siting = "left"
    asked: Size | None = None

    def way(self, source: Size) -> tuple[Size, Size]:
        """What goes through the networks of frames of ``source``, and what it becomes; ``size`` is cut out.

        Where sides were made even, some of the pixels at the right and lower edge are repeated beyond it:
        enlarged by more than was asked for, frames would be stretched, and might need larger networks.
        """
        asked = self.asked or self.size
        across, down = Fraction(asked.width, source.width), Fraction(asked.height, source.height)
        width, height = math.ceil(self.size.width / across), math.ceil(self.size.height / down)
        becomes = Size(width=math.floor(width * across), height=math.floor(height * down))
        return Size(width=width, height=height), becomes


class FrameUpscaler:
    """Enlarges the frames of one video: :meth:`begin` takes them in their order, and what it returns may be
    called on several threads.

    ``rgb`` sends all channels through the network: frames are then converted to R′G′B′ and back by swscale.
    ``reuse`` keeps what did not change since the frame before. ``changed`` counts frames that have another
    size or pixel format than ``source`` says, and were brought to it.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        source: StoredFrames,
        result: EnlargedFrames,
        *,
        rgb: bool = False,
        reuse: bool = True,
    ) -> None:
        self.reuse = Reuse() if reuse else None
        self.changed = 0
        self._upscaler = upscaler
        self._source, self._enlarged = source, result
        self._size, self._pix_fmt = result.size, result.pix_fmt
        rotation, layout, crop = source.rotation, source.layout, source.crop
        #: Width and height of what the decoder gives.
        self._decoded = (
            source.size.width + crop.left + crop.right,
            source.size.height + crop.top + crop.bottom,
        )
        self._convert = rgb and layout.family == "yuv"
        self._stored = replace(layout, family="rgb", chroma=(0, 0)) if self._convert else layout
        swaps = rotation is not None and rotation.swaps
        upright = self._stored.turned() if swaps else self._stored
        self._result = replace(upright, alpha=upright.alpha and layout_of(result.pix_fmt).alpha)
        self._padded, self._through = result.way(turned_size(source.size, rotation))
        self._factors = (
            Fraction(self._through.width, self._padded.width),
            Fraction(self._through.height, self._padded.height),
        )
        before = _offsets(source.siting, self._stored)
        self._siting = before if rotation is None else _turned_offsets(before, rotation)
        self._becomes = _offsets(result.siting, self._result)
        self._reformat_in, self._reformat_out, self._reformat_blank = _Reformat(), _Reformat(), _Reformat()
        self._reformat_size = _Reformat()

    @property
    def at_once(self) -> int:
        """How many frames should be enlarged at the same time."""
        return _AT_ONCE if self._upscaler.threads > 1 and self._upscaler.works_in_tiles else 1

    def interrupt(self) -> None:
        """Like :meth:`Upscaler.interrupt`; may be called from any thread."""
        self._upscaler.interrupt()

    def begin(self, frame: av.VideoFrame) -> Callable[[], av.VideoFrame]:
        """The work for ``frame``, the next one: a function that returns it enlarged.

        The calls may overlap, but must start in the order of the frames. Each returns a new frame of ``size``
        in ``pix_fmt``, with the colour tags and without a time.
        """
        memory = None if self.reuse is None else self.reuse.begin()
        as_before = (frame.width, frame.height) == self._decoded
        self.changed += not as_before or layout_of(frame.format.name) != self._source.layout

        def enlarge() -> av.VideoFrame:
            try:
                return self._enlarge(frame, memory)
            finally:
                if memory is not None:
                    memory.close()

        return enlarge

    def _enlarge(self, frame: av.VideoFrame, memory: FrameReuse | None) -> av.VideoFrame:
        planes = [self._cropped(index, plane) for index, plane in enumerate(self._planes(frame))]
        if self._source.rotation is not None:
            planes = [_turned(plane, self._source.rotation) for plane in planes]
        result = self._blank(frame)
        targets = planes_of(result, self._result)
        if self._result.family == "rgb":
            self._upscale_rgb(planes, targets, memory)
        else:
            self._upscale_planes(planes, targets, memory)
        packed, tags = self._packed(result), self._enlarged.tags
        packed.color_primaries, packed.color_trc = tags.primaries, tags.transfer
        packed.colorspace, packed.color_range = tags.matrix, tags.range
        return packed

    def _planes(self, frame: av.VideoFrame) -> list[Pixels]:
        """The samples of a whole frame, brought to the size that the video began with."""
        if (frame.width, frame.height) != self._decoded:
            width, height = self._decoded
            frame = self._reformat_size(frame, width=width, height=height, interpolation=_CAREFUL)
        return planes_of(self._planar(frame), self._stored)

    def _cropped(self, index: int, plane: Pixels) -> Pixels:
        """What is to be shown of ``plane``, the ``index``-th of a frame."""
        crop = self._source.crop
        if not crop:
            return plane
        is_chroma = self._stored.family == "yuv" and index in (1, 2)
        across, down = self._stored.chroma if is_chroma else (0, 0)
        size = self._stored.chroma_size(self._source.size) if is_chroma else self._source.size
        left, top = crop.left >> across, crop.top >> down
        return plane[top : top + size.height, left : left + size.width]

    def _blank(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A frame to write into. Where ``frame`` carries captions, it carries them too."""
        size, name = self._size, self._result.name
        if not carries_captions(frame):
            return av.VideoFrame(size.width, size.height, name)
        # The only way to copy a frame's side data is to have swscale make one from it.
        return self._reformat_blank(
            frame, width=size.width, height=size.height, format=name, interpolation=Interpolation.POINT
        )

    def _upscale_planes(self, planes: list[Pixels], targets: list[Pixels], memory: FrameReuse | None) -> None:
        """Y′, Cb, Cr and alpha, or gray alone."""
        depth = self._result.depth
        luma = self._upscaler(self._pad(expand(planes[0], depth)), size=self._through, reuse=memory)
        targets[0][...] = reduce(self._cut(luma), depth)
        if self._result.family == "yuv":
            for index in (1, 2):
                targets[index][...] = self._chroma(index, planes[index], memory)
        if self._result.alpha:
            alpha = resize(self._pad(np.ascontiguousarray(planes[-1])), self._through)
            np.minimum(self._cut(alpha), self._result.top, out=targets[-1])

    def _upscale_rgb(self, planes: list[Pixels], targets: list[Pixels], memory: FrameReuse | None) -> None:
        """G, B, R and alpha."""
        depth = self._result.depth
        order = (1, 0, 2, 3) if self._result.alpha else (1, 0, 2)
        pixels = np.dstack([expand(planes[index], depth) for index in order])
        upscaled = self._upscaler(self._pad(pixels), size=self._through, reuse=memory)
        answer = reduce(self._cut(upscaled), depth)
        for channel, index in enumerate(order):
            targets[index][...] = answer[..., channel]

    def _pad(self, pixels: Pixels) -> Pixels:
        """``pixels`` with those at the right and lower edge repeated, as far as :meth:`way` wants."""
        height, width = pixels.shape[:2]
        if (width, height) == (self._padded.width, self._padded.height):
            return pixels
        beyond = ((0, self._padded.height - height), (0, self._padded.width - width))
        return np.pad(pixels, (*beyond, *((0, 0),) * (pixels.ndim - 2)), mode="edge")

    def _cut(self, pixels: Pixels) -> Pixels:
        return pixels[: self._size.height, : self._size.width]

    # Chroma

    def _chroma(self, index: int, plane: Pixels, memory: FrameReuse | None) -> Pixels:
        """One chroma plane at its new size; the one of the frame before where nothing changed."""
        plane, key = np.ascontiguousarray(plane), ("chroma", index)
        known = None if memory is None else memory.same(key, plane)
        answer = self._enlarged_chroma(plane) if known is None else known
        if memory is not None:
            memory.remember(key, answer)
        return answer

    def _enlarged_chroma(self, plane: Pixels) -> Pixels:
        wanted = self._result.chroma_size(self._size)
        # An odd frame's last chroma sample reaches beyond it: enlarge by luma's factor, then cut.
        whole = Size(
            width=max(wanted.width, round(plane.shape[1] * self._factors[0])),
            height=max(wanted.height, round(plane.shape[0] * self._factors[1])),
        )
        answer = resize(plane, whole, siting=self._siting, becomes=self._becomes)
        if self._result.depth not in (8, 16):
            answer = np.minimum(answer, self._result.top)
        return answer[: wanted.height, : wanted.width]

    # Formats

    def _planar(self, frame: av.VideoFrame) -> av.VideoFrame:
        """``frame`` with its samples in planes: itself, repacked, or converted to R′G′B′."""
        name = self._stored.name
        if frame.format.name.replace("yuvj", "yuv") == name:
            return frame
        if not self._convert:
            return self._reformat_in(frame, format=name, interpolation=_CAREFUL)
        return self._reformat_in(
            frame,
            format=name,
            interpolation=_CAREFUL,
            src_colorspace=self._matrix(self._source.tags, self._source.size),
            src_color_range=self._source.tags.range or RANGE_LIMITED,
            dst_color_range=RANGE_FULL,
        )

    def _packed(self, frame: av.VideoFrame) -> av.VideoFrame:
        """``frame`` in the format that the encoder takes."""
        if frame.format.name == self._pix_fmt:
            return frame
        from_rgb, to_rgb = self._result.family == "rgb", layout_of(self._pix_fmt).family == "rgb"
        before, after = self._source.tags, self._enlarged.tags
        matrix = self._matrix(before, self._source.size) if to_rgb else self._matrix(after, self._size)
        return self._reformat_out(
            frame,
            format=self._pix_fmt,
            interpolation=_CAREFUL,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=RANGE_FULL if from_rgb else before.range or RANGE_LIMITED,
            dst_color_range=RANGE_FULL if to_rgb else after.range or RANGE_LIMITED,
        )

    @staticmethod
    def _matrix(tags: ColorTags, size: Size) -> int:
        return _SWSCALE_MATRIX.get(tags.matrix_for(size), _SWSCALE_DEFAULT)


class _Reformat:
    """swscale with its cached tables, for one frame at a time."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()

    def __call__(self, frame: av.VideoFrame, **wanted: Any) -> av.VideoFrame:
        """``frame`` as :meth:`av.VideoFrame.reformat` makes it."""
        with self._lock:
            return self._reformatter.reformat(frame, **wanted)


def _turned(plane: Pixels, rotation: Rotation) -> Pixels:
    if rotation.mirrored:
        plane = plane[:, ::-1]
    return np.ascontiguousarray(np.rot90(plane, rotation.turns))


#: In how many of two steps a sample of chroma lies left of the middle of the luma samples that it stands for,
#: and above it.
_STEPS: dict[Siting, tuple[int, int]] = {
    "left": (1, 0), "center": (0, 0), "topleft": (1, 1), "top": (0, 1), "bottomleft": (1, -1),
    "bottom": (0, -1),
}  # fmt: skip


def _offsets(siting: Siting, layout: Layout) -> tuple[float, float]:
    """How far chroma lies to the left of the middle and above it, in its own samples."""
    across, down = ((1 - 0.5**halved) / 2 for halved in layout.chroma)
    left, above = _STEPS[siting]
    return left * across, above * down


def _turned_offsets(offsets: tuple[float, float], rotation: Rotation) -> tuple[float, float]:
    left, above = offsets
    left = -left if rotation.mirrored else left
    for _ in range(rotation.turns):
        left, above = above, -left
    return left, above
