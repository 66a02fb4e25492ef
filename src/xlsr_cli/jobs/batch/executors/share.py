"""Report from time to time how much of one file is done."""

from __future__ import annotations

import time
from collections.abc import Callable

from xlsr_cli.progress import Quiet

#: Seconds between two reports about the same file.
_PACE = 0.5


class Share(Quiet):
    """A :class:`~xlsr_cli.progress.Progress` that tells which share of its work is done, 0 to 1."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._done, self._total = 0.0, 0.0
        self._last = time.monotonic()

    def start(self, total: float | None, unit: str) -> None:
        """Work of ``total`` units begins; without a total, nothing can be told."""
        self._done, self._total = 0.0, total or 0.0

    def advance(self, amount: float) -> None:
        """Tell it, if the last word is some time ago."""
        self._done += amount
        now = time.monotonic()
        if self._total and now - self._last >= _PACE:
            self._last = now
            self._tell(min(1.0, self._done / self._total))

    def extend(self, amount: float) -> None:
        """The total has grown."""
        self._total += amount
