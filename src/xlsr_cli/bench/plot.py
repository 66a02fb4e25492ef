"""The charts of a measurement: speed against quality, and speed by threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from xlsr_cli.bench.report import BenchReport, ThreadRow
from xlsr_cli.bench.timing import Timing
from xlsr_cli.errors import UsageError
from xlsr_cli.formats import FALLBACK

#: Colours that people with colour blindness can tell apart (Okabe and Ito).
_OURS, _THEIRS, _IDEAL = "#d55e00", "#0072b2", "#999999"
_WIDTH, _HEIGHT, _DPI = 11.0, 4.6, 150


@dataclass(frozen=True, kw_only=True)
class Point:
    """One way to upscale: how long a frame takes, ``psnr`` in dB; ``ours`` is drawn as xlsr."""

    name: str
    timing: Timing
    psnr: float
    ours: bool = False

    @property
    def fps(self) -> float:
        """Frames per second."""
        return 1.0 / self.timing.seconds

    @property
    def colour(self) -> str:
        """That of xlsr or that of all others."""
        return _OURS if self.ours else _THEIRS


def chart(report: BenchReport) -> bytes:
    """A PNG picture of ``report``. Raises :class:`UsageError` when matplotlib is not installed."""
    figure, axes = _figure(columns=2)
    rows = [report.engine, *report.beside]
    names = {row.name: report.model if row is report.engine else row.name for row in rows}
    points = [
        Point(name=names[row.name], timing=row.timing, psnr=row.psnr, ours=row is report.engine)
        for row in rows
        if row.psnr is not None
    ]
    what = f"{report.source} → {report.target}"
    if points:
        draw_points(axes[0], points, what=what, quality=report.quality)
        axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, fontsize=8, markerscale=0.5)
    else:
        speeds = {names[row.name]: row.frames_per_second for row in reversed(rows)}
        _draw_speeds(axes[0], speeds, ours=report.model, what=what, why=report.quality)
    _draw_threads(axes[1], report.scaling, report.machine.cores.usable)
    versions = f"onnxruntime {report.machine.versions['onnxruntime']}"
    title = f"{report.machine.cpu.model} · {report.machine.cpu.kernel} · {versions}"
    figure.suptitle(f"{title}\n{report.model}, {report.threads} threads, {what}", fontsize=10)
    if not report.noise.trustworthy:
        reasons = "\n".join(report.noise.reasons)
        figure.supxlabel(f"Not to be trusted: {reasons}", color="#b00020", fontsize=8)
    return _png(figure)


def points_chart(points: Sequence[Point], *, title: str, what: str, quality: str) -> bytes:
    """A PNG picture of speed against quality alone, of any number of points."""
    figure, (axes,) = _figure(columns=1)
    draw_points(axes, points, what=what, quality=quality)
    figure.legend(loc="outside right upper", fontsize=8, markerscale=0.5)
    figure.suptitle(title, fontsize=10)
    return _png(figure)


def draw_points(axes: Any, points: Sequence[Point], *, what: str, quality: str) -> None:
    """Speed to the right (logarithmic), quality upwards; points are numbered, the fastest first.

    The numbers with names and speeds are left for a legend.
    """
    for number, point in enumerate(sorted(points, key=lambda point: -point.fps), start=1):
        slower, faster = _errors(point.timing)
        axes.errorbar(
            point.fps, point.psnr, xerr=[[slower], [faster]], fmt="o", markersize=14, capsize=3,
            color=point.colour, label=f"{number}  {point.name}: {_in_words(point.fps)}, {point.psnr:.2f} dB",
            zorder=3 if point.ours else 2,
        )  # fmt: skip
        axes.annotate(
            str(number), (point.fps, point.psnr), ha="center", va="center", color="white", fontsize=8,
            fontweight="bold", zorder=4,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.1, y=0.1)
    axes.set_ylabel(f"dB ({quality})", fontsize=9)
    axes.set_title("Speed against quality: the best is at the top right", fontsize=10)
    axes.grid(visible=True, which="both", alpha=0.25)
    _label_speeds(axes, what)


def _draw_speeds(axes: Any, speeds: dict[str, float], *, ours: str, what: str, why: str) -> None:
    """Only speed, a bar for each, where nothing has a score; ``why`` says the reason."""
    colours = [_OURS if name == ours else _THEIRS for name in speeds]
    bars = axes.barh(list(speeds), list(speeds.values()), color=colours, height=0.6)
    axes.bar_label(bars, [_in_words(speed) for speed in speeds.values()], padding=4, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.3)
    axes.set_title(f"Speed ({why})", fontsize=10)
    axes.grid(visible=True, axis="x", alpha=0.25)
    _label_speeds(axes, what)


def _draw_threads(axes: Any, rows: Sequence[ThreadRow], usable: int) -> None:
    counts = [row.threads for row in rows]
    speeds = [1.0 / row.timing.seconds for row in rows]
    slower, faster = zip(*(_errors(row.timing) for row in rows), strict=True)
    ideal = [speeds[0] * min(count, usable) for count in counts]
    axes.plot(counts, ideal, "--", color=_IDEAL, label=f"ideal on {usable} cores")
    axes.errorbar(counts, speeds, yerr=[slower, faster], fmt="o-", color=_OURS, capsize=3, label="measured")
    for row, speed in zip(rows, speeds, strict=True):
        place = (row.threads, speed)
        axes.annotate(f"{row.efficiency:.0%}", place, textcoords="offset points", xytext=(8, -12), fontsize=8)
    if counts[-1] > len(counts):  # powers of two
        axes.set_xscale("log", base=2)
    axes.set_xticks(counts, map(str, counts))
    axes.set_ylim(bottom=0, top=max([*ideal, *speeds]) * 1.15)
    axes.margins(x=0.12)
    axes.set_xlabel("threads")
    axes.set_ylabel("frames per second")
    axes.set_title("What threads gain (efficiency beside each point)", fontsize=10)
    axes.grid(visible=True, alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")


def _errors(timing: Timing) -> tuple[float, float]:
    """How many frames per second the spread reaches down and up; it may be as wide as the time itself."""
    slowest = 1.0 / (timing.seconds + timing.spread)
    fastest = 1.0 / max(timing.seconds - timing.spread, timing.seconds / 4.0)
    return 1.0 / timing.seconds - slowest, fastest - 1.0 / timing.seconds


def _in_words(fps: float) -> str:
    return f"{fps:,.0f} fps" if fps >= 1000 else f"{fps:.3g} fps"


def _label_speeds(axes: Any, what: str) -> None:
    """Frames per second to the right: 10, 20, 50 instead of powers of ten; over a wide range 10, 100."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    slowest, fastest = axes.get_xlim()
    ratio = fastest / slowest
    steps = (1.0, 2.0, 5.0) if ratio < 300 else (1.0, 3.0) if ratio < 10_000 else (1.0,)
    axes.set_xlabel(f"frames per second, {what}")
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def require_matplotlib() -> None:
    """Raise :class:`UsageError` when matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("--plot needs matplotlib, which is not installed: pip install matplotlib") from error


def _figure(*, columns: int) -> tuple[Any, Any]:
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _png(figure: Any) -> bytes:
    content = BytesIO()
    figure.savefig(content, format=FALLBACK.name, metadata={"Software": "xlsr"})
    return content.getvalue()
