"""Let what was made before a fork work in the child.

A child gets no thread of its parent: pools wait for threads that are not there, and so do the threads inside
of a runtime; locks may be held by them for ever.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """What holds locks, threads, or something that does."""

    def renew(self) -> None:
        """Replace them by new ones, without waiting for any of the old ones."""


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(renewable: Renewable) -> None:
    """Renew it in every child process forked from now on, as long as it lives."""
    _renewables.add(renewable)


def _renew() -> None:
    for renewable in tuple(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew)
