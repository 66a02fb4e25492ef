"""Worker processes on this machine: start them, give them items, watch and replace them.

Libraries for pools of processes lack three things that are needed here. pebble and concurrent.futures start
Python through ``multiprocessing``, which looks for code in the working folder; they do not limit work by its
memory; and their workers wait for the disk before they begin the next picture.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing.connection
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from xlsr_cli.errors import ResourceError, XlsrError
from xlsr_cli.jobs.batch.effort import Rates, parts_of
from xlsr_cli.jobs.batch.executors.executor import Executor, Hear, ignore
from xlsr_cli.jobs.batch.executors.sharing import Sharing
from xlsr_cli.jobs.batch.executors.start import end_worker, start_worker
from xlsr_cli.jobs.batch.executors.worker import Advanced, Begun, Measure, Ready
from xlsr_cli.jobs.batch.job import LEAD_MEMORY, WORKER_MEMORY, Step

if TYPE_CHECKING:
    from xlsr_cli.jobs.batch.item import Item, ItemResult
    from xlsr_cli.jobs.batch.job import Job
    from xlsr_cli.jobs.batch.recipe import Recipe

#: Items that a worker has at a time: the one that it computes, and the next one.
_DEPTH = 2
#: At most this many workers start before the number of files is known.
_EARLY = 4
#: A second item is queued only behind a picture of at most this many pixels: behind a larger one it would
#: wait while other workers are idle.
_QUICK = 4_000_000
#: How often a step of a film is tried again whose worker died: what it had finished is kept.
_RETRIES = 2
#: After this many workers that died before they did anything, the batch gives up.
_MAX_FAILED_STARTS = 3
#: Signals, and Windows' codes, of a decoder that crashed because of the file. Others may have other causes:
#: Linux sends SIGKILL when memory runs out.
_CRASHES = {
    *(-number for name in ("SIGSEGV", "SIGILL", "SIGFPE") if (number := getattr(signal, name, None))),
    0xC0000005,  # access violation
    0xC0000094,  # division by zero
}


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    ready: bool = False
    items: deque[Item] = field(default_factory=deque)  # in the order in which they end
    begun: deque[float] = field(default_factory=deque)  # when the first of them were begun
    keys: deque[str] = field(default_factory=deque)  # of those; empty while unknown


class LocalExecutor(Executor):
    """Worker processes on this machine, which start to load what they need at once."""

    def __init__(
        self,
        *,
        workers: int,
        cores: int,
        timeout: float | None = None,
        max_memory: int | None = None,
        divides: bool = True,
    ) -> None:
        """Start the first of at most ``workers`` processes, which share ``cores``.

        ``timeout``: seconds for one file. ``max_memory``: bytes for all processes together. ``divides``:
        whether films become steps here; otherwise whoever gives a step gets its result.
        """
        self._count = workers
        self._cores = cores
        self._timeout = math.inf if timeout is None else timeout
        self._max_memory = math.inf if max_memory is None else max_memory - LEAD_MEMORY
        self._recipe: Recipe | None = None
        self._divides = divides
        self._sharing = Sharing(ignore, divides="none")
        self._deaths: Counter[tuple[str, Step]] = Counter()
        self._rates: Rates | None = None
        self._failed_starts = 0
        self._workers = [self._start() for _ in range(min(workers, _EARLY))]

    def prepare(self, recipe: Recipe, jobs: Sequence[Job]) -> None:
        """Let as many workers as have something to do load the models. They share the cores.

        Raises :class:`~xlsr_cli.errors.ModelError`, :class:`ResourceError` or :class:`UsageError` when it
        cannot be loaded.
        """
        if not jobs:
            return
        count = self._useful(jobs)
        self._recipe = recipe.with_threads(max(1, self._cores // count))
        for worker in self._workers[count:]:
            _end(worker)
        self._workers = self._workers[:count]
        for worker in self._workers:
            _send(worker, self._recipe)
        self._workers += [self._start() for _ in range(count - len(self._workers))]
        self._await(lambda: any(worker.ready for worker in self._workers))

    def measure(self) -> Rates:
        """The rates of one worker, by their number."""
        worker = next(worker for worker in self._workers if worker.ready)
        _send(worker, Measure())
        self._await(lambda: self._rates is not None)
        assert self._rates is not None
        return self._rates.shared(len(self._workers))

    def _await(self, condition: Callable[[], bool]) -> None:
        """Receive messages of workers that have nothing to do yet, until ``condition`` holds."""
        while not condition():
            for _ in self._collect(deque()):
                raise AssertionError("nothing was handed out yet")

    def _useful(self, jobs: Sequence[Job]) -> int:
        """How many workers have something to do and fit into memory together with the largest job."""
        count = min(self._count, sum(map(parts_of, jobs)))
        largest = max((job.memory for job in jobs if job.memory <= self._max_memory), default=0)
        while count > 1 and largest + (count - 1) * WORKER_MEMORY > self._max_memory:
            count -= 1
        return count

    def run(self, items: Iterable[Item], hear: Hear = ignore) -> Iterator[ItemResult]:
        if self._divides:
            self._sharing = Sharing(hear, divides="all" if len(self._workers) > 1 else "begun")
        sharing = self._sharing
        waiting: deque[Item] = deque()
        for item in items:
            if item.job.memory <= self._max_memory:
                waiting.append(sharing.first(item))
            else:
                yield _too_large(item)
        while waiting or any(worker.items for worker in self._workers):
            self._hand_out(waiting)
            for item, result in self._collect(waiting):
                more, final = sharing.then(item, result)
                waiting.extendleft(reversed(more))
                if final is not None:
                    if final.outcome == "failed":  # the other parts of a film are of no use then
                        waiting = deque(each for each in waiting if each.job.name != item.job.name)
                    yield final

    def _start(self) -> _Worker:
        process, ours = start_worker()
        worker = _Worker(process=process, connection=ours)
        if self._recipe is not None:
            _send(worker, self._recipe)
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
        """The first item that fits into memory beside those being done; None if there is none."""
        if self._max_memory == math.inf:
            return waiting.popleft()
        used = sum(item.job.memory - WORKER_MEMORY for each in self._workers for item in each.items)
        room = self._max_memory - len(self._workers) * WORKER_MEMORY - used
        for place, item in enumerate(waiting):
            if item.job.memory - WORKER_MEMORY <= room:
                del waiting[place]
                return item
        return None

    def _collect(self, waiting: deque[Item]) -> Iterator[tuple[Item, ItemResult]]:
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
                reason = f"took longer than --timeout {self._timeout:g} s"
                yield from self._lost(worker, waiting, 0, reason, lasting=False, retried=False)

    def _receive(self, worker: _Worker, waiting: deque[Item]) -> Iterator[tuple[Item, ItemResult]]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            # The last one begun is being computed; the one before it is only being written.
            guilty = len(worker.begun) - 1
            reason, lasting = _cause_of_death(worker.process)
            yield from self._lost(worker, waiting, guilty, reason, lasting=lasting, retried=True)
            return
        if isinstance(message, XlsrError):
            raise message
        if isinstance(message, Ready):
            worker.ready = True
        elif isinstance(message, Rates):
            self._rates = message
        elif isinstance(message, Advanced):
            item = worker.items[len(worker.begun) - 1]
            if item.job.kind == "film":  # the time limit is for each step
                worker.begun[-1] = time.monotonic()
            self._sharing.heard(item, message.share)
        elif isinstance(message, Begun):
            self._failed_starts = 0
            if message.key:
                worker.keys[-1] = message.key
            else:
                kind = worker.items[len(worker.begun)].step.kind
                has_limit = kind not in ("plan", "join")  # which take as long as reading the film does
                worker.begun.append(time.monotonic() if has_limit else math.inf)
                worker.keys.append("")
        else:
            worker.begun.popleft()
            worker.keys.popleft()
            yield worker.items.popleft(), message

    def _lost(
        self,
        worker: _Worker,
        waiting: deque[Item],
        guilty: int,
        reason: str,
        *,
        lasting: bool,
        retried: bool,
    ) -> Iterator[tuple[Item, ItemResult]]:
        """Replace a worker that died or hangs; yield the failure of the item that caused it, if one did.

        ``guilty``: the index of that item among the worker's items, -1 if none was begun; the other items are
        done again. ``lasting``: whether the item would fail again. ``retried``: another try may do it.
        """
        from xlsr_cli.jobs.batch.item import failed

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
            if retried and self._is_tried_again(lost):
                waiting.appendleft(lost)
                return
            sentence = f"{lost.job.source} {reason}"
            error = None if lasting else ResourceError(sentence)
            yield lost, failed(lost, sentence, key=worker.keys[guilty], error=error)

    def _is_tried_again(self, lost: Item) -> bool:
        """Whether an item whose worker died is given to another one.

        A film loses hours if one worker is killed, for whatever reason; what crashes each time fails soon.
        """
        step = lost.job.name, lost.step
        self._deaths[step] += 1
        return lost.job.kind == "film" and self._deaths[step] <= _RETRIES

    def stop(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            _end(worker)
        self._workers = []


def _end(worker: _Worker) -> None:
    end_worker(worker.process, worker.connection)


def _cause_of_death(process: subprocess.Popen[bytes]) -> tuple[str, bool]:
    """Why a process that closed its connection ended, and whether the file alone is the cause."""
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        return "made its worker process hang", False
    if code == -getattr(signal, "SIGKILL", 0):
        return "needed more memory than there is, or its process was killed (SIGKILL)", False
    how = _signal_name(-code) if code < 0 else f"exit code {code}"
    return f"crashed the decoder or ran out of memory ({how})", code in _CRASHES


def _too_large(item: Item) -> ItemResult:
    from xlsr_cli.jobs.batch.item import failed

    reason = (
        f"{item.job.source} needs about {item.job.memory >> 20} MB of memory, more than --max-memory leaves "
        "for it, or the control group does; raise it"
    )
    return failed(item, reason, error=ResourceError(reason))


def _may_queue(worker: _Worker) -> bool:
    return all(0 < item.job.pixels <= _QUICK for item in worker.items)


def _send(worker: _Worker, message: object) -> None:
    with contextlib.suppress(OSError):  # a worker that died is noticed when its answer is awaited
        worker.connection.send(message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
