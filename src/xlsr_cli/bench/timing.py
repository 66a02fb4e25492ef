"""Time several things side by side, and say how much the times scatter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlsr_cli.progress import QUIET, Progress

#: Runs something once and returns seconds by name; a name may stand for a part of the run.
Contestant = Callable[[], Mapping[str, float]]

#: The samples between these percentiles make the spread: a tenth on either side may be accidents.
_INNER = (10.0, 90.0)
#: Even on a quiet machine, two processes differ by this share, for example by where their memory lies.
#: A smaller spread would promise more than the next run can keep.
SMALLEST_SPREAD = 0.03
#: Runs of each contestant before the first one counts: caches, memory pools and clocks settle.
WARM_UP = 2
#: Seconds between two timed calls: threads of a runtime keep spinning for a while after their work and
#: would slow down the next call.
PAUSE = 0.005
#: Fewer repeats than this say nothing about the spread.
MIN_REPEATS = 5
MAX_REPEATS = 60


@dataclass(frozen=True, kw_only=True)
class Timing:
    """``seconds`` is the median of ``samples`` repeats; ``spread``, also seconds, is half of the range
    in which the inner 80 % of them lie, and at least 3 % of the median: another run gives
    ``seconds ± spread``."""

    seconds: float
    spread: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Timing:
        """From seconds of single runs, at least one."""
        median = float(np.median(samples))
        low, high = np.percentile(samples, _INNER)
        return cls(
            seconds=median,
            spread=max(float(high - low) / 2.0, SMALLEST_SPREAD * median),
            samples=len(samples),
        )

    @property
    def relative_spread(self) -> float:
        """The spread as a share of the median."""
        return self.spread / self.seconds if self.seconds > 0 else 0.0


def timed(name: str, work: Callable[[], object]) -> Contestant:
    """A contestant that runs ``work`` and gives its seconds under ``name``."""

    def run() -> Mapping[str, float]:
        started = time.perf_counter()
        work()
        return {name: time.perf_counter() - started}

    return run


def race(
    contestants: Sequence[Contestant],
    *,
    repeats: int | None = None,
    seconds: float = 20.0,
    pause: float = PAUSE,
    progress: Progress = QUIET,
) -> dict[str, Timing]:
    """Run all ``contestants`` in turn, again and again, and give the timing of every name.

    They take turns, so that changes of the machine's speed hit all of them alike and ratios hold even if
    absolute times drift. Each round begins with another contestant, so that none always follows the
    same one. Exactly ``repeats`` rounds, or as many as fit into ``seconds``, 5 to 60.
    """
    for contestant in contestants:
        for _ in range(WARM_UP):
            contestant()
    samples: dict[str, list[float]] = {}
    progress.start(float(repeats) if repeats else seconds, "repeats" if repeats else "s")
    started = time.perf_counter()
    rounds, told = 0, 0.0
    while not _enough(rounds, repeats, seconds, time.perf_counter() - started):
        for place in range(len(contestants)):
            time.sleep(pause)
            for name, sample in contestants[(place + rounds) % len(contestants)]().items():
                samples.setdefault(name, []).append(sample)
        rounds += 1
        done = float(rounds) if repeats else min(seconds, time.perf_counter() - started)
        progress.advance(done - told)
        told = done
    progress.finish()
    return {name: Timing.of(values) for name, values in samples.items()}


def _enough(rounds: int, repeats: int | None, seconds: float, elapsed: float) -> bool:
    if repeats is not None:
        return rounds >= repeats
    return rounds >= MIN_REPEATS and (elapsed >= seconds or rounds >= MAX_REPEATS)
