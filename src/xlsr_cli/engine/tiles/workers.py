"""The threads over which one upscaler spreads its tiles and bands."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from xlsr_cli.children import renew_after_fork

Part = TypeVar("Part")


class Workers:
    """``count`` threads, started when first needed. Several calls may share them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Begin without threads. Those of a parent process do not exist in a fork."""
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def each(
        self,
        work: Callable[[Part], None],
        parts: list[Part],
        done: Callable[[Part], None] | None = None,
        *,
        here: bool = True,
    ) -> None:
        """Call ``work`` for each of ``parts``, on all threads, and ``done`` for each in order, in this
        thread.

        Work for one thread is done in the calling thread if ``here`` allows it: a thread that waits reacts to
        Ctrl-C, one that computes a whole picture at once does not. Raises the first error of ``work``.
        """
        if here and (self.count == 1 or len(parts) == 1):
            waiting: list[Callable[[], None]] = [partial(work, part) for part in parts]
            futures = []
        else:
            pool = self._started()
            futures = [pool.submit(work, part) for part in parts]
            waiting = [future.result for future in futures]
        try:
            for wait, part in zip(waiting, parts, strict=True):
                wait()
                if done is not None:
                    done(part)
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def stop(self) -> None:
        """End the threads. They start again when they are needed."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _started(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="xlsr-tile")
            return self._pool
