"""What the user asked for: frozen, keyword-only values that check themselves.

Flags become one of these objects once, at the edge; nothing behind the edge sees a flag. Vary one with
:func:`dataclasses.replace`. Each option is declared here and nowhere else: :mod:`xlsr_cli.declaration`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from xlsr_cli.declaration import check_values, option
from xlsr_cli.errors import UsageError
from xlsr_cli.formats import PICTURE_FORMATS, PictureFormat, either, still_capabilities

ColorMode = Literal["auto", "rgb", "ycbcr"]
Precision = Literal["auto", "int8", "fp32"]
RestoreMode = Literal["auto", "off", "light", "strong", "drawing"]

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


#: A size, or (width, height).
AnySize = Size | tuple[int, int]


def as_size(value: AnySize, name: str = "size") -> Size:
    """``value`` as a size, also where it is (width, height).

    Raises :class:`UsageError` for anything else; ``name`` is what the sentence calls it.
    """
    sides: Any = (value.width, value.height) if isinstance(value, Size) else value
    if not (isinstance(sides, tuple) and len(sides) == 2 and all(map(_is_whole, sides))):
        raise UsageError(f"{name} must be Size(width=…, height=…) or (width, height), not {value!r}")
    return Size(width=int(sides[0]), height=int(sides[1]))


def _is_whole(side: object) -> bool:
    return hasattr(side, "__index__") and not isinstance(side, bool)


def parse_size(text: str) -> Size:
    """``1920x1080`` → a size in pixels. Raises :class:`ValueError`, as all of these parsers do."""
    match = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 1920x1080")
    return Size(width=int(match[1]), height=int(match[2]))


def parse_bytes(text: str) -> int:
    """``500M`` → bytes; the suffixes K, M, G and T are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 500M or 2G")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def parse_pixels(text: str) -> int:
    """``100M`` or ``100000000`` → pixels; the suffixes k, M and G are powers of 1000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a number of pixels such as 100M")
    return int(float(match[1]) * 1000 ** " KMG".index(match[2].upper() or " "))


def parse_seconds(text: str) -> float:
    """``90``, ``1:30`` or ``0:01:30.5`` → seconds."""
    try:
        seconds = 0.0
        for part in text.split(":"):
            seconds = seconds * 60 + float(part)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time such as 90 or 1:30") from error
    return seconds


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size that is asked for, in one of five ways; with none given, ``scale`` 2.

    ``scale`` is a factor above 1 up to 16. ``width``, ``height`` and ``long_edge`` are pixels, the other
    side following the aspect ratio. ``fit`` is the largest size of the same aspect ratio inside a box.
    Raises :class:`UsageError` when more than one is given (``width`` with ``height`` sets both sides) or
    a number is out of range.
    """

    scale: float | None = option(None, "Factor: above 1, at most 16.", "size", short="-s", shown="2")
    width: int | None = option(None, "Width in pixels.", "size", at_least=1, unit=" pixel")
    height: int | None = option(None, "Height in pixels.", "size", at_least=1, unit=" pixel")
    long_edge: int | None = option(None, "Longer side in pixels.", "size", at_least=1, unit=" pixel")
    fit: Size | None = option(
        None,
        "The largest size that fits into a box, such as 1920x1080.",
        "size",
        value="WxH",
        parse=parse_size,
    )

    def __post_init__(self) -> None:
        check_values(self)
        sides = self.width is not None or self.height is not None
        ways = [self.scale is not None, sides, self.long_edge is not None, self.fit is not None]
        if sum(ways) > 1:
            raise UsageError(
                "give one of --scale, --width/--height, --long-edge and --fit: they each set the size"
            )
        if self.scale is not None and not (math.isfinite(self.scale) and 1.0 < self.scale <= MAX_SCALE):
            raise UsageError(f"--scale must be above 1 and at most {MAX_SCALE:g}, not {self.scale:g}")
        if self.fit is not None and min(self.fit.width, self.fit.height) < 1:
            raise UsageError(f"--fit must be at least 1 pixel, not {min(self.fit.width, self.fit.height)}")

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


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How pixels are computed.

    ``model``: a bundled name, or a path to an ONNX file; None chooses by scale, colour and precision.
    ``color``: ``rgb`` gives the network all channels, ``ycbcr`` only Y′, ``auto`` chooses.
    ``precision``: ``int8`` for 8-bit pictures, ``fp32`` for more, ``auto`` chooses by bit depth.
    ``restore``: how strongly the source was compressed, or that it is drawn, which chooses among networks
    that were trained for it; ``auto`` looks at the source. A named model comes first.
    ``tile``: side of a tile in input pixels; None plans by cores and memory. ``halo``: receptive field
    radius of a foreign model, in input pixels; None runs it on the whole picture.
    ``threads``: None uses every core that the process may use. ``provider``: ``auto`` takes the fastest
    runtime that gives the same bytes; else an execution provider of onnxruntime or a plug-in of ours, short
    (``cpu``, ``openvino``) or full. ``max_memory``: bytes that the tiles of one model may use, all workers
    together, beside the pictures.

    Raises :class:`UsageError` for what is out of range or unknown.
    """

    model: str | None = option(
        None, "A name from 'xlsr models list', or an ONNX file.", "network", shown="by scale and colour",
        value="NAME|FILE", completes="models",
    )  # fmt: skip
    halo: int | None = option(
        None, "Receptive field's radius of an ONNX file; without it, no tiles.", "network", at_least=0
    )
    color: ColorMode = option("auto", "What the network enlarges: all channels, or Y′ alone.", "network")
    precision: Precision = option("auto", "Arithmetic; auto is int8 for 8 bits, else fp32.", "network")
    restore: RestoreMode = option(
        "auto", "How strongly the source is compressed; auto measures it.", "network"
    )
    tile: int | None = option(
        None, "Side of a tile in input pixels.", "machine", shown="by cores and memory",
        at_least=8, unit=" pixels",
    )  # fmt: skip
    threads: int | None = option(None, "Number of threads.", "machine", shown="all usable cores", at_least=1)
    provider: str = option(
        "auto", "Runtime: cpu, openvino, cuda …; auto takes the fastest that gives the same bytes.", "machine"
    )
    max_memory: int | None = option(
        None, "Memory for tiles, or for a whole batch, such as 500M.", "machine",
        value="BYTES", parse=parse_bytes,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_values(self)
        if self.max_memory is not None and self.max_memory < 1 << 20:
            raise UsageError("--max-memory must be at least 1M")


#: The choice of --format that is no picture's: raw frames.
Y4M = "y4m"

#: Formats that are lossless on demand, in words.
_LOSSLESS_FORMATS = either(
    capabilities.shown for capabilities in still_capabilities() if capabilities.lossless == "optional"
)

#: Pictures above this many input pixels are refused unless ``--max-pixels`` allows them: a small file
#: can claim a huge picture.
DEFAULT_MAX_PIXELS = 250_000_000


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Everything that ``upscale`` and ``batch`` do to one picture.

    ``format``: what to write; None follows the output's name, then the input's format. On a command line it
    may also be ``y4m``, see :attr:`y4m`. ``quality``: 1 to 100 for lossy formats; None is the format's
    default. ``lossless``: for formats where it is optional.
    ``strip``: leave metadata out. ``strict``: what cannot be kept is an error. ``overwrite``: an existing
    output may be replaced. ``max_pixels``: refuse larger inputs before decoding them.
    """

    target: Target = field(default_factory=Target)
    engine: EngineOptions = field(default_factory=EngineOptions)
    format: PictureFormat | None = option(
        None, "Format of the output. y4m: raw frames, for pipes.", "files",
        shown="by the output's name", choices=(*PICTURE_FORMATS, Y4M),
    )  # fmt: skip
    overwrite: bool = option(False, "Replace an existing output.", "files")
    quality: int | None = option(None, "1 to 100, for lossy formats.", "quality", shown="by format")
    lossless: bool = option(False, f"Lossless {_LOSSLESS_FORMATS}.", "quality")
    strip: bool = option(False, "Write no metadata; colours stay as they are.", "quality")
    strict: bool = option(False, "Fail with exit code 8 if anything of the input cannot be kept.", "quality")
    max_pixels: int = option(
        DEFAULT_MAX_PIXELS, "Refuse inputs of more pixels.", "machine",
        shown=f"{DEFAULT_MAX_PIXELS // 1_000_000}M", value="PIXELS", parse=parse_pixels,
        at_least=1,
    )  # fmt: skip

    @property
    def y4m(self) -> bool:
        """Whether input and output are a stream of raw frames."""
        return str(self.format) == Y4M

    def __post_init__(self) -> None:
        check_values(self)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality must be between 1 and 100, not {self.quality}")
        if self.quality is not None and self.lossless:
            raise UsageError("--quality and --lossless exclude each other")


