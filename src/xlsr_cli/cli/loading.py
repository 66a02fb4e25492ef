"""Load libraries without garbage collection, and without being interrupted half way."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def loading() -> Iterator[None]:
    """Within, import modules that stay until the process ends.

    The garbage collector would search their objects again and again, here and in each later full collection:
    10 ms or more of the quarter of a second that a small picture takes. Ctrl-C and SIGTERM wait until the
    end: many extensions turn an interruption into an error of their own, and cannot be loaded again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with _signals_wait():
            yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Deliver signals that arrive within at the end. In other threads than the main one, none arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    came: list[tuple[int, Any]] = []
    for number in numbers:
        signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, handlers[number])
        if came:
            first, frame = came[0]
            handlers[first](first, frame)
