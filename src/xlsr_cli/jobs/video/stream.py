"""Upscale a stream of raw frames, from a pipe or a file into a pipe or a file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xlsr_cli.errors import InputError
from xlsr_cli.jobs.restore import for_frames
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.pipeline import run_stages
from xlsr_cli.jobs.video.plan import wants_rgb
from xlsr_cli.media.video.frame_upscaler import EnlargedFrames, FrameUpscaler, StoredFrames
from xlsr_cli.media.video.layout import Layout, is_holdable, planes_of
from xlsr_cli.media.video.y4m import Y4MFrame, Y4MHeader, read_frames, read_header, write_frame
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size, refuse_options
from xlsr_cli.progress import Progress

#: Options of encoders and containers.
_FOR_ENCODERS = (
    "codec", "crf", "preset", "pix_fmt", "deinterlace", "start", "end", "quality", "lossless",
)  # fmt: skip
#: Frames that may wait between two stages.
_QUEUE_DEPTH = 2


@dataclass(frozen=True, kw_only=True)
class StreamResult(FramesResult):
    """The result for a stream. ``reused`` of ``tiles`` did not have to be computed."""

    tiles: int
    reused: int


def upscale_y4m(
    stream: BinaryIO, sink: BinaryIO, task: Task, *, source: str = "stdin", output: str = "-"
) -> StreamResult:
    """Enlarge every frame of the Y4M ``stream`` into ``sink``; all other parameters pass through.

    Frames are written as soon as they are ready. Raises :class:`InputError` if the stream is damaged or cut
    off; by then, the frames before have been written. ``source`` and ``output`` are for messages.
    """
    options, video = task.options, task.video
    why = "is not for raw frames; use ffmpeg for that, before or after xlsr"
    refuse_options(_FOR_ENCODERS, why, video, options)
    header = read_header(stream, source)
    enlarged = header.resized(options.target.size_for(header.size))
    _check_sizes(source, header.size, enlarged.size, options)
    notices = _notices(header)
    enforce(notices, strict=options.strict, name=source)
    damage = _Damage()
    frames = _until_damage(itertools.islice(read_frames(stream, header, source), video.frames), damage)
    first = list(itertools.islice(frames, 1))
    upscaler, compression = task.upscaler, None
    if first:
        seen = planes_of(first[0].picture, header.layout)[0]
        upscaler, compression = for_frames(upscaler, seen, (header.size, enlarged.size))
    upscale = FrameUpscaler(
        upscaler,
        StoredFrames(size=header.size, layout=header.layout, siting=header.siting),
        EnlargedFrames(size=enlarged.size, pix_fmt=header.layout.name, siting=header.siting),
        rgb=wants_rgb(options),
        reuse=video.reuse,
    )
    sink.write(enlarged.line())
    task.progress.start(video.frames, "frames")
    try:
        done = _enlarge_all(itertools.chain(first, frames), upscale, sink, header.layout, task.progress)
    finally:
        task.progress.finish()
    if damage.error is not None:
        raise damage.error
    return StreamResult(
        source=source,
        output=Path(output),
        source_size=header.size,
        size=enlarged.size,
        frames=done,
        tiles=0 if upscale.reuse is None else upscale.reuse.tiles,
        reused=0 if upscale.reuse is None else upscale.reuse.reused,
        notices=notices,
        compression=compression,
    )


def _enlarge_all(
    frames: Iterator[Y4MFrame], upscale: FrameUpscaler, sink: BinaryIO, layout: Layout, progress: Progress
) -> int:
    """Write every frame of ``frames``, enlarged, into ``sink``; return how many there were."""
    done = 0

    def enlarge(frame: Y4MFrame) -> Callable[[], Y4MFrame]:
        enlarged = upscale.begin(frame.picture)
        return lambda: Y4MFrame(picture=enlarged(), line=frame.line)

    def write(frames: Iterator[Y4MFrame]) -> None:
        nonlocal done
        for frame in frames:
            write_frame(sink, frame, layout)
            done += 1
            progress.advance(1)

    run_stages(
        frames, enlarge, write, depth=_QUEUE_DEPTH, at_once=upscale.at_once, interrupt=upscale.interrupt
    )
    return done


def _notices(header: Y4MHeader) -> tuple[Notice, ...]:
    """Notices about a stream with ``header``."""
    if not header.interlaced:
        return ()
    message = "the stream is interlaced, and its combing is enlarged; deinterlace it first"
    return (Notice(code="interlaced", message=message, loss=False),)


@dataclass
class _Damage:
    """The error that ended a stream early, if there was one."""

    error: InputError | None = None


def _until_damage(frames: Iterator[Y4MFrame], damage: _Damage) -> Iterator[Y4MFrame]:
    """The frames up to the first damaged one, whose error goes to ``damage``."""
    try:
        yield from frames
    except InputError as error:
        damage.error = error


def _check_sizes(name: str, source: Size, target: Size, options: PictureOptions) -> None:
    """Raise :class:`InputError` for frames that are larger than asked for, or than FFmpeg can make."""
    if source.pixels > options.max_pixels:
        raise InputError(f"{name}: {source} is more than --max-pixels {options.max_pixels}")
    size = next((size for size in (source, target) if not is_holdable(size)), None)
    if size is not None:
        raise InputError(
            f"{name}: no video can hold frames of {size}, whatever --max-pixels says; cut the stream first"
        )
