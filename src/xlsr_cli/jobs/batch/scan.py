"""Look at every file in the folder of a batch; its content decides what it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from xlsr_cli.errors import InputError
from xlsr_cli.formats import HEAD_BYTES, Format, format_for, format_of
from xlsr_cli.jobs.batch.job import NOTHING_TO_ENLARGE, JobKind, Refusal
from xlsr_cli.jobs.batch.journal import is_journal
from xlsr_cli.jobs.batch.selection import Selection
from xlsr_cli.jobs.picture import read_head
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


def stable_state(folder: Path, out: Path, selection: Selection) -> dict[str, tuple[int, int]]:
    """(bytes, time of change) of every selected file, by name; two calls show which files change."""
    states = {}
    for name in _files(folder, out, selection, [], []):
        with contextlib.suppress(OSError):
            status = (folder / name).stat()
            states[name] = (status.st_size, status.st_mtime_ns)
    return states


def look_at(folder: Path, out: Path, selection: Selection) -> Looked:
    """Every file that the globs select, whatever its shard."""
    looked = Looked()
    for name in _files(folder, out, selection, looked.refused, looked.results):
        path = folder / name
        try:
            head = read_head(path, HEAD_BYTES)
            status = path.stat()
            place = _Place(name, path, status.st_size, (status.st_dev, status.st_ino))
            _look_at_one(place, head, selection, looked)
        except (InputError, OSError) as error:
            looked.refused.append(
                Refusal(name=name, reason=error.in_flags if isinstance(error, InputError) else str(error))
            )
    return looked


class _Place(NamedTuple):
    """A file. ``bytes_in`` and ``identity`` (device and inode) as the system says."""

    name: str
    path: Path
    bytes_in: int
    identity: tuple[int, int]


def _look_at_one(place: _Place, head: bytes, selection: Selection, looked: Looked) -> None:
    """Put the file at ``place``, which begins with ``head``, where it belongs. Raises :class:`InputError`."""
    what = kind_of(head, place.name)
    format = None if what == "video" else format_of(head)
    if format is not None and not format.document:
        kind: JobKind = "animation" if what == "animation" else "picture"
        if selection.takes_kind(kind):
            _add_picture(place, format, head, kind, looked)
        else:
            looked.left[place.name] = "left out by --kind"
    elif what == "video":
        if selection.takes_kind("film"):
            _add_film(place, looked)
        else:
            looked.left[place.name] = "left out by --kind"
    elif what == "y4m":
        looked.left[place.name] = "raw frames, which 'xlsr upscale' takes"
    elif (named := _kind_by_name(place.name)) is None or not selection.takes_kind(named):
        looked.left[place.name] = NOTHING_TO_ENLARGE
    elif not head:
        looked.refused.append(Refusal(name=place.name, reason=f"{place.path} is empty"))
    else:
        reason = f"{place.path} is not the {named} that its name says"
        looked.refused.append(Refusal(name=place.name, reason=reason))


def _add_picture(place: _Place, format: Format, head: bytes, kind: JobKind, looked: Looked) -> None:
    seen = glance(place.path, format, head)
    refusal = refusal_of(format, str(place.path)) if seen is None else None
    if refusal is not None:
        extra = format.extra if format.lacks_library else ""
        looked.refused.append(Refusal(name=place.name, reason=refusal, extra=extra))
        return
    looked.found.append(
        Found(
            name=place.name,
            kind=kind,
            format=format.name,
            bytes_in=place.bytes_in,
            identity=place.identity,
            seen=seen,
            frames=1 if seen is None or kind == "picture" else seen.frames,
        )
    )


def _add_film(place: _Place, looked: Looked) -> None:
    from xlsr_cli.media.video.quick_look import quick_look  # only now: it loads FFmpeg

    film = quick_look(place.path)
    if film is None:
        looked.left[place.name] = "sound alone"
        return
    looked.found.append(
        Found(
            name=place.name,
            kind="film",
            format=None,
            bytes_in=place.bytes_in,
            identity=place.identity,
            seen=Glance(size=film.size, deep=film.deep),
            frames=film.frames,
        )
    )


def _kind_by_name(name: str) -> JobKind | None:
    """The kind of file that an extension stands for; None if it is nothing that can be enlarged."""
    if format_for(name) is not None:
        return "picture"
    return "film" if PurePosixPath(name).suffix.lower() in _FILMS else None


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
