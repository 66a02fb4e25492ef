"""Load libraries without looking for garbage among what they bring."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Within, import what stays until the process ends.

    The collector would search these objects again and again while they become more, and later in each full
    collection: together 10 ms or more of a small picture's quarter of a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
