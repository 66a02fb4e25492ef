"""Time functions in pairs with a base, each on a calm machine, and compare them.

Threads of runtimes spin for some 40 ms after their work. So a timing begins only when all threads of this
process rest. Meanwhile caches get cold and clocks slow down; so each timing begins with a run that does not
count.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xlsr_cli.bench.noise import LoadWatch, Noise, judge
from xlsr_cli.bench.timing import MIN_REPEATS, Timing
from xlsr_cli.engine.runtimes.plugins import PLUG_INS, why_unusable
from xlsr_cli.machine import this_machine

#: Pairs of each contestant, unless the caller asks for another number: at least so many, and more, up to the
#: second number, until the median is known to the share ``_WELL_KNOWN``.
_PAIRS, _MOST_PAIRS = 15, 60
_WELL_KNOWN = 0.04
#: A median that is known to no less than this share is not to be trusted.
_TOO_DOUBTFUL = 0.10
#: The process is at rest when its threads together take less than this share of a core for so many seconds.
_RESTING, _LOOK, _LONGEST_REST = 0.05, 0.02, 2.0
#: Seconds of work in which the engine has found the fastest runtime, where there is more than one.
_SETTLED = 3.0
#: The scatter of anything that takes a smaller share of the base than this does not matter.
_SMALL = 0.3

Run = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long as the base something took: median and middle half over all pairs.

    ``doubt`` is how wide the interval is in which the median of endless pairs lies with 95 % confidence, as
    a share of the median. With more pairs it gets narrower, which the middle half does not.
    """

    median: float
    low: float
    high: float
    doubt: float = 0.0

    @classmethod
    def of(cls, samples: Sequence[float], base: Sequence[float]) -> Ratio:
        """Compute it from the seconds of both in each pair."""
        ratios = sorted(mine / other for mine, other in zip(samples, base, strict=True))
        low, median, high = statistics.quantiles(ratios, n=4)
        # Each ratio lies below the true median or above it, as a coin falls.
        first = max(0, math.floor((len(ratios) - 1.96 * math.sqrt(len(ratios))) / 2))
        doubt = (ratios[-1 - first] - ratios[first]) / median
        return cls(median=median, low=low, high=high, doubt=doubt)

    def __str__(self) -> str:
        """``1.85 (1.80–1.91)``."""
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"

    @property
    def is_known(self) -> bool:
        """Whether more pairs would tell nothing of interest."""
        return self.doubt <= _WELL_KNOWN or self.median <= _SMALL


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Timings by name, their ratios to the first of them, and whether the ratios can be trusted."""

    timings: dict[str, Timing]
    ratios: dict[str, Ratio]
    noise: Noise


def side_by_side(
    runs: dict[str, Run], *, threads: int, repeats: int | None = None, in_a_row: int = 3
) -> Measured:
    """Time each of ``runs`` in ``repeats`` pairs with the first one, the base, which comes first in turn.

    A pair lasts a moment, so a machine whose speed drifts changes both of its times: ratios hold where times
    do not, and they alone decide whether it was quiet enough. Without ``repeats``, there are as many pairs as
    the median of each ratio needs. One time is the median of ``in_a_row`` runs after one that does not count;
    0 is for whole processes, which are timed once and have nothing warm.
    """
    base, *others = runs
    samples: dict[str, list[float]] = {name: [] for name in runs}
    beside: dict[str, list[float]] = {name: [] for name in others}
    for run in runs.values() if in_a_row else ():
        _settle(run)
    with LoadWatch() as watch:
        for number in range(repeats or _MOST_PAIRS):
            for name in others:
                if repeats is None and number >= _PAIRS and Ratio.of(samples[name], beside[name]).is_known:
                    continue
                pair = (base, name) if number % 2 else (name, base)
                seconds = {member: _timed(runs[member], in_a_row) for member in pair}
                samples[base].append(seconds[base])
                samples[name].append(seconds[name])
                beside[name].append(seconds[base])
    ratios = {name: Ratio.of(samples[name], beside[name]) for name in others}
    return Measured(
        timings={name: Timing.of(kept) for name, kept in samples.items()},
        ratios=ratios | {base: Ratio(median=1, low=1, high=1)},
        noise=_noise(ratios, watch.other_cores, threads, min(map(len, beside.values()))),
    )


def _timed(run: Run, in_a_row: int) -> float:
    """Seconds of ``run`` on a calm machine."""
    rest()
    times = []
    for _ in range(in_a_row + 1):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:] or times)


def rest() -> None:
    """Wait until no thread of this process works."""
    began = time.perf_counter()
    while time.perf_counter() - began < _LONGEST_REST:
        cpu, clock = time.process_time(), time.perf_counter()
        time.sleep(_LOOK)
        if time.process_time() - cpu < _RESTING * (time.perf_counter() - clock):
            return


def _settle(run: Run) -> None:
    """Run until caches and memory pools are filled, and the fastest runtime of several is found."""
    several = any(row.is_installed and why_unusable(row) is None for row in PLUG_INS)
    began = time.perf_counter()
    run()
    while several and time.perf_counter() - began < _SETTLED:
        run()


def _noise(ratios: dict[str, Ratio], other_cores: float | None, threads: int, pairs: int) -> Noise:
    """Reasons not to trust the ratios."""
    cores = this_machine().cores
    used = min(threads, cores.usable)
    quiet = judge([], other_cores=other_cores, logical_cores=cores.logical, used_cores=used)
    reasons = list(quiet.reasons)
    if pairs < MIN_REPEATS:
        reasons.append(f"{pairs} pairs cannot tell how they scatter; give --repeats {MIN_REPEATS} or more")
    doubt = max((ratio.doubt for ratio in ratios.values() if ratio.median > _SMALL), default=0.0)
    if doubt > _TOO_DOUBTFUL:
        reasons.append(f"a ratio is known to {doubt:.0%} only")
    return Noise(other_cores=other_cores, reasons=tuple(reasons))
