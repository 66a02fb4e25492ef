"""What lies in the folder of a batch: every file is looked at, its content decides what it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xlsr_cli.errors import InputError
from xlsr_cli.formats import HEAD_BYTES, format_for, format_of
from xlsr_cli.jobs.batch.job import Refusal
from xlsr_cli.jobs.batch.journal import is_journal
from xlsr_cli.jobs.batch.selection import Selection
from xlsr_cli.jobs.picture import read_head
from xlsr_cli.media.picture.damage import refusal_of
from xlsr_cli.media.picture.quick_header import Glance, glance
from xlsr_cli.media.sniff import kind_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A picture as it lies there. ``format`` is its own; ``animation`` for one that moves."""

    name: str
    format: str
    bytes_in: int
    identity: tuple[int, int]
    seen: Glance | None


def stable_state(folder: Path, out: Path, selection: Selection) -> dict[str, tuple[int, int]]:
    """(bytes, time of change) of every file that is selected, by name: two looks tell what changes."""
    states = {}
    for name in _files(folder, out, selection, [], []):
        with contextlib.suppress(OSError):
            status = (folder / name).stat()
            states[name] = (status.st_size, status.st_mtime_ns)
    return states


def look_at(
    folder: Path, out: Path, selection: Selection, refused: list[Refusal], results: list[str]
) -> tuple[list[Found], int]:
    """Every picture that the globs select, whatever its shard, and the number of other files."""
    found: list[Found] = []
    other = 0
    for name in _files(folder, out, selection, refused, results):
        path = folder / name
        try:
            head = read_head(path, HEAD_BYTES)
            status = path.stat()
        except (InputError, OSError) as error:
            refused.append(Refusal(name=name, reason=str(error)))
            continue
        format = format_of(head)
        seen = None if format is None else glance(path, format, head)
        if format is not None and not format.document:
            if seen is None and format.refused:
                refused.append(Refusal(name=name, reason=refusal_of(format, str(path))))
                continue
            found.append(
                Found(
                    name=name,
                    format="animation" if kind_of(head) == "animation" else format.name,
                    bytes_in=status.st_size,
                    identity=(status.st_dev, status.st_ino),
                    seen=seen,
                )
            )
        elif format_for(name) is None:
            other += 1
        elif not head:
            refused.append(Refusal(name=name, reason=f"{path} is empty"))
        else:
            refused.append(Refusal(name=name, reason=f"{path} is not the picture that its name says"))
    return found, other


def _files(
    folder: Path, out: Path, selection: Selection, refused: list[Refusal], results: list[str]
) -> Iterator[str]:
    """The path below the folder of every file that the globs select, in a stable order.

    ``out`` is never entered, nor is another folder that holds a batch's journal, which goes into
    ``results``. Dot-files and AppleDouble's ``._*`` are left out. Links to files are followed; links to
    folders are not, which is why no loop can be entered.
    """
    pending = [""]
    if selection.listed:
        pending = []
        for name in selection.listed:
            if (folder / name).is_dir():
                pending.append(f"{name}/")
            elif not os.path.lexists(folder / name):
                refused.append(Refusal(name=name, reason=f"{folder / name} does not exist"))
            elif selection.takes(name):
                yield name
        pending.reverse()
    while pending:
        prefix = pending.pop()
        try:
            entries = sorted(os.scandir(folder / prefix), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"cannot look into {folder / prefix}: {error.strerror or error}"
            refused.append(Refusal(name=prefix.rstrip("/") or ".", reason=reason))
            continue
        if prefix and any(is_journal(entry.name) for entry in entries):
            results.append(prefix.rstrip("/"))
            continue
        below = []
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if selection.recursive and not selection.leaves_out(name) and not _same(folder / name, out):
                    below.append(f"{name}/")
            elif not selection.takes(name):
                continue
            elif entry.is_symlink() and not (folder / name).exists():
                refused.append(Refusal(name=name, reason=f"{folder / name} is a link to nothing"))
            elif entry.is_file() and name not in selection.listed:
                yield name
        pending += reversed(below)


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def identity_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)
