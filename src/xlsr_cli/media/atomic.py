"""Write files atomically: an output is there completely or not at all.

The bytes go to a hidden file beside the output, ``.<name>.xlsr-<random>.part``. When all of them are on the
disk, that file is renamed to the output in one step. A crash leaves the old file, or none.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from xlsr_cli.errors import OutputError

_PART = re.compile(r"^\.(.*)\.xlsr-[0-9a-f]{8}\.part$", re.DOTALL)

#: The longest file name on the file systems of Linux, macOS and Windows, in bytes.
_LONGEST_NAME = 255

_WINDOWS = os.name == "nt"

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "permission denied: choose another folder or change its permissions",
    errno.EPERM: "the system does not permit it: choose another folder",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ENOENT: "its folder does not exist: create it first",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder: give a file name",
    errno.ELOOP: "its symbolic links go in a circle",
    errno.EPIPE: "the reader at the other end has closed the pipe",
    errno.EINVAL: "the system does not accept this name",
    errno.EIO: "the disk reports an input/output error",
}


@contextmanager
def atomic_output(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Yield a seekable binary file whose bytes become ``path`` when the block ends without an exception.

    On any exception, nothing is left and an existing ``path`` is untouched. Without ``overwrite``, an
    existing file is refused, also one that appears while the block runs, and so is a symbolic link. With it,
    the file keeps its permissions and, where the system allows it, its owner; a link is replaced and its
    target stays as it is, since in a shared folder anybody may have made the link. A device or a named pipe
    is written directly, also through a link. Raises :class:`OutputError` for every error of the system, also
    during writes in the block.
    """
    check_output(path, overwrite=overwrite)
    if _is_device(path):
        with _device(path) as file:
            yield file
        return
    target = Path(os.path.realpath(path.parent)) / path.name
    existing = _lstat(target)
    part = target.with_name(part_name(target.name))
    with _mapped(path):
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with _closing(io.BufferedRandom(_Watched(descriptor, "r+b", shown=path))) as file:
            yield file
            with _mapped(path):
                file.flush()
                os.fsync(descriptor)
                if existing is not None and stat.S_ISREG(existing.st_mode):
                    _adopt(descriptor, existing)
        with _mapped(path):
            if overwrite:
                os.replace(part, target)
            else:
                _place(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    _sync_folder(target.parent)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise :class:`OutputError` now for what :func:`atomic_output` would refuse later.

    To be called before expensive work. It checks the name, the folder and its permissions, and whether the
    output exists; it writes nothing.
    """
    with _mapped(path):
        existing = _lstat(path)
        if _is_device(path):
            return
        if path.is_dir():
            raise OSError(errno.EISDIR, "is a folder")
        if existing is not None and not overwrite:
            raise FileExistsError(errno.EEXIST, "exists")
        folder = Path(os.path.realpath(path.parent))
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise OSError(errno.ENOTDIR, "not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            # os.access does not tell missing permissions from a read-only mount; the message should.
            raise OSError(errno.EROFS if _read_only(folder) else errno.EACCES, "not writable")


def part_name(name: str) -> str:
    """A new name of a temporary file for the output ``name``: hidden, random, at most 255 bytes."""
    return f".{_shortened(name)}.xlsr-{os.urandom(4).hex()}.part"


def remove_parts(folder: Path, outputs: Iterable[str] | None = None) -> list[Path]:
    """Remove temporary files that killed runs have left in ``folder``; return the removed ones.

    ``outputs``: only those of outputs with these names.
    The caller must know that nobody else is writing there, as a batch does that holds the folder's lock.
    Other files, also ``.part`` files of other programs, are never touched.
    """
    removed = []
    mine = None if outputs is None else {_shortened(name) for name in outputs}
    for entry in sorted(folder.iterdir()):
        match = _PART.match(entry.name)
        if match is None or (mine is not None and match[1] not in mine):
            continue
        if not entry.is_symlink() and entry.is_file():
            with contextlib.suppress(OSError):
                entry.unlink()
                removed.append(entry)
    return removed


def _shortened(name: str) -> str:
    """``name``, shortened to fit into the name of a temporary file, by whole characters."""
    room = _LONGEST_NAME - len("..xlsr-01234567.part")
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name


class _Watched(io.FileIO):
    """A file whose errors become :class:`OutputError`; errors of other files that the caller uses do not."""

    def __init__(self, descriptor: int, mode: Literal["r+b", "wb"], *, shown: Path) -> None:
        super().__init__(descriptor, mode)
        self.name = str(shown)  # by default this is the descriptor, but libraries want a name
        self._shown = shown

    def write(self, data: object, /) -> int:
        with _mapped(self._shown):
            return super().write(data)  # type: ignore[arg-type]  # any buffer, as FileIO takes it

    def truncate(self, size: int | None = None, /) -> int:
        with _mapped(self._shown):
            return super().truncate(size)


@contextmanager
def _closing(file: io.BufferedRandom | io.BufferedWriter) -> Iterator[BinaryIO]:
    """Close ``file``; after an exception, without writing what is still buffered."""
    try:
        yield cast(BinaryIO, file)
    except BaseException:
        with contextlib.suppress(OSError):
            file.raw.close()
        raise
    file.close()


@contextmanager
def _device(path: Path) -> Iterator[BinaryIO]:
    with _mapped(path):
        opened = _descriptor(path)
        flags = os.O_WRONLY | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags) if opened is None else os.dup(opened)
    with _closing(io.BufferedWriter(_Watched(descriptor, "wb", shown=path))) as file:
        yield file
        file.flush()


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    """Turn errors of the system into one sentence about ``path``."""
    try:
        yield
    except FileExistsError as error:
        raise OutputError(f"{path} exists already; give --overwrite to replace it") from error
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or "the system refuses it")
        raise OutputError(f"cannot write {path}: {reason}") from error
    except ValueError as error:  # a NUL in the name
        raise OutputError(f"cannot write {path!r}: the system does not accept this name") from error


def _lstat(path: Path) -> os.stat_result | None:
    """The status of ``path``, of a link itself; None if there is nothing."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _is_device(path: Path) -> bool:
    """Whether ``path`` is written to directly: a device or a pipe, a link to one, or what is open already."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


#: Names of descriptors that a shell has opened for us: ``3> FILE``, ``>(command)``.
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,6})")


def _descriptor(path: Path) -> int | None:
    """The number of the open descriptor that ``path`` is a name of; None for all other names."""
    if _WINDOWS or (found := _DESCRIPTOR.fullmatch(str(path))) is None:
        return None
    return int(found[1])


def _adopt(descriptor: int, existing: os.stat_result) -> None:
    """Give the new file the owner and the permissions of the one that it replaces, as far as allowed."""
    if _WINDOWS:
        return
    with contextlib.suppress(OSError):
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) != (existing.st_uid, existing.st_gid):
            os.fchown(descriptor, existing.st_uid, existing.st_gid)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(existing.st_mode))


def _place(part: Path, target: Path) -> None:
    """Rename ``part`` to ``target`` in one step, but never over an existing file."""
    if _WINDOWS:
        part.rename(target)  # refuses an existing target there
        return
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: claim the name first, then replace our own empty file.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            os.replace(part, target)
        except BaseException:
            target.unlink()
            raise
    else:
        part.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power failure, on systems that can sync a folder."""
    if _WINDOWS:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_only(folder: Path) -> bool:
    if _WINDOWS:
        return False
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False
