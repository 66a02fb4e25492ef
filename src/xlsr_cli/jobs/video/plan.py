"""Decide everything about a video before any work: size, codec, pixel format, what is copied or lost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from xlsr_cli.engine.models import find_model, read_model_file
from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import UsageError
from xlsr_cli.jobs.restore import for_film
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.media.video.demux import content_hash
from xlsr_cli.media.video.frame_upscaler import EnlargedFrames, FrameUpscaler, StoredFrames
from xlsr_cli.media.video.inspect import VideoFile, inspect
from xlsr_cli.media.video.layout import Layout, Siting, choose_format, layout_of
from xlsr_cli.media.video.output import encoder as encoders
from xlsr_cli.media.video.output import trial_mux
from xlsr_cli.media.video.output.containers import Container, container_for
from xlsr_cli.media.video.output.cut import Cut
from xlsr_cli.media.video.output.encoder import Settings
from xlsr_cli.media.video.output.mux import MuxPlan
from xlsr_cli.media.video.reader import FrameReader
from xlsr_cli.media.video.tags import Rotation, turned_size
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size

#: Frames per second that encoders are told.
_LOWEST_RATE, _HIGHEST_RATE = Fraction(1, 65535), Fraction(1000)


@dataclass(frozen=True, kw_only=True)
class FilmFrames:
    """The frames of a film that are asked for, and what they become.

    ``task``: its upscaler has the networks that were chosen by ``compression``. ``upright``: the rotation to
    apply to the frames, None where the container keeps it. ``result``: its size is the one that is stored.

    Raises :class:`UsageError` where ``--start`` is after the end.
    """

    file: VideoFile
    task: Task
    compression: Compression | None
    upright: Rotation | None
    result: EnlargedFrames

    def __post_init__(self) -> None:
        begin, _ = self.interval
        if begin is not None and begin >= self.file.end:
            length = float(self.file.end - self.file.first)
            raise UsageError(f"{self.file.path}: --start is after the end of the video, {length:.2f} seconds")

    @property
    def interval(self) -> tuple[Fraction | None, Fraction | None]:
        """``--start`` and ``--end``, counted from the first frame, in seconds on the file's own clock."""
        video, first = self.task.video, self.file.first
        begin = None if video.start is None else first + Fraction(video.start).limit_denominator(10**6)
        end = None if video.end is None else first + Fraction(video.end).limit_denominator(10**6)
        return begin, end

    @property
    def layout(self) -> Layout:
        """Of the source's frames."""
        return layout_of(self.file.pix_fmt)

    @property
    def rgb(self) -> bool:
        """Whether all channels go through the network."""
        return wants_rgb(self.task.options)

    def reader(self, *, limit: int | None = None, threads: int = 1) -> FrameReader:
        """Reads the frames; ``limit``: at most so many, None for as many as were asked for."""
        begin, end = self.interval
        return FrameReader(
            file=self.file,
            begin=begin,
            end=end,
            limit=limit or self.task.video.frames,
            deinterlace=self.task.video.deinterlace,
            threads=threads,
        )

    def frame_upscaler(self) -> FrameUpscaler:
        """Enlarges the frames."""
        file, video = self.file, self.task.video
        source = StoredFrames(
            size=file.size,
            layout=self.layout,
            tags=file.tags,
            siting=file.siting,
            crop=file.crop,
            rotation=self.upright,
        )
        return FrameUpscaler(self.task.upscaler, source, self.result, rgb=self.rgb, reuse=video.reuse)


