"""Films into pictures: numbered ones, or an animation. What pictures have no place for is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.errors import InputError
from xlsr_cli.jobs.animation import color_notices, output_format
from xlsr_cli.jobs.restore import for_film
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.sequence import format_of_frames, write_numbered
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.plan import FilmFrames, shown_size
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.animation import capabilities_of, check_animation_limits, write_animation
from xlsr_cli.media.picture.fitting import fit_times
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Film
from xlsr_cli.media.video.frame_upscaler import EnlargedFrames
from xlsr_cli.media.video.inspect import VideoFile, inspect
from xlsr_cli.media.video.layout import layout_of
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import refuse_options


def film_to_pictures(source: Path, output: Path, task: Task) -> FramesResult:
    """Write every frame of the film ``source`` to a picture, numbered from 1 by the pattern ``output``.

    Raises :class:`UsageError` for pictures that are not written, :class:`InputError`, :class:`OutputError`;
    pictures before are done then.
    """
    format = format_of_frames(output, task.options)
    film = _frames_of(source, task, deep=True)
    notices = _notices(film.file)
    enforce(notices, strict=task.options.strict, name=str(source))
    task.progress.start(task.video.frames or film.file.packets, "frames")
    count, lost = write_numbered(
        _enlarged(film), output, format, task.options, name=str(source), metadata=_metadata(film.file)
    )
    task.progress.finish()
    return _result(film, output, count, tuple(dict.fromkeys([*notices, *lost])))


def film_to_animation(source: Path, output: Path, task: Task) -> FramesResult:
    """Write the film ``source`` as an animation that plays for ever. Raises as :func:`film_to_pictures`."""
    options = task.options
    check_output(output, overwrite=options.overwrite)
    format = output_format(output, options)
    film = _frames_of(source, task, deep=False)
    size = film.result.size
    check_animation_limits(format, size)
    delays, plays, changed = fit_times(_delays(film), 0, capabilities_of(format))
    notices = [*_notices(film.file), *changed, *color_notices(format)]
    enforce(notices, strict=options.strict, name=str(source))
    shown = Film(size=size, delays=delays, plays=plays, metadata=Metadata())
    task.progress.start(len(delays), "frames")
    with atomic_output(output, overwrite=options.overwrite) as file:
        frames = _enlarged(film)
        write_animation(file, format, shown, frames, quality=options.quality, lossless=options.lossless)
    task.progress.finish()
    return _result(film, output, len(delays), tuple(notices))


def _frames_of(source: Path, task: Task, *, deep: bool) -> FilmFrames:
    """The frames of a film, upright, as pictures. ``deep``: more than 8 bits are kept."""
    why = "is for films; pictures take --quality and --lossless"
    refuse_options(("codec", "crf", "preset", "pix_fmt"), why, task.video)
    file = inspect(source, max_pixels=task.options.max_pixels)
    layout = layout_of(file.pix_fmt)
    shown = shown_size(file)
    size = task.options.target.size_for(shown)
    upscaler, compression = for_film(task.upscaler, source, (shown, size))
    if deep and layout.depth > 8:
        pix_fmt = "bgra64le" if layout.alpha else "bgr48le"
    else:
        pix_fmt = "bgra" if layout.alpha else "bgr24"
    tags = file.tags.enlarged(file.size, size, family=layout.family, becomes="rgb")
    return FilmFrames(
        file=file,
        task=replace(task, upscaler=upscaler),
        compression=compression,
        upright=file.rotation,
        result=EnlargedFrames(size=size, pix_fmt=pix_fmt, tags=tags),
    )


def _notices(file: VideoFile) -> list[Notice]:
    """What pictures have no place for."""
    notices = list(file.notices)
    for stream in file.streams:
        notices.append(Notice(code="stream-dropped", message=f"{stream} has no place in pictures"))
    if file.aspect not in (None, 1):
        message = f"pixels of {file.aspect} become squares; --width and --height set the shape"
        notices.append(Notice(code="aspect-dropped", message=message))
    if file.hdr:
        notices.append(Notice(code="hdr-dropped", message="pictures do not hold HDR10 metadata"))
    return notices


def _metadata(file: VideoFile) -> Metadata:
    """The colours, where the film says them."""
    if 2 in (file.tags.primaries, file.tags.transfer):
        return Metadata()
    return Metadata(cicp=(file.tags.primaries, file.tags.transfer, 0, 1))


def _delays(film: FilmFrames) -> Sequence[Fraction]:
    """How long each frame is shown, in seconds; found by decoding them once."""
    times = [(frame.pts, frame.duration) for frame in film.reader()]
    if not times:
        raise InputError(f"{film.file.path}: no frame lies in the part that was asked for")
    ends = [pts for pts, _ in times[1:]] + [sum(times[-1])]
    return [(end - pts) * film.file.time_base for (pts, _), end in zip(times, ends, strict=True)]


def _enlarged(film: FilmFrames) -> Iterator[Pixels]:
    """BGR or BGRA, one after the other."""
    upscale = film.frame_upscaler()
    for frame in film.reader():
        picture: Any = upscale.begin(frame.picture)()
        yield picture.to_ndarray()
        film.task.progress.advance(1)


def _result(film: FilmFrames, output: Path, frames: int, notices: tuple[Notice, ...]) -> FramesResult:
    return FramesResult(
        source=str(film.file.path),
        output=output,
        source_size=film.file.size,
        size=film.result.size,
        frames=frames,
        notices=notices,
        compression=film.compression,
    )
