"""The options of the command line that several commands share, each declared once.

A command takes a parameter ``options: PictureOptions`` (or ``video: VideoOptions``) and is decorated with
:func:`picture_flags` (:func:`video_flags`); the decorator puts the flags into its signature in that
place and hands over the object made of them. :func:`common_flags` adds --quiet, --verbose and --debug.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.errors import UsageError
from xlsr_cli.options import (
    DEFAULT_MAX_PIXELS,
    PICTURE_FORMATS,
    VIDEO_CODECS,
    EngineOptions,
    PictureOptions,
    Size,
    Target,
    VideoOptions,
)

Command = Callable[..., Any]

#: Raw frames: a choice of --format that is no picture's.
Y4M = "y4m"

_SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int:
    """``500M`` → bytes; the suffixes K, M, G and T are powers of 1024."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size such as 500M or 2G")
    return int(float(match[1]) * _SUFFIXES[match[2].upper()])


def parse_pixels(text: str) -> int:
    """``100M`` or ``100000000`` → pixels; the suffixes k, M and G are powers of 1000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a number of pixels such as 100M")
    return int(float(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[match[2].upper()])


def parse_size(text: str) -> Size:
    """``1920x1080`` → a size in pixels."""
    match = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size such as 1920x1080")
    return Size(width=int(match[1]), height=int(match[2]))


def parse_seconds(text: str) -> float:
    """``90``, ``1:30`` or ``0:01:30.5`` → seconds."""
    try:
        seconds = 0.0
        for part in text.split(":"):
            seconds = seconds * 60 + float(part)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a time such as 90 or 1:30") from error
    return seconds


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that accepts ``choices`` alone, and says them when it refuses."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(choices)}")
        return text.lower()

    parse.__name__ = "|".join(choices)
    return parse


def _option(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **settings)


def _choice(name: str, choices: tuple[str, ...], help: str) -> Any:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete.lower())]

    listed = "|".join(choices)
    return _option(name, help=help, parser=one_of(*choices), metavar=listed, autocompletion=complete)


def _complete_model(incomplete: str) -> list[str]:
    """Names of bundled models; where there are none, the shell offers files."""
    from xlsr_cli.engine.models import bundled_models

    return [spec.name for spec in bundled_models() if spec.name.startswith(incomplete)]


def _make_picture_options(
    scale: Annotated[
        float | None, _option("--scale", "-s", help="Factor, above 1 up to 16; 2 when no size is given.")
    ] = None,
    width: Annotated[int | None, _option("--width", help="Width in pixels.")] = None,
    height: Annotated[int | None, _option("--height", help="Height in pixels.")] = None,
    long_edge: Annotated[int | None, _option("--long-edge", help="Longer side in pixels.")] = None,
    fit: Annotated[
        Size | None,
        _option(
            "--fit", help="Largest size inside a box, such as 1920x1080.", parser=parse_size, metavar="WxH"
        ),
    ] = None,
    model: Annotated[
        str | None,
        _option(
            "--model",
            help="A bundled model's name ('xlsr models list') or an ONNX file.",
            metavar="NAME|FILE",
            autocompletion=_complete_model,
        ),
    ] = None,
    halo: Annotated[
        int | None,
        _option("--halo", help="Receptive-field radius of an ONNX file, in pixels; without it, no tiles."),
    ] = None,
    color: Annotated[
        str, _choice("--color", ("auto", "rgb", "ycbcr"), "What the network sees: all channels, or Y′ alone.")
    ] = "auto",
    precision: Annotated[
        str,
        _choice("--precision", ("auto", "int8", "fp32"), "Arithmetic; auto is int8 for 8 bits, else fp32."),
    ] = "auto",
    tile: Annotated[int | None, _option("--tile", help="Side of a tile in input pixels.")] = None,
    threads: Annotated[int | None, _option("--threads", help="Threads; all usable cores by default.")] = None,
    provider: Annotated[
        str, _option("--provider", help="onnxruntime's execution provider: cpu, cuda …")
    ] = "cpu",
    max_memory: Annotated[
        int | None,
        _option(
            "--max-memory",
            help="Memory for tiles, in a batch for all of it, such as 500M.",
            parser=parse_bytes,
            metavar="BYTES",
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        _option(
            "--max-pixels",
            help=f"Refuse larger inputs; {DEFAULT_MAX_PIXELS // 1_000_000}M by default.",
            parser=parse_pixels,
            metavar="PIXELS",
        ),
    ] = None,
    format: Annotated[
        str | None,
        _choice(
            "--format",
            (*PICTURE_FORMATS, Y4M),
            "Format to write; by default the name decides. y4m: raw frames through pipes.",
        ),
    ] = None,
    quality: Annotated[int | None, _option("--quality", help="1 to 100, for lossy formats.")] = None,
    lossless: Annotated[bool, _option("--lossless", help="Lossless WebP, AVIF or JPEG 2000.")] = False,
    overwrite: Annotated[bool, _option("--overwrite", help="Replace an existing output.")] = False,
    strip: Annotated[bool, _option("--strip", help="Leave out metadata; colours stay as they are.")] = False,
    strict: Annotated[
        bool, _option("--strict", help="Fail (exit 8) when anything of the input cannot be kept.")
    ] = False,
) -> PictureOptions:
    return PictureOptions(
        target=Target(scale=scale, width=width, height=height, long_edge=long_edge, fit=fit),
        engine=EngineOptions(
            model=model,
            color=color,  # type: ignore[arg-type]  # the parser allows nothing else
            precision=precision,  # type: ignore[arg-type]
            tile=tile,
            halo=halo,
            threads=threads,
            provider=provider,
            max_memory=max_memory,
        ),
        format=None if format == Y4M else format,  # type: ignore[arg-type]
        y4m=format == Y4M,
        quality=quality,
        lossless=lossless,
        strip=strip,
        strict=strict,
        overwrite=overwrite,
        max_pixels=DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels,
    )


def _make_video_options(
    codec: Annotated[str | None, _choice("--codec", VIDEO_CODECS, "Video codec.")] = None,
    crf: Annotated[
        int | None, _option("--crf", help="The encoder's quality number; smaller is better.")
    ] = None,
    preset: Annotated[str | None, _option("--preset", help="The encoder's effort, such as veryfast.")] = None,
    pix_fmt: Annotated[str | None, _option("--pix-fmt", help="Pixel format, such as yuv420p10le.")] = None,
    deinterlace: Annotated[
        bool, _option("--deinterlace", help="Make whole frames of interlaced video.")
    ] = False,
    start: Annotated[
        float | None,
        _option("--start", help="Begin there: seconds or h:mm:ss.", parser=parse_seconds, metavar="TIME"),
    ] = None,
    end: Annotated[
        float | None,
        _option("--end", help="End there: seconds or h:mm:ss.", parser=parse_seconds, metavar="TIME"),
    ] = None,
    frames: Annotated[int | None, _option("--frames", help="At most so many frames.")] = None,
    no_reuse: Annotated[
        bool, _option("--no-reuse", help="Compute tiles again that did not change since the last frame.")
    ] = False,
) -> VideoOptions:
    return VideoOptions(
        codec=codec,  # type: ignore[arg-type]
        crf=crf,
        preset=preset,
        pix_fmt=pix_fmt,
        deinterlace=deinterlace,
        start=start,
        end=end,
        frames=frames,
        reuse=not no_reuse,
    )


def _set_console(
    quiet: Annotated[bool, _option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, _option("--verbose", "-v", help="Say more.")] = False,
    debug: Annotated[bool, _option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other")
    console.quiet, console.verbose = quiet, verbose or debug


def _injecting(make: Callable[..., Any], parameter: str | None) -> Callable[[Command], Command]:
    """A decorator that replaces ``parameter`` (None: adds nothing) by the flags that ``make`` takes."""
    hints = get_type_hints(make, include_extras=True)
    flags = [
        flag.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, flag in inspect.signature(make).parameters.items()
    ]
    names = [flag.name for flag in flags]

    def decorate(command: Command) -> Command:
        own = get_type_hints(command, include_extras=True)

        @functools.wraps(command)
        def wrapper(**arguments: Any) -> Any:
            made = make(**{name: arguments.pop(name) for name in names})
            if parameter is not None:
                arguments[parameter] = made
            return command(**arguments)

        kept = [
            entry.replace(annotation=own.get(name, entry.annotation), kind=inspect.Parameter.KEYWORD_ONLY)
            for name, entry in inspect.signature(command).parameters.items()
            if name != parameter
        ]
        combined = [*kept, *flags]
        wrapper.__signature__ = inspect.Signature(combined)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {entry.name: entry.annotation for entry in combined}
        return wrapper

    return decorate


picture_flags = _injecting(_make_picture_options, "options")
video_flags = _injecting(_make_video_options, "video")
common_flags = _injecting(_set_console, None)