@dataclass(frozen=True, kw_only=True)
class VideoPlan(FilmFrames):
    """All decisions about one video. ``key`` identifies everything that the output's video depends on."""

    mux: MuxPlan
    notices: tuple[Notice, ...]
    key: str

    @property
    def size(self) -> Size:
        """The output's, as stored."""
        return self.result.size

    @property
    def trial(self) -> bool:
        """Whether only a part of the video was asked for."""
        video = self.task.video
        return any(asked is not None for asked in (video.start, video.end, video.frames))

    @property
    def expected(self) -> int:
        """How many frames there will be, for the progress."""
        file, frames, limit = self.file, self.file.packets, self.task.video.frames
        begin, end = self.interval
        if begin is not None or end is not None:
            span = min(end or file.end, file.end) - (begin or file.first)
            frames = max(1, round(span * file.rate))
        return frames if limit is None else min(frames, limit)

    @property
    def models(self) -> tuple[str, ...]:
        """The networks that the frames go through."""
        channels = 3 if self.rgb or self.layout.family == "rgb" else 1
        frame, size = self.result.way(turned_size(self.file.size, self.upright))
        return self.task.upscaler.model_names(frame, channels=channels, depth=self.layout.depth, size=size)

    def cut_for(self, times: list[tuple[int, int]]) -> Cut:
        """The part of the other streams that belongs to frames with these (pts, duration)."""
        base = self.file.time_base
        if not self.trial:
            return self.mux.cut
        first, last = times[0][0] * base, sum(times[-1]) * base
        if self.task.video.start is None:
            return Cut(end=last, shift=self.mux.cut.shift)
        if self.mux.container.constant:  # nothing is before the first frame, which begins the file
            return Cut(begin=first, end=last, shift=-first)
        return Cut(begin=first, end=last, shift=self.mux.cut.shift + self.file.first - first)

    def late_notices(self, reader: FrameReader, upscaled: FrameUpscaler) -> list[Notice]:
        """Notices that only decoding can give."""
        notices = list(reader.lost.values())
        if reader.captions:
            notices += _captions_notice(self.mux.settings)
        if reader.repaired:
            message = f"{reader.repaired} frames had no timestamp, or one that does not rise; it was repaired"
            notices.append(Notice(code="times-repaired", message=message, loss=False))
        if not self.trial and reader.incomplete:
            message = f"{reader.incomplete} frames of the source are damaged and could not be decoded"
            notices.append(Notice(code="frames-damaged", message=message))
        if upscaled.changed:
            message = (
                f"{upscaled.changed} frames have another size or pixel format than the first; they were "
                f"brought to {self.file.size} before they were enlarged"
            )
            notices.append(Notice(code="frames-resized", message=message))
        told = {notice.code for notice in self.notices}
        return [notice for notice in notices if notice.code not in told]


def plan_video(source: Path, output: Path, task: Task, *, encoder_threads: int | None = None) -> VideoPlan:
    """Look at the film ``source`` and decide everything about ``output``; nothing is written.

    ``encoder_threads``: None for those of the upscaler. Raises :class:`UsageError` when options and container
    do not go together, :class:`InputError` when the video is of a kind that is not supported, and
    :class:`NotKeptError` under ``--strict``.
    """
    container = container_for(output)
    file = inspect(source, max_pixels=task.options.max_pixels)
    upright = None if container.rotates else file.rotation
    threads = encoder_threads or task.upscaler.threads
    settings, format_notices = _settings(file, output, container, upright, task, threads)
    size = settings.size
    result = EnlargedFrames(
        size=size,
        pix_fmt=settings.pix_fmt,
        tags=settings.tags,
        siting=settings.siting,
        asked=_asked(file, upright, task.options),
    )
    upscaler, compression = for_film(task.upscaler, source, result.way(turned_size(file.size, upright)))
    carried = trial_mux.plan_streams(file, container, copy_only=task.video.copy_only)
    matrix = None
    if file.rotation is not None and upright is None:
        matrix = file.rotation.scaled(
            Fraction(size.width, file.size.width), Fraction(size.height, file.size.height)
        )
    mux = MuxPlan(
        container=container,
        settings=settings,
        matrix=matrix,
        copied=carried.copied,
        converted=carried.converted,
        through_tee=carried.through_tee,
        clock=file.clock(carried.copied) if container.reader == "mov" else None,
        cut=Cut(shift=_start_of_avi(file, carried) if container.constant else Fraction(0)),
    )
    plan = VideoPlan(
        file=file,
        task=replace(task, upscaler=upscaler),
        compression=compression,
        upright=upright,
        result=result,
        mux=mux,
        notices=(),
        key="",
    )
    mux, lost = trial_mux.rehearse(file, mux, name=str(output))
    notices = (*file.notices, *_format_notices(plan), *format_notices, *carried.notices, *lost)
    enforce(notices, strict=task.options.strict, name=str(source))
    return replace(plan, mux=mux, notices=notices, key=_key(plan))


