"""Make objects that existed before a fork work in the child process.

A child has none of its parent's threads: pools and runtimes would wait for threads that do not exist, and
locks that those threads held would never be released.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """An object with locks or threads, or with parts that have some."""

    def renew(self) -> None:
        """Replace locks and threads by new ones, without waiting for the old ones."""


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(renewable: Renewable) -> None:
    """Renew ``renewable`` in every child process that is forked from now on, as long as it exists."""
    _renewables.add(renewable)


def _renew() -> None:
    for renewable in tuple(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew)
