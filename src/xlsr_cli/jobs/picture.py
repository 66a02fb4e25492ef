"""Upscale one picture file: what ``upscale``, ``batch``, the cluster and the Python API all call."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.cgroup import memory_limit
from xlsr_cli.engine.estimate import Plan
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.jobs.memory import PROCESS_MEMORY, check_memory, refuse_beyond
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.image import (
    Header,
    Picture,
    check_limits,
    decode,
    encode,
    encode_into,
    extension_for,
    format_for,
    probe,
    writable_format,
)
from xlsr_cli.media.picture.metadata import STRIPPED, Metadata
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureFormat, PictureOptions, Size
from xlsr_cli.progress import QUIET, Progress

#: What encoders take beside the picture, in bytes for each of the picture's, measured with photographs.
#: OpenCV holds the encoded bytes twice. libwebp keeps tokens, more where there is more detail (2.4 to 5 for
#: photographs), and OpenCV has no option that forbids it.
_ENCODER_MEMORY: dict[PictureFormat, float] = {
    "png": 0.1, "jpeg": 0.4, "webp": 4.5, "avif": 6.5, "tiff": 0.1, "jp2": 7.0, "bmp": 2.05, "pnm": 2.05,
}  # fmt: skip
_LOSSLESS_WEBP_MEMORY = 12.0
#: What an encoded picture takes that goes to a stream and is whole in memory, in the same measure.
_STREAMED_MEMORY = 0.6
#: Side of the picture with which codecs are timed.
_MADE_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class PictureResult:
    """What became of one picture.

    ``seconds`` by stage: ``decode``, ``inference``, ``encode``. ``bytes_in`` and ``bytes_out`` are the
    sizes of the files.
    """

    source: str
    output: str
    source_size: Size
    size: Size
    format: PictureFormat
    models: tuple[str, ...]
    seconds: dict[str, float]
    notices: tuple[Notice, ...] = field(default=())
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, kw_only=True)
class PicturePlan:
    """What would become of a picture, from its header alone.

    ``steps`` are those of the engine. ``seconds`` and ``peak_memory`` (bytes) are estimates for the whole:
    reading, enlarging, encoding, and the process itself.
    """

    header: Header
    format: PictureFormat
    steps: Plan
    seconds: float
    peak_memory: int


def read_source(path: Path) -> bytes:
    """The bytes of an input file. Raises :class:`InputError` when it cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: the system does not accept this name") from error
    if not data:
        raise InputError(f"{path} is empty")
    return data