def _settings(
    file: VideoFile, output: Path, container: Container, upright: Rotation | None, task: Task, threads: int
) -> tuple[Settings, list[Notice]]:
    options, video, layout = task.options, task.video, layout_of(file.pix_fmt)
    codec = encoders.choose_codec(container, output, video, depth=layout.depth)
    encoder = codec.encoder
    if codec.name == "h264" and layout.family == "rgb" and video.pix_fmt in (None, "bgr0", "bgr24", "rgb24"):
        encoder = "libx264rgb"
    turned = layout.turned() if upright is not None and upright.swaps else layout
    pix_fmt, notices = choose_format(
        turned, encoders.encoder_formats(encoder), video.pix_fmt, codec=codec.name
    )
    even = codec.name in ("h264", "hevc", "av1")
    size, rounded = _size(file, upright, options, layout_of(pix_fmt), even=even)
    aspect = file.aspect
    if aspect is not None and upright is not None and upright.swaps:
        aspect = 1 / aspect
    rate = _constant_rate(file) if container.constant else file.rate
    rate = max(min(rate, _HIGHEST_RATE), _LOWEST_RATE).limit_denominator(65535)
    family, becomes = layout.family, layout_of(pix_fmt)
    tags = file.tags.enlarged(file.size, size, family=family, becomes=becomes.family)
    siting: Siting = "left"
    if becomes.chroma == turned.chroma and codec.holds(file.siting, turned.chroma, container):
        siting = file.siting
    settings = Settings(
        codec=codec,
        encoder=encoder,
        crf=codec.crf if video.crf is None else video.crf,
        preset=codec.preset if video.preset is None else video.preset,
        pix_fmt=pix_fmt,
        size=size,
        rate=rate,
        aspect=_aspect(aspect, file, size, options),
        tags=tags,
        siting=siting,
        hdr=file.hdr,
        threads=threads,
        global_header=container.global_header,
        constant=container.constant,
        key_interval=SEGMENT_FRAMES,
    )
    return settings, [*notices, *rounded]


def _constant_rate(file: VideoFile) -> Fraction:
    """The one frame rate of a film whose frames lie on an even grid, on which some may be missing."""
    for rate in dict.fromkeys((file.rate, file.even_rate)):
        if rate is not None and file.lies_on_grid(rate):
            return rate
    raise UsageError(
        f"{file.path}: an .avi file holds one frame rate and this video's varies; use .mkv or .mp4"
    )


def _start_of_avi(file: VideoFile, carried: trial_mux.Carried) -> Fraction:
    """How far times are moved so that the first stream begins at zero, as in every AVI.

    Sound that leads by less than a frame, as AAC does, counts as beginning together.
    """
    indexes = (*carried.copied, *(conversion.index for conversion in carried.converted))
    begins = [time for index in indexes if (time := file.begins(index)) is not None]
    earliest = min([file.first, *begins])
    return -(earliest if file.first - earliest > 1 / file.rate else file.first)


def _size(
    file: VideoFile, upright: Rotation | None, options: PictureOptions, layout: Layout, *, even: bool
) -> tuple[Size, list[Notice]]:
    """The output's size as stored, even where its chroma needs that."""
    size = _asked(file, upright, options)
    if not even:
        return size, []
    across, down = (1 << layout.chroma[0]) - 1, (1 << layout.chroma[1]) - 1
    whole = Size(width=size.width + across & ~across, height=size.height + down & ~down)
    if whole == size:
        return size, []
    message = f"the output is {whole} instead of {size}: its chroma needs even sides"
    return whole, [Notice(code="size-rounded", message=message, loss=False)]


