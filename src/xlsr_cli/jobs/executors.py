"""Where items are done: worker processes on this machine, or a Dask cluster.

Both give results in the order in which they end. A worker that crashes, hangs or runs out of memory costs
the one file that it was working on, and is replaced.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from xlsr_cli.errors import ResourceError, UsageError, XlsrError

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.jobs.item import Computed, Item, ItemResult
    from xlsr_cli.jobs.plan import Job
    from xlsr_cli.options import PictureOptions

#: Bytes that this process takes itself.
_LEAD_MEMORY = 90 << 20
#: Bytes that a worker takes for libraries, model and tiles, beside the pictures.
WORKER_MEMORY = 170 << 20
#: Items that a worker has at a time: one to compute, the next one so that it need not wait for it.
_DEPTH = 2
#: So many workers start before it is known how many files there are.
_EARLY = 4
#: Only behind a picture of so few pixels is another one queued; behind a large one it would wait for long
#: while other workers are idle.
_QUICK = 4_000_000
#: A worker that dies so often before it did anything will not get better.
_MAX_FAILED_STARTS = 3


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
        least = _LEAD_MEMORY + WORKER_MEMORY
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

    def __enter__(self) -> Executor: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_executor(work: WorkOptions) -> Executor:
    """The place where the work is done; local processes begin to load while the plan is made.

    Raises what :class:`ClusterExecutor` raises.
    """
    if work.cluster is not None:
        return ClusterExecutor(work.cluster, timeout=work.timeout)
    from xlsr_cli.engine.session import usable_cores

    cores = work.threads or usable_cores()
    workers = work.jobs or cores
    if work.max_memory is not None:
        workers = max(1, min(workers, (work.max_memory - _LEAD_MEMORY) // WORKER_MEMORY))
    return LocalExecutor(workers=workers, cores=cores, timeout=work.timeout, max_memory=work.max_memory)


@dataclass(frozen=True)
class _Setup:
    """Sent to a worker before the items that are done so."""

    options: PictureOptions
    options_key: str


@dataclass(frozen=True)
class _Ready:
    """Sent by a worker that has loaded what it needs."""


@dataclass(frozen=True)
class _Begun:
    """Sent by a worker when it takes the next item, and again when it knows the item's key."""

    key: str = ""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    ready: bool = False
    items: deque[Item] = field(default_factory=deque)  # in the order in which they end
    begun: deque[float] = field(default_factory=deque)  # when the first of them were begun
    keys: deque[str] = field(default_factory=deque)  # of those; empty while unknown


