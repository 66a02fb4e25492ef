"""Finished segments of a video in a work folder, with which an interrupted run can be resumed.

A segment is a series of frames that begins with a key frame. Its packets are written in one transaction:
after a crash, it is there completely or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xlsr_cli.errors import InputError, OutputError
from xlsr_cli.media.video.demux import InputLostError
from xlsr_cli.media.video.output.encoder import Packet
from xlsr_cli.notices import Notice

#: The longest file name on common file systems, in bytes.
_LONGEST_NAME = 255

#: How names of files with a part of a film end, which lie in the same folder.
PART_SUFFIX = ".part.sqlite"


class BusyError(OutputError):
    """Another process works on the same output."""


_SCHEMA = """
CREATE TABLE IF NOT EXISTS work (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frame (
    number INTEGER PRIMARY KEY, pts INTEGER NOT NULL, duration INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS packet (
    position INTEGER PRIMARY KEY, frame INTEGER NOT NULL, key INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS segment (number INTEGER PRIMARY KEY, frames INTEGER NOT NULL);
"""


class Segments:
    """The finished segments of one output. To be used from one thread at a time."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._reading: sqlite3.Cursor | None = None

    @property
    def count(self) -> int:
        """How many segments are finished."""
        return self._number("SELECT count(*) FROM segment")

    @property
    def frames(self) -> int:
        """How many frames the finished segments hold."""
        return self._number("SELECT coalesce(sum(frames), 0) FROM segment")

    def _number(self, query: str) -> int:
        return int(self._rows(query)[0][0])

    @contextmanager
    def segment(self) -> Iterator[SegmentWriter]:
        """A new segment. It is committed if the block ends without an exception, else rolled back."""
        before = self._number("SELECT coalesce(sum(length(data)), 0) FROM packet")
        writer = SegmentWriter(self._connection, first=self.frames, bytes_before=before)
        with _mapped(self.folder):
            self._connection.execute("BEGIN")
            try:
                yield writer
                self._connection.execute("INSERT INTO segment VALUES (?, ?)", (self.count, writer.frames))
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def take(self, part: bytes, frames: int) -> None:
        """Append the segments of ``part``, which is what :meth:`serialized` gave of so many ``frames``.

        Of its notices, those are added whose code is new.

        Raises :class:`sqlite3.Error` where it is damaged, and then nothing is appended.
        """
        other = in_memory(part)
        try:
            rows = other._rows("SELECT number, pts, duration FROM frame")
            packets = other._rows("SELECT frame, key, data FROM packet ORDER BY position")
            lengths = other._rows("SELECT frames FROM segment ORDER BY number")
            notices = {notice.code: notice for notice in [*other.notices(), *self.notices()]}
        finally:
            other.close()
        if not len(rows) == sum(length for (length,) in lengths) == frames:
            raise sqlite3.DatabaseError("frames are missing")
        first, count = self.frames, self.count
        with _mapped(self.folder), self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO frame VALUES (?, ?, ?)", [(first + number, *times) for number, *times in rows]
            )
            self._connection.executemany(
                "INSERT INTO packet (frame, key, data) VALUES (?, ?, ?)",
                [(first + frame, key, data) for frame, key, data in packets],
            )
            self._connection.executemany(
                "INSERT INTO segment VALUES (?, ?)",
                [(count + place, length) for place, (length,) in enumerate(lengths)],
            )
            self.set_notices(list(notices.values()))

    def _rows(self, query: str) -> list[Any]:
        return self._connection.execute(query).fetchall()

    def set_notices(self, notices: Sequence[Notice]) -> None:
        """Keep ``notices`` beside the segments."""
        text = json.dumps([asdict(notice) for notice in notices])
        self._connection.execute("INSERT OR REPLACE INTO work VALUES ('notices', ?)", (text,))

    def notices(self) -> list[Notice]:
        """What :meth:`set_notices` kept."""
        rows = self._rows("SELECT value FROM work WHERE key = 'notices'")
        return [Notice(**notice) for notice in json.loads(rows[0][0])] if rows else []

    def serialized(self) -> bytes:
        """All of it, as a database in a row of bytes."""
        return self._connection.serialize()

    def times(self) -> list[tuple[int, int]]:
        """(pts, duration) of all frames in order of display."""
        return self._rows("SELECT pts, duration FROM frame ORDER BY number")

    def order(self) -> list[int]:
        """The numbers of the frames in the order of the packets, which is the order of decoding."""
        return [frame for (frame,) in self._rows("SELECT frame FROM packet ORDER BY position")]

    def packets(self) -> Iterator[Packet]:
        """All packets in order of decoding, one in memory at a time."""
        query = "SELECT frame, key, data FROM packet ORDER BY position"
        self._reading = self._connection.execute(query)
        for frame, key, data in self._reading:
            yield Packet(frame=frame, key=bool(key), data=data)

    def close(self) -> None:
        """Close the folder; it stays for the next run."""
        # From Python 3.13 on, the lock would last as long as a traceback holds the half-read packets.
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._connection.close()

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def in_memory(serialized: bytes | None = None) -> Segments:
    """Segments that are in no folder: none, or what :meth:`Segments.serialized` gave."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if serialized is None:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    else:
        connection.deserialize(serialized)
    return Segments(Path(), connection)


class SegmentWriter:
    """Takes the frames and packets of one segment.

    ``first`` is the number of its first frame, ``bytes_before`` the size of all packets before it;
    ``frames`` and ``bytes`` count its own.
    """

    def __init__(self, connection: sqlite3.Connection, *, first: int, bytes_before: int) -> None:
        self._connection = connection
        self.first = first
        self.bytes_before = bytes_before
        self.frames = 0
        self.bytes = 0

    def add_frame(self, pts: int, duration: int) -> None:
        """Add a frame that goes into the encoder."""
        number = self.first + self.frames
        self._connection.execute("INSERT INTO frame VALUES (?, ?, ?)", (number, pts, duration))
        self.frames += 1

    def add_packets(self, packets: Sequence[Packet]) -> None:
        """Add packets from the encoder, in order; their frames are counted from the segment's first."""
        self._connection.executemany(
            "INSERT INTO packet (frame, key, data) VALUES (?, ?, ?)",
            [(self.first + packet.frame, packet.key, packet.data) for packet in packets],
        )
        self.bytes += sum(len(packet.data) for packet in packets)


def work_folder(output: Path) -> Path:
    """Where the segments of ``output`` lie: ``.<name>.xlsr-part`` beside it."""
    name = f".{output.name}.xlsr-part"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(output.name)).hexdigest()[:32]}.xlsr-part"
    return output.with_name(name)


