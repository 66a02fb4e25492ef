"""What the user asked for: frozen, keyword-only values that check themselves.

Flags become one of these objects once, at the edge; nothing behind the edge sees a flag. Vary one with
:func:`dataclasses.replace`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from xlsr_cli.errors import UsageError

ColorMode = Literal["auto", "rgb", "ycbcr"]
Precision = Literal["auto", "int8", "fp32"]

#: The largest scale that is offered: two passes of the ×4 model.
MAX_SCALE = 16.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def pixels(self) -> int:
        """How many pixels it covers."""
        return self.width * self.height


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size that is asked for, in one of five ways; with none given, ``scale`` 2.

    ``scale`` is a factor above 1 up to 16. ``width``, ``height`` and ``long_edge`` are pixels, the other
    side following the aspect ratio. ``fit`` is the largest size of the same aspect ratio inside a box.
    Raises :class:`UsageError` when more than one is given (``width`` with ``height`` sets both sides) or
    a number is out of range.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    long_edge: int | None = None
    fit: Size | None = None

    def __post_init__(self) -> None:
        sides = self.width is not None or self.height is not None
        ways = [self.scale is not None, sides, self.long_edge is not None, self.fit is not None]
        if sum(ways) > 1:
            raise UsageError(
                "give one of --scale, --width/--height, --long-edge and --fit: they each set the size"
            )
        if self.scale is not None and not (math.isfinite(self.scale) and 1.0 < self.scale <= MAX_SCALE):
            raise UsageError(f"--scale must be above 1 and at most {MAX_SCALE:g}, not {self.scale:g}")
        for name, side in (
            ("--width", self.width),
            ("--height", self.height),
            ("--long-edge", self.long_edge),
            ("--fit", None if self.fit is None else min(self.fit.width, self.fit.height)),
        ):
            if side is not None and side < 1:
                raise UsageError(f"{name} must be at least 1 pixel, not {side}")

    def size_for(self, source: Size) -> Size:
        """The output size for a picture of ``source`` pixels; each side at least one pixel.

        Raises :class:`UsageError` where that would shrink the picture or enlarge it more than 16 times.
        """
        if self.width is not None and self.height is not None:
            target = Size(width=self.width, height=self.height)
        else:
            factor = self._factor(source)
            target = Size(
                width=self.width or max(1, _round_half_up(source.width * factor)),
                height=self.height or max(1, _round_half_up(source.height * factor)),
            )
        if target.width < source.width or target.height < source.height:
            raise UsageError(
                f"the size asked for, {target}, is smaller than the picture ({source}); xlsr only enlarges"
            )
        if target.width > MAX_SCALE * source.width or target.height > MAX_SCALE * source.height:
            raise UsageError(
                f"the size asked for, {target}, is more than {MAX_SCALE:g} times the picture ({source})"
            )
        return target

    def _factor(self, source: Size) -> float:
        if self.width is not None:
            return self.width / source.width
        if self.height is not None:
            return self.height / source.height
        if self.long_edge is not None:
            return self.long_edge / max(source.width, source.height)
        if self.fit is not None:
            return min(self.fit.width / source.width, self.fit.height / source.height)
        return 2.0 if self.scale is None else self.scale

    @property
    def label(self) -> str:
        """What goes into a default file name: ``x2``, ``x2.5``, ``1920w``, ``1080h``, ``fit800x600`` …"""
        if self.fit is not None:
            return f"fit{self.fit}"
        if self.long_edge is not None:
            return f"long{self.long_edge}"
        if self.width is not None and self.height is not None:
            return f"{self.width}x{self.height}"
        if self.width is not None:
            return f"{self.width}w"
        if self.height is not None:
            return f"{self.height}h"
        return f"x{2.0 if self.scale is None else self.scale:g}"


def _round_half_up(value: float) -> int:
    return math.floor(value + 0.5)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How pixels are computed.

    ``model``: a bundled name, or a path to an ONNX file; None chooses by scale, colour and precision.
    ``color``: ``rgb`` gives the network all channels, ``ycbcr`` only Y′, ``auto`` chooses.
    ``precision``: ``int8`` for 8-bit pictures, ``fp32`` for more, ``auto`` chooses by bit depth.
    ``tile``: side of a tile in input pixels; None plans by cores and memory. ``halo``: receptive field
    radius of a model from outside, in input pixels; None runs it on the whole picture.
    ``threads``: None uses every core that the process may use. ``provider``: an onnxruntime execution
    provider, short (``cpu``) or full. ``max_memory``: bytes that the tiles of one model may use, all
    workers together, beside the pictures.

    Raises :class:`UsageError` for what is out of range or unknown.
    """

    model: str | None = None
    color: ColorMode = "auto"
    precision: Precision = "auto"
    tile: int | None = None
    halo: int | None = None
    threads: int | None = None
    provider: str = "cpu"
    max_memory: int | None = None

    def __post_init__(self) -> None:
        _check_choice("--color", self.color, get_args(ColorMode))
        _check_choice("--precision", self.precision, get_args(Precision))
        if self.tile is not None and self.tile < 8:
            raise UsageError(f"--tile must be at least 8 pixels, not {self.tile}")
        if self.halo is not None and self.halo < 0:
            raise UsageError(f"--halo must not be negative, not {self.halo}")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads must be at least 1, not {self.threads}")
        if self.max_memory is not None and self.max_memory < 1 << 20:
            raise UsageError("--max-memory must be at least 1M")


