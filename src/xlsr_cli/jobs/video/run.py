"""Upscale one video file: inspect, plan, encode segments, mux them, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError
from xlsr_cli.jobs.restore import for_film
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.jobs.video.pipeline import run_stages
from xlsr_cli.jobs.video.plan import VideoPlan, plan_video
from xlsr_cli.jobs.video.segments import Segments, SegmentWriter, open_segments
from xlsr_cli.media.atomic import atomic_output, check_output, remove_parts
from xlsr_cli.media.video.frame_upscaler import EnlargedFrames, FrameUpscaler, StoredFrames
from xlsr_cli.media.video.inspect import inspect
from xlsr_cli.media.video.output import mux
from xlsr_cli.media.video.output.containers import container_for
from xlsr_cli.media.video.output.encoder import Encoder
from xlsr_cli.media.video.output.readback import verify
from xlsr_cli.media.video.pyav import VideoFrame
from xlsr_cli.media.video.reader import Frame, FrameReader
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size, VideoOptions
from xlsr_cli.progress import QUIET, Progress

#: Frames that may wait between two stages.
_QUEUE_DEPTH = 4


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """What became of one video.

    ``frames`` are all in the output, ``resumed`` those of them that an earlier, broken run had made.
    ``duration`` is the output's, ``seconds`` what this run took. ``tiles`` of the network and how many of
    them were ``reused`` from the frame before. ``size_bytes`` is the output's. ``compression``: what the
    networks were chosen by; None where they were told.
    """

    source: Path
    output: Path
    source_size: Size
    size: Size
    codec: str
    pix_fmt: str
    frames: int
    resumed: int
    duration: float
    seconds: float
    size_bytes: int
    tiles: int
    reused: int
    notices: tuple[Notice, ...]
    compression: Compression | None


def upscale_video(
    source: Path,
    output: Path,
    options: PictureOptions,
    video: VideoOptions,
    *,
    upscaler: Upscaler,
    progress: Progress = QUIET,
    keep_segments: bool = False,
) -> VideoResult:
    """Upscale the video ``source`` into ``output``, whose suffix names the container.

    Every other stream is copied; times, aspect, colour tags, chapters and metadata are kept; what cannot
    be is a notice, found before the work. A run that was killed goes on where it stopped; ``keep_segments``
    leaves even at the end what it would go on with. Raises
    :class:`InputError`, :class:`UsageError`, :class:`OutputError`, :class:`NotKeptError` (with
    ``options.strict``) and what the engine raises. Nothing is written to ``output`` unless all is well.
    """
    started = time.monotonic()
    check_output(output, overwrite=options.overwrite)
    film = prepare(source, output, options, video, upscaler)
    plan = film.plan
    with open_segments(output, plan.key) as segments:
        resumed = segments.frames
        frames = film.frame_upscaler()
        late = _encode_all(plan, frames, segments, progress)
        if not segments.frames:
            raise InputError(f"{source}: no frame lies in the part that was asked for")
        enforce(late, strict=options.strict, name=str(source))
        duration, size_bytes = put_together(plan, segments, output, overwrite=options.overwrite)
        result = replace(
            film.result(output, segments.frames, duration=float(duration), size_bytes=size_bytes),
            resumed=resumed,
            seconds=time.monotonic() - started,
            tiles=frames.reuse.tiles if frames.reuse else 0,
            reused=frames.reuse.reused if frames.reuse else 0,
            notices=(*plan.notices, *late),
        )
        if not keep_segments:
            segments.remove()
    return result


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A film that was looked at and planned. ``upscaler``: of the networks that were chosen for it, by
    ``compression``. ``reuse``: tiles that did not change are not computed again."""

    plan: VideoPlan
    upscaler: Upscaler
    compression: Compression | None
    reuse: bool

    def frame_upscaler(self) -> FrameUpscaler:
        """What enlarges its frames."""
        plan, settings = self.plan, self.plan.mux.settings
        source = StoredFrames(
            size=plan.file.size,
            layout=plan.layout,
            tags=plan.file.tags,
            siting=plan.file.siting,
            crop=plan.file.crop,
            rotation=plan.upright,
        )
        result = EnlargedFrames(
            size=plan.size, pix_fmt=settings.pix_fmt, tags=settings.tags, siting=settings.siting
        )
        return FrameUpscaler(self.upscaler, source, result, rgb=plan.rgb, reuse=self.reuse)

    def result(self, output: Path, frames: int, *, duration: float, size_bytes: int) -> VideoResult:
        """What became of it, as far as the plan tells."""
        plan = self.plan
        return VideoResult(
            source=plan.file.path,
            output=output,
            source_size=plan.file.size,
            size=plan.size,
            codec=plan.mux.settings.codec.name,
            pix_fmt=plan.mux.settings.pix_fmt,
            frames=frames,
            resumed=0,
            duration=duration,
            seconds=0.0,
            size_bytes=size_bytes,
            tiles=0,
            reused=0,
            notices=plan.notices,
            compression=self.compression,
        )


