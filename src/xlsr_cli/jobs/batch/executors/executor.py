"""The interface of a place where items are done: worker processes, this process, or a cluster.

All yield results in the order in which items end. A worker process that crashes, hangs or runs out of memory
costs the one file that it was working on, and is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from xlsr_cli.jobs.batch.effort import Rates
    from xlsr_cli.jobs.batch.item import Item, ItemResult
    from xlsr_cli.jobs.batch.job import Job
    from xlsr_cli.jobs.batch.recipe import Recipe

#: Hears the name of a file and how much of it is done, 0 to 1.
Hear = Callable[[str, float], None]


def ignore(name: str, share: float) -> None:
    """Do nothing."""


class Executor(Protocol):
    """A place where items are done. Use it as a context manager: leaving it stops all work."""

    def prepare(self, recipe: Recipe, jobs: Sequence[Job]) -> None:
        """Get ready for ``jobs``. Raises at once what would make every one of them fail."""

    def measure(self) -> Rates:
        """The speed of the whole place; call :meth:`prepare` before."""

    def run(self, items: Iterable[Item], hear: Hear = ignore) -> Iterator[ItemResult]:
        """Do ``items`` and yield their results as they end; ``hear`` gets the progress of long ones.

        Call :meth:`prepare` before.
        """

    def stop(self) -> None:
        """End all work; unfinished items stay unfinished."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
