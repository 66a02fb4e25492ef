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

    def start(self, total: float | None, unit: str) -> None:
        """Ignore it."""

    def advance(self, amount: float) -> None:
        """Ignore it."""

    def extend(self, amount: float) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """Ignore it."""


QUIET: Progress = Quiet()


class Counted:
    """Passes everything on to ``listener`` and counts what is done."""

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._done = 0.0
        self._total: float | None = None
        self._unit = ""

    def __str__(self) -> str:
        """``12 of 900 frames``."""
        total = "" if self._total is None else f" of {self._total:.{digits_of(self._unit)}f}"
        return f"{self._done:.{digits_of(self._unit)}f}{total} {self._unit}"

    def start(self, total: float | None, unit: str) -> None:
        """Pass it on."""
        self._total, self._unit = total, unit
        self._listener.start(total, unit)

    def advance(self, amount: float) -> None:
        """Pass it on."""
        self._done += amount
        self._listener.advance(amount)

    def extend(self, amount: float) -> None:
        """Pass it on."""
        self._total = None if self._total is None else self._total + amount
        self._listener.extend(amount)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._listener.note(text)

    def finish(self) -> None:
        """Pass it on."""
        self._listener.finish()


def digits_of(unit: str) -> int:
    """Digits behind the point: megapixels and seconds have one, what is counted has none."""
    return 1 if unit in ("MP", "s") else 0
