"""A film of a batch: complete, or one step of a film that several workers share."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import ResourceError
from xlsr_cli.jobs.batch.item import Cut, ItemResult, Order, file_hash, not_ours
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.video import parts
from xlsr_cli.jobs.video.parts import NotAsPlannedError, Part
from xlsr_cli.jobs.video.run import Prepared, VideoResult, prepare, put_together, upscale_video
from xlsr_cli.jobs.video.segments import open_segments, work_folder
from xlsr_cli.notices import enforce
from xlsr_cli.progress import Progress

if TYPE_CHECKING:
    from xlsr_cli.options import PictureOptions

#: The film that was prepared last, with its key: parts of one film come one after the other.
_LAST: dict[str, Any] = {}
_LOCK = threading.Lock()


def do_step(order: Order, progress: Progress) -> ItemResult:
    """Do the step ``order.item.step``. Raises what :func:`upscale_video` raises."""
    kind = order.item.step.kind
    if kind == "plan":
        return _plan(order)
    if kind == "part":
        return _part(order, progress)
    if kind == "join":
        return _join(order)
    return _whole(order, progress)


def _whole(order: Order, progress: Progress) -> ItemResult:
    """Enlarge all of it; segments that an interrupted run has made are not made again.

    Segments stay until the journal says that the film is done. If the process is killed in between, the next
    run makes the same file from them at once, and so knows that the output is from this batch.
    """
    job, options = order.item.job, _options(order)
    result = upscale_video(
        job.source,
        job.output,
        options,
        order.recipe.video,
        upscaler=order.upscaler,
        progress=progress,
        keep_segments=True,
    )
    return _done(order, result)


def _options(order: Order) -> PictureOptions:
    """The options, with permission to replace an output of this batch.

    Raises :class:`OutputError` if the existing file is somebody else's.
    """
    from dataclasses import replace

    output = order.item.job.output
    begun = work_folder(output).is_dir()
    options = replace(order.options, overwrite=order.replaces or (order.claimed and begun))
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


def _prepared(order: Order) -> Prepared:
    """The film, inspected and planned once for all of its parts that this process makes."""
    job, recipe = order.item.job, order.recipe
    status = job.source.stat()
    wanted = (job.source, status.st_size, status.st_mtime_ns, job.output, recipe, id(order.upscaler))
    with _LOCK:
        if _LAST.get("wanted") != wanted:
            made = prepare(job.source, job.output, recipe.options, recipe.video, order.upscaler)
            _LAST.update(wanted=wanted, film=made)
        film: Prepared = _LAST["film"]
    key = order.item.step.key
    if key and film.plan.key != key:
        raise ResourceError(
            f"{job.source}: this worker would write other bytes ({film.plan.key[:8]} instead of {key[:8]}); "
            "install the same xlsr and the same av everywhere"
        )
    return film


def _plan(order: Order) -> ItemResult:
    output = order.item.job.output
    _options(order)
    film = _prepared(order)
    key = film.plan.key
    found, why = parts.parts_of(film.plan)
    entry = Entry(name=order.item.job.name, status="working", key=order.key)
    if len(found) == 1:
        return ItemResult(outcome="planned", entry=entry, cut=Cut(why=why))
    with open_segments(output, key) as segments:
        done = segments.frames
        todo = [part for part in found if part.end > done and not parts.part_file(output, key, part).exists()]
    cut = Cut(parts=tuple(map(_pair, found)), todo=tuple(map(_pair, todo)), key=key)
    return ItemResult(outcome="planned", entry=entry, cut=cut)


def _pair(part: Part) -> tuple[int, int]:
    return part.begin, part.end


def _part(order: Order, progress: Progress) -> ItemResult:
    step, job = order.item.step, order.item.job
    part = Part(begin=step.begin, end=step.end)
    entry = Entry(name=job.name, status="working", key=order.key)
    film = _prepared(order)
    try:
        parts.make_part(film, part, job.output, progress)
    except NotAsPlannedError as error:
        why = f"its parts are damaged ({error})"
        return ItemResult(outcome="planned", entry=entry, cut=Cut(why=why))
    return ItemResult(outcome="part", entry=entry)


def _join(order: Order) -> ItemResult:
    output = order.item.job.output
    overwrite = _options(order).overwrite
    film = _prepared(order)
    plan = film.plan
    with open_segments(output, plan.key) as segments:
        finished = [Part(begin=begin, end=end) for begin, end in order.item.step.parts]
        parts.take_parts(segments, output, plan.key, finished)
        late = tuple(segments.notices())
        enforce(late, strict=order.options.strict, name=str(order.item.job.source))
        duration, size = put_together(plan, segments, output, overwrite=overwrite)
        result = film.result(output, segments.frames, duration=float(duration), size_bytes=size)
    return _done(order, replace(result, notices=(*result.notices, *late)))