def has_parts(output: Path) -> bool:
    """Whether there are finished parts of ``output``, of any key."""
    return any(work_folder(output).glob(f"*{PART_SUFFIX}"))


def finished_frames(output: Path, key: str, *, patience: float = 0.0) -> int:
    """How many frames the finished segments of ``key`` hold; the folder stays as it is.

    Raises what :func:`open_segments` raises.
    """
    folder = work_folder(output)
    if not os.path.lexists(folder):
        return 0
    _check_ours(folder)
    if not _database(folder).exists():
        return 0
    with _mapped(folder), contextlib.closing(_connect(folder, output, key, patience)) as connection:
        return Segments(folder, connection).frames


@contextmanager
def open_segments(output: Path, key: str, *, patience: float = 0.0) -> Iterator[Segments]:
    """The segments that an earlier run with the same ``key`` left, or none.

    ``key`` names everything that their bytes depend on; segments of another key are deleted. At the end,
    the folder is removed if no segment is finished, or if the source turns out to be unusable.
    Raises :class:`BusyError` when another process works on the same output, and does so for longer than
    ``patience`` seconds; :class:`OutputError` where nothing can be written.
    """
    folder = work_folder(output)
    with _mapped(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        _check_ours(folder)
        segments = Segments(folder, _connect(folder, output, key, patience))
    try:
        yield segments
    except InputLostError:
        raise
    except InputError:
        segments.remove()  # this source stays unusable; a repaired one has another key
        raise
    finally:
        if not folder.exists():
            segments.close()
        else:
            finished = 0
            with contextlib.suppress(sqlite3.Error):
                finished = segments.count
            if finished or has_parts(output):
                segments.close()
            else:
                segments.remove()


def _check_ours(folder: Path) -> None:
    """Raise :class:`OutputError` if the work folder is a link or belongs to somebody else.

    Its name can be guessed: in a shared folder, others may have made it to misdirect what is written.
    """
    status = folder.lstat()
    theirs = hasattr(os, "geteuid") and status.st_uid != os.geteuid()
    if theirs or not stat.S_ISDIR(status.st_mode):
        raise OutputError(f"{folder} is in the way and was not made by this user; remove it")


def _database(folder: Path) -> Path:
    return folder / "segments.sqlite"


def _connect(folder: Path, output: Path, key: str, patience: float) -> sqlite3.Connection:
    path = _database(folder)
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")  # taken now, kept until the connection closes
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        row = connection.execute("SELECT value FROM work WHERE key = 'key'").fetchone()
        if row is None or row[0] != key:
            for table in ("work", "frame", "packet", "segment"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("INSERT INTO work VALUES ('key', ?)", (key,))
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error):
            raise BusyError(f"{output}: another xlsr is working on it; wait for it or stop it") from error
        raise
    except sqlite3.DatabaseError:
        # Not a database, or damaged by the file system: nothing in it can be trusted.
        connection.close()
        path.unlink()
        return _connect(folder, output, key, patience)
    return connection


@contextmanager
def _mapped(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        full = "full" in str(error) or "No space" in str(reason)
        advice = "the disk is full: free some space" if full else f"{reason}: see to the disk"
        raise OutputError(f"cannot write to {folder}: {advice}, then run the same command again") from error
