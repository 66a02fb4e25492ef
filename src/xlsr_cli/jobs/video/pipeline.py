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
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often a wait looks whether another stage has failed or Ctrl-C has come, in seconds.
_PATIENCE = 0.2


class _Stopped(Exception):
    """Another stage has failed; this one ends without a word."""


class _Channel(Generic[Item]):
    """A bounded queue with an end; waiting on it ends when the pipeline stops."""

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
    """Run ``source`` on one thread, the work in the middle on ``at_once`` others, and ``sink`` on another.

    ``begin`` is called for each item in turn and returns the work for it; work is started in this order.
    ``sink`` gets the results in order. ``depth`` items may wait in front of each stage. The first exception
    of any stage stops all stages and is raised here. So is Ctrl-C; then ``interrupt`` is called to end the
    work early.
    """
    _Stages(source, begin, sink, depth, at_once).run(interrupt)


@dataclass
class _Stages(Generic[Item, Result]):
    """The threads of one call of :func:`run_stages`, with their queues and failures."""

    source: Iterable[Item]
    begin: Callable[[Item], Callable[[], Result]]
    sink: Callable[[Iterator[Result]], None]
    depth: int
    at_once: int

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._ahead: _Channel[Item] = _Channel(self.depth, self._stop)
        self._behind: _Channel[Future[Result]] = _Channel(self.depth, self._stop)
        self._workers = ThreadPoolExecutor(self.at_once, thread_name_prefix="xlsr-frame")

    def run(self, interrupt: Callable[[], None]) -> None:
        """Run all stages to the end, or raise what the first of them raised."""
        stages = {"xlsr-decode": self._read, "xlsr-enlarge": self._work, "xlsr-encode": self._write}
        threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=name) for name, stage in stages.items()
        ]
        try:
            # Work begins with the first thread, and Ctrl-C may come before the last one is started.
            for thread in threads:
                thread.start()
            # Ctrl-C is raised in this thread, wherever it is: here it holds no lock that the others need.
            _wait(self._ended)
        except BaseException as error:
            self._fail(error)
            interrupt()
        finally:
            self._stop.set()
            for thread in threads[:2]:
                _join(thread)
            self._workers.shutdown(cancel_futures=True)
            _join(threads[2])
        if self._failures:
            raise self._failures[0]

    def _read(self) -> None:
        for item in self.source:
            self._ahead.put(item)
        self._ahead.end()

    def _work(self) -> None:
        for item in self._ahead:
            self._behind.put(self._workers.submit(self.begin(item)))
        self._behind.end()

    def _write(self) -> None:
        self.sink(self._results())
        self._ended.put(None)

    def _results(self) -> Iterator[Result]:
        for future in self._behind:
            try:
                result = future.result()
            except CancelledError:
                raise _Stopped from None
            except BaseException as error:
                self._fail(error)
                raise _Stopped from None
            yield result

    def _guarded(self, stage: Callable[[], None]) -> None:
        """Run ``stage`` on a thread of its own."""
        try:
            # After Ctrl-C during the start, nobody would wait for this thread.
            if not self._stop.is_set():
                stage()
        except _Stopped:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failures.append(error)
        self._stop.set()
        self._ended.put(None)


def _wait(ended: queue.SimpleQueue[None]) -> None:
    """Wait until ``ended`` holds something; Ctrl-C is noticed meanwhile.

    A wait without a time limit ends only for a signal that this thread gets, and on Windows for none.
    """
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=_PATIENCE)


def _join(thread: threading.Thread) -> None:
    """Wait until ``thread`` has ended, if it was started."""
    if thread.is_alive():
        thread.join()
