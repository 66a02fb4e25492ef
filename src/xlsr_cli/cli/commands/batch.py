"""``xlsr batch FOLDER``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from xlsr_cli.cli.console import console, naming
from xlsr_cli.cli.flags import Page, with_flags
from xlsr_cli.cli.help import HELP_OPTIONS, Command
from xlsr_cli.cli.installed import warn_of_clash
from xlsr_cli.declaration import option
from xlsr_cli.errors import InputError, ItemsFailedError, UsageError
from xlsr_cli.jobs.batch.executors.choice import WorkOptions, open_executor
from xlsr_cli.jobs.batch.job import NOTHING_TO_ENLARGE, JobKind
from xlsr_cli.jobs.batch.selection import Batch, BatchOptions
from xlsr_cli.jobs.inputs import (
    STANDARD_STREAM,
    ListOptions,
    all_inputs,
    below_one_folder,
    refuse_no_file,
    refuse_no_file_as_output,
)
from xlsr_cli.notices import counted
from xlsr_cli.options import PictureOptions

if TYPE_CHECKING:
    from xlsr_cli.jobs.batch.executors.executor import Executor
    from xlsr_cli.jobs.batch.item import ItemResult
    from xlsr_cli.jobs.batch.job import Refusal
    from xlsr_cli.jobs.batch.plan import BatchPlan
    from xlsr_cli.jobs.batch.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_EXAMPLES = """
