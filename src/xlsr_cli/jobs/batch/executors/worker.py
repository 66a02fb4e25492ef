"""Inside a worker process: its messages, and how it does one item after the other."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from xlsr_cli.errors import XlsrError
from xlsr_cli.jobs.batch.effort import measure
from xlsr_cli.jobs.batch.executors.sharing import Share
from xlsr_cli.jobs.batch.recipe import Recipe

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.jobs.batch.compute import Computed
    from xlsr_cli.jobs.batch.item import Item
    from xlsr_cli.options import PictureOptions


@dataclass(frozen=True)
class Ready:
    """Sent by a worker when its libraries and models are loaded."""


@dataclass(frozen=True)
class Measure:
    """Sent to a worker that is ready, which answers with its :class:`~xlsr_cli.jobs.batch.effort.Rates`."""


@dataclass(frozen=True)
class Advanced:
    """Sent by a worker from time to time: how much of its item is done, 0 to 1."""

    share: float


@dataclass(frozen=True)
class Begun:
    """Sent by a worker when it takes the next item, and again when it knows the item's key."""

    key: str = ""


def main(handle: int) -> None:
    """Run a worker process until it is killed or its parent is gone.

    ``handle``: the connection that :func:`~xlsr_cli.jobs.batch.executors.start.start_worker` passed on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        _Desk(_connection(handle)).work()


def _connection(handle: int) -> Connection:
    if sys.platform == "win32":
        from multiprocessing.connection import PipeConnection

        return PipeConnection(handle)  # type: ignore[return-value]  # two classes, one interface
    return Connection(handle)


def _end_with_parent() -> None:
    """End when the parent is gone: it no longer holds the lock of the folder, so nothing may be written."""
    while os.read(0, 1):
        pass
    os._exit(1)


class _Desk:
    """Two threads: one computes, the other one writes and waits for the disk."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._writing: threading.Thread | None = None

    def work(self) -> None:
        """Answer messages until the connection is closed."""
        import cv2

        import xlsr_cli.jobs.picture  # noqa: F401 - while there is time: this takes longer than a picture

        recipe: Recipe | None = None
        upscaler: Upscaler | None = None
        while True:
            message = self._connection.recv()
            if isinstance(message, Recipe):
                if message == recipe:
                    continue
                recipe = message
                cv2.setNumThreads(recipe.options.engine.threads or 1)  # the other cores are other workers'
                try:
                    upscaler = load_upscaler(recipe.options)
                except XlsrError as error:
                    self._send(error)
                    return
                self._send(Ready())
                continue
            assert recipe is not None and upscaler is not None
            if isinstance(message, Measure):
                self._send(measure(recipe, upscaler))
            else:
                self._do(message, recipe, upscaler)

    def _do(self, item: Item, recipe: Recipe, upscaler: Upscaler) -> None:
        from xlsr_cli.jobs.batch.compute import Computed, compute

        self._send(Begun())
        share = Share(lambda done: self._send(Advanced(done)))
        result = compute(item, recipe, upscaler, lambda key: self._send(Begun(key)), share)
        self._finish_writing()
        if isinstance(result, Computed):
            self._write(result)
        else:
            self._send(result)

    def _write(self, computed: Computed) -> None:
        from xlsr_cli.jobs.batch.compute import place

        def write() -> None:
            with contextlib.suppress(OSError):  # the parent is gone; the other thread ends the process
                self._send(place(computed))

        self._writing = threading.Thread(target=write)
        self._writing.start()

    def _finish_writing(self) -> None:
        """Write results and send them, in the order of their items."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None

    def _send(self, message: object) -> None:
        with self._sending:
            self._connection.send(message)


def load_upscaler(options: PictureOptions) -> Upscaler:
    """An upscaler with its models loaded. Raises at once what would make every file fail."""
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.options import Size

    upscaler = Upscaler.from_options(options.engine, options.target)
    side, factor = 100, options.target.scale or 2.0
    larger = math.ceil(side * factor)
    upscaler.model_names(
        Size(width=side, height=side), channels=3, depth=8, size=Size(width=larger, height=larger)
    )
    return upscaler
