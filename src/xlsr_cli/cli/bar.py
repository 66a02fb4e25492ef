"""The progress bar. This module, and so Rich, is imported only if stderr is a terminal."""

from __future__ import annotations

import os
import sys

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
from rich.table import Column
from rich.text import Text

from xlsr_cli.cli.printable import printable
from xlsr_cli.progress import digits_of


class _Count(ProgressColumn):
    """How much is done of how much: ``39/900 frames``, ``3.1/12.0 MP``."""

    def render(self, task: Task) -> Text:
        unit = str(task.fields["unit"])
        digits = digits_of(unit)
        total = "" if task.total is None else f"/{task.total:.{digits}f}"
        return Text(f"{task.completed:.{digits}f}{total} {unit}", no_wrap=True)


class _Rate(ProgressColumn):
    """The speed, such as ``12.0 frames/s``; megapixels are those of the input."""

    def render(self, task: Task) -> Text:
        speed, unit = task.finished_speed or task.speed, task.fields["unit"]
        what = "input MP" if unit == "MP" else unit
        return Text("" if speed is None or unit == "s" else f"{speed:.1f} {what}/s", no_wrap=True)


class _TimeLeft(TimeRemainingColumn):
    """``0:01:20 left``; nothing while it is not known."""

    def render(self, task: Task) -> Text:
        if task.time_remaining is None:
            return Text("")
        return Text.assemble(super().render(task), " left")


def _one_line(width: int) -> Column:
    """A column that shortens what does not fit, so that the bar stays one line."""
    return Column(no_wrap=True, overflow="ellipsis", max_width=width)


class Bar:
    """A :class:`~xlsr_cli.progress.Progress` drawn on stderr."""

    def __init__(self, title: str) -> None:
        rich = RichConsole(file=sys.stderr, no_color=bool(os.environ.get("NO_COLOR")))
        columns = (
            TextColumn("{task.description}", markup=False, table_column=_one_line(24)),
            BarColumn(bar_width=12),
            _Count(),
            _Rate(),
            _TimeLeft(),
            TextColumn("{task.fields[note]}", markup=False, table_column=_one_line(40)),
        )
        # Output to stdout is data, which the bar on stderr must not capture.
        self._progress = Progress(*columns, console=rich, transient=True, redirect_stdout=False)
        self._title = printable(title)
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, total: float | None, unit: str) -> None:
        self._task = self._progress.add_task(self._title, total=total, unit=unit, note="")

    def advance(self, amount: float) -> None:
        if self._task is not None:
            self._progress.advance(self._task, amount)

    def extend(self, amount: float) -> None:
        if self._task is not None:
            total = self._progress.tasks[self._task].total or 0.0
            self._progress.update(self._task, total=total + amount)

    def note(self, text: str) -> None:
        """Show ``text`` behind the time left."""
        if self._task is not None:
            self._progress.update(self._task, note=printable(text))

    def finish(self) -> None:
        """The bar disappears with the context manager."""
