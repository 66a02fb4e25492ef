"""Work on the parts of a picture with several threads, results in order and few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(work: Callable[[Part], Result], parts: Iterable[Part], threads: int) -> Iterator[Result]:
    """``work(part)`` of each part in the order of ``parts``, by as many ``threads``.

    Only a few more results than threads wait for whoever consumes them. ``work`` must let go of Python's lock
    for this to be of use, as zlib and numpy do.
    """
    if threads == 1:
        yield from map(work, parts)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="xlsr-encode") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
