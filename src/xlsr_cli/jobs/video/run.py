"""Upscale one video file: inspect, plan, encode segments, mux them, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from xlsr_cli.errors import InputError
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.jobs.video.pipeline import run_stages
from xlsr_cli.jobs.video.plan import VideoPlan, plan_video
from xlsr_cli.jobs.video.segments import Segments, SegmentWriter, open_segments
from xlsr_cli.media.atomic import atomic_output, check_output, remove_parts
from xlsr_cli.media.video.frame_upscaler import FrameUpscaler
from xlsr_cli.media.video.output import mux
from xlsr_cli.media.video.output.encoder import Encoder
from xlsr_cli.media.video.output.readback import verify
from xlsr_cli.media.video.pyav import VideoFrame
from xlsr_cli.media.video.reader import Frame
from xlsr_cli.notices import Notice, enforce

#: Frames that may wait between two stages.
_QUEUE_DEPTH = 4


@dataclass(frozen=True, kw_only=True)
class VideoResult(FramesResult):
    """What became of one video.

    ``frames`` are all in the output, ``resumed`` those of them that an earlier, broken run had made.
    ``duration`` is the output's, ``seconds`` what this run took. ``tiles`` of the network and how many of
    them were ``reused`` from the frame before. ``size_bytes`` is the output's.
    """

    codec: str
    pix_fmt: str
    duration: float
    size_bytes: int
    resumed: int = 0
    seconds: float = 0.0
    tiles: int = 0
    reused: int = 0


def upscale_video(source: Path, output: Path, task: Task, *, keep_segments: bool = False) -> VideoResult:
    """Upscale the video ``source`` into ``output``, whose suffix names the container.

    Every other stream is copied; times, aspect, colour tags, chapters and metadata are kept; what cannot
    be is a notice, found before the work. A run that was killed goes on where it stopped; ``keep_segments``
    leaves even at the end what it would go on with. Raises
    :class:`InputError`, :class:`UsageError`, :class:`OutputError`, :class:`NotKeptError` (with
    ``options.strict``) and what the engine raises. Nothing is written to ``output`` unless all is well.
    """
    started = time.monotonic()
    check_output(output, overwrite=task.options.overwrite)
    plan = plan_video(source, output, task)
    with open_segments(output, plan.key) as segments:
        resumed = segments.frames
        frames = plan.frame_upscaler()
        late = _encode_all(plan, frames, segments)
        if not segments.frames:
            raise InputError(f"{source}: no frame lies in the part that was asked for")
        result = put_together(plan, segments, output, late, overwrite=task.options.overwrite)
        if not keep_segments:
            segments.remove()
    return replace(
        result,
        resumed=resumed,
        seconds=time.monotonic() - started,
        tiles=frames.reuse.tiles if frames.reuse else 0,
        reused=frames.reuse.reused if frames.reuse else 0,
    )


def _encode_all(plan: VideoPlan, upscale: FrameUpscaler, segments: Segments) -> list[Notice]:
    """Encode everything that is not in ``segments`` yet; return notices that only decoding can give."""
    reader, progress, done = plan.reader(threads=decoding_threads(plan)), plan.task.progress, segments.frames
    progress.start(plan.expected, "frames")
    try:
        progress.advance(done)
        # Finished frames are decoded once more, which takes little time: decoders and filters need the frames
        # before.
        encode_frames(islice(reader, done, None), plan, upscale, segments)
    finally:
        progress.finish()
    return plan.late_notices(reader, upscale)


def decoding_threads(plan: VideoPlan) -> int:
    """How many threads decode: half of those that compute."""
    return max(1, plan.mux.settings.threads // 2)


def encode_frames(
    frames: Iterable[Frame], plan: VideoPlan, upscale: FrameUpscaler, segments: Segments
) -> None:
    """Enlarge ``frames`` and put what the encoder makes of them into ``segments``, behind what is there."""

    def enlarge(frame: Frame) -> Callable[[], tuple[VideoFrame, Frame]]:
        enlarged = upscale.begin(frame.picture)
        return lambda: (enlarged(), frame)

    def write(results: Iterator[tuple[VideoFrame, Frame]]) -> None:
        for first in results:
            with segments.segment() as writer:
                _write_segment(chain([first], islice(results, SEGMENT_FRAMES - 1)), plan, writer)

    run_stages(
        frames,
        enlarge,
        write,
        depth=_QUEUE_DEPTH,
        at_once=upscale.at_once,
        interrupt=upscale.interrupt,
    )


def _write_segment(
    results: Iterable[tuple[VideoFrame, Frame]], plan: VideoPlan, writer: SegmentWriter
) -> None:
    encoder, progress = Encoder(plan.mux.settings), plan.task.progress
    before = writer.bytes_before
    for picture, frame in results:
        writer.add_frame(frame.pts, frame.duration)
        writer.add_packets(encoder.encode(picture))
        progress.advance(1)
        progress.note(f"{(before + writer.bytes) / 1e6:.1f} MB")
    writer.add_packets(encoder.finish())


def put_together(
    plan: VideoPlan, segments: Segments, output: Path, late: Sequence[Notice], *, overwrite: bool
) -> VideoResult:
    """Write the output and read it back. ``late``: notices that decoding gave.

    Raises :class:`NotKeptError` under ``--strict``, and :class:`OutputError`.
    """
    strict, name = plan.task.options.strict, str(plan.file.path)
    enforce(late, strict=strict, name=name)
    times, settings = segments.times(), plan.mux.settings
    muxed = replace(plan.mux, cut=plan.cut_for(times))
    # Files of a run that was killed here: while the segments are locked, nobody else writes here.
    remove_parts(output.parent, [output.name])
    with atomic_output(output, overwrite=overwrite) as file:
        packets = mux.timed(segments.packets(), segments.order(), times, plan.file.time_base)
        tracks = mux.write(file, plan.file, muxed, packets, name=str(output))
        file.flush()
        verify(file, muxed, tracks, name=str(output))
        damaged = [notice for track in tracks for notice in track.notices()]
        enforce(damaged, strict=strict, name=name)
        size_bytes = file.seek(0, 2)
    return VideoResult(
        source=name,
        output=output,
        source_size=plan.file.size,
        size=plan.size,
        frames=segments.frames,
        notices=(*plan.notices, *late, *damaged),
        compression=plan.compression,
        codec=settings.codec.name,
        pix_fmt=settings.pix_fmt,
        duration=float(next(track.duration for track in tracks if track.main)),
        size_bytes=size_bytes,
    )
