"""Items done in this process, one after the other.

No process has to start, so a few small pictures are done sooner. But a file that crashes a decoder ends the
whole batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.batch.compute import do_item
from xlsr_cli.jobs.batch.effort import Rates, measure
from xlsr_cli.jobs.batch.executors.executor import Executor, Hear, ignore
from xlsr_cli.jobs.batch.executors.sharing import Share, Sharing
from xlsr_cli.jobs.batch.executors.worker import load_upscaler
from xlsr_cli.jobs.batch.item import Item, ItemResult
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import Recipe


class InProcessExecutor(Executor):
    """Computes and writes each item before the next one is begun."""

    def __init__(self, *, threads: int) -> None:
        """``threads``: of the engine, within one picture."""
        self._threads = threads
        self._upscaler: Upscaler | None = None

    def prepare(self, recipe: Recipe, jobs: Sequence[Job]) -> None:
        self.stop()
        if jobs:
            self._recipe = recipe.with_threads(self._threads)
            self._upscaler = load_upscaler(self._recipe.options)

    def measure(self) -> Rates:
        assert self._upscaler is not None
        return measure(self._recipe, self._upscaler)

    def run(self, items: Iterable[Item], hear: Hear = ignore) -> Iterator[ItemResult]:
        sharing = Sharing(hear, divides="begun")
        for whole in items:
            steps = deque([sharing.first(whole)])
            while steps:
                item = steps.popleft()
                assert self._upscaler is not None
                share = Share(partial(sharing.heard, item))
                result = do_item(item, self._recipe, self._upscaler, share)
                more, final = sharing.then(item, result)
                steps.extendleft(reversed(more))
                if final is not None:  # without the other parts of a film that has failed
                    yield final
                    break

    def stop(self) -> None:
        if self._upscaler is not None:
            self._upscaler.close()
            self._upscaler = None