#: Video codecs that can be written.
VideoCodec = Literal["h264", "hevc", "av1", "vp9", "ffv1"]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """What is asked of a video beside :class:`PictureOptions`.

    ``codec``: None is the container's default. ``crf``: the quality number of the encoder, smaller is
    better, and ``preset`` its effort, None being the codec's default. ``pix_fmt``: FFmpeg's name of the
    pixel format; None keeps the source's. ``deinterlace``: make whole frames of interlaced material.
    ``start`` and ``end``: seconds from the first frame; ``frames``: how many at most; None is all.
    ``copy_only``: no sound or text is coded again because the output's container does not hold it.
    ``reuse``: do not compute tiles again whose input did not change.
    """

    codec: VideoCodec | None = option(None, "Video codec.", "film", shown="by the container")
    crf: int | None = option(
        None, "The encoder's quality number; smaller is better.", "film", shown="by codec", at_least=0
    )
    preset: str | None = option(None, "The encoder's effort, such as veryfast.", "film", shown="by codec")
    pix_fmt: str | None = option(
        None, "Pixel format, such as yuv420p10le.", "film", shown="the source's or the nearest"
    )
    deinterlace: bool = option(False, "Turn interlaced fields into whole frames.", "film")
    start: float | None = option(
        None, "Where to begin: seconds or h:mm:ss.", "film", value="TIME", parse=parse_seconds
    )
    end: float | None = option(
        None, "Where to end: seconds or h:mm:ss.", "film", value="TIME", parse=parse_seconds
    )
    frames: int | None = option(None, "Stop after this many frames.", "film", shown="all", at_least=1)
    copy_only: bool = option(
        False, "Leave out streams that the container does not hold, instead of converting them.", "film"
    )
    reuse: bool = option(True, "Compute every tile, even if it did not change since the last frame.", "film")

    def __post_init__(self) -> None:
        check_values(self)
        for name, seconds in (("--start", self.start), ("--end", self.end)):
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} must be a number of seconds from 0, not {seconds:g}")
        if self.end is not None and self.end <= (self.start or 0.0):
            raise UsageError("--end must be later than --start")


def refuse_options(names: Iterable[str], why: str, *given: PictureOptions | VideoOptions) -> None:
    """Raise :class:`UsageError` where one of the options ``names`` is given.

    ``why``: the rest of the sentence that begins with its flag.
    """
    for name in names:
        for options in given:
            if getattr(options, name, None) not in (None, False):
                raise UsageError(f"--{name.replace('_', '-')} {why}")
