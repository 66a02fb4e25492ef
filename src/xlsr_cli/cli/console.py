"""Messages for people, on stderr, and data for programs, on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TextIO

from xlsr_cli.cli.printable import json_line, printable
from xlsr_cli.errors import OutputError, UsageError
from xlsr_cli.notices import Notice
from xlsr_cli.progress import QUIET, Progress


class Console:
    """Messages and progress. ``quiet`` leaves only errors, ``verbose`` adds details."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False

    def data(self, text: str) -> None:
        """Write one line to stdout; characters that a terminal cannot show are escaped.

        Raises :class:`OutputError` where stdout is closed or takes no more.
        """
        self.lines(printable(text))

    def lines(self, text: str) -> None:
        """Write lines to stdout as they are, with colours and line breaks.

        Characters that stdout's encoding lacks are replaced. Raises what :meth:`data` raises.
        """
        stdout = self.stdout()
        encoding = stdout.encoding or "utf-8"
        if not text.isascii():
            text = text.encode(encoding, "replace").decode(encoding)
        with self.writing_stdout():
            stdout.write(text + "\n")

    def json(self, value: Any) -> None:
        """Write one line of JSON to stdout; characters that the encoding lacks are escaped, without loss."""
        text = json_line(value)
        try:
            text.encode(self.stdout().encoding or "utf-8")
        except UnicodeEncodeError:
            text = json_line(value, ascii_only=True)
        self.lines(text)

    def binary(self) -> BinaryIO:
        """stdout for a picture's bytes.

        Raises :class:`OutputError` where stdout is closed, :class:`UsageError` where it is a terminal.
        """
        stdout = self.stdout()
        if stdout.isatty():
            raise UsageError("stdout is a terminal; redirect it to a file or a pipe, or give an output file")
        return stdout.buffer

    def stdout(self) -> TextIO:
        """stdout. Raises :class:`OutputError` where it is closed."""
        if sys.stdout is None:
            raise OutputError("stdout is closed; redirect it to a file or a pipe, or give an output file")
        return sys.stdout

    @contextmanager
    def writing_stdout(self) -> Iterator[None]:
        """Turn errors of the system on writing to stdout into an :class:`OutputError`.

        A reader that closed the pipe is no such error: :class:`BrokenPipeError` passes.
        """
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.discard_stdout()
            raise OutputError(f"cannot write to stdout: {error.strerror}; send it elsewhere") from error

    @staticmethod
    def discard_stdout() -> None:
        """Drop what could not be written, so that Python's own flush at the end does not fail."""
        _discard(sys.stdout)

    def error(self, message: str) -> None:
        """What went wrong, on stderr, always."""
        self._say("error", message, "31")

    def notices(self, name: str, notices: Iterable[Notice]) -> None:
        """What was not kept, or should be known, of the file ``name``."""
        if not self.quiet:
            for notice in notices:
                self._say(
                    "warning" if notice.loss else "note", f"{name}: {notice.message} ({notice.code})", "33"
                )

    def info(self, message: str) -> None:
        """What was done."""
        if not self.quiet:
            self._write(message)

    def detail(self, message: str) -> None:
        """What only --verbose shows."""
        if self.verbose and not self.quiet:
            self._write(message)

    def traceback(self) -> None:
        """Write the traceback of the current exception to stderr.

        It is indented, so that a file name with a line break in it cannot look like a message of xlsr.
        """
        import textwrap
        import traceback

        self._write(textwrap.indent(traceback.format_exc().rstrip("\n"), "  "), keep="\n")

    def hear_the_engine(self) -> None:
        """From now on, show the engine's log as :meth:`detail` does."""
        import logging

        class Details(logging.Handler):
            """Passes records on as lines."""

            def emit(self, record: logging.LogRecord) -> None:
                console.detail(record.getMessage())

        log = logging.getLogger("xlsr_cli")
        log.setLevel(logging.INFO)
        log.handlers[:] = [Details()]

    @contextmanager
    def progress(self, title: str, *, events: bool = False) -> Iterator[Progress]:
        """A bar with rate and time left, while stderr is a terminal; otherwise nothing.

        ``events``: lines are written to stdout meanwhile; if that is a terminal as well, there is no bar.
        """
        if self.quiet or not is_terminal(sys.stderr) or (events and is_terminal(sys.stdout)):
            yield QUIET
            return
        from xlsr_cli.cli.bar import Bar

        with Bar(title) as bar:
            yield bar

    def _say(self, kind: str, message: str, colour: str) -> None:
        label = f"\x1b[{colour}m{kind}:\x1b[0m" if wants_colour(sys.stderr) else f"{kind}:"
        self._write(message, f"{label} ")

    @staticmethod
    def _write(message: str, label: str = "", keep: str = "") -> None:
        clean = printable(message, keep=keep)
        if sys.stderr is None:
            return
        encoding = sys.stderr.encoding or "utf-8"
        try:
            sys.stderr.write(label + clean.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            sys.stderr.flush()
        except OSError:  # stderr is gone; the work goes on
            _discard(sys.stderr)


def naming(name: str, message: str) -> str:
    """``message``, with the file's name in front unless it contains the name."""
    return message if name in message else f"{name}: {message}"


def _discard(stream: TextIO) -> None:
    """Drop what ``stream`` has not written yet, so that Python's own flush at the end cannot fail."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` (None: closed) is a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_colour(stream: TextIO | None) -> bool:
    """Colour only on a terminal, and never when ``NO_COLOR`` is set (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


console = Console()
