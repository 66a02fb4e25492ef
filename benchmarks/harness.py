"""What the benchmarks share: one picture, one way to time, one page to write to."""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xlsr_cli.bench.noise import TOO_MUCH_SPREAD, LoadWatch, Noise, judge
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.bench.timing import WARM_UP, Contestant, Timing, race
from xlsr_cli.engine.session import usable_cores
from xlsr_cli.machine import this_machine
from xlsr_cli.options import Size

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

#: The size of issue's and of the literature's mobile benchmarks: 360p, which ×3 makes 1080p.
SOURCE = Size(width=640, height=360)
#: Runtimes spin for a while after their work, waiting for more: nothing else is timed meanwhile.
_PAUSE = 0.1
_SECONDS = 40.0
#: What takes a smaller share of the base than this may scatter as it likes.
_SMALL = 0.3


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long as the base something took: median and middle half over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float], base: Sequence[float]) -> Ratio:
        """From the seconds of both in each round."""
        ratios = [mine / other for mine, other in zip(samples, base, strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        return cls(median=median, low=low, high=high)

    def __str__(self) -> str:
        """``1.85 (1.80–1.91)``."""
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"

    @property
    def inverse(self) -> Ratio:
        """How many times as fast."""
        return Ratio(median=1 / self.median, low=1 / self.high, high=1 / self.low)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Timings by name, how each compares with the first of them, and whether to believe the ratios."""

    timings: dict[str, Timing]
    ratios: dict[str, Ratio]
    noise: Noise


def side_by_side(
    runs: dict[str, Callable[[], object]], *, threads: int, repeats: int | None, seconds: float = _SECONDS
) -> Measured:
    """Time ``runs`` in turns, with pauses between them; ratios are taken within a round.

    A machine whose speed drifts changes the times of a round together, so that ratios hold where times do
    not: they alone decide whether it was quiet enough.
    """
    machine = this_machine()
    samples: dict[str, list[float]] = {name: [] for name in runs}
    contestants = [_kept(name, run, samples[name]) for name, run in runs.items()]
    with LoadWatch() as watch:
        timings = race(contestants, repeats=repeats, seconds=seconds, pause=_PAUSE)
    counted = {name: kept[WARM_UP:] for name, kept in samples.items()}
    base = counted[next(iter(runs))]
    ratios = {name: Ratio.of(kept, base) for name, kept in counted.items()}
    quiet = judge(
        [],
        other_cores=watch.other_cores,
        logical_cores=machine.cores.logical,
        used_cores=min(threads, machine.cores.usable),
    )
    widest = max(
        (ratio.high - ratio.low) / ratio.median for ratio in ratios.values() if ratio.median > _SMALL
    )
    reasons = list(quiet.reasons)
    if widest > TOO_MUCH_SPREAD:
        reasons.append(f"the middle half of the ratios is up to {widest:.0%} wide")
    return Measured(
        timings=timings,
        ratios=ratios,
        noise=Noise(other_cores=watch.other_cores, reasons=tuple(reasons)),
    )


def _kept(name: str, run: Callable[[], object], samples: list[float]) -> Contestant:
    """A contestant that also keeps the seconds of each run in ``samples``."""

    def contestant() -> Mapping[str, float]:
        began = time.perf_counter()
        run()
        samples.append(time.perf_counter() - began)
        return {name: samples[-1]}

    return contestant


def on_picture(upscalers: Mapping[str, Callable[..., object]]) -> dict[str, Callable[[], object]]:
    """Each of ``upscalers`` applied to the picture of :data:`SOURCE`."""
    picture = made_picture(SOURCE)
    return {name: partial(upscale, picture) for name, upscale in upscalers.items()}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--threads", type=int, default=min(2, usable_cores()), help="for every runtime")
    options.add_argument("--repeats", type=int, help="rounds; by default as many as fit into 40 seconds")
    options.add_argument("--write", action="store_true", help="put the result into docs/performance.md")
    options.add_argument("--force", action="store_true", help="write even what the noise spoiled")
    return options


def machine_line(threads: int) -> str:
    """One sentence about where it was measured."""
    machine = this_machine()
    versions = ", ".join(
        f"{name} {machine.versions[name]}" for name in ("onnxruntime", "opencv-python-headless", "numpy")
    )
    return (
        f"Measured on: {machine.cpu.model} ({machine.cpu.kernel}), {machine.cores.usable} cores, "
        f"{threads} threads, {machine.system}, Python {machine.python}, {versions}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are text, the others numbers."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milliseconds(timing: Timing) -> str:
    """``19.4 ± 0.6``."""
    digits = 1 if timing.seconds >= 2e-3 else 2
    return f"{timing.seconds * 1e3:.{digits}f} ± {timing.spread * 1e3:.{digits}f}"


def publish(name: str, text: str, noise: Noise, options: argparse.Namespace) -> None:
    """Print ``text``; with ``--write`` put it between the markers ``name`` of the page.

    Raises ``SystemExit`` when it should be written and the machine was too noisy.
    """
    print(text)
    for reason in noise.reasons:
        print(f"\nnot to be trusted: {reason}")
    if not options.write:
        return
    if not noise.trustworthy and not options.force:
        raise SystemExit("nothing was written; measure on a quiet machine, or give --force")
    if not noise.trustworthy:
        text = f"**Not to be trusted:** {'; '.join(noise.reasons)}.\n\n{text}"
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE} has no place for {name!r}: its markers are missing")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page), encoding="utf-8")
    print(f"\nwrote {PAGE.name}, {name}")
