"""Pixel formats of videos: their samples, the choice of one for the output, and planes as arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import av
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: Where the one chroma sample of 2×2 luma samples lies, by FFmpeg's names: between the left two, between all,
#: on the first, between the upper two, on the lower left one, between the lower two.
Siting = Literal["left", "center", "topleft", "top", "bottomleft", "bottom"]

#: Repacking without loss: interleaved or semi-planar formats and the planar one of the same samples.
_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p",
    "p010": "yuv420p10", "p012": "yuv420p12", "p016": "yuv420p16", "p210": "yuv422p10", "p216": "yuv422p16",
    "p410": "yuv444p10", "p416": "yuv444p16", "nv20": "yuv422p10",
    "yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "uyyvyy411": "yuv411p",
    "y210": "yuv422p10", "y212": "yuv422p12", "xv30": "yuv444p10", "xv36": "yuv444p12", "vuyx": "yuv444p",
    "vuya": "yuva444p", "ayuv": "yuva444p", "gray8": "gray", "monow": "gray", "monob": "gray",
    "rgb48": "gbrp16", "bgr48": "gbrp16", "rgba64": "gbrap16", "bgra64": "gbrap16", "x2rgb10": "gbrp10",
    "x2bgr10": "gbrp10", "rgba": "gbrap", "bgra": "gbrap", "argb": "gbrap", "abgr": "gbrap", "pal8": "gbrp",
}  # fmt: skip

_CHROMA = {(1, 1): "420", (1, 0): "422", (0, 0): "444", (0, 1): "440", (2, 0): "411", (2, 2): "410"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A planar pixel format: ``family`` gray, yuv or rgb; ``depth`` in bits; ``chroma`` how many times
    chroma is halved across and down; with or without an alpha plane."""

    family: Literal["gray", "yuv", "rgb"]
    depth: int
    chroma: tuple[int, int] = (0, 0)
    alpha: bool = False

    @property
    def name(self) -> str:
        """FFmpeg's name of it, little-endian."""
        ending = "" if self.depth == 8 else f"{self.depth}le"
        alpha = "a" if self.alpha else ""
        if self.family == "gray":
            return f"gray{ending}"
        if self.family == "rgb":
            return f"gbr{alpha}p{ending}"
        return f"yuv{alpha}{_CHROMA[self.chroma]}p{ending}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample."""
        return np.dtype(np.uint8 if self.depth == 8 else np.dtype("<u2"))

    @property
    def top(self) -> int:
        """The largest value."""
        return int((1 << self.depth) - 1)

    def turned(self) -> Layout:
        """The layout of a frame turned by 90 degrees."""
        return Layout(family=self.family, depth=self.depth, chroma=self.chroma[::-1], alpha=self.alpha)

    def chroma_size(self, size: Size) -> Size:
        """Of a chroma plane of a frame of ``size``."""
        across, down = self.chroma
        return Size(width=-(-size.width >> across), height=-(-size.height >> down))


