"""A small trial of each kind of work that xlsr does. The doctor runs them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import REPORT_AT, XlsrError
from xlsr_cli.formats import FALLBACK, PICTURE_FORMATS, PictureFormat
from xlsr_cli.jobs.task import Task
from xlsr_cli.media import samples
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.options import PictureOptions, Size, VideoCodec, VideoOptions

_PICTURES = "reinstall its library: pip install --force-reinstall opencv-python-headless pillow tifffile"
_FILMS = "reinstall its library: pip install --force-reinstall --only-binary av av"


class TrialError(XlsrError):
    """A trial ran to its end, but its result was wrong."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial. ``run`` gets a folder to work in, and raises if the trial fails."""

    subject: Literal["picture", "video", "batch"]
    name: str
    remedy: str
    run: Callable[[Path], None]


def trials(upscaler: Upscaler, codecs: Sequence[VideoCodec]) -> Iterator[Trial]:
    """All trials, at ×2; films in each of ``codecs``."""
    for format in PICTURE_FORMATS:
        run = partial(_picture, upscaler, format)
        yield Trial(subject="picture", name=format, remedy=_PICTURES, run=run)
    yield Trial(subject="picture", name="animation", remedy=_PICTURES, run=partial(_animation, upscaler))
    for codec in codecs:
        run = partial(_film, upscaler, codec)
        yield Trial(subject="video", name=codec, remedy=_FILMS, run=run)
    remedy = f"give 'xlsr batch' --jobs 0: it works in one process; please report this at {REPORT_AT}"
    yield Trial(subject="batch", name="batch of two", remedy=remedy, run=_batch)


def _picture(upscaler: Upscaler, format: PictureFormat, folder: Path) -> None:
    """A picture into ``format``, and the result back into the format that it came in."""
    from xlsr_cli.jobs.picture import upscale_file

    source, there, back = (folder / name for name in ("in.png", f"there.{format}", "back.png"))
    samples.write_picture(source)
    upscale_file(source, there, Task(options=PictureOptions(format=format), upscaler=upscaler))
    result = upscale_file(there, back, Task(options=PictureOptions(format=FALLBACK.name), upscaler=upscaler))
    side = 4 * samples.SIDE
    if result.size != Size(width=side, height=side):
        raise TrialError(f"a picture of {side}x{side} was expected, and {result.size} came back")


def _animation(upscaler: Upscaler, folder: Path) -> None:
    from xlsr_cli.jobs.animation import upscale_animation
    from xlsr_cli.jobs.picture import open_file

    source, output = (folder / f"{name}.{samples.ANIMATED.name}" for name in ("in", "out"))
    samples.write_animation(source)
    result = upscale_animation(open_file(source), output, Task(upscaler=upscaler))
    if result.frames != samples.FRAMES:
        raise TrialError(f"{result.frames} of {samples.FRAMES} frames came back")


def _film(upscaler: Upscaler, codec: VideoCodec, folder: Path) -> None:
    """A film with sound into ``codec``."""
    from xlsr_cli.jobs.video.run import upscale_video

    source, output = folder / "in.mkv", folder / "out.mkv"
    with native_messages():  # x265 and SVT-AV1 introduce themselves at length
        samples.write_film(source)
        upscale_video(source, output, Task(video=VideoOptions(codec=codec), upscaler=upscaler))
        frames, sound = samples.film_contents(output)
    if frames != samples.FRAMES:
        raise TrialError(f"{frames} of {samples.FRAMES} frames came back")
    if not sound:
        raise TrialError("the sound did not come back")


def _batch(folder: Path) -> None:
    """Two pictures, each by a worker process."""
    from xlsr_cli.jobs.batch.executors.choice import WorkOptions, open_executor
    from xlsr_cli.jobs.batch.plan import plan_batch
    from xlsr_cli.jobs.batch.run import run_batch
    from xlsr_cli.jobs.batch.selection import Batch

    source = folder / "in"
    source.mkdir()
    for name in ("a.png", "b.png"):
        samples.write_picture(source / name)
    with open_executor(WorkOptions(jobs=2)) as executor:
        report = run_batch(plan_batch(Batch(folder=source, out=folder / "out")), executor)
    if report.done != 2:
        raise TrialError(f"{report.done} of 2 pictures were done: {'; '.join(report.failed.values())}")
