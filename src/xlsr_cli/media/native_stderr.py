"""Capture messages that libpng, libjpeg, libtiff and OpenCV print to file descriptor 2.

``contextlib.redirect_stderr`` does not see them: it replaces only Python's own ``sys.stderr``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: File descriptor 2 belongs to the whole process: one thread at a time may redirect it.
_LOCK = threading.RLock()

_STDERR = 2

#: Bytes of messages that are read: a damaged file can make a library print one for each row.
_MOST_BYTES = 8192


@contextmanager
def native_messages() -> Iterator[list[str]]:
    """Yield a list; after the block, it holds the lines that native code printed in it.

    Blocks of different threads wait for one another, so that messages are not mixed up. What Python itself
    writes to ``sys.stderr`` meanwhile, from any thread, is not redirected. This also works in a process
    without a standard error.
    """
    lines: list[str] = []
    with _LOCK, contextlib.ExitStack() as stack:
        try:
            sink = stack.enter_context(_temporary_file())
        except OSError:
            sink = None
        if sink is None:  # there is no place for it: the messages are printed
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
            lines += [_plain(line) for line in _whole_lines(sink) if line.strip()]


def _whole_lines(sink: io.BufferedRandom) -> list[bytes]:
    """The first lines, none of them cut in two."""
    content = sink.read(_MOST_BYTES)
    if len(content) == _MOST_BYTES and b"\n" in content:
        content = content[: content.rindex(b"\n")]
    return content.splitlines()


def _temporary_file() -> io.BufferedRandom:
    """A file without a name for the messages."""
    try:  # Linux: in memory, and without the search for a folder that can be written
        return open(os.memfd_create("xlsr-messages"), "w+b")  # noqa: PTH123 - of a descriptor
    except (AttributeError, OSError):
        import tempfile

        return tempfile.TemporaryFile()


def _duplicate() -> int | None:
    try:
        return os.dup(_STDERR)
    except OSError:
        return None


def _spare_python() -> None:
    """Give ``sys.stderr`` a descriptor of its own from now on, if it still uses number 2."""
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


#: The beginning of a line: OpenCV prints level, time and place, libpng its name.
_HEADING = re.compile(r"^(?:\[ *[A-Z]+:\S+\] (?:global )?\S+:\d+ \w+ |libpng (?:error|warning): )")

#: OpenCV's exceptions, which it prints as well; only the last part is about the file.
_EXCEPTION = re.compile(r"^.*?OpenCV\([^)]*\) \S+:\d+: error: \([^)]*\) (.*?)(?: in function '.*)?$")


def _plain(line: bytes) -> str:
    """One printed line as text, without level, time and the place in a library's source."""
    text = _HEADING.sub("", line.decode("utf-8", "replace").strip())
    return _EXCEPTION.sub(r"\1", text).strip()
