"""Do one file of a batch: verify the output that an earlier run made, or make it."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from xlsr_cli.errors import REPORT_AT, OutputError, XlsrError
from xlsr_cli.jobs.batch.item import (
    Item,
    ItemResult,
    Order,
    failed,
    file_hash,
    is_as_written,
    may_replace,
    not_ours,
)
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.notices import Notice
from xlsr_cli.progress import QUIET, Progress

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A picture that is encoded and not yet written."""

    item: Item
    entry: Entry
    encoded: bytes
    replaces: bool
    notices: tuple[Notice, ...]


def do_item(item: Item, recipe: Recipe, upscaler: Upscaler, progress: Progress = QUIET) -> ItemResult:
    """Do one file, with the writing."""
    computed = compute(item, recipe, upscaler, progress=progress)
    return place(computed) if isinstance(computed, Computed) else computed


def compute(
    item: Item,
    recipe: Recipe,
    upscaler: Upscaler,
    tell_key: Callable[[str], None] = lambda key: None,
    progress: Progress = QUIET,
) -> Computed | ItemResult:
    """Do one file up to the writing, which :func:`place` does; a result if nothing is left to write.

    Every error becomes a failed entry, so that the batch goes on. ``tell_key`` gets the
    journal's key before the content is decoded: if that kills this process, the failure is recorded under it.
    """
    started = time.perf_counter()
    job, key = item.job, ""
    try:
        from xlsr_cli.jobs.picture import read_source
        from xlsr_cli.jobs.task import Task

        data = b"" if job.kind == "film" else read_source(job.source, max_pixels=recipe.options.max_pixels)
        key = item.step.entry_key
        if item.step.kind in ("whole", "plan"):
            content = hashlib.sha256(data).hexdigest() if data else file_hash(job.source)
            key = f"{content}-{recipe.key_for(job)}"
            tell_key(key)
            known = _known_outcome(item, key)
            if known is not None:
                return known
        part = item.step.kind == "part"  # it replaces nothing
        replaces = recipe.options.overwrite or (not part and may_replace(item, recipe.key_for(job)))
        _make_folder(job.out, job.output.parent)
        options = replace(recipe.options, overwrite=replaces)
        task = Task(options=options, video=recipe.video, upscaler=upscaler, progress=progress)
        order = Order(item=item, key=key, task=task)
        computed = _upscaled(order, data)
        seconds = time.perf_counter() - started
        return replace(computed, entry=replace(computed.entry, seconds=seconds))
    except Exception as error:
        return _failed(item, key, error, job.source, time.perf_counter() - started)


def _failed(item: Item, key: str, error: Exception, path: Path, seconds: float) -> ItemResult:
    """The result of an item that failed at ``path``; a bug must not end the batch either."""
    if isinstance(error, XlsrError):
        return failed(item, error.in_flags, key=key, seconds=seconds, error=error)
    if isinstance(error, MemoryError):
        return failed(item, f"not enough memory for {path}", key=key, error=error)
    bug = f"internal error ({type(error).__name__}: {error}); please report it at {REPORT_AT}"
    return failed(item, f"{path}: {bug}", key=key, error=error)


def _known_outcome(item: Item, key: str) -> ItemResult | None:
    """The result of an earlier run for the same content and options; None if the work has to be done."""
    job, known = item.job, item.known
    if known is None or known.key != key:
        return None
    if known.status == "done" and known.output == job.target and is_as_written(job.output, known):
        return ItemResult(outcome="kept", entry=known, leftover=_leftover(job))
    if known.status == "failed" and not item.retry:
        return ItemResult(outcome="failed-before", entry=known)
    return None


def _leftover(job: Job) -> Path | None:
    if job.kind != "film":
        return None
    from xlsr_cli.jobs.video.segments import work_folder

    return work_folder(job.output)


def _upscaled(order: Order, data: bytes) -> Computed | ItemResult:
    from xlsr_cli.media.sniff import kind_of

    if order.item.job.kind == "film":
        from xlsr_cli.jobs.batch import film

        return film.do_step(order)
    return _animation(order, data) if kind_of(data) == "animation" else _picture(order, data)


def _picture(order: Order, data: bytes) -> Computed:
    from xlsr_cli.jobs.picture import upscale_picture
    from xlsr_cli.media.picture.steps.opening import open_picture

    job, file = order.item.job, io.BytesIO()
    result = upscale_picture(open_picture(data, str(job.source)), job.output, order.task, file=file)
    encoded = file.getvalue()
    entry = order.done(
        pixels=result.source_size.pixels,
        size=len(encoded),
        sha256=hashlib.sha256(encoded).hexdigest(),
        compression=result.compression,
    )
    replaces = order.task.options.overwrite
    return Computed(item=order.item, entry=entry, encoded=encoded, replaces=replaces, notices=result.notices)


def _animation(order: Order, data: bytes) -> ItemResult:
    from xlsr_cli.jobs.animation import upscale_animation
    from xlsr_cli.media.picture.steps.opening import open_picture

    job, options = order.item.job, order.task.options
    task = replace(order.task, options=replace(options, overwrite=options.overwrite or order.claimed))
    result = upscale_animation(open_picture(data, str(job.source)), job.output, task)
    entry = order.done(
        pixels=result.source_size.pixels * result.frames,
        size=job.output.stat().st_size,
        sha256=file_hash(job.output),
        compression=result.compression,
    )
    return ItemResult(outcome="done", entry=entry, notices=result.notices)


def place(computed: Computed) -> ItemResult:
    """Write what :func:`compute` made. This waits for the disk only."""
    from xlsr_cli.media.atomic import atomic_output

    item, entry = computed.item, computed.entry
    output = item.job.output
    done = ItemResult(outcome="done", entry=entry, notices=computed.notices)
    try:
        if not computed.replaces and is_as_written(output, entry):
            return done  # written by a run that was killed before it recorded that
        if not computed.replaces and output.exists():
            raise not_ours(item)
        with atomic_output(output, overwrite=computed.replaces) as file:
            file.write(computed.encoded)
    except Exception as error:
        return _failed(item, entry.key, error, output, entry.seconds)
    return done


def _make_folder(out: Path, folder: Path) -> None:
    """Make ``folder`` below ``out``. Links below ``out`` are refused: others may have made them."""
    below = [folder, *folder.parents]
    for path in below[: below.index(out)]:
        if path.is_symlink():
            raise OutputError(f"{path} is a link, and nothing is written through one; remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
