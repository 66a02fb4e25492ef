"""``xlsr batch FOLDER``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.cli.flags import common_flags, picture_flags
from xlsr_cli.errors import ItemsFailedError, UsageError
from xlsr_cli.options import PictureOptions

if TYPE_CHECKING:
    from xlsr_cli.jobs.batch import BatchOptions
    from xlsr_cli.jobs.item import ItemResult
    from xlsr_cli.jobs.plan import BatchPlan, Shard
    from xlsr_cli.jobs.report import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
@common_flags
@picture_flags
def batch(
    folder: Annotated[Path, typer.Argument(help="The folder of pictures.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="Output folder; by default FOLDER_x2.", show_default=False)
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Folders below as well; the tree is mirrored.")
    ] = False,
    include: Annotated[
        list[str] | None, typer.Option("--include", help="Only files that match this glob; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="No files that match this glob; repeatable.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Worker processes; one per core by default.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.1, help="Give one file so many seconds.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try files again that failed before.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and take new files once they are stable.")
    ] = False,
    shard: Annotated[
        str, typer.Option("--shard", help="Do part K of N, such as 2/8, on one of N machines.", metavar="K/N")
    ] = "1/1",
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="Run on the Dask scheduler at this address.", metavar="ADDRESS"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write a report, .html or .json.", metavar="FILE")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page that shows before and after.", metavar="FILE"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; touch nothing.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON event per line on stdout.")] = False,
    options: PictureOptions = PictureOptions(),  # noqa: B008  # replaced by its flags
) -> None:
    """Enlarge every picture of a folder; an interrupted run goes on where it was.

    Exit code 7 when any file failed: the others are done, and every failure is listed with its reason.
    """
    from xlsr_cli.jobs.batch import BatchOptions, run_batch
    from xlsr_cli.jobs.plan import Selection, plan_batch
    from xlsr_cli.jobs.report import check_report_name, write_report

    if options.y4m:
        raise UsageError("--format y4m is for streams; a batch writes pictures")
    if report is not None:
        check_report_name(report)
    if html is not None:
        _check_page(html, watch=watch, overwrite=options.overwrite)
    target = out or folder.absolute().with_name(f"{folder.absolute().name}_{options.target.label}")
    selection = Selection(
        recursive=recursive,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        shard=_parse_shard(shard),
    )
    settings = BatchOptions(
        selection=selection,
        jobs=jobs,
        timeout=timeout,
        max_memory=options.engine.max_memory,
        retry_failed=retry_failed,
        cluster=cluster,
    )
    tell = _teller(json)
    if watch:
        _watch(folder, target, options, settings, report, tell)
        return
    plan = plan_batch(folder, target, selection, options)
    _announce(plan, json=json, dry_run=dry_run)
    if dry_run:
        return
    with console.progress(folder.name) as progress:
        outcome = run_batch(plan, options, settings, tell=tell, progress=progress)
    if report is not None:
        write_report(outcome, report, f"xlsr batch {folder}")
    if html is not None:
        _write_page(plan, outcome, html, overwrite=options.overwrite)
    if json:
        console.json({"event": "end", **{k: v for k, v in outcome.as_json().items() if k != "items"}})
    _conclude(outcome)


#: A browser has to hold all of the page; beyond this many bytes, pictures are left out.
_LARGEST_PAGE = 200_000_000


def _check_page(page: Path, *, watch: bool, overwrite: bool) -> None:
    from xlsr_cli.quality.page import check_page

    if watch:
        raise UsageError("--html is written when a batch ends, and --watch never ends; leave one out")
    check_page(page, overwrite=overwrite)


def _write_page(plan: BatchPlan, outcome: Report, page: Path, *, overwrite: bool) -> None:
    """Before and after of what is done, as many as a browser can hold."""
    from xlsr_cli.quality.page import file_pair, write_page

    pairs, room, left_out = [], _LARGEST_PAGE, 0
    for job in plan.jobs:
        entry = outcome.entries.get(job.name)
        if entry is None or entry.status != "done":
            continue
        room -= job.bytes_in + entry.output_bytes
        if room < 0:
            left_out += 1
            continue
        pairs.append(file_pair(job.source, job.output, job.name))
    if not pairs:
        console.info(f"note: {page} is not written, for there is nothing to show")
        return
    write_page(page, pairs, title=f"xlsr batch: {plan.folder.name}", overwrite=overwrite)
    console.info(f"wrote {page}")
    if left_out:
        console.info(f"note: {left_out} pictures are not on the page; a browser could not hold them")


def _watch(
    folder: Path,
    out: Path,
    options: PictureOptions,
    settings: BatchOptions,
    report: Path | None,
    tell: Callable[[ItemResult], None],
) -> None:
    from xlsr_cli.jobs.batch import watch as watch_folder
    from xlsr_cli.jobs.report import write_report

    console.info(f"watching {folder}; Ctrl-C ends it")
    for outcome in watch_folder(folder, out, options, settings, tell=tell):
        console.info(outcome.summary())
        if report is not None:
            write_report(outcome, report, f"xlsr batch {folder}")


def _parse_shard(text: str) -> Shard:
    from xlsr_cli.jobs.plan import Shard

    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a part such as 2/8", param_hint="--shard")
    return Shard(index=int(match[1]), count=int(match[2]))


def _announce(plan: BatchPlan, *, json: bool, dry_run: bool) -> None:
    """What will happen, before it happens."""
    for line in plan.renamed:
        console.info(f"note: {line}")
    if json:
        console.json(
            {
                "event": "plan",
                "jobs": len(plan.jobs),
                "refused": len(plan.refused),
                "other": plan.other,
                "megapixels": round(sum(job.pixels for job in plan.jobs) / 1e6, 3),
                "space_needed": plan.space_needed,
                "space_free": plan.space_free,
            }
        )
    if not dry_run:
        return
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
        console.data(
            f"{len(plan.jobs)} pictures, {len(plan.refused)} refused, {plan.other} other files; "
            f"at most {plan.space_needed / 1e6:.0f} MB into {plan.out}"
        )


def _teller(json: bool) -> Callable[[ItemResult], None]:
    """Says what became of each file: JSON on stdout, losses on stderr."""

    def tell(result: ItemResult) -> None:
        entry = result.entry
        if json:
            event = {"event": result.outcome, "name": entry.name, "output": entry.output}
            if entry.reason:
                event["reason"] = entry.reason
            console.json(event)
        console.notices(entry.name, result.notices)
        console.detail(f"{entry.name}: {result.outcome}")

    return tell


def _conclude(outcome: Report) -> None:
    console.info(outcome.summary())
    if not outcome.failed:
        return
    for name, reason in sorted(outcome.failed):
        console.error(f"{name}: {reason}")
    raise ItemsFailedError(f"{len(outcome.failed)} files failed; the others are done")
