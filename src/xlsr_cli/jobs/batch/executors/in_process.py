"""Items done in this process, one after the other.

Nothing has to start, which a few small pictures are glad of. Nothing stands between a file and the batch
either: a file that crashes a decoder ends the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xlsr_cli.jobs.batch.executors.executor import Executor

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.jobs.batch.item import Item, ItemResult
    from xlsr_cli.jobs.batch.job import Job
    from xlsr_cli.options import PictureOptions


class InProcessExecutor(Executor):
    """Computes and writes each item before the next one is begun."""

    def __init__(self, *, threads: int) -> None:
        """``threads``: of the engine, within one picture."""
        self._threads = threads
        self._upscaler: Upscaler | None = None

    def prepare(self, options: PictureOptions, options_key: str, jobs: Sequence[Job]) -> None:
        """Load the model. Raises :class:`ModelError` and its siblings when it cannot be loaded."""
        from xlsr_cli.jobs.batch.executors.worker import load_upscaler

        self.stop()
        if jobs:
            self._options, self._key = options, options_key
            engine = replace(options.engine, threads=self._threads)
            self._upscaler = load_upscaler(replace(options, engine=engine))

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` and yield what became of each; :meth:`prepare` comes before."""
        from xlsr_cli.jobs.batch.item import Computed, compute, place

        for item in items:
            assert self._upscaler is not None
            computed = compute(item, self._options, self._key, self._upscaler)
            yield place(computed) if isinstance(computed, Computed) else computed

    def stop(self) -> None:
        """Forget the model."""
        if self._upscaler is not None:
            self._upscaler.close()
            self._upscaler = None
