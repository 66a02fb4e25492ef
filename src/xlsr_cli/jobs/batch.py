"""A folder of pictures: plan, journal, work, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xlsr_cli.engine.session import usable_cores
from xlsr_cli.errors import OutputError
from xlsr_cli.jobs.executors import ClusterExecutor, LocalExecutor
from xlsr_cli.jobs.item import Item, ItemResult, fingerprint
from xlsr_cli.jobs.journal import Entry, Journal, read_other_journals
from xlsr_cli.jobs.plan import BatchPlan, Job, Selection, plan_batch
from xlsr_cli.jobs.report import Report
from xlsr_cli.media.atomic import remove_parts
from xlsr_cli.options import PictureOptions
from xlsr_cli.progress import QUIET, Progress

#: Results are written to the journal at least so often, in seconds; what is lost in a crash is done again.
_JOURNAL_SECONDS = 0.5
#: A watched folder is looked at so often; a file is stable when two looks in a row see the same.
WATCH_SECONDS = 2.0

Tell = Callable[[ItemResult], None]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How a batch is run, beside what is done to each picture.

    ``jobs``: worker processes; None is one per usable core. ``timeout``: seconds for one file.
    ``max_memory``: bytes for all workers together. ``cluster``: address of a Dask scheduler.
    """

    selection: Selection
    jobs: int | None = None
    timeout: float | None = None
    max_memory: int | None = None
    retry_failed: bool = False
    cluster: str | None = None


def run_batch(
    plan: BatchPlan,
    options: PictureOptions,
    batch: BatchOptions,
    *,
    tell: Tell = lambda result: None,
    progress: Progress = QUIET,
) -> Report:
    """Do everything that ``plan`` lists and is not done yet; ``tell`` hears of each file as it ends.

    Raises :class:`OutputError` when the disk is too small or another run holds the folder. After any
    interruption, the same call goes on.
    """
    _check_space(plan)
    report, started = Report(), time.perf_counter()
    report.refuse(plan.refused)
    with Journal(plan.out, batch.selection.shard) as journal:
        if journal.existed:
            _sweep(plan)
        known = read_other_journals(plan.out, journal.path) | journal.entries()
        items = [
            Item(job=job, known=known.get(job.name), retry=batch.retry_failed)
            for job in sorted(plan.jobs, key=lambda job: -job.pixels)
        ]
        journal.begin((item.job.name, item.job.output) for item in items if item.known is None)
        items = [_claimed(item) for item in items]
        progress.start(sum(_megapixels(job) for job in plan.jobs), "MP")
        sizes = {job.name: _megapixels(job) for job in plan.jobs}
        for result in _journaled(_executor(options, batch, len(items)).run(items), journal):
            report.add(result)
            tell(result)
            progress.advance(sizes[result.entry.name])
        progress.finish()
        for name, entry in known.items():
            report.entries.setdefault(name, entry)
    report.seconds = time.perf_counter() - started
    return report


def watch(
    folder: Path, out: Path, options: PictureOptions, batch: BatchOptions, *, tell: Tell
) -> Iterator[Report]:
    """Run again and again on the files that are new and no longer change; yields each run's report."""
    seen: dict[Path, tuple[int, int]] = {}
    finished: dict[Path, tuple[int, int]] = {}
    while True:
        plan = plan_batch(folder, out, batch.selection, options)
        now = {job.source: _state(job) for job in plan.jobs}
        stable = [
            job for job in plan.jobs if seen.get(job.source) == now[job.source] != finished.get(job.source)
        ]
        seen = now
        if stable:
            chosen = BatchPlan(folder=folder, out=out, jobs=tuple(stable))
            yield run_batch(chosen, options, batch, tell=tell)
            finished.update((job.source, now[job.source]) for job in stable)
        time.sleep(WATCH_SECONDS)


def _state(job: Job) -> tuple[int, int]:
    try:
        status = job.source.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def _claimed(item: Item) -> Item:
    """An output that is not there when work begins will be ours: a worker may die after writing it."""
    if item.known is not None or item.job.output.exists():
        return item
    working = Entry(name=item.job.name, status="working", output=str(item.job.output))
    return replace(item, known=working)


def _check_space(plan: BatchPlan) -> None:
    if plan.space_free is not None and plan.space_needed > plan.space_free:
        raise OutputError(
            f"{plan.out}: about {plan.space_needed / 1e9:.1f} GB are needed and "
            f"{plan.space_free / 1e9:.1f} GB are free; free some space or give another folder with --out"
        )


def _sweep(plan: BatchPlan) -> None:
    """Remove what a killed run left half-written. The journal's lock says that nobody is writing."""
    for folder in {job.output.parent for job in plan.jobs}:
        if folder.is_dir():
            remove_parts(folder)


def _executor(options: PictureOptions, batch: BatchOptions, count: int) -> LocalExecutor | ClusterExecutor:
    key = fingerprint(options)
    if batch.cluster is not None:
        return ClusterExecutor(options, key, address=batch.cluster)
    cores = options.engine.threads or usable_cores()
    workers = max(1, min(batch.jobs or cores, count))
    return LocalExecutor(
        options,
        key,
        workers=workers,
        threads=max(1, cores // workers),
        timeout=batch.timeout,
        max_memory=batch.max_memory,
    )


def _journaled(results: Iterator[ItemResult], journal: Journal) -> Iterator[ItemResult]:
    """Pass ``results`` on, each written to the journal soon, and all of them at the end."""
    pending: list[Entry] = []
    last = time.monotonic()
    try:
        for result in results:
            if result.outcome in ("done", "failed"):
                pending.append(result.entry)
            if time.monotonic() - last > _JOURNAL_SECONDS:
                journal.record(pending)
                pending, last = [], time.monotonic()
            yield result
    finally:
        journal.record(pending)


def _megapixels(job: Job) -> float:
    return max(job.pixels, 1) / 1e6
