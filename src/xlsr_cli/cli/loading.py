"""Load libraries: without looking for garbage among what they bring, and whole or not at all."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def loading() -> Iterator[None]:
    """Within, import what stays until the process ends.

    The collector would search these objects again and again while they become more, and later in each full
    collection: together 10 ms or more of a small picture's quarter of a second. Ctrl-C and SIGTERM wait until
    the end: many extensions turn an interruption into an error of their own, and cannot be loaded again.
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
    """What comes within is heard at the end; outside of the main thread nothing is heard anyway."""
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
