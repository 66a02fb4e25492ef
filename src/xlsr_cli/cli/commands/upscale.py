"""``xlsr upscale INPUT… [OUTPUT]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlsr_cli.cli.console import console, naming
from xlsr_cli.cli.flags import Page, with_flags
from xlsr_cli.cli.help import HELP_OPTIONS, Command
from xlsr_cli.cli.installed import warn_of_clash
from xlsr_cli.cli.loading import loading
from xlsr_cli.declaration import option
from xlsr_cli.errors import ItemsFailedError, OutputError, UsageError, XlsrError
from xlsr_cli.jobs.inputs import Item, ListOptions, items_of, kind_of_file
from xlsr_cli.options import PictureOptions, VideoOptions

if TYPE_CHECKING:
    from xlsr_cli.cli.request import Request

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_EXAMPLES = """
xlsr upscale photo.jpg
xlsr upscale photo.jpg poster.tif --width 6000
xlsr upscale a.png b.jpg film.mkv -o large/
xlsr upscale film.mkv --long-edge 1920 --crf 20
"""


@dataclass(frozen=True, kw_only=True)
class UpscaleFlags:
    """Where the results go, and how they are shown."""

    output: str | None = option(
        None, "A file, or a folder for any number of inputs.", "files", short="-o", value="PATH"
    )
    dry_run: bool = option(
        False, "Show what would be done, in what time and memory; write nothing.", "messages"
    )
    json: bool = option(False, "Results as JSON on stdout.", "messages")


@app.command(cls=Command, context_settings=HELP_OPTIONS, epilog=_EXAMPLES)
@with_flags
def upscale(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT… [OUTPUT]",
            help="Files, folders, quoted patterns, or - for stdin. After a single input, OUTPUT: a file, a "
            "folder, or - for stdout. By default, <name>_x2 beside each input.",
            show_default=False,
        ),
    ] = None,
    *,
    flags: UpscaleFlags,
    options: PictureOptions,
    lists: ListOptions,
    video: VideoOptions,
    page: Page,
) -> None:
    """Enlarge pictures, animations and videos.

    Metadata, sound and subtitles are kept; a warning names what cannot be kept.
    If one of several inputs fails, the others are still done, and the exit code is 7.
    """
    with loading():
        from xlsr_cli.engine.upscaler import Upscaler
        from xlsr_cli.jobs.task import Task

        # Behind the libraries: below many modules that import one another, Python loads numpy more slowly.
        from xlsr_cli.cli.request import Request  # isort: skip

    warn_of_clash()
    html = page.html
    items = items_of(inputs or [], flags.output, lists, options.target.label)
    if flags.json and not flags.dry_run and any(item.to_stdout for item in items):
        raise UsageError("--json and the picture cannot both go to stdout; give an output file")
    if flags.json:
        console.stdout()
    if html is not None:
        from xlsr_cli.quality.page import check_page

        check_page(html, overwrite=options.overwrite)
    if len(items) > 1:
        _refuse_for_several(items, options, video)
    elif inputs is not None and len(inputs) == 2 and not options.overwrite:
        _refuse_two_inputs(items[0])
    task = Task(options=options, video=video, upscaler=Upscaler.from_options(options.engine, options.target))
    requests = [
        Request(item=item, task=task, flags=flags, html=html, place=number, count=len(items))
        for number, item in enumerate(items, 1)
    ]
    try:
        _run_all(requests)
    finally:
        task.upscaler.close()
        for request in requests:
            request.remove_empty_folder()
        if html is not None:
            _write_page(html, requests, full=page.html_full, overwrite=options.overwrite)


def _refuse_for_several(items: list[Item], options: PictureOptions, video: VideoOptions) -> None:
    if video != VideoOptions() and not any(kind_of_file(item.source) == "video" for item in items):
        raise UsageError("none of the inputs is a video; --codec, --crf, --start and the like are for videos")
    if options.y4m:
        raise UsageError("--format y4m is for a single stream")


def _refuse_two_inputs(item: Item) -> None:
    """Of two arguments, the second is the output. Say so if it was probably meant as an input."""
    names = (item.source, item.output or "")
    if all(kind_of_file(name) != "unknown" for name in names) and not Path(names[0]).samefile(names[1]):
        raise OutputError(
            f"{item.output} exists already; give --overwrite to replace it, or -o FOLDER to enlarge both"
        )


def _run_all(requests: list[Request]) -> None:
    """Run one after the other; a failure is reported at once, and the others are still done.

    Two inputs that want the same output are found before the work, as far as their names tell.
    Raises the error of the only input, or :class:`ItemsFailedError` when any of several failed.
    """
    if len(requests) == 1:
        requests[0].run()
        return
    taken: dict[Path, str] = {}
    possible = [request for request in requests if _tried(request, lambda each: each.claim(taken))]
    done = [request for request in possible if _tried(request, lambda each: each.run(taken))]
    failed = len(requests) - len(done)
    if failed:
        others = "; the others are done" if done else ""
        raise ItemsFailedError(f"{failed} of {len(requests)} inputs failed{others}")


def _tried(request: Request, work: Callable[[Request], None]) -> bool:
    """Whether ``work`` succeeded; if not, the reason has been told."""
    try:
        work(request)
    except XlsrError as error:
        console.error(naming(request.item.source, error.in_flags))
        return False
    return True


def _write_page(html: Path, requests: list[Request], *, full: bool, overwrite: bool) -> None:
    from xlsr_cli.quality.page import FilePair, file_pairs, write_page

    files = [
        FilePair(before=source, after=target, name=source.name)
        for request in requests
        for source, target in request.pairs
    ]
    if files:
        names = ", ".join(pair.name for pair in files)
        pairs = file_pairs(files, html, full=full)
        write_page(html, pairs, title=f"xlsr upscale: {names}", overwrite=overwrite)
        console.info(f"wrote {html}")
