"""How long work tells about itself, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears how far the work is. Called from one thread at a time."""

    def start(self, total: float | None, unit: str) -> None:
        """Work of ``total`` units begins (``MP``, ``frames``, ``files``); None when the end is unknown."""

    def advance(self, amount: float) -> None:
        """``amount`` more units are done."""

    def extend(self, amount: float) -> None:
        """``amount`` more units are to do than was said."""

    def note(self, text: str) -> None:
        """A few words beside the bar, such as the size of the output so far; the last ones stay."""

    def finish(self) -> None:
        """Nothing more will come."""


class Quiet:
    """The listener that does nothing: the default everywhere."""

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
