"""Child processes: objects from before a fork work in them, and none takes code from the working folder.

A forked child has none of its parent's threads: pools and runtimes would wait for threads that do not exist,
and locks that those threads held would never be released.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Protocol

#: Where Python, the dynamic loader and the search for programs look. An empty entry is the working folder.
_SEARCH_PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH")


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


def child_environment() -> dict[str, str]:
    """This process's environment for a program that it starts, without the working folder in search paths.

    Importing OpenCV leaves an empty entry in ``LD_LIBRARY_PATH``, so that a child would load a ``libc.so.6``
    that lies beside somebody's pictures.
    """
    environment = dict(os.environ)
    for name in _SEARCH_PATHS:
        if name in environment:
            entries = [entry for entry in environment.pop(name).split(os.pathsep) if not is_here(entry)]
            if entries:
                environment[name] = os.pathsep.join(entries)
    return environment


def is_here(entry: str) -> bool:
    """Whether an entry of a search path is the working folder."""
    try:
        return not entry or Path(entry).samefile(Path.cwd())
    except (OSError, ValueError):
        return False
