"""Where items are done: worker processes on this machine, or a Dask cluster.

Both give results in the order in which they end. A worker that crashes, hangs or runs out of memory costs
the one file that it had, and is replaced.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import multiprocessing.connection
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from xlsr_cli.errors import ResourceError, UsageError
from xlsr_cli.jobs.item import Item, ItemResult, do_item, failed
from xlsr_cli.options import PictureOptions

#: Bytes that a worker takes for libraries, model and tiles, beside the pictures.
_WORKER_MEMORY = 150 << 20
#: Bytes a pixel, input and output together counted once each: BGRA and a copy while encoding.
_BYTES_PER_PIXEL = 6
#: A worker that dies so often before it did anything will not get better.
_MAX_FAILED_STARTS = 3


def memory_needed(item: Item, options: PictureOptions) -> int:
    """Bytes that doing ``item`` takes in a worker, estimated from its header."""
    factor = options.target.scale or 2.0
    return _WORKER_MEMORY + int(item.job.pixels * (1 + math.ceil(factor) ** 2) * _BYTES_PER_PIXEL)


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    item: Item | None = None
    key: str = ""
    deadline: float = math.inf
    did_something: bool = False


class LocalExecutor:
    """``workers`` processes with ``threads`` each; see :meth:`run`."""

    def __init__(
        self,
        options: PictureOptions,
        options_key: str,
        *,
        workers: int,
        threads: int,
        timeout: float | None = None,
        max_memory: int | None = None,
    ) -> None:
        """``timeout``: seconds for one file. ``max_memory``: bytes for all workers together."""
        self._options = replace(options, engine=replace(options.engine, threads=threads))
        self._key = options_key
        self._count = workers
        self._timeout = math.inf if timeout is None else timeout
        self._max_memory = math.inf if max_memory is None else float(max_memory)
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` and yield what became of each, as they end. Workers are stopped at the end."""
        waiting = list(items)
        waiting.reverse()
        try:
            self._workers = [self._start() for _ in range(min(self._count, len(waiting)))]
            while waiting or any(worker.item for worker in self._workers):
                self._hand_out(waiting)
                yield from self._collect()
        finally:
            self._stop()

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._options, self._key), name="xlsr-worker", daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process=process, connection=ours)

    def _hand_out(self, waiting: list[Item]) -> None:
        """Give idle workers the next items that memory allows; one always runs, however large."""
        for worker in self._workers:
            if worker.item is not None or not waiting:
                continue
            used = sum(memory_needed(w.item, self._options) for w in self._workers if w.item)
            room = self._max_memory - used
            place = next(
                (
                    i
                    for i in range(len(waiting) - 1, -1, -1)
                    if memory_needed(waiting[i], self._options) <= room
                ),
                None,
            )
            if place is None:
                if used:
                    return
                place = len(waiting) - 1
            worker.item = waiting.pop(place)
            worker.key = ""
            worker.deadline = time.monotonic() + self._timeout
            with contextlib.suppress(OSError):  # a worker that died is noticed when its answer is awaited
                worker.connection.send(worker.item)

    def _collect(self) -> Iterator[ItemResult]:
        busy = [worker for worker in self._workers if worker.item is not None]
        patience = min(worker.deadline for worker in busy) - time.monotonic()
        ready = multiprocessing.connection.wait(
            [worker.connection for worker in busy], None if patience == math.inf else max(0.0, patience)
        )
        for worker in busy:
            if worker.connection in ready:
                yield from self._receive(worker)
            elif time.monotonic() >= worker.deadline:
                yield self._lost(worker, f"took longer than --timeout {self._timeout:g} s")

    def _receive(self, worker: _Worker) -> Iterator[ItemResult]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(5)
            code = worker.process.exitcode
            how = _signal_name(-code) if code is not None and code < 0 else f"exit code {code}"
            yield self._lost(worker, f"crashed the decoder or ran out of memory ({how})")
            return
        worker.did_something = True
        if isinstance(message, str):
            worker.key = message
            return
        worker.item, worker.deadline = None, math.inf
        yield message

    def _lost(self, worker: _Worker, reason: str) -> ItemResult:
        """Replace a worker that died or hangs; the result for the file that it had."""
        item = worker.item
        assert item is not None
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._failed_starts = 0 if worker.did_something else self._failed_starts + 1
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise ResourceError("worker processes cannot be started on this machine; try --jobs 1")
        self._workers[self._workers.index(worker)] = self._start()
        return failed(item.job, f"{item.job.source} {reason}", key=worker.key)

    def _stop(self) -> None:
        for worker in self._workers:
            if worker.item is None:
                with contextlib.suppress(OSError):
                    worker.connection.send(None)
            else:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers = []


def _work(connection: Connection, options: PictureOptions, options_key: str) -> None:
    """What a worker process does until it is sent None or its parent is gone."""
    from xlsr_cli.engine.upscaler import Upscaler

    # Ctrl-C reaches the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    upscaler = Upscaler.from_options(options.engine, options.target)
    with contextlib.suppress(EOFError, OSError):
        while (item := connection.recv()) is not None:
            connection.send(do_item(item, options, options_key, upscaler, connection.send))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class ClusterExecutor:
    """The same items on the workers of a Dask scheduler, on storage that all of them see."""

    #: How often a file is tried again when its worker dies; then it counts as the file's fault.
    _RETRIES = 2

    def __init__(self, options: PictureOptions, options_key: str, *, address: str) -> None:
        """Connect to the scheduler at ``address``, such as ``tcp://host:8786``.

        Raises :class:`UsageError` without the extra ``cluster``, :class:`ResourceError` when nobody
        answers.
        """
        try:
            import distributed
        except ImportError as error:
            raise UsageError("--cluster needs Dask: pip install 'xlsr-cli[cluster]'") from error
        try:
            self._client: Any = distributed.Client(address, timeout="10s", set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ResourceError(f"no Dask scheduler answers at {address}: {error}") from error
        self._options = replace(options, engine=replace(options.engine, threads=1))
        self._key = options_key

    def run(self, items: Iterable[Item]) -> Iterator[ItemResult]:
        """Do ``items`` on the cluster and yield what became of each, as they end."""
        from distributed import as_completed

        futures = {
            self._client.submit(
                do_item_anywhere, item, self._options, self._key, pure=False, retries=self._RETRIES
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
                    yield failed(item.job, f"{item.job.source} could not be done on the cluster: {error}")
                future.release()
        finally:
            self._client.cancel(list(futures))
            self._client.close()


def do_item_anywhere(item: Item, options: PictureOptions, options_key: str) -> ItemResult:
    """:func:`do_item` with an upscaler that the process keeps: what a cluster's worker calls."""
    return do_item(item, options, options_key, _kept_upscaler(options))


_KEPT: dict[str, Any] = {}


def _kept_upscaler(options: PictureOptions) -> Any:
    from xlsr_cli.engine.upscaler import Upscaler

    key = repr((options.engine, options.target))
    if key not in _KEPT:
        _KEPT[key] = Upscaler.from_options(options.engine, options.target)
    return _KEPT[key]
