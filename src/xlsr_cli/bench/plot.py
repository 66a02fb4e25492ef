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
    def label(self) -> str:
        """Its name over its numbers."""
        return f"{self.name}\n{_in_words(self.fps)}, {self.psnr:.2f} dB"

    @property
    def fps_errors(self) -> list[list[float]]:
        """How far the bars of its spread reach, to the left and to the right, as matplotlib wants it."""
        slowest, fastest = _fps_range(self.timing)
        return [[self.fps - slowest], [fastest - self.fps]]


def _in_words(fps: float) -> str:
    return f"{fps:,.0f} fps" if fps >= 1000 else f"{fps:.3g} fps"


def _fps_range(timing: Timing) -> tuple[float, float]:
    """Frames per second at the ends of the spread, which may be as wide as the time itself."""
    return 1.0 / (timing.seconds + timing.spread), 1.0 / max(
        timing.seconds - timing.spread, timing.seconds / 4.0
    )


def chart(report: BenchReport) -> bytes:
    """A PNG picture of ``report``. Raises :class:`UsageError` when matplotlib is not installed."""
    figure, axes = _figure(columns=2)
    points = _points(report)
    what = f"{report.source} → {report.target}"
    if points:
        draw_points(axes[0], points, what=what, quality=report.quality)
    else:
        _draw_speeds(axes[0], report, what=what)
    _draw_threads(axes[1], report.scaling, report.machine.cores.usable)
    versions = f"onnxruntime {report.machine.versions['onnxruntime']}"
    title = f"{report.machine.cpu.model} · {report.machine.cpu.kernel} · {versions}"
    figure.suptitle(f"{title}\n{report.model}, {report.threads} threads, {what}", fontsize=10)
    if not report.noise.trustworthy:
        reasons = "; ".join(report.noise.reasons)
        figure.supxlabel(f"Not to be trusted: {reasons}", color="#b00020", fontsize=8)
    return _png(figure)


def points_chart(points: Sequence[Point], *, title: str, what: str, quality: str) -> bytes:
    """A PNG picture of speed against quality alone: any number of points, numbered, fastest first."""
    figure, (axes,) = _figure(columns=1)
    ranked = sorted(points, key=lambda point: -point.fps)
    _draw_axes(axes, ranked, what=what, quality=quality, size=14, margin=0.1)
    for number, point in enumerate(ranked, start=1):
        axes.annotate(
            str(number), (point.fps, point.psnr), ha="center", va="center", color="white", fontsize=8,
            fontweight="bold",
        )  # fmt: skip
        axes.plot([], [], "o", color=_colour(point), label=f"{number}  {point.label.replace(chr(10), ': ')}")
    figure.legend(loc="outside right upper", fontsize=8, handletextpad=0.2)
    figure.suptitle(title, fontsize=10)
    return _png(figure)


def draw_points(axes: Any, points: Sequence[Point], *, what: str, quality: str) -> None:
    """Speed to the right (logarithmic), quality upwards, a label beside each of a few points."""
    _draw_axes(axes, points, what=what, quality=quality, size=8, margin=0.22)
    _label_points(axes, points)


def _draw_axes(
    axes: Any, points: Sequence[Point], *, what: str, quality: str, size: float, margin: float
) -> None:
    for point in sorted(points, key=lambda point: point.ours):
        axes.errorbar(
            point.fps,
            point.psnr,
            xerr=point.fps_errors,
            fmt="o",
            markersize=size,
            color=_colour(point),
            capsize=3,
        )
    axes.set_xscale("log")
    axes.margins(x=margin, y=margin)
    axes.set_xlabel(f"frames per second, {what}")
    axes.set_ylabel(f"dB ({quality})", fontsize=9)
    axes.set_title("Speed against quality: the best is at the top right", fontsize=10)
    _plain_numbers(axes)
    axes.grid(visible=True, which="both", alpha=0.25)


def _colour(point: Point) -> str:
    return _OURS if point.ours else _THEIRS


#: Where a label may stand: points to the right of and above its point, and which side of it is there.
_PLACES: tuple[tuple[float, float, str, str], ...] = (
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (9, 0, "left", "center"),
    (-9, 0, "right", "center"),
    (9, 9, "left", "bottom"),
    (9, -9, "left", "top"),
    (-9, 9, "right", "bottom"),
    (-9, -9, "right", "top"),
)


