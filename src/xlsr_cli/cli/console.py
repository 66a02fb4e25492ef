"""What people see, on stderr, and what programs read, on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from xlsr_cli.notices import Notice
from xlsr_cli.progress import QUIET, Progress


class Console:
    """Messages and progress. ``quiet`` leaves only errors, ``verbose`` adds details."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = False

    def data(self, text: str) -> None:
        """A line for programs, on stdout; what no encoding can write of a file's name becomes a mark."""
        encoding = sys.stdout.encoding or "utf-8"
        if not text.isascii():
            text = text.encode(encoding, "replace").decode(encoding)
        sys.stdout.write(text + "\n")

    def json(self, value: Any) -> None:
        """One line of JSON on stdout."""
        self.data(json.dumps(value, ensure_ascii=False, default=str))

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

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        """A bar with rate and time left, while stderr is a terminal; otherwise nothing."""
        if self.quiet or not is_terminal(sys.stderr):
            yield QUIET
            return
        from xlsr_cli.cli.bar import Bar

        with Bar(title) as bar:
            yield bar

    def _say(self, kind: str, message: str, colour: str) -> None:
        label = f"\x1b[{colour}m{kind}:\x1b[0m" if wants_colour(sys.stderr) else f"{kind}:"
        self._write(message, f"{label} ")

    @staticmethod
    def _write(message: str, label: str = "") -> None:
        # File names may hold bytes that are no characters, and terminals obey escape sequences in them.
        clean = "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in message)
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.write(label + clean.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()


def is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_colour(stream: TextIO) -> bool:
    """Colour only on a terminal, and never when ``NO_COLOR`` is set (https://no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


console = Console()
