"""Catch what libpng, libjpeg, libtiff and OpenCV print to file descriptor 2 instead of returning it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: File descriptor 2 belongs to the process: one thread at a time may lead it elsewhere.
_LOCK = threading.RLock()

_STDERR = 2

#: Enough for a sentence; a damaged file can make a library print for each of its rows.
_MOST_BYTES = 8192


@contextmanager
def native_messages() -> Iterator[list[str]]:
    """Yield a list that holds, once the block has ended, the lines that native code printed in it.

    Blocks of different threads take turns, so that a message belongs to its own file. What Python itself
    writes to ``sys.stderr`` meanwhile, from any thread, goes where it always went. Works as well in a
    process that was started without a standard error.
    """
    lines: list[str] = []
    with _LOCK, _sink() as sink:
        if sink is None:
            yield lines
            return
        _spare_python()
        original = _duplicate()
        try:
            os.dup2(sink.fileno(), _STDERR)
            yield lines
        finally:
            if original is None:
                os.close(_STDERR)
            else:
                os.dup2(original, _STDERR)
                os.close(original)
            sink.seek(0)
            lines += [_plain(line) for line in sink.read(_MOST_BYTES).splitlines() if line.strip()]


@contextmanager
def _sink() -> Iterator[io.BufferedRandom | None]:
    """A file without a name that takes the messages; None where not even that can be made."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below; only the opening may fail
    except OSError:
        yield None
        return
    with file:
        yield file


def _duplicate() -> int | None:
    try:
        return os.dup(_STDERR)
    except OSError:
        return None


def _spare_python() -> None:
    """Let ``sys.stderr`` write to a descriptor of its own from now on, if it still writes to number 2."""
    stream = sys.stderr
    if not isinstance(stream, io.TextIOWrapper):
        return
    with contextlib.suppress(OSError, ValueError):
        if stream.fileno() == _STDERR:
            stream.flush()
            sys.stderr = _twin(stream)


def _twin(stream: io.TextIOWrapper) -> TextIO:
    descriptor = os.dup(_STDERR)
    return open(descriptor, "w", 1, stream.encoding, stream.errors)  # noqa: PTH123 - of a descriptor


#: How the libraries begin a line: OpenCV with level, time and place, libpng with its name.
_HEADING = re.compile(r"^(?:\[ *[A-Z]+:\S+\] (?:global )?\S+:\d+ \w+ |libpng (?:error|warning): )")

#: OpenCV's exceptions, which it prints as well; only the last part is about the file.
_EXCEPTION = re.compile(r"^.*?OpenCV\([^)]*\) \S+:\d+: error: \([^)]*\) (.*?)(?: in function '.*)?$")


def _plain(line: bytes) -> str:
    """One printed line as text, without level, time and the place in a library's source."""
    text = _HEADING.sub("", line.decode("utf-8", "replace").strip())
    return _EXCEPTION.sub(r"\1", text).strip()
