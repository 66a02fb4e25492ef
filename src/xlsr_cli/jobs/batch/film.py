"""A film of a batch: complete, or one step of a film that several workers share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import OutputError, ResourceError
from xlsr_cli.jobs.batch.item import Cut, ItemResult, Order, failed, file_hash, not_ours
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.video import Part, parts
from xlsr_cli.jobs.video.parts import NotAsPlannedError
from xlsr_cli.jobs.video.plan import VideoPlan, plan_video
from xlsr_cli.jobs.video.run import VideoResult, put_together, upscale_video
from xlsr_cli.jobs.video.segments import BusyError, finished_frames, open_segments, work_folder
from xlsr_cli.media.atomic import remove_parts
from xlsr_cli.notices import Notice
from xlsr_cli.progress import QUIET

if TYPE_CHECKING:
    from xlsr_cli.options import PictureOptions

#: The film that was prepared last, with its key: parts of one film come one after the other.
_LAST: dict[str, Any] = {}
_LOCK = threading.Lock()
#: A film in parts is encoded by so many threads, on which the bytes depend: the same on every machine.
_ENCODER_THREADS = 1
#: Seconds to wait for another shard that looks at the same film; one that joins it takes longer.
_PATIENCE_WITH_SHARDS = 10.0


def do_step(order: Order) -> ItemResult:
    """Do the step ``order.item.step``. Raises what :func:`upscale_video` raises."""
    steps = {"plan": _plan, "part": _part, "join": _join, "whole": _whole}
    return steps[order.item.step.kind](order)


def _whole(order: Order) -> ItemResult:
    """Enlarge all of it; segments that an interrupted run has made are not made again.

    Segments stay until the journal says that the film is done. If the process is killed in between, the next
    run makes the same file from them at once, and so knows that the output is from this batch.
    """
    job, task = order.item.job, replace(order.task, options=_options(order))
    return _done(order, upscale_video(job.source, job.output, task, keep_segments=True))


def _options(order: Order) -> PictureOptions:
    """The options, with permission to replace an output of this batch.

    Raises :class:`OutputError` if the existing file is somebody else's.
    """
    output, options = order.item.job.output, order.task.options
    if not options.overwrite and order.claimed and work_folder(output).is_dir():
        options = replace(options, overwrite=True)
    if output.exists() and not options.overwrite:
        raise not_ours(order.item)
    return options


def _done(order: Order, result: VideoResult) -> ItemResult:
    job = order.item.job
    entry = order.done(
        pixels=result.source_size.pixels * result.frames,
        size=result.size_bytes,
        sha256=file_hash(job.output),
        compression=result.compression,
    )
    return ItemResult(outcome="done", entry=entry, notices=result.notices, leftover=work_folder(job.output))


def _film(order: Order) -> VideoPlan:
    """The film, inspected and planned once for all of its parts that this process makes."""
    job, status = order.item.job, order.item.job.source.stat()
    task = replace(order.task, options=replace(order.task.options, overwrite=False), progress=QUIET)
    wanted = (job.source, status.st_size, status.st_mtime_ns, job.output, task)
    with _LOCK:
        if _LAST.get("wanted") != wanted:
            made = plan_video(job.source, job.output, task, encoder_threads=_ENCODER_THREADS)
            _LAST.update(wanted=wanted, plan=made)
        plan: VideoPlan = _LAST["plan"]
    key = order.item.step.key
    if key and plan.key != key:
        raise ResourceError(
            f"{job.source}: this worker would write other bytes ({plan.key[:8]} instead of {key[:8]}); "
            "install the same xlsr and the same av everywhere"
        )
    return plan


def _plan(order: Order) -> ItemResult:
    if _is_joined_elsewhere(order):
        return _shared(order)
    try:
        return _divided(order)
    except (OutputError, OSError):  # such as for a folder that is being removed
        if _is_joined_elsewhere(order):
            return _shared(order)
        raise


def _divided(order: Order) -> ItemResult:
    """Which parts there are, and which of them are to be made here."""
    job = order.item.job
    _options(order)
    plan = _film(order)
    key = plan.key
    found, why = parts.parts_of(plan)
    if len(found) == 1:  # nothing to share: one of the shards does all of it
        return _planned(order, Cut(why=why)) if job.shard.holds(job.name) else _shared(order)
    try:
        done = finished_frames(job.output, key, patience=_patience(order))
    except BusyError:
        if job.shard.count == 1:
            raise
        return _shared(order)
    ours = [part for place, part in enumerate(found) if job.shard.holds(job.name, place)]
    _remove_half_parts(job.output, [parts.part_file(job.output, key, part).name for part in ours])
    todo = [part for part in ours if part.end > done and not _is_there(order, key, part)]
    if _is_joined_elsewhere(order):  # meanwhile, and the parts were removed
        return _shared(order)
    if todo and job.shard.count > 1:
        work_folder(job.output).mkdir(mode=0o700, exist_ok=True)
    frames = sum(part.frames for part in ours)
    return _planned(order, Cut(parts=tuple(found), todo=tuple(todo), frames=frames, key=key))


def _remove_half_parts(output: Path, names: list[str]) -> None:
    """Remove what killed workers have left of the parts of these ``names``, which nobody else makes."""
    folder = work_folder(output)
    if folder.is_dir():
        remove_parts(folder, names)


def _is_joined_elsewhere(order: Order) -> bool:
    """Whether another shard has made the output, after this run had found none, and is not seen to say so."""
    output = order.item.job.output
    unseen = order.item.job.shard.count > 1 and order.claimed and not order.task.options.overwrite
    return unseen and output.exists() and not work_folder(output).is_dir()


def _shared(order: Order, missing: Sequence[Part] = ()) -> ItemResult:
    """This shard has done its share; the others, or a run without shards, make what is ``missing``."""
    others = sum(parts.is_made_otherwise(order.item.job.output, part) for part in missing)
    notices: tuple[Notice, ...] = ()
    if others:
        message = (
            f"{others} of the parts that other shards made do not fit: they have another xlsr or av, or "
            "other options; run them again, or a run without --shard makes those parts"
        )
        notices = (Notice(code="parts-differ", message=message, loss=False),)
    entry = replace(_begun(order), reason="this shard has made its parts; others are to come")
    return ItemResult(outcome="shared", entry=entry, notices=notices)


def _planned(order: Order, cut: Cut) -> ItemResult:
    return ItemResult(outcome="planned", entry=_begun(order), cut=cut)


def _begun(order: Order) -> Entry:
    job = order.item.job
    return Entry(name=job.name, status="working", key=order.key, output=job.target)


def _is_there(order: Order, key: str, part: Part) -> bool:
    return parts.part_file(order.item.job.output, key, part).exists()


def _patience(order: Order) -> float:
    return _PATIENCE_WITH_SHARDS if order.item.job.shard.count > 1 else 0.0


def _part(order: Order) -> ItemResult:
    job, plan = order.item.job, _film(order)
    if job.shard.count > 1 and job.output.exists() and not work_folder(job.output).is_dir():
        # Another shard has joined the film meanwhile. A part would bring the folder back for good.
        return _shared(order)
    try:
        parts.make_part(plan, order.item.step.part, job.output, order.task.progress)
    except NotAsPlannedError as error:
        if job.shard.count > 1:  # the others do not know of it
            reason = f"{error.in_flags}, so it cannot be shared; a run without --shard does it as a whole"
            return failed(order.item, reason, error=ResourceError(reason))
        return _planned(order, Cut(why=f"its parts are damaged ({error})"))
    return ItemResult(outcome="part", entry=_begun(order))


def _join(order: Order) -> ItemResult:
    """Put the parts together. Of several shards, the one does it that finds all parts there."""
    output, plan = order.item.job.output, _film(order)
    finished = order.item.step.parts
    before = _state(output)
    if order.item.job.shard.count == 1:
        return _joined(order, finished, before)
    try:
        done = finished_frames(output, plan.key, patience=_patience(order))
        missing = [part for part in finished if part.end > done and not _is_there(order, plan.key, part)]
        return _shared(order, missing) if missing else _joined(order, finished, before)
    except BusyError:  # another one is joining them
        return _shared(order)
    except OutputError:
        if _state(output) == before:
            raise
        return _shared(order)  # another one has joined them and removed what was to be read here


def _state(output: Path) -> tuple[int, int] | None:
    """Changes when ``output`` is made or replaced."""
    try:
        status = output.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _joined(order: Order, finished: Sequence[Part], before: tuple[int, int] | None) -> ItemResult:
    """The output made of the ``finished`` parts.

    Raises :class:`BusyError` if somebody has made it since its state was ``before``.
    """
    output = order.item.job.output
    overwrite = _options(order).overwrite
    plan = _film(order)
    with open_segments(output, plan.key) as segments:
        if _state(output) != before:
            raise BusyError(f"{output} was made by somebody else meanwhile")
        parts.take_parts(segments, output, plan.key, finished)
        result = put_together(plan, segments, output, segments.notices(), overwrite=overwrite)
    return _done(order, result)
