"""Films into pictures: numbered ones, or an animation. What pictures have no place for is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.jobs.animation import output_format
from xlsr_cli.jobs.restore import for_film
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.sequence import format_of_frames, named
from xlsr_cli.jobs.video.plan import interval, wants_rgb
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.animation import capabilities_of, check_animation_limits, write_animation
from xlsr_cli.media.picture.fitting import fit_times
from xlsr_cli.media.picture.image import encode
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Film, Picture
from xlsr_cli.media.video.frame_upscaler import EnlargedFrames, FrameUpscaler, StoredFrames
from xlsr_cli.media.video.inspect import VideoFile, inspect
from xlsr_cli.media.video.layout import layout_of
from xlsr_cli.media.video.reader import FrameReader
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size, VideoOptions
from xlsr_cli.progress import QUIET, Progress


def film_to_pictures(
    source: Path,
    output: Path,
    options: PictureOptions,
    video: VideoOptions,
    *,
    upscaler: Upscaler,
    progress: Progress = QUIET,
) -> FramesResult:
    """Write every frame of the film ``source`` to a picture, numbered from 1 by the pattern ``output``.

    Raises :class:`UsageError` for pictures that are not written, :class:`InputError`, :class:`OutputError`;
    pictures before are done then.
    """
    format = format_of_frames(output, options)
    film = _Frames.of(source, options, video, upscaler, deep=True)
    notices = dict.fromkeys(film.notices)
    enforce(film.notices, strict=options.strict, name=str(source))
    progress.start(video.frames or film.file.packets, "frames")
    count = 0
    for count, pixels in enumerate(film.enlarged(), 1):  # how many there were
        picture = Picture(pixels=pixels, metadata=film.metadata, format=format)
        encoded, lost = encode(picture, format, quality=options.quality, lossless=options.lossless)
        enforce(lost, strict=options.strict, name=str(source))
        notices |= dict.fromkeys(lost)
        with atomic_output(named(output, count), overwrite=options.overwrite) as file:
            file.write(encoded)
        progress.advance(1)
    progress.finish()
    return film.result(output, count, tuple(notices))


def film_to_animation(
    source: Path,
    output: Path,
    options: PictureOptions,
    video: VideoOptions,
    *,
    upscaler: Upscaler,
    progress: Progress = QUIET,
) -> FramesResult:
    """Write the film ``source`` as an animation that plays for ever. Raises as :func:`film_to_pictures`."""
    check_output(output, overwrite=options.overwrite)
    format = output_format(output, options)
    film = _Frames.of(source, options, video, upscaler, deep=False)
    check_animation_limits(format, film.size)
    capabilities = capabilities_of(format)
    delays, plays, changed = fit_times(film.delays(), 0, capabilities)
    notices = [*film.notices, *changed]
    if capabilities.colors is not None:
        message = f"a {capabilities.shown} has {capabilities.colors} colours a frame"
        notices.append(Notice(code="colors-reduced", message=message))
    enforce(notices, strict=options.strict, name=str(source))
    shown = Film(size=film.size, delays=delays, plays=plays, metadata=Metadata())
    progress.start(len(delays), "frames")
    with atomic_output(output, overwrite=options.overwrite) as file:
        frames = film.enlarged(progress)
        write_animation(file, format, shown, frames, quality=options.quality, lossless=options.lossless)
    progress.finish()
    return film.result(output, len(delays), tuple(notices))


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """The frames of a film as pictures of ``size``; ``pix_fmt`` is what they are converted to at the end."""

    file: VideoFile
    size: Size
    pix_fmt: str
    options: PictureOptions
    video: VideoOptions
    upscaler: Upscaler
    compression: Compression | None

    @classmethod
    def of(
        cls, source: Path, options: PictureOptions, video: VideoOptions, upscaler: Upscaler, *, deep: bool
    ) -> _Frames:
        """Look at the film. ``deep``: more than 8 bits are kept."""
        _refuse_encoding(video)
        file = inspect(source, max_pixels=options.max_pixels)
        layout = layout_of(file.pix_fmt)
        upscaler, compression = for_film(upscaler, source)
        swaps = file.rotation is not None and file.rotation.swaps
        shown = Size(width=file.size.height, height=file.size.width) if swaps else file.size
        channels = "bgra" if layout.alpha else "bgr"
        depth = ("64le" if layout.alpha else "48le") if deep and layout.depth > 8 else ""
        return cls(
            file=file,
            size=options.target.size_for(shown),
            pix_fmt=channels + (depth or ("" if layout.alpha else "24")),
            options=options,
            video=video,
            upscaler=upscaler,
            compression=compression,
        )

    @property
    def notices(self) -> list[Notice]:
        """What pictures have no place for."""
        notices = list(self.file.notices)
        for stream in self.file.streams:
            message = f"{stream} has no place in pictures"
            notices.append(Notice(code="stream-dropped", message=message))
        if self.file.aspect not in (None, 1):
            message = f"pixels of {self.file.aspect} become squares; --width and --height set the shape"
            notices.append(Notice(code="aspect-dropped", message=message))
        if self.file.hdr:
            notices.append(Notice(code="hdr-dropped", message="pictures do not hold HDR10 metadata"))
        return notices

    @property
    def metadata(self) -> Metadata:
        """The colours, where the film says them."""
        tags = self.file.tags
        if 2 in (tags.primaries, tags.transfer):
            return Metadata()
        return Metadata(cicp=(tags.primaries, tags.transfer, 0, 1))

    def delays(self) -> Sequence[Fraction]:
        """How long each frame is shown, in seconds; found by decoding them once."""
        times = [(frame.pts, frame.duration) for frame in self._reader()]
        if not times:
            raise InputError(f"{self.file.path}: no frame lies in the part that was asked for")
        ends = [pts for pts, _ in times[1:]] + [sum(times[-1])]
        return [(end - pts) * self.file.time_base for (pts, _), end in zip(times, ends, strict=True)]

    def enlarged(self, progress: Progress = QUIET) -> Iterator[Pixels]:
        """BGR or BGRA, one after the other."""
        file = self.file
        source = StoredFrames(
            size=file.size,
            layout=layout_of(file.pix_fmt),
            tags=file.tags,
            siting=file.siting,
            crop=file.crop,
            rotation=file.rotation,
        )
        tags = file.tags.enlarged(file.size, self.size, family=source.layout.family, becomes="rgb")
        result = EnlargedFrames(size=self.size, pix_fmt=self.pix_fmt, tags=tags)
        upscale = FrameUpscaler(
            self.upscaler, source, result, rgb=wants_rgb(self.options), reuse=self.video.reuse
        )
        for frame in self._reader():
            picture: Any = upscale.begin(frame.picture)()
            yield picture.to_ndarray()
            progress.advance(1)

    def result(self, output: Path, frames: int, notices: tuple[Notice, ...]) -> FramesResult:
        """What became of it."""
        return FramesResult(
            source=str(self.file.path),
            output=str(output),
            source_size=self.file.size,
            size=self.size,
            frames=frames,
            notices=notices,
            compression=self.compression,
        )

    def _reader(self) -> FrameReader:
        begin, end = interval(self.file, self.video)
        return FrameReader(
            file=self.file,
            begin=begin,
            end=end,
            limit=self.video.frames,
            deinterlace=self.video.deinterlace,
        )


def _refuse_encoding(video: VideoOptions) -> None:
    """Raise :class:`UsageError` for what only a film's encoder could do."""
    given = {"--codec": video.codec, "--crf": video.crf, "--preset": video.preset, "--pix-fmt": video.pix_fmt}
    refused = next((name for name, value in given.items() if value is not None), None)
    if refused is not None:
        raise UsageError(f"{refused} is for films; pictures take --quality and --lossless")
