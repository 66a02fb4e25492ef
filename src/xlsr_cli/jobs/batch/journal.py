"""The journal of a batch: a SQLite file in the output folder that records what was done, and how.

Every change is recorded before it is made: a claim marks an output as ours before the file appears. So a run
that is killed at any moment leaves a journal with which the next run can continue.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from xlsr_cli.errors import OutputError
from xlsr_cli.jobs.batch.job import Shard

_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    name TEXT PRIMARY KEY,       -- path below the folder
    status TEXT NOT NULL,        -- working, done, failed
    key TEXT NOT NULL,           -- hashes of content and of options with models; empty: nothing is known
    output TEXT NOT NULL,        -- path below the output folder
    output_bytes INTEGER NOT NULL,
    output_sha256 TEXT NOT NULL, -- of what was written there last
    megapixels REAL NOT NULL,    -- of the input
    seconds REAL NOT NULL,
    reason TEXT NOT NULL,        -- why it failed
    claim TEXT NOT NULL,         -- options of a run that may have replaced the output and not lived to say so
    recorded REAL NOT NULL       -- seconds since 1970
)
"""
#: One hash, two for a key, or none.
_HASHES = re.compile(r"(?:[0-9a-f]{64}(?:-[0-9a-f]{64})?)?")
#: Counts up when the table changes.
_VERSION = 1
_NAME = re.compile(r"^\.xlsr-batch(?:-(\d+)of(\d+))?\.sqlite3$")
#: Seconds to wait for a lock.
_PATIENCE = 1.0
#: The same for the lock of another shard, which is held as long as that shard runs.
_PATIENCE_WITH_OTHERS = 0.2
#: How often the journal of a running shard is tried to be read, and seconds between two tries.
_GLIMPSES, _BETWEEN_GLIMPSES = 5, 0.05
#: How SQLite's rollback journal begins while a transaction is being written.
_HOT = bytes.fromhex("d9d505f920a163d7")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What the journal says of one file; the fields are the columns of its table.

    ``reason``: why it failed, or by what the networks were chosen with which it was done.
    """

    name: str
    status: str
    key: str = ""
    output: str = ""
    output_bytes: int = 0
    output_sha256: str = ""
    megapixels: float = 0.0
    seconds: float = 0.0
    reason: str = ""
    claim: str = ""
    recorded: float = 0.0


_COLUMNS = ", ".join(field.name for field in fields(Entry))
_NUMBERS = ("output_bytes", "megapixels", "seconds", "recorded")
_TEXTS = tuple(field.name for field in fields(Entry) if field.name not in _NUMBERS)
_PLACES = ", ".join("?" for _ in fields(Entry))


class Journal:
    """The journal of one shard, locked for as long as it is open.

    The lock is SQLite's and ends with its process, on every system. Different shards of one division can run
    at the same time; runs that would do the same files exclude each other.
    """

    def __init__(self, out: Path, shard: Shard) -> None:
        """Open or create the journal in ``out``.

        Raises :class:`OutputError` when another run holds the folder, or it cannot be written.
        """
        self.path = out / _file_name(shard)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write into {out}: {error.strerror or error}") from error
        _check_not_emptied(out, self.path)
        with _explained(self.path):
            self._connection = _connect(self.path, _PATIENCE)
            try:
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("BEGIN EXCLUSIVE")
                _check_version(self._connection, self.path)
                entries = _entries(self._connection)
                self._connection.execute(_SCHEMA)
                self._connection.execute(f"PRAGMA user_version = {_VERSION}")
                self._connection.execute("COMMIT")
                # Only now that the own lock is taken: of two runs that start together, one sees the other.
                self._known = _merged([*_others(out, shard), entries])
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def known(self) -> dict[str, Entry]:
        """The entries of all journals of the folder when this one was opened: by name, the latest of each."""
        return self._known

    def record(self, entries: Iterable[Entry]) -> None:
        """Write ``entries`` durably, in one transaction."""
        now = time.time()
        rows = [(*map(_stored, astuple(entry)[:-1]), now) for entry in entries]
        if not rows:
            return
        with _explained(self.path):
            try:
                self._connection.execute("BEGIN")
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO item ({_COLUMNS}) VALUES ({_PLACES})", rows
                )
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def settle(self) -> None:
        """Drop all claims, at the end of a run."""
        with _explained(self.path):
            self._connection.execute("UPDATE item SET claim = '' WHERE claim <> '' AND status <> 'working'")


def read_journals(out: Path, shard: Shard) -> dict[str, Entry]:
    """The entries of the journals in ``out``: by name, the latest of each; {} if there are none.

    Raises :class:`OutputError` when a run that excludes one of ``shard`` is going on.
    """
    return _merged(_others(out, shard, own=True))


def _file_name(shard: Shard) -> str:
    part = "" if shard.count == 1 else f"-{shard.index}of{shard.count}"
    return f".xlsr-batch{part}.sqlite3"


def is_journal(name: str) -> bool:
    """Whether a file called ``name`` marks its folder as the output of a batch."""
    return _NAME.match(name) is not None


def _others(out: Path, shard: Shard, *, own: bool = False) -> Iterator[dict[str, Entry]]:
    """The entries of each other journal in ``out``; ``own``: and of that of ``shard``.

    Those of a shard that is running, as far as they can be seen.
    """
    try:
        names = sorted(path.name for path in out.iterdir() if is_journal(path.name))
    except OSError:
        return
    for name in names:
        if name == _file_name(shard) and not own:
            continue
        path = out / name
        match = _NAME.match(name)
        siblings = match is not None and match[2] == str(shard.count) and match[1] != str(shard.index)
        _check_not_emptied(out, path)
        with _explained(path):
            connection = _connect(path, _PATIENCE_WITH_OTHERS)
            try:
                _check_version(connection, path)
                yield _entries(connection)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or not siblings:
                    raise
                yield _glimpse(path)
            finally:
                connection.close()


def _glimpse(path: Path) -> dict[str, Entry]:
    """The entries of a journal that another process keeps locked; {} where it cannot be read just now.

    The lock keeps SQLite out until that run ends, so the file is read as it is. It is whole if it does not
    change meanwhile and no transaction is under way.
    """
    rollback = path.with_name(f"{path.name}-journal")
    for _ in range(_GLIMPSES):
        with contextlib.suppress(OSError, sqlite3.Error, UnicodeDecodeError, _Nonsense, OutputError):
            before, unfinished = path.read_bytes(), rollback.exists() and rollback.read_bytes()[:8] == _HOT
            if not unfinished and before == path.read_bytes():
                with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
                    connection.deserialize(before)
                    _check_version(connection, path)
                    return _entries(connection)
        time.sleep(_BETWEEN_GLIMPSES)
    return {}


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    """Open the journal at ``path``, which is made where there is none.

    It is opened for writing: SQLite rolls back the unfinished transaction of a killed run. Raises
    :class:`OutputError` for a link, since SQLite would write to its target.
    """
    if path.is_symlink():
        raise OutputError(f"the journal {path} is a link, and none of ours is; remove it")
    return sqlite3.connect(path, timeout=patience, isolation_level=None)


def _check_not_emptied(out: Path, journal: Path) -> None:
    """Raise :class:`OutputError` for an empty journal beside outputs.

    A run that is killed in its first moment leaves an empty journal as well, but no outputs.
    """
    try:
        emptied = journal.stat().st_size == 0 and any(
            not entry.name.startswith(".") for entry in os.scandir(out)
        )
    except OSError:
        return
    # While its first rows are being written, the journal is empty and SQLite's own journal lies beside it.
    if emptied and not journal.with_name(f"{journal.name}-journal").exists():
        raise _damaged(journal)


def _damaged(journal: Path) -> OutputError:
    return OutputError(
        f"the journal {journal} is damaged; delete it to begin anew, "
        "with --overwrite where outputs may be replaced"
    )


def _merged(journals: Iterable[dict[str, Entry]]) -> dict[str, Entry]:
    merged: dict[str, Entry] = {}
    for journal in journals:
        for name, entry in journal.items():
            if name not in merged or merged[name].recorded <= entry.recorded:
                merged[name] = entry
    return merged


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        raise OutputError(
            f"the journal {path} is from another version of xlsr; give another folder with --out"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors as sentences about the journal at ``path``."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise OutputError(f"another run is working on {path.parent}; wait until it is done") from error
        if "readonly" in str(error):
            raise OutputError(f"cannot write the journal {path}: its folder is read-only") from error
        raise OutputError(f"cannot write the journal {path}: {error}") from error
    except sqlite3.Error as error:
        raise _damaged(path) from error
    except (UnicodeDecodeError, _Nonsense) as error:
        raise _damaged(path) from error


class _Nonsense(Exception):
    """A row that no version of xlsr can have written."""


def _entries(connection: sqlite3.Connection) -> dict[str, Entry]:
    """All rows by name; none where the table has not been made yet.

    Raises :class:`sqlite3.DatabaseError`, :class:`UnicodeDecodeError` or ``_Nonsense`` if the file is
    damaged, as far as SQLite and the checks of each field can tell.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return {}
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise _Nonsense("integrity_check")
    names = [field.name for field in fields(Entry)]
    entries = {}
    for row in connection.execute(f"SELECT {_COLUMNS} FROM item"):
        entry = Entry(**dict(zip(names, map(_loaded, row), strict=True)))
        _check_sense(entry)
        entries[entry.name] = entry
    return entries


def _check_sense(entry: Entry) -> None:
    """Check types and values of the fields: SQLite does not enforce the types of the table."""
    values = dict(zip((field.name for field in fields(entry)), astuple(entry), strict=True))
    output = PurePosixPath(str(entry.output))
    if not (
        all(isinstance(values[name], str) for name in _TEXTS)
        and all(isinstance(values[name], int | float) and values[name] >= 0 for name in _NUMBERS)
        and entry.status in ("working", "done", "failed")
        and _HASHES.fullmatch(entry.output_sha256)
        and _HASHES.fullmatch(entry.key)
        and not output.is_absolute()
        and ".." not in output.parts
    ):
        raise _Nonsense(entry.name)


def _stored(value: object) -> object:
    """A value for SQLite, whose text must be Unicode: a file name that is not is stored as its bytes."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return os.fsencode(value)
    return value


def _loaded(value: Any) -> Any:
    return os.fsdecode(value) if isinstance(value, bytes) else value
