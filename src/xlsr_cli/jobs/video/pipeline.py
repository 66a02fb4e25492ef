"""Decoding, upscaling and encoding at the same time, on threads of their own.

Bounded queues lie between them: the slowest stage sets the pace, and memory does not depend on the
length of the video. PyAV and onnxruntime let go of Python's lock while they work. Several items may be
in the middle stage at once: what one of them does on a single core leaves the others to the next one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often a wait looks whether another stage has failed or Ctrl-C has come, in seconds.
_PATIENCE = 0.2


class _Stopped(Exception):
    """Another stage has failed; this one ends without a word."""


class _Channel(Generic[Item]):
    """A bounded queue that ends, and that lets go of who waits on it when the pipeline stops."""

    def __init__(self, depth: int, stop: threading.Event) -> None:
        self._queue: queue.Queue[tuple[bool, Item | None]] = queue.Queue(depth)
        self._stop = stop

    def put(self, item: Item) -> None:
        self._put((True, item))

    def end(self) -> None:
        self._put((False, None))

    def _put(self, entry: tuple[bool, Item | None]) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(entry, timeout=_PATIENCE)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[Item]:
        while not self._stop.is_set():
            try:
                more, item = self._queue.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if not more:
                return
            yield item  # type: ignore[misc]  # an entry with ``more`` holds an item
        raise _Stopped


def run_stages(
    source: Iterable[Item],
    begin: Callable[[Item], Callable[[], Result]],
    sink: Callable[[Iterator[Result]], None],
    *,
    depth: int,
    at_once: int,
    interrupt: Callable[[], None],
) -> None:
    """``source`` on one thread, the work in the middle on ``at_once`` others, ``sink`` on another.

    ``begin`` is called for every item in turn, and returns the work to be done with it, which is started in
    this order. ``sink`` gets the results in order; ``depth`` items may wait before it and behind ``source``.
    The first exception of any stage stops all and is raised here, Ctrl-C included, after which
    ``interrupt`` is called to cut short what the workers are doing.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()
    ahead: _Channel[Item] = _Channel(depth, stop)
    behind: _Channel[Future[Result]] = _Channel(depth, stop)
    workers = ThreadPoolExecutor(at_once, thread_name_prefix="xlsr-frame")

    def fail(error: BaseException) -> None:
        failures.append(error)
        stop.set()
        ended.put(None)

    def read() -> None:
        for item in source:
            ahead.put(item)
        ahead.end()

    def work() -> None:
        for item in ahead:
            behind.put(workers.submit(begin(item)))
        behind.end()

    def write() -> None:
        sink(results())
        ended.put(None)

    def results() -> Iterator[Result]:
        for future in behind:
            try:
                result = future.result()
            except CancelledError:
                raise _Stopped from None
            except BaseException as error:
                fail(error)
                raise _Stopped from None
            yield result

    def guarded(stage: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                # An interruption may come before this thread is known to run, and then nobody waits for it.
                if not stop.is_set():
                    stage()
            except _Stopped:
                pass
            except BaseException as error:
                fail(error)

        return run

    stages = {"xlsr-decode": read, "xlsr-enlarge": work, "xlsr-encode": write}
    threads = [threading.Thread(target=guarded(stage), name=name) for name, stage in stages.items()]
    try:
        # Work begins with the first thread, and Ctrl-C may come before the last one is started.
        for thread in threads:
            thread.start()
        # Ctrl-C is raised in this thread, wherever it is: it must not be where it holds a lock of the others.
        _wait(ended)
    except BaseException as error:
        fail(error)
        interrupt()
    finally:
        stop.set()
        for thread in threads[:2]:
            _join(thread)
        workers.shutdown(cancel_futures=True)
        _join(threads[2])
    if failures:
        raise failures[0]


def _wait(ended: queue.SimpleQueue[None]) -> None:
    """Wait until ``ended`` holds something, and hear of Ctrl-C meanwhile.

    A wait without an end wakes only for a signal that the system gives to this thread; on Windows, for none.
    """
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=_PATIENCE)


def _join(thread: threading.Thread) -> None:
    """Wait until ``thread`` has ended, if it was started."""
    if thread.is_alive():
        thread.join()
