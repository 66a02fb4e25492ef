"""Upscale one picture file: what ``upscale``, ``batch``, the cluster and the Python API all call."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from xlsr_cli.engine.restore import Compression
from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.formats import (
    FALLBACK,
    HEAD_BYTES,
    PictureFormat,
    either,
    extension_for,
    format_for,
    still_capabilities,
    still_of,
    writable_format,
)
from xlsr_cli.jobs.inputs import reading
from xlsr_cli.jobs.memory import check_memory
from xlsr_cli.jobs.restore import for_picture
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.metadata import STRIPPED
from xlsr_cli.media.picture.source import Source
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode_into
from xlsr_cli.media.picture.steps.limits import check_limits, check_pixels
from xlsr_cli.media.picture.steps.opening import known_format, open_picture, read_all
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import DEFAULT_MAX_PIXELS, PictureOptions, Size


@dataclass(frozen=True, kw_only=True)
class PictureResult:
    """The result for one picture.

    ``seconds`` by stage: ``decode``, ``inference``, ``encode``. ``bytes_in`` and ``bytes_out`` are the
    sizes of the files. ``compression``: how strongly the source was compressed, by which the
    networks were chosen; None if the options chose them.
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
    compression: Compression | None = None


def read_source(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """The bytes of a picture file, of which no more than the head is read where it is none.

    Raises :class:`InputError` when it cannot be read, is empty, no picture, or larger than one of
    ``max_pixels`` can be.
    """
    with reading(path) as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise InputError(f"{path} is empty")
        known_format(head, str(path))
        file.seek(0)
        return read_all(file, str(path), max_pixels)


def open_file(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Source:
    """The picture file ``path``, read once. Raises :class:`InputError` when that fails."""
    return open_picture(read_source(path, max_pixels=max_pixels), str(path))


def output_format(options: PictureOptions, output: Path | None, source: Source) -> PictureFormat:
    """The format to write: ``--format``, else what the output's name says, else the input's own.

    Raises :class:`OutputError` for a name that asks for a format which cannot be written.
    """
    if options.format is not None:
        return options.format
    if output is not None and output.suffix:
        named = format_for(output.name)
        if named is None:
            known = either(f".{capabilities.extensions[0]}" for capabilities in still_capabilities())
            raise OutputError(
                f"{output}: pictures cannot be written as '{output.suffix}'; use {known}, or give --format"
            )
        return named
    return writable_format(source.format)


def default_output(path: Path, options: PictureOptions, source: Source, folder: Path | None = None) -> Path:
    """``<stem>_x2.<ext>`` beside ``path``, or ``<stem>.<ext>`` in ``folder``.

    The extension follows the format that will be written.
    """
    format = output_format(options, None, source)
    same = format_for(path.name) == format
    suffix = path.suffix if same else extension_for(format)
    if folder is not None:
        return folder / f"{path.stem}{suffix}"
    return path.with_name(f"{path.stem}_{options.target.label}{suffix}")


def check_target(path: Path, output: Path, options: PictureOptions) -> None:
    """Raise :class:`OutputError` when ``output`` cannot be written, or is the input ``path`` itself."""
    refuse_same_file(path, output)
    check_output(output, overwrite=options.overwrite)


def target_of(
    source: Source, output: Path | None, options: PictureOptions
) -> tuple[PictureFormat, Size, list[Notice]]:
    """Format and size of the result, and a notice if the format ignores --quality.

    Everything that can be refused before the picture is decoded is refused here: raises
    :class:`InputError` for too many pixels, :class:`OutputError` when the format cannot hold the result,
    :class:`UsageError` for an impossible size, or where the result would be lossy although asked not to be.
    """
    check_pixels(source.size, source.name, options.max_pixels)
    format = output_format(options, output, source)
    target = options.target.size_for(source.size)
    check_limits(format, target)
    capabilities = still_of(format)
    if options.lossless and capabilities.lossless == "never":
        raise UsageError(f"{capabilities.shown} is never lossless; {_lossless_formats()}")
    if options.quality is None or capabilities.lossless != "always":
        return format, target, []
    message = f"{capabilities.shown} is always lossless, and --quality changes nothing"
    return format, target, [Notice(code="quality-ignored", message=message, loss=False)]


def _lossless_formats() -> str:
    """What to write for a lossless result."""
    optional = either(
        f".{capabilities.extensions[0]}"
        for capabilities in still_capabilities()
        if capabilities.lossless == "optional"
    )
    return f"write {extension_for(FALLBACK.name)}, or {optional} with --lossless"


def upscale_file(path: Path, output: Path | None, task: Task) -> PictureResult:
    """Read the picture file ``path``, enlarge it, and write ``output``, by default beside it.

    Raises what :func:`upscale_picture` raises, and :class:`InputError` when ``path`` cannot be read.
    """
    if output is not None:
        check_target(path, output, task.options)
    source = open_file(path, max_pixels=task.options.max_pixels)
    if output is None:
        output = default_output(path, task.options, source)
        check_target(path, output, task.options)
    return upscale_picture(source, output, task)


def upscale_picture(
    source: Source, output: Path | None, task: Task, *, file: BinaryIO | None = None
) -> PictureResult:
    """Decode ``source``, enlarge it, encode it, and write ``output`` completely or not at all.

    ``file`` (empty, seekable, readable) gets the result instead of ``output``, whose name still decides
    the format. With None for ``output`` (stdout), it must be given. ``source`` is closed on the way. Raises
    an :class:`~xlsr_cli.errors.XlsrError` whose class says what failed, :class:`NotKeptError` under
    ``--strict``; ``output`` is then as it was before.
    """
    options, name, bytes_in = task.options, source.name, len(source.data)
    format, target, ignored = target_of(source, output, options)
    check_memory(
        name,
        source.size,
        target,
        channels=source.channels,
        depth=source.depth,
        held=bytes_in,
        upscaler=task.upscaler,
    )
    began = time.perf_counter()
    picture, notices = decode(source, max_pixels=options.max_pixels)
    upscaler, compression = for_picture(task.upscaler, source, lambda: picture.pixels, (picture.size, target))
    source.close()  # what a step no longer needs takes no memory in the next one
    if options.strip:
        notices = [notice for notice in notices if notice.code not in STRIPPED]
    enforce(notices, strict=options.strict, name=name)
    source_size, decoded = picture.size, time.perf_counter()
    models = upscaler.model_names(source_size, channels=picture.channels, depth=picture.depth, size=target)
    picture = replace(picture, pixels=upscaler(picture.pixels, size=target, progress=task.progress))
    enlarged = time.perf_counter()
    with _opened(output, file, overwrite=options.overwrite) as written:
        lost = encode_into(written, picture, format, options, threads=upscaler.threads, name=name)
        notices = [*notices, *ignored, *lost]
        enforce(notices, strict=options.strict, name=name)
        bytes_out = written.seek(0, io.SEEK_END)
        encoded = time.perf_counter()
    return PictureResult(
        source=name,
        output="-" if output is None else str(output),
        source_size=source_size,
        size=target,
        format=format,
        models=models,
        seconds={
            "decode": decoded - began,
            "inference": enlarged - decoded,
            "encode": encoded - enlarged,
        },
        notices=tuple(notices),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        compression=compression,
    )


@contextmanager
def _opened(output: Path | None, file: BinaryIO | None, *, overwrite: bool) -> Iterator[BinaryIO]:
    """What is encoded into (seekable, readable): ``file``, else what becomes ``output``."""
    if file is not None:
        yield file
        return
    assert output is not None
    with atomic_output(output, overwrite=overwrite) as opened:
        if opened.readable():
            yield opened
            return
        whole = io.BytesIO()  # the output is a pipe
        yield whole
        opened.write(whole.getbuffer())


def refuse_same_file(source: Path, output: Path) -> None:
    """Raise :class:`OutputError` if the output is the same file as the input, under any name."""
    try:
        same = output.exists() and source.samefile(output)
    except (OSError, ValueError):
        same = False
    if same:
        raise OutputError(f"{output} is the input itself; give another name")
