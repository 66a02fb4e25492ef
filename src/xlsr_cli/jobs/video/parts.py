"""A film in parts, which can be enlarged on any machine, and putting them together.

A part consists of whole segments, the same ones that :func:`~xlsr_cli.jobs.video.run.upscale_video` makes, so
the bytes are the same on every machine. Decoding begins at the last clean key frame before the part. A
finished part is a file in the film's work folder, there completely or not at all.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from xlsr_cli.errors import InputError, OutputError
from xlsr_cli.jobs.video import SEGMENT_FRAMES, Part
from xlsr_cli.jobs.video.plan import VideoPlan
from xlsr_cli.jobs.video.run import decoding_threads, encode_frames
from xlsr_cli.jobs.video.segments import PART_SUFFIX, Segments, in_memory, work_folder
from xlsr_cli.media.atomic import atomic_output
from xlsr_cli.media.video.reader import Frame, FrameReader
from xlsr_cli.progress import QUIET, Progress

#: At most this many frames are decoded in vain before a part begins; decoding is a small part of the work.
_MOST_BEFORE = 2 * SEGMENT_FRAMES
#: A notice that counts frames of the whole film; in a part, none may be missing.
_OF_WHOLE_FILMS = "frames-damaged"


class NotAsPlannedError(InputError):
    """Decoding a part gives other frames than its packets say: the film cannot be divided."""


def parts_of(plan: VideoPlan) -> tuple[list[Part], str]:
    """The parts of a film. If there is only one, also the reason: a part of a sentence, empty for a short
    film."""
    file = plan.file
    times, cuts = file.times, file.cuts
    whole = [Part(begin=0, end=len(times))]
    if plan.trial:
        return whole, "only a part of it was asked for"
    if plan.task.video.deinterlace:
        return whole, "whole frames are made of their neighbours as well"
    if file.counted or len(times) != file.packets or any(a >= b for a, b in pairwise(times)):
        return whole, "its frames have no times of their own"
    if len(file.keys) < 2:
        return whole, "it has a single key frame"
    if len(cuts) < 2:
        return whole, "its groups of pictures are open: frames need those before the key frame"
    begins = [0]
    for begin in range(SEGMENT_FRAMES, len(times), SEGMENT_FRAMES):
        key = cuts[bisect_right(cuts, times[begin]) - 1]
        if begin - bisect_left(times, key) <= _MOST_BEFORE:
            begins.append(begin)
    parts = [Part(*ends) for ends in pairwise([*begins, len(times)])]
    apart = len(parts) == 1 and len(times) > SEGMENT_FRAMES
    return parts, "its key frames are far apart" if apart else ""


def part_file(output: Path, key: str, part: Part) -> Path:
    """The file of the finished ``part`` of the film ``output``; ``key`` is that of the plan."""
    return work_folder(output) / f"{key[:32]}-{part.begin}-{part.end}{PART_SUFFIX}"


def is_made_otherwise(output: Path, part: Part) -> bool:
    """Whether there is a file of ``part``, of any key: asked where there is none of the right one."""
    try:
        return any(work_folder(output).glob(f"*-{part.begin}-{part.end}{PART_SUFFIX}"))
    except OSError:  # the folder is being removed
        return False


def make_part(plan: VideoPlan, part: Part, output: Path, progress: Progress = QUIET) -> None:
    """Enlarge ``part`` and write its file.

    Raises :class:`NotAsPlannedError`, and what :func:`~xlsr_cli.jobs.video.run.upscale_video` raises.
    """
    plan = replace(plan, task=replace(plan.task, progress=progress))
    progress.start(part.frames, "frames")
    segments, upscale, reader = in_memory(), plan.frame_upscaler(), _reader(plan, part)
    try:
        encode_frames(_expected(reader, plan, part), plan, upscale, segments)
        late = plan.late_notices(reader, upscale)
        segments.set_notices([notice for notice in late if notice.code != _OF_WHOLE_FILMS])
        data = segments.serialized()
    finally:
        segments.close()
        progress.finish()
    work_folder(output).mkdir(mode=0o700, exist_ok=True)
    with atomic_output(part_file(output, plan.key, part), overwrite=True) as file:
        file.write(data)


def _reader(plan: VideoPlan, part: Part) -> FrameReader:
    file = plan.file
    times, base = file.times, file.time_base
    return FrameReader(
        file=replace(file, keys=file.cuts),
        begin=times[part.begin] * base if part.begin else None,
        end=times[part.end] * base if part.end < len(times) else None,
        threads=decoding_threads(plan),
    )


def _expected(reader: FrameReader, plan: VideoPlan, part: Part) -> Iterator[Frame]:
    """The frames of ``part``; each is checked to be the expected one."""
    file, times = plan.file, plan.file.times
    expected = part.begin
    for frame in reader:
        if expected >= part.end or frame.pts != times[expected]:
            raise NotAsPlannedError(f"{file.path}: frame {expected} is not where its packet says")
        expected += 1
        yield frame
    if expected != part.end:
        raise NotAsPlannedError(
            f"{file.path}: {part.end - expected} frames are missing before frame {part.end}"
        )


def take_parts(segments: Segments, output: Path, key: str, parts: Sequence[Part]) -> None:
    """Put the finished ``parts`` into ``segments``, behind what is there, and remove their files.

    Raises :class:`OutputError` for a damaged one, which is removed; the same command makes it again.
    """
    for part in parts:
        path = part_file(output, key, part)
        if segments.frames < part.end:
            try:
                if segments.frames != part.begin:
                    raise sqlite3.DatabaseError("frames are missing")
                segments.take(path.read_bytes(), part.frames)
            except (sqlite3.Error, OSError) as error:
                path.unlink(missing_ok=True)
                raise OutputError(f"{path} is damaged; the same command makes it again") from error
        path.unlink(missing_ok=True)