@functools.lru_cache(maxsize=32)
def layout_of(pix_fmt: str) -> Layout:
    """The planar layout for the unchanged samples of ``pix_fmt``.

    Raises :class:`InputError` for formats that are no plain samples (Bayer, XYZ, float).
    """
    name = pix_fmt.replace("yuvj", "yuv").removesuffix("le").removesuffix("be")
    name = _PLANAR.get(name, name)
    format = _format_named(name) or _format_named(f"{name}le")
    colours = [component for component in format.components if not component.is_alpha] if format else []
    depth = max((component.bits for component in colours), default=0)
    if format is None or format.is_bayer or depth > 16 or name.startswith(("xyz", "ya", "gbrpf", "grayf")):
        raise InputError(f"the pixel format {pix_fmt} is not supported; convert the video first")
    family: Literal["gray", "yuv", "rgb"] = "gray" if len(colours) == 1 else "yuv"
    if format.is_rgb:
        family = "rgb"
    chroma = (0, 0)
    if family == "yuv":
        chroma = (int(math.log2(64 // colours[1].width)), int(math.log2(64 // colours[1].height)))
    alpha = len(colours) < len(format.components)
    return Layout(family=family, depth=max(8, depth), chroma=chroma, alpha=alpha)


def _format_named(name: str) -> av.VideoFormat | None:
    """For a picture of 64 by 64."""
    try:
        return av.VideoFormat(name, 64, 64)
    except ValueError:
        return None


def is_holdable(size: Size) -> bool:
    """Whether FFmpeg makes frames of this size: with a margin at each side, it counts an eighth of an int."""
    margin, most = 128, (1 << 31) // 8
    return (size.width + margin) * (size.height + margin) < most


def choose_format(
    source: Layout, formats: Sequence[str], wanted: str | None, *, codec: str
) -> tuple[str, list[Notice]]:
    """The pixel format for encoding ``source``, of those that an encoder takes, with notices about losses.

    ``wanted`` is taken where it is one of them. Otherwise the same format, or the smallest that holds
    all samples, or at last one with coarser chroma or without alpha, which are notices. Never one with
    fewer bits: raises :class:`UsageError` then.
    """
    if wanted is not None:
        if wanted not in formats:
            raise UsageError(f"{codec} cannot be written in {wanted}; it takes {' '.join(formats)}")
        return wanted, _losses(source, layout_of(wanted))
    offered = {name: layout for name in formats if (layout := _layout_or_none(name)) is not None}
    fitting = {
        name: layout
        for name, layout in offered.items()
        if (layout.family == source.family or (source.family == "gray" and layout.family == "yuv"))
        and layout.depth >= source.depth
        and (not layout.alpha or source.alpha)
        and not name.startswith("yuvj")
    }
    if not fitting:
        more = "--codec hevc or ffv1" if source.depth <= 12 and codec != "hevc" else "--codec ffv1"
        if source.family == "rgb":
            raise UsageError(f"{codec} cannot hold RGB of {source.depth} bits; give {more}, or --pix-fmt")
        raise UsageError(
            f"{codec} cannot hold {source.depth} bits, and xlsr does not cut them silently; "
            f"give {more}, or --pix-fmt to say what to cut"
        )

    def cost(name: str) -> tuple[Any, ...]:
        layout = fitting[name]
        missing = sum(max(0, have - had) for have, had in zip(layout.chroma, source.chroma, strict=True))
        extra = sum(max(0, had - have) for have, had in zip(layout.chroma, source.chroma, strict=True))
        if source.family == "gray":
            missing, extra = 0, -missing  # there is no chroma: the fewest samples will do
        return (
            source.alpha and not layout.alpha, missing, layout.family != source.family,
            layout.depth, extra, name != layout.name,
        )  # fmt: skip

    best = min(fitting, key=cost)
    return best, _losses(source, fitting[best])


def _layout_or_none(name: str) -> Layout | None:
    try:
        return layout_of(name)
    except InputError:
        return None


def _losses(source: Layout, target: Layout) -> list[Notice]:
    notices = []
    if source.alpha and not target.alpha:
        message = "the codec holds no transparency; it is left out (ffv1 keeps it)"
        notices.append(Notice(code="alpha-dropped", message=message))
    if source.family == "yuv" and any(t > s for t, s in zip(target.chroma, source.chroma, strict=True)):
        message = f"chroma is reduced to {_CHROMA[target.chroma]}, as {target.name} holds it"
        notices.append(Notice(code="chroma-reduced", message=message))
    if target.depth < source.depth:
        message = f"{source.depth} bits are cut to {target.depth}, as --pix-fmt says"
        notices.append(Notice(code="depth-reduced", message=message))
    return notices


# Planes


def planes_of(frame: av.VideoFrame, layout: Layout) -> list[Pixels]:
    """Views of ``frame``'s planes in FFmpeg's order, (H, W) of ``layout.dtype``; writing to them writes
    to the frame."""
    views = []
    for plane in frame.planes:
        stride = plane.line_size // layout.dtype.itemsize
        samples = np.frombuffer(cast(memoryview, plane), dtype=layout.dtype)
        rows = samples.reshape(plane.height, abs(stride))
        views.append(rows[:: -1 if stride < 0 else 1, : plane.width])
    return views


@functools.lru_cache(maxsize=16)
def _full_scale(depth: int) -> NDArray[np.uint16]:
    """Table from ``depth`` bits to 16: the bits repeated, so that the largest value becomes 65535."""
    value = np.arange(1 << depth, dtype=np.uint32)
    wide = value << (16 - depth)
    return np.asarray(wide | wide >> depth, dtype=np.uint16)


@functools.lru_cache(maxsize=16)
def _back_scale(depth: int) -> NDArray[np.uint16]:
    """Table from 16 bits to ``depth``, rounded to the nearest."""
    top = (1 << depth) - 1
    return np.asarray((np.arange(1 << 16, dtype=np.uint64) * top * 2 + 65535) // (2 * 65535), dtype=np.uint16)


def expand(plane: Pixels, depth: int) -> Pixels:
    """A contiguous plane for the upscaler: uint8 as it is, deeper ones stretched over all of uint16."""
    if depth == 8 or depth == 16:
        return np.ascontiguousarray(plane)
    # A damaged stream may hold values that its depth does not have.
    return np.asarray(np.take(_full_scale(depth), plane, mode="clip"))


def reduce(plane: Pixels, depth: int) -> Pixels:
    """The inverse of :func:`expand`, rounded to the nearest."""
    return plane if depth == 8 or depth == 16 else np.asarray(np.take(_back_scale(depth), plane))
