"""A folder of pictures, animations and films: plan, journal, work, report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from xlsr_cli.errors import OutputError
from xlsr_cli.jobs.batch.effort import forecast, is_mixed
from xlsr_cli.jobs.batch.executors.executor import Executor
from xlsr_cli.jobs.batch.item import Item, ItemResult, is_settled, refused
from xlsr_cli.jobs.batch.journal import Entry, Journal, read_journals
from xlsr_cli.jobs.batch.meter import Meter
from xlsr_cli.jobs.batch.plan import BatchPlan, plan_batch
from xlsr_cli.jobs.batch.recipe import Recipe, recipe_for
from xlsr_cli.jobs.batch.report import Report
from xlsr_cli.jobs.batch.scan import stable_state
from xlsr_cli.jobs.batch.selection import Batch
from xlsr_cli.media.atomic import remove_parts
from xlsr_cli.progress import QUIET, Progress

#: Results are written to the journal at least after this many seconds; what a crash loses is done again.
_JOURNAL_SECONDS = 0.5
#: Seconds between two looks at a watched folder. A file is complete if it is the same in two looks.
WATCH_SECONDS = 2.0

Tell = Callable[[ItemResult], None]


def run_batch(
    plan: BatchPlan,
    executor: Executor,
    *,
    tell: Tell = lambda result: None,
    announce: Callable[[str], None] = lambda sentence: None,
    progress: Progress = QUIET,
) -> Report:
    """Do everything in ``plan`` that is not done yet; ``tell`` is called for each file as it ends.

    Raises :class:`OutputError` when the disk is too small or becomes full, or another run holds the folder.
    After any interruption, the same call goes on, and no half-written file is left. Where there is nothing to
    do, nothing is written.
    """
    _check_space(plan)
    batch, shard = plan.batch, plan.batch.selection.shard
    report, started = Report(out=batch.out), time.perf_counter()
    for refusal in plan.refused:
        result = refused(refusal)
        report.add(result)
        tell(result)
    known = read_journals(batch.out, shard) if not plan.jobs else {}
    if plan.jobs:
        recipe = recipe_for(batch.options, batch.settings.video)
        executor.prepare(recipe, plan.jobs)
        rates = executor.measure() if is_mixed(plan.jobs) else None
        if rates is not None:
            announce(forecast(plan.jobs, rates))
        with Journal(batch.out, shard) as journal:
            known = journal.known()
            _sweep(plan)
            items = _claimed(plan, recipe, journal)
            meter = Meter(items, recipe, rates, progress)
            try:
                _work(items, executor, journal, report, tell, meter)
            except BaseException:
                executor.stop()
                raise
            finally:
                _sweep(plan)
            journal.settle()
    if shard.count > 1:
        report.add_others(known.values())
    report.seconds = time.perf_counter() - started
    return report


def watch(batch: Batch, executor: Executor, *, tell: Tell) -> Iterator[Report]:
    """Process new and changed files as soon as they are complete, without end.

    Yields the report of everything so far, each time that something was done. Raises what :func:`run_batch`
    raises.
    """
    batch.check_folders()
    before: dict[str, tuple[int, int]] = {}
    finished: dict[str, tuple[int, int]] = {}
    report = Report(out=batch.out)
    while True:
        now = stable_state(batch)
        fresh = {name for name, state in now.items() if before.get(name) == state != finished.get(name)}
        before = now
        if fresh:
            plan = _only(plan_batch(batch), fresh)
            if plan.jobs or plan.refused:
                report.add_all(run_batch(plan, executor, tell=tell))
                yield report
            finished.update((name, now[name]) for name in fresh)
        time.sleep(WATCH_SECONDS)


def _only(plan: BatchPlan, names: set[str]) -> BatchPlan:
    jobs = tuple(job for job in plan.jobs if job.name in names)
    refusals = tuple(refusal for refusal in plan.refused if refusal.name in names)
    return replace(plan, jobs=jobs, refused=refusals, space_needed=sum(job.space for job in jobs))


def _claimed(plan: BatchPlan, recipe: Recipe, journal: Journal) -> list[Item]:
    """The items of ``plan``. Before anything is written, it is recorded which outputs this run may create or
    replace; a file that existed before and is not from this batch is not among them.
    """
    items, entries = [], []
    for job in plan.jobs:
        before = known = journal.known().get(job.name)
        if known is None or known.output != job.target:
            known = Entry(name=job.name, status="working", output=job.target)
        if known.output_sha256 or known.claim or recipe.options.overwrite or not job.output.exists():
            before = replace(known, claim=known.claim or recipe.key_for(job))
            entries.append(before)
        items.append(Item(job=job, known=before, retry=plan.batch.settings.retry_failed))
    journal.record(entries)
    # Done items first: verifying is quick, and then the time left is that of the others. Then large ones, so
    # that no worker still has one when the others have nothing to do.
    return sorted(items, key=lambda item: (not is_settled(item, recipe), -item.job.pixels))


def _work(
    items: list[Item], executor: Executor, journal: Journal, report: Report, tell: Tell, meter: Meter
) -> None:
    with closing(_journaled(executor.run(items, meter.part), journal)) as results:
        for result in results:
            report.add(result)
            tell(result)
            meter.end(result)
            if result.no_room:
                raise OutputError(
                    f"{result.entry.reason}; {report.done} files are done, and the same command continues"
                )
    meter.finish()


def _journaled(results: Iterator[ItemResult], journal: Journal) -> Generator[ItemResult, None, None]:
    """Pass ``results`` on, each written to the journal soon, and all of them at the end."""
    pending: list[ItemResult] = []
    last = time.monotonic()

    def record() -> None:
        journal.record(result.entry for result in pending if result.outcome in ("done", "failed"))
        for result in pending:
            if result.leftover is not None:
                shutil.rmtree(result.leftover, ignore_errors=True)

    try:
        for result in results:
            pending.append(result)
            if time.monotonic() - last > _JOURNAL_SECONDS:
                record()
                pending, last = [], time.monotonic()
            yield result
    finally:
        record()


def _check_space(plan: BatchPlan) -> None:
    if plan.space_free is not None and plan.space_needed > plan.space_free:
        raise OutputError(
            f"{plan.batch.out}: about {plan.space_needed / 1e6:.1f} MB are needed and "
            f"{plan.space_free / 1e6:.1f} MB are free; free some space or give another folder with --out"
        )


def _sweep(plan: BatchPlan) -> None:
    """Remove temporary files that a killed run or worker has left.

    The journal's lock guarantees that nobody else is writing, except other shards: those files of a film
    that they share are removed by the one that puts it together.
    """
    names: dict[Path, list[str]] = {}
    for job in plan.jobs:
        if job.shard.count > 1:
            continue
        names.setdefault(job.output.parent, []).append(job.output.name)
    for folder, outputs in names.items():
        if folder.is_dir():
            remove_parts(folder, outputs if plan.batch.selection.shard.count > 1 else None)
