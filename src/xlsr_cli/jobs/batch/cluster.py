"""A Dask cluster: the only importer of distributed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import ResourceError, UsageError
from xlsr_cli.jobs.batch.executor import Executor
from xlsr_cli.jobs.batch.processes import LocalExecutor
from xlsr_cli.jobs.batch.worker import Setup

if TYPE_CHECKING:
    from xlsr_cli.jobs.batch.item import Item, ItemResult
    from xlsr_cli.jobs.batch.job import Job
    from xlsr_cli.options import PictureOptions


class ClusterExecutor(Executor):
    """The same items on the workers of a Dask scheduler, on storage that all of them see."""

    #: How often an item is tried again when its worker is lost.
    _RETRIES = 2

    def __init__(self, address: str, *, timeout: float | None = None) -> None:
        """Connect to the scheduler at ``address``, such as ``tcp://host:8786``.

        ``timeout``: seconds for one file. Raises :class:`UsageError` without the extra ``cluster``,
        :class:`ResourceError` when nobody answers, or nobody works there.
        """
        try:
            import distributed
        except ImportError as error:
            raise UsageError("--cluster needs Dask: pip install dask distributed") from error
        self._timeout = timeout
        self._setup: Setup | None = None
        try:
            self._client: Any = distributed.Client(address, timeout="10s", set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ResourceError(f"no Dask scheduler answers at {address}: {error}") from error
        try:
            self._client.wait_for_workers(1, timeout=30)
        except TimeoutError as error:
            self._client.close()
            raise ResourceError(
                f"the scheduler {address} has no workers; start some: dask worker {address}"
            ) from error

    def stop(self) -> None:
        """Leave the cluster; what its workers are doing they finish."""
        self._client.close()

    def prepare(self, options: PictureOptions, options_key: str, jobs: Sequence[Job]) -> None:
        """Remember what is asked for; the workers find out for themselves whether it can be done."""
        self._setup = Setup(replace(options, engine=replace(options.engine, threads=1)), options_key)

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` and yield what became of each, as they end; :meth:`prepare` comes before."""
        from distributed import as_completed

        from xlsr_cli.jobs.batch.item import failed

        assert self._setup is not None
        options, key = self._setup.options, self._setup.options_key
        futures = {
            self._client.submit(
                do_item_anywhere, item, options, key, self._timeout, pure=False, retries=self._RETRIES
            ): item
            for item in items
        }
        try:
            for future in as_completed(list(futures), loop=self._client.loop):
                item = futures.pop(future)
                error = future.exception()
                if error is None:
                    yield future.result()
                else:
                    reason = f"{item.job.source} could not be done on the cluster: {error}"
                    yield failed(item, reason, error=error)
                future.release()
        finally:
            self._client.cancel(list(futures))


_KEPT = threading.local()


def do_item_anywhere(
    item: Item, options: PictureOptions, options_key: str, timeout: float | None
) -> ItemResult:
    """What a thread of a cluster's worker calls: one item, in a process that the thread keeps.

    A file that crashes or hangs takes that process with it, and not the worker, which may have no nanny.
    """
    executor = getattr(_KEPT, "executor", None)
    if executor is None or _KEPT.timeout != timeout:
        executor = LocalExecutor(workers=1, cores=1, timeout=timeout)
        _KEPT.executor, _KEPT.timeout = executor, timeout
    try:
        executor.prepare(options, options_key, [item.job])
        (result,) = executor.run([item])
    except BaseException:
        _KEPT.executor = None
        executor.stop()
        raise
    return result
