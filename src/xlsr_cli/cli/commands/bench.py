"""``xlsr bench``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from xlsr_cli.cli.console import console
from xlsr_cli.cli.flags import with_flags
from xlsr_cli.cli.help import HELP_OPTIONS, Command
from xlsr_cli.declaration import option, same_option
from xlsr_cli.errors import UsageError
from xlsr_cli.options import EngineOptions, Precision, RestoreMode, Size, Target

if TYPE_CHECKING:
    from xlsr_cli.bench.report import BenchReport, Row
    from xlsr_cli.bench.timing import Timing

app = typer.Typer(rich_markup_mode=None, add_completion=False)


_EXAMPLES = """
xlsr bench
xlsr bench --image photo.jpg --plot speed.png
"""


@dataclass(frozen=True, kw_only=True)
class BenchFlags:
    """What is measured, and where the result goes."""

    threads: int | None = same_option(
        EngineOptions, "threads", help="Measure with 1 up to this many threads."
    )
    size: Size | None = same_option(Target, "fit", help="Size of a synthetic picture.", shown="640x360")
    scale: float | None = same_option(Target, "scale", shown="the model's own factor, or 3")
    model: str | None = same_option(EngineOptions, "model")
    precision: Precision = same_option(EngineOptions, "precision")
    restore: RestoreMode = same_option(EngineOptions, "restore")
    image: Path | None = option(
        None, "Measure with your own picture: speed and quality.", "files", value="FILE"
    )
    repeat: int | None = option(None, "Number of rounds.", "machine", shown="as many as fit into 20 seconds")
    json: bool = option(False, "Results as JSON on stdout.", "messages")
    plot: Path | None = option(
        None, "Draw charts: speed against quality, and speed by threads.", "files", value="FILE.png"
    )
    overwrite: bool = option(False, "Replace an existing plot.", "files")


@app.command(cls=Command, context_settings=HELP_OPTIONS, epilog=_EXAMPLES)
@with_flags
def bench(*, asked: BenchFlags) -> None:
    """Measure the speed of this machine, stage by stage, beside bicubic, Lanczos and the float32 graph.

    Each time is a median with the spread in which the median of another run will lie; a warning follows if
    the machine was too busy for that.
    """
    if asked.plot is not None:
        _check_plot(asked.plot, overwrite=asked.overwrite)
    from xlsr_cli.bench.measure import BenchOptions, measure

    options = BenchOptions(
        scale=asked.scale,
        size=asked.size,
        image=asked.image,
        engine=EngineOptions(
            model=asked.model, precision=asked.precision, restore=asked.restore, threads=asked.threads
        ),
        repeats=asked.repeat,
    )
    with console.progress("measuring") as progress:
        report = measure(options, progress=progress)
    if asked.json:
        console.json(report.data())
    else:
        for line in _lines(report):
            console.lines(line)
    if asked.plot is not None:
        _write_plot(report, asked.plot, overwrite=asked.overwrite)


def _check_plot(path: Path, *, overwrite: bool) -> None:
    """Find out before the measurement what would make the plot fail."""
    from xlsr_cli.bench.plot import require_matplotlib
    from xlsr_cli.formats import FALLBACK, extension_for, format_for
    from xlsr_cli.media.atomic import check_output

    if format_for(path.name) != FALLBACK.name:
        extension = extension_for(FALLBACK.name)
        raise UsageError(
            f"--plot writes {FALLBACK.shown} pictures: give a name that ends in {extension}, not {path.name}"
        )
    check_output(path, overwrite=overwrite)
    require_matplotlib()


def _write_plot(report: BenchReport, path: Path, *, overwrite: bool) -> None:
    from xlsr_cli.bench.plot import chart
    from xlsr_cli.media.atomic import atomic_output

    with atomic_output(path, overwrite=overwrite) as stream:
        stream.write(chart(report))
    console.info(f"wrote {path}")


# The report for people


def _lines(report: BenchReport) -> Iterator[str]:
    from xlsr_cli.cli.tables import table

    machine = report.machine
    yield f"{machine.cpu.model}: {machine.cpu.kernel}, onnxruntime {machine.versions['onnxruntime']}"
    yield f"{report.model}, {report.source} → {report.target} ({report.picture})"
    yield from report.remarks
    yield ""
    rows = [*report.stages, report.engine, report.whole]
    yield table(
        ["stage", "what it does", "ms", "MP/s", "frames/s", "share"],
        ([row.name, row.what, _ms(row.timing), *_speeds(row), _share(row)] for row in rows),
        left=2,
    )
    yield ""
    yield table(
        ["threads", "ms", "times one", "efficiency"],
        (
            [str(row.threads), _ms(row.timing), f"{row.speedup:.2f}", f"{row.efficiency:.0%}"]
            for row in report.scaling
        ),
    )
    yield ""
    yield table(
        ["compared with", "", "ms", "frames/s", "xlsr's speed", "PSNR, dB"],
        [[report.model, *_beside(report.engine)[1:]], *map(_beside, report.beside)],
        left=2,
    )
    yield ""
    yield report.quality
    yield f"repeats: {report.engine.timing.samples}; ± is where the median of another run will lie"
    if report.memory.peak is not None and report.memory.before is not None:
        grown = report.memory.peak - report.memory.before
        yield f"peak memory: {_mib(report.memory.peak)}, of which the engine took {_mib(grown)}"
    for reason in report.noise.reasons:
        yield f"TOO NOISY TO TRUST: {reason}"


def _beside(row: Row) -> list[str]:
    faster = "" if row.times_faster is None else f"{row.times_faster:.2f} times"
    psnr = "" if row.psnr is None else f"{row.psnr:.2f}"
    return [row.name, row.what, _ms(row.timing), _number(row.frames_per_second), faster, psnr]


def _ms(timing: Timing) -> str:
    digits = 1 if timing.seconds >= 2e-3 else 2
    return f"{timing.seconds * 1e3:.{digits}f} ± {timing.spread * 1e3:.{digits}f}"


def _speeds(row: Row) -> tuple[str, str]:
    return _number(row.megapixels_per_second), _number(row.frames_per_second)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _share(row: Row) -> str:
    return "" if row.share is None else f"{row.share:.0%}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