#: Picture formats that can be written.
PictureFormat = Literal["png", "jpeg", "webp", "avif", "tiff", "jp2", "bmp", "pnm"]
PICTURE_FORMATS: tuple[PictureFormat, ...] = (
    "png", "jpeg", "webp", "avif", "tiff", "jp2", "bmp", "pnm",
)  # fmt: skip

#: Pictures above this many input pixels are refused unless ``--max-pixels`` allows them: a small file
#: can claim a huge picture.
DEFAULT_MAX_PIXELS = 250_000_000


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Everything that ``upscale`` and ``batch`` do to one picture.

    ``format``: what to write; None follows the output's name, then the input's format. ``y4m``: input
    and output are a stream of raw frames. ``quality``: 1 to 100 for lossy formats; None is the format's
    default. ``lossless``: for WebP, AVIF and JPEG 2000.
    ``strip``: leave metadata out. ``strict``: what cannot be kept is an error. ``overwrite``: an existing
    output may be replaced. ``max_pixels``: refuse larger inputs before decoding them.
    """

    target: Target = field(default_factory=Target)
    engine: EngineOptions = field(default_factory=EngineOptions)
    format: PictureFormat | None = None
    y4m: bool = False
    quality: int | None = None
    lossless: bool = False
    strip: bool = False
    strict: bool = False
    overwrite: bool = False
    max_pixels: int = DEFAULT_MAX_PIXELS

    def __post_init__(self) -> None:
        if self.format is not None:
            _check_choice("--format", self.format, PICTURE_FORMATS)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality must be between 1 and 100, not {self.quality}")
        if self.quality is not None and self.lossless:
            raise UsageError("--quality and --lossless exclude each other")
        if self.max_pixels < 1:
            raise UsageError(f"--max-pixels must be at least 1, not {self.max_pixels}")


#: Video codecs that can be written.
VideoCodec = Literal["h264", "hevc", "av1", "vp9", "ffv1"]
VIDEO_CODECS: tuple[VideoCodec, ...] = ("h264", "hevc", "av1", "vp9", "ffv1")


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """What is asked of a video beside :class:`PictureOptions`.

    ``codec``: None is the container's default. ``crf``: the quality number of the encoder, smaller is
    better, and ``preset`` its effort, None being the codec's default. ``pix_fmt``: FFmpeg's name of the
    pixel format; None keeps the source's. ``deinterlace``: make whole frames of interlaced material.
    ``start`` and ``end``: seconds from the first frame; ``frames``: how many at most; None is all.
    ``reuse``: do not compute tiles again whose input did not change.
    """

    codec: VideoCodec | None = None
    crf: int | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    deinterlace: bool = False
    start: float | None = None
    end: float | None = None
    frames: int | None = None
    reuse: bool = True

    def __post_init__(self) -> None:
        if self.codec is not None:
            _check_choice("--codec", self.codec, VIDEO_CODECS)
        if self.crf is not None and self.crf < 0:
            raise UsageError(f"--crf must not be negative, not {self.crf}")
        for name, seconds in (("--start", self.start), ("--end", self.end)):
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} must be a number of seconds from 0, not {seconds:g}")
        if self.end is not None and self.end <= (self.start or 0.0):
            raise UsageError("--end must lie behind --start")
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"--frames must be at least 1, not {self.frames}")
