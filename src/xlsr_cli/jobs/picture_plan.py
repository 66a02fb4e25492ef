"""What would be done with a picture, in what time and memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.estimate import Pass
from xlsr_cli.engine.restore import Compression
from xlsr_cli.formats import PictureFormat, still_of, writable_format
from xlsr_cli.jobs.memory import PROCESS_MEMORY, refuse_beyond
from xlsr_cli.jobs.picture import target_of
from xlsr_cli.jobs.restore import for_picture
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture, Source
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.options import PictureOptions, Size

#: Bytes of memory, per byte of the picture, of an encoded picture that is kept in memory for a stream.
_STREAMED_MEMORY = 0.6
#: Side of the picture with which codecs are timed.
_MADE_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class PicturePlan:
    """What would be done with a picture, as far as possible from its header alone.

    ``passes``, ``resample`` and ``threads`` are as in the engine's :class:`~xlsr_cli.engine.estimate.Plan`.
    ``seconds`` and ``peak_memory`` (bytes) are estimates for the whole: reading, enlarging, encoding, and the
    process itself. ``compression`` is as in :class:`~xlsr_cli.jobs.picture.PictureResult`.
    """

    source: str
    output: str
    source_size: Size
    size: Size
    format: PictureFormat
    passes: tuple[Pass, ...]
    resample: bool
    threads: int
    seconds: float
    peak_memory: int
    compression: Compression | None


def plan_picture(source: Source, output: Path | None, task: Task) -> PicturePlan:
    """Plan the work and refuse what can be refused before it; see :class:`PicturePlan`.

    ``output`` is None for stdout. Raises what :func:`~xlsr_cli.jobs.picture.upscale_picture` raises before it
    enlarges.
    """
    options = task.options
    format, target, _ = target_of(source, output, options)
    upscaler, compression = for_picture(
        task.upscaler,
        source,
        lambda: decode(source, max_pixels=options.max_pixels)[0].pixels,
        (source.size, target),
    )
    steps = upscaler.plan(source.size, channels=source.channels, depth=source.depth, size=target)
    result = target.pixels * source.channels * (2 if source.depth > 8 else 1)
    lossless = options.lossless or (source.lossless and source.format == format and options.quality is None)
    encoding = steps.kept_memory + int(still_of(format).memory(lossless=lossless) * result)
    if output is None:
        encoding += len(source.data) + int(_STREAMED_MEMORY * result)
    needed = PROCESS_MEMORY + max(len(source.data) + steps.peak_memory, encoding)
    refuse_beyond(upscaler.memory_limit, needed, source.name)
    return PicturePlan(
        source=source.name,
        output="-" if output is None else str(output),
        source_size=steps.source,
        size=steps.target,
        format=format,
        passes=steps.passes,
        resample=steps.resample,
        threads=steps.threads,
        seconds=steps.seconds + _codec_seconds(source, target, format, replace(options, lossless=lossless)),
        peak_memory=needed,
        compression=compression,
    )


def _codec_seconds(source: Source, target: Size, format: PictureFormat, options: PictureOptions) -> float:
    """Seconds that decoding and encoding will take, estimated with a small synthetic picture."""
    pixels = _made_pixels(source.channels, deep=source.depth > 8)
    picture = Picture(pixels=pixels, metadata=Metadata(), format=source.format)
    started = time.perf_counter()
    encode(picture, format, options)
    encoded = time.perf_counter()
    data, _ = encode(picture, writable_format(source.format))
    began = time.perf_counter()
    decode(open_picture(data, "a synthetic picture"), max_pixels=pixels.size)
    decoded = time.perf_counter()
    seconds = (encoded - started) * target.pixels + (decoded - began) * source.size.pixels
    return seconds / picture.size.pixels


def _made_pixels(channels: int, *, deep: bool) -> NDArray[Any]:
    """Smooth waves under a little noise: about as hard to encode as a photograph."""
    rows, columns, planes = np.ogrid[0:_MADE_SIDE, 0:_MADE_SIDE, 0:channels]
    waves = 110 + 60 * np.sin(rows / 23) + 50 * np.cos(columns / 31 + planes)
    noise = np.random.default_rng(0).normal(0, 2.5, (_MADE_SIDE, _MADE_SIDE, channels))
    scaled = (waves + noise) * (257 if deep else 1)
    pixels = scaled.astype(np.uint16 if deep else np.uint8)
    return np.asarray(pixels[..., 0] if channels == 1 else pixels)
