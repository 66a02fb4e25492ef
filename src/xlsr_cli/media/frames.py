"""Frames through the upscaler: out of the decoder's memory, into the encoder's.

By default nothing is converted: Y′ goes through the luma model as it is stored, limited range and all,
chroma planes through the resampler, with the right siting. Colours cannot shift, because no matrix is
ever applied.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.reuse import Reuse
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError
from xlsr_cli.media.pixels import Layout, Siting, expand, layout_of, planes_of, reduce
from xlsr_cli.media.video_tags import RANGE_FULL, RANGE_LIMITED, ColorTags, Rotation, carries_captions
from xlsr_cli.options import Size

Pixels = NDArray[Any]

#: Where a conversion is asked for, none that loses more than it must.
_CAREFUL = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
)
#: Where two frames in a row had less than this share of their tiles in common with the one before, looking
#: for more is put off for so many frames: in a film it would cost time and find nothing.
_WORTH_LOOKING = 0.1
_REST = 6
#: Matrix coefficients of H.273 as swscale numbers them; where the file is silent, BT.601.
_SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_SWSCALE_DEFAULT = 5


class FrameUpscaler:
    """Enlarges the frames of one video, one after another, from one thread.

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
        self._reformat_in, self._reformat_out = VideoReformatter(), VideoReformatter()
        self._reformat_blank = VideoReformatter()
        self._fruitless = self._rest = 0
        self._last_chroma: dict[int, tuple[Pixels, Pixels]] = {}

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A new frame of ``size`` in ``pix_fmt``, with the colour tags and without a time.

        Raises :class:`InputError` when ``frame`` has another size than the video began with.
        """
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
            self._upscale_rgb(planes, targets)
        else:
            self._upscale_planes(planes, targets)
        return self._tagged(self._packed(result))

    def _blank(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A frame to write into. Where ``frame`` carries captions, it carries them too."""
        size, name = self._size, self._result.name
        if not carries_captions(frame):
            return av.VideoFrame(size.width, size.height, name)
        # The only way to copy a frame's side data is to have swscale make one from it.
        return self._reformat_blank.reformat(
            frame, width=size.width, height=size.height, format=name, interpolation=Interpolation.POINT
        )

    def _upscale_planes(self, planes: list[Pixels], targets: list[Pixels]) -> None:
        """Y′, Cb, Cr and alpha, or gray alone."""
        depth = self._result.depth
        luma = self._enlarged(expand(planes[0], depth))
        targets[0][...] = reduce(luma, depth)
        if self._result.family == "yuv":
            for index in (1, 2):
                targets[index][...] = self._chroma(index, planes[index])
        if self._result.alpha:
            alpha = resize(np.ascontiguousarray(planes[-1]), self._size)
            np.minimum(alpha, self._result.top, out=targets[-1])

    def _upscale_rgb(self, planes: list[Pixels], targets: list[Pixels]) -> None:
        """G, B, R and alpha."""
        depth = self._result.depth
        order = (1, 0, 2, 3) if self._result.alpha else (1, 0, 2)
        pixels = np.dstack([expand(planes[index], depth) for index in order])
        answer = reduce(self._enlarged(pixels), depth)
        for channel, index in enumerate(order):
            targets[index][...] = answer[..., channel]

    def _enlarged(self, pixels: Pixels) -> Pixels:
        """Through the network; unchanged tiles are not computed again where that promises something."""
        if self.reuse is None or self._rest:
            self._rest = max(0, self._rest - 1)
            return self._upscaler(pixels, size=self._size)
        tiles, reused = self.reuse.tiles, self.reuse.reused
        answer = self._upscaler(pixels, size=self._size, reuse=self.reuse)
        found = self.reuse.reused - reused >= _WORTH_LOOKING * (self.reuse.tiles - tiles)
        self._fruitless = 0 if found else self._fruitless + 1
        if self._fruitless == 2:
            self._fruitless, self._rest = 0, _REST
        return answer

    # Chroma

    def _chroma(self, index: int, plane: Pixels) -> Pixels:
        """One chroma plane at its new size; the one of the frame before where nothing changed."""
        if self.reuse is None:
            return self._enlarged_chroma(np.ascontiguousarray(plane))
        if index in self._last_chroma:
            before, answer = self._last_chroma[index]
            if np.array_equal(before, plane):
                return answer
        plane = plane.copy()
        answer = self._enlarged_chroma(plane)
        self._last_chroma[index] = (plane, answer)
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
            return self._reformat_in.reformat(frame, format=name, interpolation=_CAREFUL)
        return self._reformat_in.reformat(
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
        return self._reformat_out.reformat(
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


def _turned(plane: Pixels, rotation: Rotation) -> Pixels:
    if rotation.mirrored:
        plane = plane[:, ::-1]
    return np.ascontiguousarray(np.rot90(plane, rotation.turns))