def prepare(
    source: Path,
    output: Path,
    options: PictureOptions,
    video: VideoOptions,
    upscaler: Upscaler,
    *,
    encoder_threads: int | None = None,
) -> Prepared:
    """Look at the film ``source`` and plan ``output``; ``encoder_threads`` is as :func:`plan_video` takes it.

    Raises what :func:`upscale_video` does.
    """
    container = container_for(output)
    file = inspect(source, max_pixels=options.max_pixels)
    upscaler, compression = for_film(upscaler, source)
    plan = plan_video(file, output, container, options, video, upscaler, encoder_threads=encoder_threads)
    enforce(plan.notices, strict=options.strict, name=str(source))
    return Prepared(plan=plan, upscaler=upscaler, compression=compression, reuse=video.reuse)


def _encode_all(
    plan: VideoPlan, upscale: FrameUpscaler, segments: Segments, progress: Progress
) -> list[Notice]:
    """Encode everything that is not in ``segments`` yet; return notices that only decoding can give."""
    reader = FrameReader(
        file=plan.file,
        begin=plan.begin,
        end=plan.end,
        limit=plan.limit,
        deinterlace=plan.deinterlace,
        threads=decoding_threads(plan),
    )
    done = segments.frames
    progress.start(plan.expected, "frames")
    try:
        progress.advance(done)
        # Finished frames are decoded once more, which takes little time: decoders and filters need the frames
        # before.
        encode_frames(islice(reader, done, None), plan, upscale, segments, progress)
    finally:
        progress.finish()
    return plan.late_notices(reader, upscale)


def decoding_threads(plan: VideoPlan) -> int:
    """How many threads decode: half of those that compute."""
    return max(1, plan.mux.settings.threads // 2)


def encode_frames(
    frames: Iterable[Frame], plan: VideoPlan, upscale: FrameUpscaler, segments: Segments, progress: Progress
) -> None:
    """Enlarge ``frames`` and put what the encoder makes of them into ``segments``, behind what is there."""

    def enlarge(frame: Frame) -> Callable[[], tuple[VideoFrame, Frame]]:
        enlarged = upscale.begin(frame.picture)
        return lambda: (enlarged(), frame)

    run_stages(
        frames,
        enlarge,
        lambda results: _write_segments(results, plan, segments, progress),
        depth=_QUEUE_DEPTH,
        at_once=upscale.at_once,
        interrupt=upscale.interrupt,
    )


def _write_segments(
    results: Iterator[tuple[VideoFrame, Frame]], plan: VideoPlan, segments: Segments, progress: Progress
) -> None:
    first = next(results, None)
    while first is not None:
        with segments.segment() as writer:
            _write_segment(chain([first], islice(results, SEGMENT_FRAMES - 1)), plan, writer, progress)
        first = next(results, None)


def _write_segment(
    results: Iterator[tuple[VideoFrame, Frame]], plan: VideoPlan, writer: SegmentWriter, progress: Progress
) -> None:
    encoder = Encoder(plan.mux.settings)
    before = writer.bytes_before
    for picture, frame in results:
        writer.add_frame(frame.pts, frame.duration)
        writer.add_packets(encoder.encode(picture))
        progress.advance(1)
        progress.note(f"{(before + writer.bytes) / 1e6:.1f} MB")
    writer.add_packets(encoder.finish())


def put_together(
    plan: VideoPlan, segments: Segments, output: Path, *, overwrite: bool
) -> tuple[Fraction, int]:
    """Write the output and read it back; return its duration in seconds and its size in bytes."""
    times = segments.times()
    muxed = replace(plan.mux, cut=plan.cut_for(times))
    # Files of a run that was killed here: while the segments are locked, nobody else writes here.
    remove_parts(output.parent, [output.name])
    with atomic_output(output, overwrite=overwrite) as file:
        tracks = mux.write(
            file, plan.file, muxed, _packets(segments, times, plan.file.time_base), name=str(output)
        )
        file.flush()
        verify(file, muxed, tracks, name=str(output))
        duration = next(track.duration for track in tracks if track.main)
        size_bytes = file.seek(0, 2)
    return duration, size_bytes


def _packets(segments: Segments, times: list[tuple[int, int]], base: Fraction) -> Iterator[mux.Encoded]:
    decoding = mux.reordered([times[frame][0] for frame in segments.order()], base)
    for packet, dts in zip(segments.packets(), decoding, strict=True):
        pts, duration = times[packet.frame]
        yield mux.Encoded(data=packet.data, pts=pts, dts=dts, duration=duration, key=packet.key)
