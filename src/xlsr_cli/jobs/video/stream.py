"""Upscale a stream of raw frames, from a pipe or a file into a pipe or a file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.jobs.restore import for_frames
from xlsr_cli.jobs.video.pipeline import run_stages
from xlsr_cli.jobs.video.plan import wants_rgb
from xlsr_cli.media.video.frame_upscaler import FrameUpscaler
from xlsr_cli.media.video.layout import planes_of
from xlsr_cli.media.video.y4m import Y4MFrame, read_frames, read_header, write_frame
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size, VideoOptions
from xlsr_cli.progress import QUIET, Progress

#: Frames that may wait between two stages.
_QUEUE_DEPTH = 2


@dataclass(frozen=True, kw_only=True)
class StreamResult:
    """What became of a stream. ``reused`` of ``tiles`` did not have to be computed.

    ``compression``: what the networks were chosen by, of the first frame; None where they were told.
    """

    source: str
    output: str
    source_size: Size
    size: Size
    frames: int
    tiles: int
    reused: int
    notices: tuple[Notice, ...] = field(default=())
    compression: Compression | None = None


def upscale_y4m(
    stream: BinaryIO,
    sink: BinaryIO,
    options: PictureOptions,
    video: VideoOptions,
    *,
    upscaler: Upscaler,
    source: str = "stdin",
    output: str = "-",
    progress: Progress = QUIET,
) -> StreamResult:
    """Enlarge every frame of the Y4M ``stream`` into ``sink``; all other parameters pass through.

    Frames are handed on as soon as they are made. Raises :class:`InputError` where the stream is damaged
    or cut off; what was whole before has been written then. ``source`` and ``output`` are for messages.
    """
    _refuse_encoding(options, video)
    header = read_header(stream, source)
    if header.size.pixels > options.max_pixels:
        raise InputError(f"{source}: {header.size} is more than --max-pixels {options.max_pixels}")
    enlarged = header.resized(options.target.size_for(header.size))
    notices = []
    if header.interlaced:
        message = "the stream is interlaced and its combs are enlarged; deinterlace it first"
        notices.append(Notice(code="interlaced", message=message, loss=False))
    enforce(notices, strict=options.strict, name=source)
    frames = _until_damage(
        itertools.islice(read_frames(stream, header, source), video.frames), damage := _Damage()
    )
    first = list(itertools.islice(frames, 1))
    compression = None
    if first:
        upscaler, compression = for_frames(upscaler, planes_of(first[0].picture, header.layout)[0])
    upscale = FrameUpscaler(
        upscaler,
        source=header.size,
        layout=header.layout,
        size=enlarged.size,
        pix_fmt=header.layout.name,
        rgb=wants_rgb(options),
        siting=header.siting,
        reuse=video.reuse,
    )
    done = 0

    def enlarge(frame: Y4MFrame) -> Callable[[], Y4MFrame]:
        enlarged = upscale.begin(frame.picture)
        return lambda: Y4MFrame(picture=enlarged(), line=frame.line)

    def write(frames: Iterator[Y4MFrame]) -> None:
        nonlocal done
        for frame in frames:
            write_frame(sink, frame, header.layout)
            done += 1
            progress.advance(1)

    sink.write(enlarged.line())
    progress.start(video.frames, "frames")
    try:
        run_stages(
            itertools.chain(first, frames),
            enlarge,
            write,
            depth=_QUEUE_DEPTH,
            at_once=upscale.at_once,
            interrupt=upscale.interrupt,
        )
    finally:
        progress.finish()
    if damage.error is not None:
        raise damage.error
    return StreamResult(
        source=source,
        output=output,
        source_size=header.size,
        size=enlarged.size,
        frames=done,
        tiles=0 if upscale.reuse is None else upscale.reuse.tiles,
        reused=0 if upscale.reuse is None else upscale.reuse.reused,
        notices=tuple(notices),
        compression=compression,
    )


@dataclass
class _Damage:
    """What ended a stream before its time."""

    error: InputError | None = None


def _until_damage(frames: Iterator[Y4MFrame], damage: _Damage) -> Iterator[Y4MFrame]:
    """The frames up to the first damaged one: those before it are still to be written."""
    try:
        yield from frames
    except InputError as error:
        damage.error = error


def _refuse_encoding(options: PictureOptions, video: VideoOptions) -> None:
    """Raise :class:`UsageError` for what only an encoder or a container could do."""
    given = {
        "--codec": video.codec,
        "--crf": video.crf,
        "--preset": video.preset,
        "--pix-fmt": video.pix_fmt,
        "--deinterlace": video.deinterlace,
        "--start": video.start,
        "--end": video.end,
        "--quality": options.quality,
        "--lossless": options.lossless,
    }
    refused = next((name for name, value in given.items() if value not in (None, False)), None)
    if refused is not None:
        raise UsageError(f"{refused} is not for raw frames; let ffmpeg do that before or behind xlsr")
