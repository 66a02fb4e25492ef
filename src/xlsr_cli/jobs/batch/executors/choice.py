"""Choose by the options where items are done."""

from __future__ import annotations

from dataclasses import dataclass

from xlsr_cli.declaration import check_values, option
from xlsr_cli.errors import ResourceError, UsageError
from xlsr_cli.jobs.batch.executors.executor import Executor
from xlsr_cli.jobs.batch.job import LEAD_MEMORY, WORKER_MEMORY

#: The bytes of memory that the smallest batch takes.
_LEAST_MEMORY = LEAD_MEMORY + WORKER_MEMORY


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """Where and with how much the work is done.

    ``jobs``: worker processes; None is one per usable core, 0 does all in this process. ``threads``: of all
    processes together; None is one per usable core. ``timeout``: seconds for one file. ``max_memory``: bytes
    for all processes together. ``cluster``: address of a Dask scheduler.

    Raises :class:`UsageError` for options that a cluster decides itself, and for less memory than a batch
    needs.
    """

    jobs: int | None = option(
        None,
        "Number of worker processes; 0: this process does the work.",
        "machine",
        short="-j",
        shown="one per usable core",
        at_least=0,
    )
    timeout: float | None = option(None, "Time limit for one file.", "machine", value="SECONDS")
    cluster: str | None = option(
        None, "Run on the Dask scheduler at this address.", "machine", value="ADDRESS"
    )
    threads: int | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        check_values(self)
        if self.timeout is not None and self.timeout < 0.1:
            raise UsageError(f"--timeout must be at least 0.1 seconds, not {self.timeout:g}")
        if self.cluster is not None and (self.jobs is not None or self.max_memory is not None):
            raise UsageError(
                "--jobs and --max-memory are for this machine; on a cluster 'dask worker' has --nworkers and "
                "--memory-limit"
            )
        if self.jobs == 0 and self.timeout is not None:
            raise UsageError("--timeout ends a worker process, and --jobs 0 has none; give --jobs 1")
        if self.max_memory is not None and self.max_memory < _LEAST_MEMORY:
            raise UsageError(
                f"--max-memory must be at least {_LEAST_MEMORY >> 20}M, the least that a batch needs"
            )


def open_executor(work: WorkOptions) -> Executor:
    """The place where the work is done; local processes begin to load while the plan is made.

    Raises what :class:`~xlsr_cli.jobs.batch.executors.cluster.ClusterExecutor` raises, and
    :class:`ResourceError` where the control group grants less memory than any batch takes.
    """
    if work.cluster is not None:
        from xlsr_cli.jobs.batch.executors.cluster import ClusterExecutor

        return ClusterExecutor(work.cluster, timeout=work.timeout)
    from xlsr_cli.engine import cgroup

    cores = work.threads or cgroup.usable_cores()
    if work.jobs == 0:
        from xlsr_cli.jobs.batch.executors.in_process import InProcessExecutor

        return InProcessExecutor(threads=cores)
    from xlsr_cli.jobs.batch.executors.processes import LocalExecutor

    workers, max_memory = work.jobs or cores, work.max_memory
    granted = cgroup.memory_limit()
    if granted is not None:
        if granted < _LEAST_MEMORY:
            raise ResourceError(
                f"a batch takes {_LEAST_MEMORY >> 20} MB of memory and this control group grants "
                f"{granted >> 20} MB; run it where there is more, or give --jobs 0"
            )
        max_memory = granted if max_memory is None else min(granted, max_memory)
    if max_memory is not None:
        workers = max(1, min(workers, (max_memory - LEAD_MEMORY) // WORKER_MEMORY))
    return LocalExecutor(workers=workers, cores=cores, timeout=work.timeout, max_memory=max_memory)
