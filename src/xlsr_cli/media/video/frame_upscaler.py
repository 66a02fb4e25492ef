"""Frames through the upscaler: out of the decoder's memory, into the encoder's.

By default nothing is converted: Y′ goes through the luma model as it is stored, limited range and all,
chroma planes through the resampler, with the right siting. Colours cannot shift, because no matrix is
ever applied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.tiles.reuse import FrameReuse, Reuse
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError
from xlsr_cli.media.video.layout import Layout, Siting, expand, layout_of, planes_of, reduce
from xlsr_cli.media.video.tags import RANGE_FULL, RANGE_LIMITED, ColorTags, Rotation, carries_captions
from xlsr_cli.options import Size

#: Where a conversion is asked for, none that loses more than it must.
_CAREFUL = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
#: While one frame waits for its last tile, or for what only one core can do, another keeps the workers busy.
_AT_ONCE = 2
#: Matrix coefficients of H.273 as swscale numbers them; where the file is silent, BT.601.
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_SWSCALE_DEFAULT = 5


class FrameUpscaler:
    """Enlarges the frames of one video: :meth:`begin` takes them in their order, and what it returns may be
    called on several threads.

    ``source`` is the size as stored, ``size`` the result's: upright where ``rotation`` is given. ``rgb``
    sends all channels through the network: frames are then converted to R′G′B′ and back by swscale.
    ``pix_fmt`` is what comes out. ``siting`` is the chroma's, before and after: at the left luma sample and
    between the rows since MPEG-2, between all of them in MPEG-1 and JPEG. ``reuse`` keeps what did
    not change since the frame before.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        *,
        source: Size,
        layout: Layout,
        size: Size,
        pix_fmt: str,
        rgb: bool = False,
        tags: ColorTags | None = None,
        rotation: Rotation | None = None,
        siting: Siting = "left",
        reuse: bool = True,
    ) -> None:
        self.reuse = Reuse() if reuse else None
        self._upscaler = upscaler
        self._source, self._size = source, size
        self._pix_fmt = pix_fmt
        self._tags = tags or ColorTags()
        self._rotation = rotation
        self._convert = rgb and layout.family == "yuv"
        self._stored = replace(layout, family="rgb", chroma=(0, 0)) if self._convert else layout
        swaps = rotation is not None and rotation.swaps
        upright = self._stored.turned() if swaps else self._stored
        self._result = replace(upright, alpha=upright.alpha and layout_of(pix_fmt).alpha)
        shown = Size(width=source.height, height=source.width) if swaps else source
        self._factors = (Fraction(size.width, shown.width), Fraction(size.height, shown.height))
        across, down = self._result.chroma if rotation is None else (0, 0)
        self._siting = (
            0.25 if across and siting != "center" else 0.0,
            0.25 if down and siting == "topleft" else 0.0,
        )
        self._reformat_in, self._reformat_out, self._reformat_blank = _Reformat(), _Reformat(), _Reformat()

    @property
    def at_once(self) -> int:
        """How many frames are worth being enlarged at the same time."""
        return _AT_ONCE if self._upscaler.threads > 1 and self._upscaler.works_in_tiles else 1

    def interrupt(self) -> None:
        """As :meth:`Upscaler.interrupt`; from any thread."""
        self._upscaler.interrupt()

    def begin(self, frame: av.VideoFrame) -> Callable[[], av.VideoFrame]:
        """What is to be done with ``frame``, the next one: a call that returns it enlarged.

        The calls may overlap, but must start in the order of the frames. Each returns a new frame of ``size``
        in ``pix_fmt``, with the colour tags and without a time, and raises :class:`InputError` when ``frame``
        has another size than the video began with.
        """
        memory = None if self.reuse is None else self.reuse.begin()

        def enlarge() -> av.VideoFrame:
            try:
                return self._enlarge(frame, memory)
            finally:
                if memory is not None:
                    memory.close()

        return enlarge

    def _enlarge(self, frame: av.VideoFrame, memory: FrameReuse | None) -> av.VideoFrame:
        if (frame.width, frame.height) != (self._source.width, self._source.height):
            raise InputError(
                f"the video changes its size from {self._source} to {frame.width}x{frame.height} on the way; "
                "cut it there first"
            )
        planes = planes_of(self._planar(frame), self._stored)
        if self._rotation is not None:
            planes = [_turned(plane, self._rotation) for plane in planes]
        result = self._blank(frame)
        targets = planes_of(result, self._result)
        if self._result.family == "rgb":
            self._upscale_rgb(planes, targets, memory)
        else:
            self._upscale_planes(planes, targets, memory)
        return self._tagged(self._packed(result))

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
        luma = self._upscaler(expand(planes[0], depth), size=self._size, reuse=memory)
        targets[0][...] = reduce(luma, depth)
        if self._result.family == "yuv":
            for index in (1, 2):
                targets[index][...] = self._chroma(index, planes[index], memory)
        if self._result.alpha:
            alpha = resize(np.ascontiguousarray(planes[-1]), self._size)
            np.minimum(alpha, self._result.top, out=targets[-1])

    def _upscale_rgb(self, planes: list[Pixels], targets: list[Pixels], memory: FrameReuse | None) -> None:
        """G, B, R and alpha."""
        depth = self._result.depth
        order = (1, 0, 2, 3) if self._result.alpha else (1, 0, 2)
        pixels = np.dstack([expand(planes[index], depth) for index in order])
        answer = reduce(self._upscaler(pixels, size=self._size, reuse=memory), depth)
        for channel, index in enumerate(order):
            targets[index][...] = answer[..., channel]

    # Chroma

    def _chroma(self, index: int, plane: Pixels, memory: FrameReuse | None) -> Pixels:
        """One chroma plane at its new size; the one of the frame before where nothing changed."""
        plane = np.ascontiguousarray(plane)
        if memory is None:
            return self._enlarged_chroma(plane)
        key = ("chroma", index)
        answer = memory.same(key, plane)
        if answer is None:
            answer = self._enlarged_chroma(plane)
        memory.remember(key, answer)
        return answer

    def _enlarged_chroma(self, plane: Pixels) -> Pixels:
        wanted = self._result.chroma_size(self._size)
        # An odd frame's last chroma sample reaches beyond it: enlarge by luma's factor, then cut.
        whole = Size(
            width=max(wanted.width, round(plane.shape[1] * self._factors[0])),
            height=max(wanted.height, round(plane.shape[0] * self._factors[1])),
        )
        answer = resize(plane, whole, siting=self._siting)
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
            src_colorspace=self._matrix,
            src_color_range=self._tags.range or RANGE_LIMITED,
            dst_color_range=RANGE_FULL,
        )

    def _packed(self, frame: av.VideoFrame) -> av.VideoFrame:
        """``frame`` in the format that the encoder takes."""
        if frame.format.name == self._pix_fmt:
            return frame
        limited = self._tags.range or RANGE_LIMITED
        return self._reformat_out(
            frame,
            format=self._pix_fmt,
            interpolation=_CAREFUL,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=RANGE_FULL if self._result.family == "rgb" else limited,
            dst_color_range=RANGE_FULL if layout_of(self._pix_fmt).family == "rgb" else limited,
        )

    @property
    def _matrix(self) -> int:
        return _SWSCALE_MATRIX.get(self._tags.matrix, _SWSCALE_DEFAULT)

    def _tagged(self, frame: av.VideoFrame) -> av.VideoFrame:
        frame.color_primaries, frame.color_trc = self._tags.primaries, self._tags.transfer
        frame.colorspace, frame.color_range = self._tags.matrix, self._tags.range
        return frame


class _Reformat:
    """swscale, which keeps what it has worked out for the next frame: one frame at a time."""

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
