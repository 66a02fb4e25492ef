"""Films from a pipe and from an animation: both become a file beside the output first."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from xlsr_cli.errors import OutputError, XlsrError
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.run import VideoResult, upscale_video
from xlsr_cli.media.atomic import check_output
from xlsr_cli.media.picture.animation import open_animation
from xlsr_cli.media.picture.source import Source
from xlsr_cli.media.video.lossless import write_lossless
from xlsr_cli.notices import Notice, enforce

#: What every player shows; an animation's own RGB in H.264 plays in few.
_PLAYABLE = "yuv420p"


def upscale_stream(stream: BinaryIO, name: str, output: Path, task: Task) -> VideoResult:
    """As :func:`upscale_video`, of a film that comes through a pipe and is called ``name`` in messages."""
    check_output(output, overwrite=task.options.overwrite)
    with _beside(output, name) as path:
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
        return replace(upscale_video(path, output, task), source=name)


def animation_to_film(source: Source, output: Path, task: Task) -> VideoResult:
    """As :func:`upscale_video`, of an animation, which plays once then. In 4:2:0 if nothing else is asked for
    and the codec is not lossless."""
    check_output(output, overwrite=task.options.overwrite)
    animation = open_animation(source, max_pixels=task.options.max_pixels)
    notices = [*animation.notices]
    if animation.plays != 1:
        message = "the film plays once; players repeat it when they are told to"
        notices.append(Notice(code="plays-reduced", message=message, loss=False))
    enforce(notices, strict=task.options.strict, name=source.name)
    if task.video.pix_fmt is None and task.video.codec != "ffv1":
        task = replace(task, video=replace(task.video, pix_fmt=_PLAYABLE))
    with _beside(output, source.name) as path:
        shown = zip(animation.frames(), animation.delays, strict=False)
        write_lossless(path, animation.size, shown, alpha=animation.channels == 4)
        result = upscale_video(path, output, task)
    return replace(result, source=source.name, notices=(*notices, *result.notices))


@contextmanager
def _beside(output: Path, name: str) -> Iterator[Path]:
    """A file in the output's folder, gone at the end; errors call it ``name``."""
    try:
        folder = tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".xlsr-")
    except OSError as error:
        raise OutputError(f"cannot write to {output.parent}: {error.strerror or error}") from error
    with folder:
        path = Path(folder.name) / "film"
        try:
            yield path
        except XlsrError as error:
            raise type(error)(str(error.args[0]).replace(str(path), name)) from error
        except OSError as error:
            raise OutputError(f"cannot write to {output.parent}: {error.strerror or error}") from error