def read_head(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of an input file. Raises :class:`InputError` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; 'xlsr batch {path}' enlarges what it holds") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def output_format(options: PictureOptions, output: Path | None, header: Header) -> PictureFormat:
    """The format to write: ``--format``, else what the output's name says, else the input's own.

    Raises :class:`OutputError` for a name that asks for a format which cannot be written.
    """
    if options.format is not None:
        return options.format
    if output is not None and output.suffix:
        named = format_for(output.name)
        if named is None:
            raise OutputError(
                f"{output}: pictures cannot be written as '{output.suffix}'; "
                "use .png, .jpg, .webp, .avif, .tif, .jp2, .bmp or .ppm, or give --format"
            )
        return named
    return writable_format(header.format)


def default_output(source: Path, options: PictureOptions, header: Header) -> Path:
    """``<stem>_x2.<ext>`` beside ``source``; the extension follows the format that will be written."""
    format = output_format(options, None, header)
    same = format_for(source.name) == format
    suffix = source.suffix if same else extension_for(format)
    return source.with_name(f"{source.stem}_{options.target.label}{suffix}")


def plan_picture(
    data: bytes, name: str, output: Path | None, options: PictureOptions, *, upscaler: Upscaler
) -> PicturePlan:
    """Everything that can be said and refused before decoding; see :class:`PicturePlan`.

    Raises :class:`InputError` for a damaged header or too many pixels, :class:`OutputError` when the
    format cannot hold the result, :class:`UsageError` for an impossible size.
    """
    header = probe(data, name)
    _check_pixels(header.size, name, options.max_pixels)
    format = output_format(options, output, header)
    target = options.target.size_for(header.size)
    check_limits(format, target)
    _quality_notices(format, options)
    steps = upscaler.plan(header.size, channels=header.channels, depth=header.depth, size=target)
    result = target.pixels * header.channels * (2 if header.depth > 8 else 1)
    lossless = options.lossless or (header.lossless and header.format == format and options.quality is None)
    encoder = _LOSSLESS_WEBP_MEMORY if lossless and format == "webp" else _ENCODER_MEMORY[format]
    encoding = steps.kept_memory + int(encoder * result)
    if output is None:
        encoding += len(data) + int(_STREAMED_MEMORY * result)
    needed = PROCESS_MEMORY + max(len(data) + steps.peak_memory, encoding)
    refuse_beyond(memory_limit(), needed, name)
    return PicturePlan(
        header=header,
        format=format,
        steps=steps,
        seconds=steps.seconds + _codec_seconds(header, target, format, options.quality, lossless),
        peak_memory=needed,
    )


def _quality_notices(format: PictureFormat, options: PictureOptions) -> list[Notice]:
    """What of --quality and --lossless ``format`` cannot heed.

    Raises :class:`UsageError` where the result would be lossy although asked not to be.
    """
    if options.lossless and format == "jpeg":
        raise UsageError("JPEG is never lossless; write .png, or .webp or .avif with --lossless")
    if options.quality is None or format not in ("png", "tiff", "bmp", "pnm"):
        return []
    message = f"{format.upper()} is always lossless, and --quality changes nothing"
    return [Notice(code="quality-ignored", message=message, loss=False)]


def _codec_seconds(
    header: Header, target: Size, format: PictureFormat, quality: int | None, lossless: bool
) -> float:
    """How long decoding and encoding will take, from a small made picture that is encoded and decoded."""
    pixels = _made_pixels(header.channels, deep=header.depth > 8)
    picture = Picture(pixels=pixels, metadata=Metadata(), format=header.format)
    started = time.perf_counter()
    encode(picture, format, quality=quality, lossless=lossless)
    encoded = time.perf_counter()
    data, _ = encode(picture, writable_format(header.format))
    began = time.perf_counter()
    decode(data, "a made picture", max_pixels=pixels.size)
    decoded = time.perf_counter()
    seconds = (encoded - started) * target.pixels + (decoded - began) * header.size.pixels
    return seconds / picture.size.pixels


def _made_pixels(channels: int, *, deep: bool) -> NDArray[Any]:
    """Smooth waves under a little noise: about as hard to encode as a photograph."""
    rows, columns, planes = np.ogrid[0:_MADE_SIDE, 0:_MADE_SIDE, 0:channels]
    waves = 110 + 60 * np.sin(rows / 23) + 50 * np.cos(columns / 31 + planes)
    noise = np.random.default_rng(0).normal(0, 2.5, (_MADE_SIDE, _MADE_SIDE, channels))
    scaled = (waves + noise) * (257 if deep else 1)
    pixels = scaled.astype(np.uint16 if deep else np.uint8)
    return np.asarray(pixels[..., 0] if channels == 1 else pixels)


@dataclass(kw_only=True)
class _Work:
    """One picture on its way, notices and seconds so far; ``picture`` is None once it is encoded.

    Nothing else refers to the picture, nor this to the bytes that it came from: what a step is done with must
    not take memory in the next one.
    """

    picture: Picture | None
    name: str
    output: Path | None
    format: PictureFormat
    source_size: Size
    target: Size
    models: tuple[str, ...] = ()
    notices: list[Notice]
    seconds: dict[str, float]
    bytes_in: int


def upscale_bytes(
    data: bytes,
    name: str,
    output: Path | None,
    options: PictureOptions,
    *,
    upscaler: Upscaler,
    progress: Progress = QUIET,
) -> tuple[bytes, PictureResult]:
    """The encoded picture of ``data`` enlarged; ``name`` and ``output`` are for messages and the format.

    Raises what :func:`plan_picture` raises, and :class:`NotKeptError` under ``--strict``.
    """
    work = _decoded(data, name, output, options, upscaler)
    _enlarge(work, upscaler, progress)
    file = io.BytesIO()
    result = _encode(work, file, options, upscaler.threads)
    return file.getvalue(), result


def upscale_file(
    source: Path,
    output: Path,
    options: PictureOptions,
    *,
    upscaler: Upscaler,
    progress: Progress = QUIET,
) -> PictureResult:
    """Read ``source``, enlarge it, and write ``output`` whole or not at all.

    Raises an :class:`~xlsr_cli.errors.XlsrError` whose class says what failed; ``output`` is then as it
    was before.
    """
    refuse_same_file(source, output)
    check_output(output, overwrite=options.overwrite)
    work = _decoded(read_source(source), str(source), output, options, upscaler)
    _enlarge(work, upscaler, progress)
    return _write(work, output, options, upscaler.threads)


def upscale_to_file(
    data: bytes,
    name: str,
    output: Path,
    options: PictureOptions,
    *,
    upscaler: Upscaler,
    progress: Progress = QUIET,
) -> PictureResult:
    """The same for a picture whose bytes are known; ``name`` is for messages."""
    work = _decoded(data, name, output, options, upscaler)
    _enlarge(work, upscaler, progress)
    return _write(work, output, options, upscaler.threads)


def _decoded(
    data: bytes, name: str, output: Path | None, options: PictureOptions, upscaler: Upscaler
) -> _Work:
    """Everything that can be refused before the network runs has been refused then."""
    header = probe(data, name)
    _check_pixels(header.size, name, options.max_pixels)
    format = output_format(options, output, header)
    target = options.target.size_for(header.size)
    check_limits(format, target)
    check_memory(
        name,
        header.size,
        target,
        channels=header.channels,
        depth=header.depth,
        held=len(data),
        upscaler=upscaler,
    )
    ignored = _quality_notices(format, options)
    started = time.perf_counter()
    picture, notices = decode(data, name, max_pixels=options.max_pixels)
    if options.strip:
        notices = [notice for notice in notices if notice.code not in STRIPPED]
    enforce(notices, strict=options.strict, name=name)
    return _Work(
        picture=picture,
        name=name,
        output=output,
        format=format,
        source_size=picture.size,
        target=options.target.size_for(picture.size),
        notices=[*notices, *ignored],
        seconds={"decode": time.perf_counter() - started},
        bytes_in=len(data),
    )


def _enlarge(work: _Work, upscaler: Upscaler, progress: Progress) -> None:
    """Put the enlarged picture into the place of the one that was read."""
    picture = work.picture
    assert picture is not None
    started = time.perf_counter()
    work.models = upscaler.model_names(
        work.source_size, channels=_channels(picture), depth=picture.depth, size=work.target
    )
    work.picture = replace(picture, pixels=upscaler(picture.pixels, size=work.target, progress=progress))
    work.seconds["inference"] = time.perf_counter() - started


def _write(work: _Work, output: Path, options: PictureOptions, threads: int) -> PictureResult:
    """Encode straight into the file that takes the output's place, or, for a pipe, into memory before."""
    with atomic_output(output, overwrite=options.overwrite) as file:
        if file.readable():
            return _encode(work, file, options, threads)
        whole = io.BytesIO()
        result = _encode(work, whole, options, threads)
        file.write(whole.getbuffer())
        return result


def _encode(work: _Work, file: BinaryIO, options: PictureOptions, threads: int) -> PictureResult:
    """Encode into ``file`` (empty, seekable, readable), look whether it is right, and sum up."""
    picture = work.picture
    assert picture is not None
    started = time.perf_counter()
    work.notices += encode_into(
        file,
        picture,
        work.format,
        quality=options.quality,
        lossless=options.lossless,
        strip=options.strip,
        threads=threads,
    )
    work.picture = picture = None
    enforce(work.notices, strict=options.strict, name=work.name)
    file.seek(0)
    encoded = file.read()
    _verify(encoded, work.name, work.target)
    work.seconds["encode"] = time.perf_counter() - started
    return PictureResult(
        source=work.name,
        output="-" if work.output is None else str(work.output),
        source_size=work.source_size,
        size=work.target,
        format=work.format,
        models=work.models,
        seconds=work.seconds,
        notices=tuple(work.notices),
        bytes_in=work.bytes_in,
        bytes_out=len(encoded),
    )


def refuse_same_file(source: Path, output: Path) -> None:
    """Raise :class:`OutputError` for an output that is the input itself, by whatever name."""
    try:
        same = output.exists() and source.samefile(output)
    except (OSError, ValueError):
        same = False
    if same:
        raise OutputError(f"{output} is the input itself; give another name")


def _check_pixels(size: Size, name: str, most: int) -> None:
    if size.pixels > most:
        raise InputError(
            f"{name} claims {size} pixels and --max-pixels allows {most}; raise it if you trust the file"
        )


def _channels(picture: Picture) -> int:
    return 1 if picture.pixels.ndim == 2 else int(picture.pixels.shape[2])


def _verify(encoded: bytes, name: str, size: Size) -> None:
    """What was encoded must say of itself that it is a picture of ``size``."""
    header = probe(encoded, f"the result of {name}")
    if header.size != size:
        raise OutputError(
            f"the encoder made a picture of {header.size} from {name} instead of {size}; nothing is written"
        )
