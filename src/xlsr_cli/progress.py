"""How a long piece of work reports its progress, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how far the work is. Called from one thread at a time."""

    def start(self, total: float | None, unit: str) -> None:
        """Work of ``total`` units begins (``MP``, ``frames``, ``files``); None when the end is unknown."""

    def advance(self, amount: float) -> None:
        """``amount`` more units are done."""

    def extend(self, amount: float) -> None:
        """The total has grown by ``amount``."""

    def note(self, text: str) -> None:
        """Show a few words beside the bar, such as the size of the output so far, until the next ones."""

    def finish(self) -> None:
        """Nothing more will come."""


class Quiet:
    """A listener that does nothing: the default everywhere."""

    def start(self, total: float | None, unit: str) -> None: ...
    def advance(self, amount: float) -> None: ...
    def extend(self, amount: float) -> None: ...
    def note(self, text: str) -> None: ...
    def finish(self) -> None: ...


QUIET: Progress = Quiet()


class Counted:
    """Passes everything on to ``listener`` and counts what is done."""

    def __init__(self, listener: Progress) -> None:
        self.note, self.finish = listener.note, listener.finish
        self._listener = listener
        self._done = 0.0
        self._total: float | None = None
        self._unit = ""

    def __str__(self) -> str:
        """``12 of 900 frames``."""
        digits = digits_of(self._unit)
        total = "" if self._total is None else f" of {self._total:.{digits}f}"
        return f"{self._done:.{digits}f}{total} {self._unit}"

    def start(self, total: float | None, unit: str) -> None:
        self._total, self._unit = total, unit
        self._listener.start(total, unit)

    def advance(self, amount: float) -> None:
        self._done += amount
        self._listener.advance(amount)

    def extend(self, amount: float) -> None:
        self._total = None if self._total is None else self._total + amount
        self._listener.extend(amount)


def digits_of(unit: str) -> int:
    """Digits behind the point: megapixels and seconds have one, what is counted has none."""
    return 1 if unit in ("MP", "s") else 0