xlsr batch holidays --recursive
xlsr batch scans --out large --format png --exclude drafts
find . -name '*.jpg' -print0 | xlsr batch --files-from - -0 --out large
"""


@dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """Where the results of a batch go, and what is said of them."""

    out: Path | None = option(
        None, "Output folder.", "files", short="-o", also="--output", value="FOLDER", shown="FOLDER_x2"
    )
    watch: bool = option(False, "Keep running, and process new files once they are complete.", "files")
    report: Path | None = option(None, "Write a report, .html or .json.", "files", value="FILE")
    dry_run: bool = option(False, "Show what would be done; write nothing.", "messages")
    json: bool = option(False, "One JSON event per line on stdout.", "messages")


@app.command(cls=Command, context_settings=HELP_OPTIONS, epilog=_EXAMPLES)
@with_flags
def batch(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT…", help="A folder, or any folders, files and quoted patterns.", show_default=False
        ),
    ] = None,
    *,
    flags: BatchFlags,
    lists: ListOptions,
    settings: BatchOptions,
    work: WorkOptions,
    page: Page,
    options: PictureOptions,
) -> None:
    """Enlarge all pictures, animations and films of a folder. The same command resumes an interrupted run.

    If a file fails, the others are still done, the failure is listed with its reason, and the exit code is 7.
    """
    warn_of_clash()
    if options.y4m:
        raise UsageError("--format y4m is for streams; a batch writes files")
    if flags.watch and (flags.dry_run or page.html is not None):
        raise UsageError("--watch does not go with --dry-run and --html; it has no end")
    work = replace(work, threads=options.engine.threads, max_memory=options.engine.max_memory)
    folder, listed = _folder_and_names(inputs or [], lists, flags.out)
    if listed and flags.watch:
        raise UsageError("--watch looks at one folder; give a single one")
    settings = replace(settings, selection=replace(settings.selection, listed=listed))
    target = _output_folder(folder, flags.out, options)
    if work.cluster is not None:  # its workers live in other folders
        folder, target = folder.absolute(), target.absolute()
    asked = Batch(folder=folder, out=target, options=options, settings=settings)
    if flags.dry_run:
        from xlsr_cli.jobs.batch.plan import plan_batch

        _announce(plan_batch(asked), json=flags.json)
        return
    _check_pages(flags, page.html, overwrite=options.overwrite)
    tell = _Teller(target, json=flags.json)
    with open_executor(work) as executor:
        if flags.watch:
            _watch(asked, executor, flags.report, tell)
            return
        plan, outcome = _run(asked, executor, tell)
    _write_report(outcome, flags.report, asked)
    if page.html is not None:
        _write_page(plan, outcome, page.html, full=page.html_full)
    if flags.json:
        console.json({"event": "end", **outcome.counts()})
    _conclude(outcome, plan.refused)


def _run(asked: Batch, executor: Executor, tell: _Teller) -> tuple[BatchPlan, Report]:
    # Imported only now, since it takes long: the workers import it at the same time.
    from xlsr_cli.jobs.batch.plan import plan_batch
    from xlsr_cli.jobs.batch.run import run_batch

    plan = plan_batch(asked)
    _remark(plan)
    if tell.json:
        _plan_event(plan)
    console.info(_size_of(plan))
    with console.progress(asked.folder.name, events=tell.json) as progress:
        try:
            return plan, run_batch(plan, executor, tell=tell, announce=console.info, progress=progress)
        except KeyboardInterrupt:
            if tell.count:
                files = counted(len(plan.jobs), "file")
                console.info(f"note: {tell.count} of {files} were done; the same command continues")
            raise


def _folder_and_names(
    inputs: list[str], lists: ListOptions, out: Path | None
) -> tuple[Path, tuple[str, ...]]:
    """The folder of a batch and, if there are several inputs, the path of each below it."""
    if not inputs and lists.files_from is None:
        raise UsageError("give an input: a folder, files, or a list of them with --files-from")
    if STANDARD_STREAM in inputs:
        raise InputError("- stands for stdin, which a batch does not read; 'xlsr upscale -' enlarges it")
    names = all_inputs(inputs, lists)
    if names == inputs and len(names) == 1 and (out is None or not Path(names[0]).is_file()):
        refuse_no_file(names[0])
        return Path(names[0]), ()
    if out is None:
        raise UsageError("an output folder for these inputs is missing; give one with --out")
    return below_one_folder(names)


def _output_folder(folder: Path, out: Path | None, options: PictureOptions) -> Path:
    if out is not None:
        refuse_no_file_as_output(str(out))
        return out
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links, to beside their target
    if not place.name:
        raise UsageError(f"a folder beside {folder} cannot be made; give an output folder with --out")
    return place.with_name(f"{place.name}_{options.target.label}")


def _check_pages(flags: BatchFlags, html: Path | None, *, overwrite: bool) -> None:
    """Find out before the work what could not be written after it."""
    from xlsr_cli.jobs.batch.report import check_report

    if flags.report is not None:
        check_report(flags.report, overwrite=overwrite)
    if html is not None:
        from xlsr_cli.quality.page import check_page

        check_page(html, overwrite=overwrite or _is_page(html))


#: So many pairs of previews a browser holds with ease.
_MOST_PAIRS = 200


def _is_page(path: Path) -> bool:
    """Whether a page of an earlier run is there: the same command replaces it."""
    try:
        with path.open("rb") as file:
            return b"<title>xlsr batch " in file.read(2000)
    except OSError:
        return False


def _write_page(plan: BatchPlan, outcome: Report, page: Path, *, full: bool) -> None:
    """Write the page with the pictures that were done."""
    from xlsr_cli.quality.page import FilePair, file_pairs, write_page

    files = [
        FilePair(before=job.source, after=job.output, name=job.name)
        for job in plan.jobs
        if job.kind != "film"
        and (entry := outcome.entries.get(job.name)) is not None
        and entry.status == "done"
    ]
    if not files:
        console.info(f"note: {page} is not written, since there is nothing to show")
        return
    pairs = file_pairs(files[:_MOST_PAIRS], page, full=full)
    # An existing file was checked before the work.
    write_page(page, pairs, title=f"xlsr batch {plan.batch.folder}", overwrite=True)
    console.info(f"wrote {page}")
    if len(files) > _MOST_PAIRS:
        console.info(f"note: the page shows the first {_MOST_PAIRS} of {len(files)} pictures")


def _write_report(outcome: Report, report: Path | None, asked: Batch) -> None:
    if report is None:
        return
    from xlsr_cli.jobs.batch.report import write_report

    if report.suffix.lower() == ".json":
        text = dumps(outcome.as_json(), ensure_ascii=False, indent=2) + "\n"
    else:
        from xlsr_cli.quality.batch_page import batch_page

        text = batch_page(outcome, asked.folder, report, f"xlsr batch {asked.folder}")
    write_report(text, report, overwrite=asked.options.overwrite)


def _watch(asked: Batch, executor: Executor, report: Path | None, tell: _Teller) -> None:
    """Process new files until Ctrl-C."""
    from xlsr_cli.jobs.batch.run import watch as watch_folder

    def tell_at_once(result: ItemResult) -> None:
        tell(result)
        if result.outcome == "failed":
            console.error(naming(result.entry.name, result.entry.reason))

    console.info(f"watching {asked.folder}; Ctrl-C ends it")
    try:
        for outcome in watch_folder(asked, executor, tell=tell_at_once):
            console.info(outcome.summary())
            _write_report(outcome, report, asked)
    except KeyboardInterrupt:
        console.info(f"no longer watching {asked.folder}")


def _announce(plan: BatchPlan, *, json: bool) -> None:
    """Show what would be done, file by file."""
    if json:
        _plan_event(plan)
    _remark(plan)
    for job in plan.jobs:
        if json:
            console.json({"event": "would", "name": job.name, "output": str(job.output)})
        else:
            console.data(f"{job.source} -> {job.output}")
    for refusal in plan.refused:
        if json:
            console.json({"event": "refused", "name": refusal.name, "reason": refusal.reason})
        else:
            console.data(f"{refusal.name}: refused: {refusal.reason}")
    if not json:
        console.data(_size_of(plan))
    if plan.space_free is not None and plan.space_needed > plan.space_free:
        console.info(f"note: only {_megabytes(plan.space_free)} are free there")


def _remark(plan: BatchPlan) -> None:
    for line in plan.remarks:
        console.info(f"note: {line}")
    for name, reason in plan.left.items():
        console.detail(f"{name}: left alone: {reason}")


def _plan_event(plan: BatchPlan) -> None:
    console.json(
        {
            "event": "plan",
            "jobs": len(plan.jobs),
            "finished": plan.finished,
            "refused": len(plan.refused),
            "other": len(plan.left),
            "megapixels": round(sum(job.pixels for job in plan.jobs) / 1e6, 3),
            "space_needed": plan.space_needed,
            "space_free": plan.space_free,
        }
    )


def _size_of(plan: BatchPlan) -> str:
    """The plan in one line."""
    finished = f" ({plan.finished} of them done before)" if plan.finished else ""
    return (
        f"{_kinds_of(plan)}{finished}, {len(plan.refused)} refused, {_left_of(plan)}; "
        f"about {_megabytes(plan.space_needed)} into {plan.batch.out}"
    )


def _kinds_of(plan: BatchPlan) -> str:
    """``40 pictures, 4 animations, 6 films in about 38 parts``; ``0 pictures`` where there is nothing."""
    from xlsr_cli.jobs.batch.effort import parts_of

    counts = {kind: sum(job.kind == kind for job in plan.jobs) for kind in get_args(JobKind)}
    named = [counted(count, kind) for kind, count in counts.items() if count]
    parts = sum(parts_of(job) for job in plan.jobs if job.kind == "film")
    in_parts = f" in about {parts} parts" if parts > counts["film"] else ""
    return (", ".join(named) or "0 pictures") + in_parts


def _left_of(plan: BatchPlan) -> str:
    """``9 other files``, with the reasons unless all have the usual one."""
    reasons = Counter(plan.left.values())
    files = counted(len(plan.left), "other file")
    if set(reasons) <= {NOTHING_TO_ENLARGE}:
        return files
    return f"{files} ({'; '.join(f'{count} {reason}' for reason, count in reasons.most_common())})"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


class _Teller:
    """Reports each file: JSON on stdout, losses on stderr. ``count``: files that are done."""

    def __init__(self, out: Path, *, json: bool) -> None:
        self._out, self.json = out, json
        self.count = 0

    def __call__(self, result: ItemResult) -> None:
        entry = result.entry
        self.count += result.outcome in ("done", "kept")
        if self.json:
            event: dict[str, object] = {"event": result.outcome, "name": entry.name}
            if entry.output:
                event["output"] = str(self._out / entry.output)
            if entry.reason:
                event["reason"] = entry.reason
            if result.notices:
                event["notices"] = [asdict(notice) for notice in result.notices]
            console.json(event)
        console.notices(entry.name, result.notices)
        console.detail(f"{entry.name}: {result.outcome}")


def _conclude(outcome: Report, refused: Iterable[Refusal]) -> None:
    """Say what it came to. What one installation would mend is said once, of the first file."""
    console.info(outcome.summary())
    if not outcome.failed:
        return
    by_extra: dict[str, list[str]] = {}
    for refusal in refused:
        if refusal.extra:
            by_extra.setdefault(refusal.extra, []).append(refusal.name)
    more = {min(names): len(names) - 1 for names in by_extra.values()}
    unsaid = {name for names in by_extra.values() for name in names} - set(more)
    for name, reason in sorted(outcome.failed.items()):
        if name not in unsaid:
            others = f"; and {more[name]} more of the kind" if more.get(name) else ""
            console.error(naming(name, reason) + others)
    others = "; the others are done" if outcome.done or outcome.kept else ""
    raise ItemsFailedError(f"{counted(len(outcome.failed), 'file')} failed{others}")