class LocalExecutor:
    """Worker processes on this machine, which start to load what they need at once."""

    def __init__(
        self, *, workers: int, cores: int, timeout: float | None = None, max_memory: int | None = None
    ) -> None:
        """Start the first of at most ``workers`` processes, which share ``cores``.

        ``timeout``: seconds for one file. ``max_memory``: bytes for all processes together.
        """
        self._count = workers
        self._cores = cores
        self._timeout = math.inf if timeout is None else timeout
        self._max_memory = math.inf if max_memory is None else max_memory - _LEAD_MEMORY
        self._context = multiprocessing.get_context("spawn")
        self._setup: _Setup | None = None
        self._failed_starts = 0
        self._workers = [self._start() for _ in range(min(workers, _EARLY))]

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def prepare(self, options: PictureOptions, options_key: str, jobs: Sequence[Job]) -> None:
        """Have the model loaded by as many workers as have something to do, which share the cores.

        Raises :class:`~xlsr_cli.errors.ModelError`, :class:`ResourceError` or :class:`UsageError` when it
        cannot be loaded.
        """
        if not jobs:
            return
        count = self._useful(jobs)
        engine = replace(options.engine, threads=max(1, self._cores // count))
        self._setup = _Setup(replace(options, engine=engine), options_key)
        for worker in self._workers[count:]:
            _end(worker)
        self._workers = self._workers[:count]
        for worker in self._workers:
            _send(worker, self._setup)
        self._workers += [self._start() for _ in range(count - len(self._workers))]
        while not any(worker.ready for worker in self._workers):
            for _ in self._collect(deque()):
                raise AssertionError("nothing was handed out yet")

    def _useful(self, jobs: Sequence[Job]) -> int:
        """How many workers have something to do and leave room for the largest job beside them."""
        count = min(self._count, len(jobs))
        largest = max((job.memory for job in jobs if job.memory <= self._max_memory), default=0)
        while count > 1 and largest + (count - 1) * WORKER_MEMORY > self._max_memory:
            count -= 1
        return count

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` and yield what became of each, as they end; :meth:`prepare` comes before."""
        waiting: deque[Item] = deque()
        for item in items:
            if item.job.memory <= self._max_memory:
                waiting.append(item)
            else:
                yield _too_large(item)
        while waiting or any(worker.items for worker in self._workers):
            self._hand_out(waiting)
            yield from self._collect(waiting)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), name="xlsr-worker", daemon=True)
        with _deaf_to_interrupts():
            process.start()
        theirs.close()
        worker = _Worker(process=process, connection=ours)
        if self._setup is not None:
            _send(worker, self._setup)
        return worker

    def _hand_out(self, waiting: deque[Item]) -> None:
        """Give workers the next items that memory allows."""
        for depth in range(1, _DEPTH + 1):
            for worker in self._workers:
                if worker.ready and len(worker.items) < depth and waiting and _may_queue(worker):
                    item = self._next(waiting)
                    if item is not None:
                        worker.items.append(item)
                        _send(worker, item)

    def _next(self, waiting: deque[Item]) -> Item | None:
        """The first item for which there is room while all others are worked on; None when there is none."""
        if self._max_memory == math.inf:
            return waiting.popleft()
        used = sum(item.job.memory - WORKER_MEMORY for each in self._workers for item in each.items)
        room = self._max_memory - len(self._workers) * WORKER_MEMORY - used
        for place, item in enumerate(waiting):
            if item.job.memory - WORKER_MEMORY <= room:
                del waiting[place]
                return item
        return None

    def _collect(self, waiting: deque[Item]) -> Iterator[ItemResult]:
        begun = [worker.begun[0] for worker in self._workers if worker.begun]
        patience = min(begun, default=math.inf) + self._timeout - time.monotonic()
        ready = multiprocessing.connection.wait(
            [worker.connection for worker in self._workers],
            None if patience == math.inf else max(0.0, patience),
        )
        for worker in list(self._workers):
            if worker.connection in ready:
                yield from self._receive(worker, waiting)
            elif worker.begun and time.monotonic() >= worker.begun[0] + self._timeout:
                yield from self._lost(worker, waiting, 0, f"took longer than --timeout {self._timeout:g} s")

    def _receive(self, worker: _Worker, waiting: deque[Item]) -> Iterator[ItemResult]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(5)
            code = worker.process.exitcode
            how = _signal_name(-code) if code is not None and code < 0 else f"exit code {code}"
            # The last one begun is being computed; one before it is being written, which harms nobody.
            guilty = len(worker.begun) - 1
            yield from self._lost(
                worker, waiting, guilty, f"crashed the decoder or ran out of memory ({how})"
            )
            return
        if isinstance(message, XlsrError):
            raise message
        if isinstance(message, _Ready):
            worker.ready = True
        elif isinstance(message, _Begun):
            self._failed_starts = 0
            if message.key:
                worker.keys[-1] = message.key
            else:
                worker.begun.append(time.monotonic())
                worker.keys.append("")
        else:
            worker.items.popleft()
            worker.begun.popleft()
            worker.keys.popleft()
            yield message

    def _lost(self, worker: _Worker, waiting: deque[Item], guilty: int, reason: str) -> Iterator[ItemResult]:
        """Replace a worker that died or hangs; the result for the item that it did so of, if for any.

        ``guilty``: its place among the worker's items, -1 when none was begun. The others are done again.
        """
        from xlsr_cli.jobs.item import failed

        _end(worker)
        items = list(worker.items)
        waiting.extendleft(reversed([item for place, item in enumerate(items) if place != guilty]))
        if guilty < 0:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise ResourceError(
                    "worker processes cannot be started on this machine; give --max-memory or fewer --jobs"
                )
        self._workers[self._workers.index(worker)] = self._start()
        if guilty >= 0:
            lost = items[guilty]
            yield failed(lost, f"{lost.job.source} {reason}", key=worker.keys[guilty])

    def stop(self) -> None:
        """End all processes; what they were doing is left undone."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            _end(worker)
        self._workers = []


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _too_large(item: Item) -> ItemResult:
    from xlsr_cli.jobs.item import failed

    reason = (
        f"{item.job.source} needs about {item.job.memory >> 20} MB of memory, more than --max-memory leaves "
        "for it; raise it"
    )
    return failed(item, reason, error=ResourceError(reason))


def _may_queue(worker: _Worker) -> bool:
    return all(0 < item.job.pixels <= _QUICK for item in worker.items)


def _send(worker: _Worker, message: object) -> None:
    with contextlib.suppress(OSError):  # a worker that died is noticed when its answer is awaited
        worker.connection.send(message)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started within does not hear Ctrl-C: this process decides what happens, and hears it after."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # or it would be started within, and lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection) -> None:
    """What a worker process does until it is killed or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        _Desk(connection).work()


def _end_with_parent() -> None:
    """A parent that was killed has let go of the folder: nothing may be written there any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Desk:
    """A worker's two hands: one computes, the other writes what is computed and waits for the disk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._writing: threading.Thread | None = None

    def work(self) -> None:
        """Do what is asked for as long as somebody asks."""
        import cv2

        import xlsr_cli.jobs.picture  # noqa: F401 - while there is time: this takes longer than a picture

        setup: _Setup | None = None
        upscaler: Upscaler | None = None
        while True:
            message = self._connection.recv()
            if isinstance(message, _Setup):
                if message == setup:
                    continue
                setup = message
                cv2.setNumThreads(setup.options.engine.threads or 1)  # the other cores are other workers'
                try:
                    upscaler = _loaded(setup.options)
                except XlsrError as error:
                    self._send(error)
                    return
                self._send(_Ready())
            else:
                assert setup is not None and upscaler is not None
                self._do(message, setup, upscaler)

    def _do(self, item: Item, setup: _Setup, upscaler: Upscaler) -> None:
        from xlsr_cli.jobs.item import Computed, compute

        self._send(_Begun())
        result = compute(
            item, setup.options, setup.options_key, upscaler, lambda key: self._send(_Begun(key))
        )
        self._finish_writing()
        if isinstance(result, Computed):
            self._write(result)
        else:
            self._send(result)

    def _write(self, computed: Computed) -> None:
        from xlsr_cli.jobs.item import place

        def write() -> None:
            with contextlib.suppress(OSError):  # the parent is gone, which the other hand hears as well
                self._send(place(computed))

        self._writing = threading.Thread(target=write)
        self._writing.start()

    def _finish_writing(self) -> None:
        """Results are sent in the order of their items."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None

    def _send(self, message: object) -> None:
        with self._sending:
            self._connection.send(message)


def _loaded(options: PictureOptions) -> Upscaler:
    """An upscaler whose models are there; raises now what would else fail with every file."""
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.options import Size

    upscaler = Upscaler.from_options(options.engine, options.target)
    side, factor = 100, options.target.scale or 2.0
    larger = math.ceil(side * factor)
    upscaler.model_names(
        Size(width=side, height=side), channels=3, depth=8, size=Size(width=larger, height=larger)
    )
    return upscaler


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class ClusterExecutor:
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
            raise UsageError("--cluster needs Dask: pip install 'xlsr-cli[cluster]'") from error
        self._timeout = timeout
        self._setup: _Setup | None = None
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

    def __enter__(self) -> ClusterExecutor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the cluster; what its workers are doing they finish."""
        self._client.close()

    def prepare(self, options: PictureOptions, options_key: str, jobs: Sequence[Job]) -> None:
        """Remember what is asked for; the workers find out for themselves whether it can be done."""
        self._setup = _Setup(replace(options, engine=replace(options.engine, threads=1)), options_key)

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` and yield what became of each, as they end; :meth:`prepare` comes before."""
        from distributed import as_completed

        from xlsr_cli.jobs.item import failed

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
        # Workers under a nanny are daemons, to which multiprocessing forbids children so that none is
        # left behind; ours end with their parent by themselves.
        getattr(multiprocessing.current_process(), "_config", {})["daemon"] = False
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