def _label_points(axes: Any, points: Sequence[Point]) -> None:
    """Name and numbers beside each point, where they cover no other label, point or bar."""
    figure = axes.figure
    figure.draw_without_rendering()  # the layout must stand before anything is measured
    taken = [_bar_box(axes, point) for point in points]
    for point in sorted(points, key=lambda point: not point.ours):
        tried: list[tuple[int, int, Any, Any]] = []
        for right, up, across, down in _PLACES:
            label = axes.annotate(
                point.label,
                (point.fps, point.psnr),
                textcoords="offset points",
                xytext=(right, up),
                ha=across,
                va=down,
                fontsize=8,
                fontweight="bold" if point.ours else "normal",
            )
            box = label.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            inside = inside and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
            covered = sum(box.overlaps(other) for other in taken) + 2 * (not inside)
            tried.append((covered, len(tried), label, box))
            if not covered:
                break
        _, _, best, box = min(tried, key=lambda each: each[:2])
        for _, _, label, _ in tried:
            if label is not best:
                label.remove()
        taken.append(box)


def _bar_box(axes: Any, point: Point) -> Any:
    """The pixels that a point and the bar of its spread cover."""
    from matplotlib.transforms import Bbox

    [[slower], [faster]] = point.fps_errors
    (left, y), (right, _) = axes.transData.transform(
        [(point.fps - slower, point.psnr), (point.fps + faster, point.psnr)]
    )
    return Bbox([[left - 3, y - 7], [right + 3, y + 7]])


def _points(report: BenchReport) -> list[Point]:
    rows = [row for row in (report.engine, *report.beside) if row.psnr is not None]
    points = []
    for row in rows:
        name = report.model if row is report.engine else row.name
        points.append(
            Point(
                name=name,
                timing=row.timing,
                psnr=row.psnr or 0.0,
                ours=row is report.engine,
            )
        )
    return points


def _draw_speeds(axes: Any, report: BenchReport, *, what: str) -> None:
    """Only speed, a bar for each, if nothing has a score."""
    rows = [*reversed(report.beside), report.engine]
    names = [report.model if row is report.engine else row.name for row in rows]
    colours = [_OURS if row is report.engine else _THEIRS for row in rows]
    bars = axes.barh(names, [row.frames_per_second for row in rows], color=colours, height=0.6)
    axes.bar_label(bars, [_in_words(row.frames_per_second) for row in rows], padding=4, fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.3)
    _plain_numbers(axes)
    axes.set_xlabel(f"frames per second, {what}")
    axes.set_title(f"Speed ({report.quality})", fontsize=10)
    axes.grid(visible=True, axis="x", alpha=0.25)


def _draw_threads(axes: Any, rows: Sequence[ThreadRow], usable: int) -> None:
    counts = [row.threads for row in rows]
    speeds = [1.0 / row.timing.seconds for row in rows]
    ranges = [_fps_range(row.timing) for row in rows]
    bars = [
        [speed - slowest for speed, (slowest, _) in zip(speeds, ranges, strict=True)],
        [fastest - speed for speed, (_, fastest) in zip(speeds, ranges, strict=True)],
    ]
    ideal = [speeds[0] * min(count, usable) for count in counts]
    axes.plot(counts, ideal, "--", color=_IDEAL, label=f"ideal on {usable} cores")
    axes.errorbar(counts, speeds, yerr=bars, fmt="o-", color=_OURS, capsize=3, label="measured")
    for row, speed in zip(rows, speeds, strict=True):
        axes.annotate(
            f"{row.efficiency:.0%}",
            (row.threads, speed),
            textcoords="offset points",
            xytext=(8, -12),
            fontsize=8,
        )
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


def _plain_numbers(axes: Any) -> None:
    """10, 20, 50 instead of powers of ten; over a wide range 10, 100."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    slowest, fastest = axes.get_xlim()
    ratio = fastest / slowest
    steps = (1.0, 2.0, 5.0) if ratio < 300 else (1.0, 3.0) if ratio < 10_000 else (1.0,)
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
