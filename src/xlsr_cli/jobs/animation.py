"""Upscale one animation: every frame goes through the engine; tiles that did not change are reused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlsr_cli.engine.tiles.reuse import Reuse
from xlsr_cli.errors import UsageError
from xlsr_cli.formats import FORMATS, animation_format, either, still_of
from xlsr_cli.jobs.memory import check_memory
from xlsr_cli.jobs.restore import for_picture
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.animation import (
    Animation,
    AnimationFormat,
    capabilities_of,
    check_animation_limits,
    open_animation,
    write_animation,
)
from xlsr_cli.media.picture.fitting import fit_metadata, fit_times
from xlsr_cli.media.picture.source import Film, Source
from xlsr_cli.media.picture.steps.limits import check_pixels
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class AnimationResult(FramesResult):
    """What became of one animation. ``reused``: share of the tiles that did not have to be computed."""

    format: AnimationFormat
    reused: float
    seconds: float


def upscale_animation(source: Source, output: Path, task: Task) -> AnimationResult:
    """Enlarge every frame of the animation ``source``; ``output`` is written completely or not at all.

    Delays, loop count and number of frames stay. Everything that can be refused is refused before the
    first frame is computed. Raises an :class:`~xlsr_cli.errors.XlsrError` whose class says what failed.
    """
    started, options = time.perf_counter(), task.options
    check_output(output, overwrite=options.overwrite)
    format = output_format(output, options)
    _check_canvas(source, task)
    animation = open_animation(source, max_pixels=options.max_pixels)
    target = options.target.size_for(animation.size)
    check_animation_limits(format, target)
    film, notices = _film(animation, format, target, options)
    enforce(notices, strict=options.strict, name=source.name)
    upscaler, compression = for_picture(
        task.upscaler, source, lambda: next(animation.frames()), (animation.size, target)
    )
    reuse = Reuse()

    def enlarged() -> Iterator[Pixels]:
        for frame in animation.frames():
            yield upscaler(frame, size=target, reuse=reuse)
            task.progress.advance(1)

    task.progress.start(len(film.delays), "frames")
    with atomic_output(output, overwrite=options.overwrite) as file:
        write_animation(file, format, film, enlarged(), quality=options.quality, lossless=options.lossless)
    task.progress.finish()
    return AnimationResult(
        source=source.name,
        output=output,
        source_size=animation.size,
        size=target,
        format=format,
        frames=len(film.delays),
        reused=reuse.reused / max(1, reuse.tiles),
        seconds=time.perf_counter() - started,
        notices=tuple(notices),
        compression=compression,
    )


#: Canvases that are held at once while frames are put together: what is there, what it becomes, the
#: decoded frame, and what was there before.
_CANVASES = 4


def _check_canvas(source: Source, task: Task) -> None:
    """Refuse, before any frame is decoded, a canvas that this process's control group has no room for."""
    size = source.stored_size
    check_pixels(size, source.name, task.options.max_pixels)
    held = len(source.data) + _CANVASES * 4 * size.pixels
    target = task.options.target.size_for(size)
    check_memory(source.name, size, target, channels=4, depth=8, held=held, upscaler=task.upscaler)


def output_format(output: Path, options: PictureOptions) -> AnimationFormat:
    """The format to write, by ``--format`` or the output's name.

    Raises :class:`UsageError` for a format that holds no animation, and says what does.
    """
    extension = output.suffix.lstrip(".").lower()
    if options.format is not None:
        extension = still_of(options.format).extensions[0]
    found = animation_format(extension)
    if found is None:
        stated = (options.format or extension).upper() or "a name without extension"
        known = either(sorted(f".{f.animation.extensions[0]}" for f in FORMATS if f.animation is not None))
        raise UsageError(
            f"{output.name}: {stated} holds no animation; write {known} (or a film, such as film.mkv)"
        )
    return found


def _film(
    animation: Animation, format: AnimationFormat, target: Size, options: PictureOptions
) -> tuple[Film, list[Notice]]:
    """What is written besides pixels, and notices about everything that will be lost."""
    metadata = animation.metadata.stripped() if options.strip else animation.metadata.for_size(target)
    capabilities = capabilities_of(format)
    metadata, dropped = fit_metadata(metadata, capabilities, in_color=animation.channels > 1)
    delays, plays, changed = fit_times(animation.delays, animation.plays, capabilities)
    notices = [*animation.notices, *dropped, *changed]
    if animation.source.format != format:
        notices += color_notices(format, hard_edges=animation.channels == 4)
    return Film(size=target, delays=delays, plays=plays, metadata=metadata), notices


def color_notices(format: AnimationFormat, *, hard_edges: bool = False) -> list[Notice]:
    """A notice where ``format`` has few colours. ``hard_edges``: nothing stays partly clear."""
    capabilities = capabilities_of(format)
    if capabilities.colors is None:
        return []
    message = f"a {capabilities.shown} has {capabilities.colors} colours a frame"
    message += " and its edges are hard" if hard_edges else ""
    return [Notice(code="colors-reduced", message=message)]
