"""Whether the machine was quiet enough for a measurement to mean something."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xlsr_cli.bench.timing import MIN_REPEATS, Timing

#: A spread above this share of the median is no measurement.
TOO_MUCH_SPREAD = 0.15
#: Other programs may keep this many cores busy beyond those that the measurement leaves free.
_TOLERATED_CORES = 0.2

_STAT = Path("/proc/stat")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """``reasons`` not to trust the numbers, one sentence each; empty on a quiet machine.

    ``other_cores``: how many cores other programs (or, on a virtual machine, its host) kept busy
    meanwhile; None where the system does not tell.
    """

    other_cores: float | None
    reasons: tuple[str, ...]

    @property
    def trustworthy(self) -> bool:
        """Whether nothing speaks against the numbers."""
        return not self.reasons


class LoadWatch:
    """Measures, as a context manager, how many cores other programs keep busy meanwhile (Linux)."""

    def __init__(self, stat: Path = _STAT) -> None:
        self.other_cores: float | None = None
        self._stat = stat

    def __enter__(self) -> LoadWatch:
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        before, after = self._before, self._now()
        if before is not None and after is not None and after[0] > before[0]:
            elapsed, busy, own = (late - early for early, late in zip(before, after, strict=True))
            self.other_cores = max(0.0, (busy - own) / elapsed)

    def _now(self) -> tuple[float, float, float] | None:
        """(clock, busy seconds of all cores, those of this process and of its children that ended)."""
        try:
            busy = busy_seconds(self._stat.read_text(encoding="ascii"), os.sysconf("SC_CLK_TCK"))
        except (OSError, ValueError, AttributeError):
            return None
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        return time.monotonic(), busy, ours


def busy_seconds(stat: str, ticks_per_second: int) -> float:
    """Seconds that all cores together were not idle, out of the text of ``/proc/stat``.

    Time that the host of a virtual machine took away ("steal") counts as busy. Raises ``ValueError``
    for any other text.
    """
    name, *fields = stat.split("\n", 1)[0].split()
    if name != "cpu" or len(fields) < 5:
        raise ValueError("not the text of /proc/stat")
    user, nice, system, _idle, _iowait, *rest = map(int, fields[:8])
    return (user + nice + system + sum(rest)) / ticks_per_second


def judge(
    timings: Iterable[Timing], *, other_cores: float | None, logical_cores: int, used_cores: int
) -> Noise:
    """Reasons not to trust ``timings``: too few, too wide a spread, other programs on the ``used_cores``."""
    timings = tuple(timings)
    reasons = []
    repeats = min((timing.samples for timing in timings), default=MIN_REPEATS)
    if repeats < MIN_REPEATS:
        reasons.append(
            f"{repeats} repeat{'s' if repeats > 1 else ''} cannot tell how much the times scatter; "
            f"give --repeat {MIN_REPEATS} or more"
        )
    free = logical_cores - used_cores
    if other_cores is not None and other_cores > free + _TOLERATED_CORES:
        reasons.append(
            f"other programs kept {other_cores:.1f} of {logical_cores} cores busy; "
            "close them or wait, then measure again"
        )
    worst = max((timing.relative_spread for timing in timings), default=0.0)
    if worst > TOO_MUCH_SPREAD:
        reasons.append(f"the times scatter by up to ±{worst:.0%}; repeat on a quieter machine")
    return Noise(other_cores=other_cores, reasons=tuple(reasons))
