"""Where the time of one upscale goes: inference, depth-to-space, and everything around them."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xlsr_cli.engine.session import Session
from xlsr_cli.engine.tiles import tiling
from xlsr_cli.engine.upscaler import Upscaler

#: The stages inside of the engine, in the order of the data. ``merge`` is everything
#: else: cutting tiles, colour, chroma, alpha, fitting to the size asked for, and waiting for the last tile.
ENGINE_STAGES = ("inference", "depth-to-space", "merge")

#: The functions of the engine that make up a stage, each with the object that holds it.
_WATCHED: dict[str, tuple[Any, str]] = {
    "inference": (Session, "run"),
    "depth-to-space": (tiling, "place_runs"),
}


class _Stopwatch:
    """Adds up seconds by stage; safe to use from several threads."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(_WATCHED, 0.0)
        self.threads: set[int] = set()
        self._lock = threading.Lock()

    def watching(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, its time added to ``stage``."""

        @functools.wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                elapsed = time.perf_counter() - started
                with self._lock:
                    self.seconds[stage] += elapsed
                    self.threads.add(threading.get_ident())

        return watched


@contextmanager
def _watched_engine() -> Iterator[_Stopwatch]:
    """Within, the engine's own functions are timed: what is measured is what users run."""
    watch = _Stopwatch()
    originals = {stage: getattr(holder, name) for stage, (holder, name) in _WATCHED.items()}
    for stage, (holder, name) in _WATCHED.items():
        setattr(holder, name, watch.watching(stage, originals[stage]))
    try:
        yield watch
    finally:
        for stage, (holder, name) in _WATCHED.items():
            setattr(holder, name, originals[stage])


def staged(upscaler: Upscaler, pixels: Any) -> tuple[Any, Mapping[str, float]]:
    """(result, seconds by stage of one call); the stages add up to the time of the whole call.

    Seconds of stages that several threads ran at once are divided by the number of threads.
    """
    with _watched_engine() as watch:
        started = time.perf_counter()
        result = upscaler(pixels)
        whole = time.perf_counter() - started
    seconds = {stage: spent / max(1, len(watch.threads)) for stage, spent in watch.seconds.items()}
    return result, seconds | {"merge": max(0.0, whole - sum(seconds.values()))}