def _asked(file: VideoFile, upright: Rotation | None, options: PictureOptions) -> Size:
    """The size that was asked for, as stored; it is asked for of the frame as shown."""
    size = options.target.size_for(shown_size(file))
    return turned_size(size, file.rotation) if upright is None else size


def shown_size(file: VideoFile) -> Size:
    """The size of a frame as it is shown, turned upright."""
    return turned_size(file.size, file.rotation)


def _aspect(aspect: Fraction | None, file: VideoFile, size: Size, options: PictureOptions) -> Fraction | None:
    """The sample aspect ratio: the source's, or if both sides were given, the one that keeps the shape."""
    both = options.target.width is not None and options.target.height is not None
    if aspect is None or aspect == 1 or not both:
        return aspect
    stretch = Fraction(size.width, file.size.width) / Fraction(size.height, file.size.height)
    return (aspect / stretch).limit_denominator(1000)


def wants_rgb(options: PictureOptions) -> bool:
    """Whether all channels go through the network: if asked for, or if the named model needs them."""
    engine = options.engine
    if engine.model is None:
        return engine.color == "rgb"
    model = find_model(engine.model)
    return isinstance(model, Path) or model.colour == "rgb"


def _format_notices(plan: VideoPlan) -> list[Notice]:
    notices = []
    file, settings, video = plan.file, plan.mux.settings, plan.task.video
    if file.interlaced and not video.deinterlace:
        message = "the video is interlaced, and its combing is enlarged; --deinterlace makes whole frames"
        notices.append(Notice(code="interlaced", message=message, loss=False))
    if file.hdr and not settings.codec.hdr:
        message = f"{settings.codec.name} does not hold HDR10 metadata; --codec hevc keeps them"
        notices.append(Notice(code="hdr-dropped", message=message))
    if file.captions:
        notices += _captions_notice(settings)
    if file.programs > 1:
        message = f"the {file.programs} programs of the source become one that holds all of their streams"
        notices.append(Notice(code="programs-merged", message=message))
    gap = file.first + plan.mux.cut.shift
    if plan.mux.container.constant and video.start is None and round(gap * settings.rate) > 0:
        message = f"the first frame is also shown for the {float(gap):.2f} s of sound before it"
        notices.append(Notice(code="start-filled", message=message, loss=False))
    films = [s for s in file.streams if s.kind == "video" and s.index in plan.mux.copied]
    if films:
        message = f"{len(films)} more video streams are copied as they are; only the main one is enlarged"
        notices.append(Notice(code="video-copied", message=message, loss=False))
    return notices


def _captions_notice(settings: Settings) -> list[Notice]:
    if settings.codec.captions:
        return []
    message = f"{settings.codec.name} does not hold closed captions; --codec h264 or hevc keeps them"
    return [Notice(code="captions-dropped", message=message)]


def _key(plan: VideoPlan) -> str:
    """A hash of the source's bytes, the options, the models and the encoders."""
    upscaler = plan.task.upscaler
    parts = (
        content_hash(plan.file.path),
        [_model_hash(name, upscaler) for name in plan.models],
        encoders.deciding(plan.mux.settings),
        plan.layout,
        plan.upright,
        plan.result.asked,
        plan.rgb,
        plan.file.siting,
        plan.file.crop,
        plan.task.video.deinterlace,
        *plan.interval,
        plan.task.video.frames,
        upscaler.options.precision,
        encoders.library_versions(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _model_hash(name: str, upscaler: Upscaler) -> str:
    model = find_model(upscaler.options.model or name)
    if isinstance(model, Path):
        return hashlib.sha256(read_model_file(model)).hexdigest()
    if name == model.name:
        return model.sha256
    return find_model(name).sha256  # type: ignore[union-attr]  # bundled models are found by their names
