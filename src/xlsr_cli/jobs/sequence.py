"""Numbered pictures (``frame_%05d.png``) and cameras."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.formats import PictureFormat, either, format_for, still_capabilities
from xlsr_cli.jobs.inputs import NUMBER
from xlsr_cli.jobs.picture import upscale_file
from xlsr_cli.jobs.restore import for_frames
from xlsr_cli.jobs.results import FramesResult
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.atomic import atomic_output, check_output
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.video.camera import Camera, Recorder, check_recording, open_camera
from xlsr_cli.notices import Notice, enforce
from xlsr_cli.options import PictureOptions, Size
from xlsr_cli.progress import QUIET


def numbered(pattern: Path) -> list[tuple[int, Path]]:
    """The files that ``pattern`` stands for, by rising number; gaps are passed over.

    Raises :class:`InputError` where there is none.
    """
    match = re.search(NUMBER, pattern.name)
    assert match is not None
    digits = rf"\d{{{match[2]},}}" if match[1] else r"\d+"
    before, after = pattern.name[: match.start()], pattern.name[match.end() :]
    name = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
    found = []
    try:
        entries = list(pattern.parent.iterdir())
    except OSError as error:
        raise InputError(f"cannot read the folder {pattern.parent}: {error.strerror or error}") from error
    for entry in entries:
        number = name.fullmatch(entry.name)
        if number is not None and entry.name == named(pattern, int(number[1])).name and entry.is_file():
            found.append((int(number[1]), entry))
    if not found:
        raise InputError(f"no file fits {pattern}; it stands for names such as {named(pattern, 1).name}")
    return sorted(found)


def upscale_sequence(source: Path, output: Path, task: Task) -> FramesResult:
    """Enlarge the numbered pictures ``source`` into ``output``, each like any picture, with its number.

    Nothing is written where any output exists and may not be replaced. ``video.frames`` takes the first
    so many. Raises what :func:`~xlsr_cli.jobs.picture.upscale_file` raises; pictures before are done.
    """
    if not re.search(NUMBER, output.name):
        raise UsageError(
            f"{output.name}: the output of numbered pictures is numbered as well, such as "
            f"{source.name.replace('%', 'x2_%', 1)}; ffmpeg makes a video of them"
        )
    pairs = [(path, named(output, number)) for number, path in numbered(source)][: task.video.frames]
    for _, target in pairs:
        check_output(target, overwrite=task.options.overwrite)
    task.progress.start(len(pairs), "frames")
    notices: dict[Notice, None] = {}
    sizes: list[tuple[Size, Size]] = []
    compression = None
    each = replace(task, progress=QUIET)
    for path, target in pairs:
        result = upscale_file(path, target, each)
        if result.compression is not None:  # of the first one: all are frames of one scene
            compression = result.compression
            each = replace(each, upscaler=each.upscaler.restoring(compression.level))
        notices |= dict.fromkeys(result.notices)
        sizes.append((result.source_size, result.size))
        task.progress.advance(1)
    task.progress.finish()
    return FramesResult(
        source=str(source),
        output=output,
        source_size=sizes[0][0],
        size=sizes[0][1],
        frames=len(pairs),
        notices=tuple(notices),
        compression=compression,
    )


def upscale_camera(number: int, output: Path, task: Task) -> FramesResult:
    """Enlarge what a camera sees into a video or numbered pictures, until ``video.frames`` or Ctrl-C.

    Ctrl-C is how a recording ends: what was recorded is kept. Raises :class:`InputError` where no camera
    answers, :class:`UsageError` for an output of another kind.
    """
    pictures = bool(re.search(NUMBER, output.name))
    if not pictures:
        check_recording(output.name)
        check_output(output, overwrite=task.options.overwrite)
    with open_camera(number) as camera:
        task.progress.start(task.video.frames, "frames")
        count = (_write_pictures if pictures else _record)(camera, output, task)
        task.progress.finish()
    if count == 0:
        raise InputError(f"camera:{number} gives no pictures; see that no other program uses it")
    return FramesResult(
        source=f"camera:{number}",
        output=output,
        source_size=camera.size,
        size=task.options.target.size_for(camera.size),
        frames=count,
    )


def _record(camera: Camera, output: Path, task: Task) -> int:
    count = 0
    # OpenCV chooses the container by the extension, so this temporary file needs the output's.
    with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".xlsr-") as folder:
        part = Path(folder) / output.name
        recorder = Recorder(part, task.options.target.size_for(camera.size), camera.rate)
        try:
            for frame in _enlarged(camera, task):
                recorder.write(frame)
                count += 1
        finally:
            recorder.close()
        if count:
            with part.open("rb") as recorded, atomic_output(output, overwrite=task.options.overwrite) as file:
                shutil.copyfileobj(recorded, file)
    return count


def _write_pictures(camera: Camera, output: Path, task: Task) -> int:
    format = format_of_frames(output, task.options)
    count, _ = write_numbered(_enlarged(camera, task), output, format, task.options, name="the camera")
    return count


def write_numbered(
    frames: Iterable[Pixels],
    output: Path,
    format: PictureFormat,
    options: PictureOptions,
    *,
    name: str,
    metadata: Metadata | None = None,
) -> tuple[int, dict[Notice, None]]:
    """Write each of ``frames`` to a picture, numbered from 1; return their number and what was lost.

    ``name``: of the source, for messages. Pictures before an error are done.
    """
    count, notices = 0, dict[Notice, None]()
    for count, pixels in enumerate(frames, 1):  # how many there were
        picture = Picture(pixels=pixels, metadata=metadata or Metadata(), format=format)
        encoded, lost = encode(picture, format, options)
        enforce(lost, strict=options.strict, name=name)
        notices |= dict.fromkeys(lost)
        with atomic_output(named(output, count), overwrite=options.overwrite) as file:
            file.write(encoded)
    return count, notices


def _enlarged(camera: Camera, task: Task) -> Iterator[Pixels]:
    """The frames until Ctrl-C, all through the networks that the first one needs."""
    upscaler, size = task.upscaler, task.options.target.size_for(camera.size)
    try:
        for frame in islice(camera.frames(), task.video.frames):
            upscaler, _ = for_frames(upscaler, frame, (camera.size, size))
            yield upscaler(frame, size=size)
            task.progress.advance(1)
    except KeyboardInterrupt:
        return


def named(pattern: Path, number: int) -> Path:
    """The file with this number."""
    return pattern.with_name(re.sub(NUMBER, lambda match: match[0] % number, pattern.name))


def format_of_frames(output: Path, options: PictureOptions) -> PictureFormat:
    """The format of numbered pictures: the one asked for, or that of ``output``'s extension.

    Raises :class:`UsageError` for what is not written.
    """
    format = options.format or format_for(output.name)
    if format is None:
        known = either(f".{capabilities.extensions[0]}" for capabilities in still_capabilities())
        raise UsageError(f"{output.name}: pictures cannot be written as '{output.suffix}'; use {known}")
    return format
