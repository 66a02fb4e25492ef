"""Look at every file in the folder of a batch; its content decides what it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from xlsr_cli.errors import InputError
from xlsr_cli.formats import HEAD_BYTES, format_for, format_of
from xlsr_cli.jobs.batch.job import NOTHING_TO_ENLARGE, JobKind, Refusal
from xlsr_cli.jobs.batch.journal import is_journal
from xlsr_cli.jobs.batch.selection import Batch, Selection
from xlsr_cli.jobs.inputs import read_head
from xlsr_cli.media.picture.damage import refusal_of
from xlsr_cli.media.picture.quick_header import Glance, glance
from xlsr_cli.media.sniff import kind_of

#: Extensions that only films have: .ts and .mts are also those of TypeScript.
_FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".m2ts", ".3gp", ".mpg", ".mpeg", ".wmv", ".flv")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A file that can be enlarged, as it lies there. ``format``: a picture's own; None for a film."""

    name: str
    kind: JobKind
    format: str | None
    bytes_in: int
    identity: tuple[int, int]
    seen: Glance | None
    frames: int = 1


@dataclass(kw_only=True)
class Looked:
    """The content of a folder. ``left``: files that are left alone, each with the reason in a few words.

    ``results``: folders that hold a batch's results and are left out.
    """

    found: list[Found] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)


def stable_state(batch: Batch) -> dict[str, tuple[int, int]]:
    """(bytes, time of change) of every selected file, by name; two calls show which files change."""
    states = {}
    for name in _files(batch, Looked()):
        with contextlib.suppress(OSError):
            status = (batch.folder / name).stat()
            states[name] = (status.st_size, status.st_mtime_ns)
    return states


def look_at(batch: Batch) -> Looked:
    """Every file that the globs select, whatever its shard."""
    looked = Looked()
    for name in _files(batch, looked):
        try:
            seen = _look_at_one(name, batch.folder / name, batch.selection)
        except InputError as error:
            seen = Refusal(name=name, reason=error.in_flags)
        except OSError as error:
            seen = Refusal(name=name, reason=str(error))
        if isinstance(seen, Found):
            looked.found.append(seen)
        elif isinstance(seen, Refusal):
            looked.refused.append(seen)
        else:
            looked.left[name] = seen
    return looked


def _look_at_one(name: str, path: Path, selection: Selection) -> Found | Refusal | str:
    """What is at ``path``; of a file that is left alone, the reason in a few words."""
    head, status = read_head(path, HEAD_BYTES), path.stat()
    what = kind_of(head, name)
    format = None if what == "video" else format_of(head)
    kind: JobKind
    if what == "video":
        kind = "film"
    elif format is not None and not format.document:
        kind = "animation" if what == "animation" else "picture"
    elif what == "y4m":
        return "raw frames, which 'xlsr upscale' takes"
    elif (named := _kind_by_name(name)) is None or not selection.takes_kind(named):
        return NOTHING_TO_ENLARGE
    else:
        fault = f"is not the {named} that its name says" if head else "is empty"
        return Refusal(name=name, reason=f"{path} {fault}")
    if not selection.takes_kind(kind):
        return "left out by --kind"
    if format is None:
        seen = _glance_at_film(path)
        if seen is None:
            return "sound alone"
    else:
        seen = glance(path, format, head)
        refusal = refusal_of(format, str(path)) if seen is None else None
        if refusal is not None:
            return Refusal(name=name, reason=refusal, extra=format.extra if format.lacks_library else "")
    return Found(
        name=name,
        kind=kind,
        format=None if format is None else format.name,
        bytes_in=status.st_size,
        identity=(status.st_dev, status.st_ino),
        seen=seen,
        frames=1 if seen is None or kind == "picture" else seen.frames,
    )


def _glance_at_film(path: Path) -> Glance | None:
    """As :func:`glance`; None for a file without pictures. Raises :class:`InputError`."""
    from xlsr_cli.media.video.quick_look import quick_look  # only now: it loads FFmpeg

    film = quick_look(path)
    return None if film is None else Glance(size=film.size, deep=film.deep, frames=film.frames)


def _kind_by_name(name: str) -> JobKind | None:
    """The kind of file that an extension stands for; None if it is nothing that can be enlarged."""
    if format_for(name) is not None:
        return "picture"
    return "film" if PurePosixPath(name).suffix.lower() in _FILMS else None


def _files(batch: Batch, looked: Looked) -> Iterator[str]:
    """The path below the folder of every file that the globs select, in a stable order.

    The output folder is never entered, nor is another one that holds a batch's journal, which goes into
    ``looked.results``. Dot-files and AppleDouble's ``._*`` are left out. Links to files are followed; links
    to folders are not, which is why no loop can be entered.
    """
    folder, selection = batch.folder, batch.selection

    def refuse(name: str, reason: str) -> None:
        looked.refused.append(Refusal(name=name, reason=reason))

    pending = [""]
    if selection.listed:
        pending = []
        for name in selection.listed:
            if (folder / name).is_dir():
                pending.append(f"{name}/")
            elif not os.path.lexists(folder / name):
                refuse(name, f"{folder / name} does not exist")
            elif selection.takes(name):
                yield name
        pending.reverse()
    while pending:
        prefix = pending.pop()
        try:
            entries = sorted(os.scandir(folder / prefix), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"cannot look into {folder / prefix}: {error.strerror or error}"
            refuse(prefix.rstrip("/") or ".", reason)
            continue
        if prefix and any(is_journal(entry.name) for entry in entries):
            looked.results.append(prefix.rstrip("/"))
            continue
        below = []
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if (
                    selection.recursive
                    and not selection.leaves_out(name)
                    and not _same(folder / name, batch.out)
                ):
                    below.append(f"{name}/")
            elif not selection.takes(name):
                continue
            elif entry.is_symlink() and not (folder / name).exists():
                refuse(name, f"{folder / name} is a link to nothing")
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
