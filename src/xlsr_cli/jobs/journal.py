"""What is done, with what: a SQLite file in the output folder.

Every state is written before what it describes can be seen, so that a run killed at any moment leaves a
journal from which the next one continues: ``working`` marks an output as ours before it appears.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from xlsr_cli.errors import OutputError
from xlsr_cli.jobs.plan import Shard

_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    name TEXT PRIMARY KEY,       -- path below the folder
    status TEXT NOT NULL,        -- working, done, failed
    key TEXT NOT NULL,           -- sha256 of content, options and models; empty while working
    output TEXT NOT NULL,
    output_bytes INTEGER NOT NULL,
    output_sha256 TEXT NOT NULL,
    megapixels REAL NOT NULL,    -- of the input
    seconds REAL NOT NULL,
    reason TEXT NOT NULL         -- why it failed
)
"""
_PATTERN = ".xlsr-batch*.sqlite3"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the journal says of one file; the fields are those of the table."""

    name: str
    status: str
    key: str = ""
    output: str = ""
    output_bytes: int = 0
    output_sha256: str = ""
    megapixels: float = 0.0
    seconds: float = 0.0
    reason: str = ""


class Journal:
    """The journal of one shard, locked for as long as it is open.

    The lock is SQLite's own and dies with its process, on every system.
    """

    def __init__(self, out: Path, shard: Shard) -> None:
        """Open or create the journal in ``out``.

        Raises :class:`OutputError` when another run holds it, or the folder cannot be written.
        """
        part = "" if shard.count == 1 else f"-{shard.index}of{shard.count}"
        self.path = out / f".xlsr-batch{part}.sqlite3"
        self.existed = self.path.exists()
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=1.0, isolation_level=None)
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute(_SCHEMA)
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise OutputError(f"another run is working on {out}; wait until it is done") from error
            raise OutputError(f"cannot write the journal {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise OutputError(f"the journal {self.path} is damaged; delete it to begin anew") from error
        except OSError as error:
            raise OutputError(f"cannot write into {out}: {error.strerror or error}") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def entries(self) -> dict[str, Entry]:
        """Everything known, by name."""
        return {entry.name: entry for entry in _rows(self._connection)}

    def begin(self, names: Iterable[tuple[str, Path]]) -> None:
        """Mark (name, output) as being worked on, durably, before any of the outputs can appear.

        What was known of a file stays, so that finished work is not forgotten while it is verified.
        """
        rows = [(name, str(output)) for name, output in names]
        self._commit(
            "INSERT INTO item VALUES (?, 'working', '', ?, 0, '', 0, 0, '') ON CONFLICT(name) DO NOTHING",
            rows,
        )

    def record(self, entries: Iterable[Entry]) -> None:
        """Write what became of files."""
        rows = [
            (
                e.name,
                e.status,
                e.key,
                e.output,
                e.output_bytes,
                e.output_sha256,
                e.megapixels,
                e.seconds,
                e.reason,
            )
            for e in entries
        ]
        self._commit("INSERT OR REPLACE INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _commit(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany(statement, (tuple(map(_stored, row)) for row in rows))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise OutputError(f"cannot write the journal {self.path}: {error}") from error


def read_other_journals(out: Path, own: Path) -> dict[str, Entry]:
    """What the journals of other shards in ``out`` say; one that is being written to is left out."""
    found: dict[str, Entry] = {}
    for path in sorted(out.glob(_PATTERN)):
        if path == own:
            continue
        with contextlib.suppress(sqlite3.Error):
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.2)
            try:
                found.update((entry.name, entry) for entry in _rows(connection) if entry.status != "working")
            finally:
                connection.close()
    return found


def _rows(connection: sqlite3.Connection) -> Iterable[Entry]:
    columns = (
        "name", "status", "key", "output", "output_bytes", "output_sha256", "megapixels", "seconds", "reason",
    )  # fmt: skip
    for row in connection.execute(f"SELECT {', '.join(columns)} FROM item"):
        yield Entry(**dict(zip(columns, map(_loaded, row), strict=True)))


def _stored(value: object) -> object:
    """SQLite takes no text that is not Unicode; a file name that is none is stored as its bytes."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return os.fsencode(value)
    return value


def _loaded(value: Any) -> Any:
    return os.fsdecode(value) if isinstance(value, bytes) else value
