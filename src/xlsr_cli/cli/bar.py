"""The progress bar. Rich is imported here, and only while a terminal watches."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from xlsr_cli.cli.printable import printable


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {task.fields.get('unit', '')}/s")


class Bar:
    """A :class:`~xlsr_cli.progress.Progress` drawn on stderr."""

    def __init__(self, title: str) -> None:
        rich = RichConsole(file=sys.stderr, no_color=bool(os.environ.get("NO_COLOR")))
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.1f}/{task.total:.1f} {task.fields[unit]}"),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        # What goes to stdout meanwhile is data, and no business of the bar on stderr.
        self._progress = Progress(*columns, console=rich, transient=True, redirect_stdout=False)
        self._title = printable(title)
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def start(self, total: float | None, unit: str) -> None:
        """Show a bar for ``total`` units."""
        self._task = self._progress.add_task(self._title, total=total or 0.0, unit=unit, note="")

    def advance(self, amount: float) -> None:
        """``amount`` more units are done."""
        if self._task is not None:
            self._progress.advance(self._task, amount)

    def extend(self, amount: float) -> None:
        """Make the bar longer by ``amount`` units."""
        if self._task is not None:
            total = self._progress.tasks[self._task].total or 0.0
            self._progress.update(self._task, total=total + amount)

    def note(self, text: str) -> None:
        """Show ``text`` behind the time left."""
        if self._task is not None:
            self._progress.update(self._task, note=text)

    def finish(self) -> None:
        """The bar disappears with the context manager."""
