"""Where items are done: worker processes on this machine, or a Dask cluster.

Both give results in the order in which they end. A worker that crashes, hangs or runs out of memory costs
the one file that it was working on, and is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from xlsr_cli.errors import UsageError

if TYPE_CHECKING:
    from xlsr_cli.jobs.batch.item import Item, ItemResult
    from xlsr_cli.jobs.batch.plan import Job
    from xlsr_cli.options import PictureOptions

#: Bytes that the process which hands out the work takes itself.
LEAD_MEMORY = 90 << 20
#: Bytes that a worker takes for libraries, model and tiles, beside the pictures.
WORKER_MEMORY = 170 << 20


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Where and with how much the work is done.

    ``jobs``: worker processes; None is one per usable core. ``threads``: of all of them together; None is
    one per usable core. ``timeout``: seconds for one file. ``max_memory``: bytes for all processes together.
    ``cluster``: address of a Dask scheduler. Raises :class:`UsageError` for what a cluster decides by
    itself, and for less memory than any batch takes.
    """

    jobs: int | None = None
    threads: int | None = None
    timeout: float | None = None
    max_memory: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.cluster is not None and (self.jobs is not None or self.max_memory is not None):
            raise UsageError(
                "--jobs and --max-memory are for this machine; on a cluster 'dask worker' has --nworkers and "
                "--memory-limit"
            )
        least = LEAD_MEMORY + WORKER_MEMORY
        if self.max_memory is not None and self.max_memory < least:
            raise UsageError(f"--max-memory must be at least {least >> 20}M, which a batch takes at all")


class Executor(Protocol):
    """A place where items are done. Use it as a context manager: leaving it stops all work."""

    def prepare(self, options: PictureOptions, options_key: str, jobs: Sequence[Job]) -> None:
        """Make ready for ``jobs``; raises now what would else fail with every one of them."""

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` and yield what became of each, as they end."""

    def stop(self) -> None:
        """End all work; what was being done is left undone."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def open_executor(work: WorkOptions) -> Executor:
    """The place where the work is done; local processes begin to load while the plan is made.

    Raises what :class:`~xlsr_cli.jobs.batch.cluster.ClusterExecutor` raises.
    """
    if work.cluster is not None:
        from xlsr_cli.jobs.batch.cluster import ClusterExecutor

        return ClusterExecutor(work.cluster, timeout=work.timeout)
    from xlsr_cli.engine.session import usable_cores
    from xlsr_cli.jobs.batch.processes import LocalExecutor

    cores = work.threads or usable_cores()
    workers = work.jobs or cores
    if work.max_memory is not None:
        workers = max(1, min(workers, (work.max_memory - LEAD_MEMORY) // WORKER_MEMORY))
    return LocalExecutor(workers=workers, cores=cores, timeout=work.timeout, max_memory=work.max_memory)
