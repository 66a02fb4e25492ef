"""Decoding, upscaling and encoding at the same time, each on a thread of its own.

Bounded queues lie between them: the slowest stage sets the pace, and memory does not depend on the
length of the video. PyAV and onnxruntime let go of Python's lock while they work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often a waiting stage looks whether another one has failed, in seconds.
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
    work: Callable[[Item], Result],
    sink: Callable[[Iterator[Result]], None],
    *,
    depth: int,
) -> None:
    """``source`` on one thread, ``work`` on this one, ``sink`` on another; ``depth`` items may lie between.

    The first exception of any stage stops all and is raised here, Ctrl-C included.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    ahead: _Channel[Item] = _Channel(depth, stop)
    behind: _Channel[Result] = _Channel(depth, stop)

    def read() -> None:
        for item in source:
            ahead.put(item)
        ahead.end()

    def write() -> None:
        sink(iter(behind))

    def guarded(stage: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                stage()
            except _Stopped:
                pass
            except BaseException as error:
                failures.append(error)
                stop.set()

        return run

    threads = [
        threading.Thread(target=guarded(read), name="xlsr-decode"),
        threading.Thread(target=guarded(write), name="xlsr-encode"),
    ]
    for thread in threads:
        thread.start()
    try:
        for item in ahead:
            behind.put(work(item))
        behind.end()
        threads[1].join()
    except _Stopped:
        pass
    except BaseException as error:
        failures.append(error)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
