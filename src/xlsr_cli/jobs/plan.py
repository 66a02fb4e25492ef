"""Which files of a folder become which outputs: decided and checked before a pixel is touched."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.jobs.picture import read_head
from xlsr_cli.media.image import extension_for, format_for, peek_pixels, writable_format
from xlsr_cli.media.sniff import HEAD_BYTES, kind_of, picture_format
from xlsr_cli.options import PictureOptions

#: Bytes that a lossless result may take per byte of input and factor of area, a generous guess for the
#: check of free space.
_GROWTH = 1.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to do. ``name`` is its path below the folder, with forward slashes.

    ``pixels`` is what its header claims, 0 where that cannot be told without reading all of it.
    """

    name: str
    source: Path
    output: Path
    bytes_in: int
    pixels: int = 0


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A file that cannot be done, known before any work; ``reason`` is a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a batch will do. ``other`` counts files that are no pictures and are left alone."""

    folder: Path
    out: Path
    jobs: tuple[Job, ...]
    refused: tuple[Refusal, ...] = ()
    renamed: tuple[str, ...] = ()
    other: int = 0
    space_needed: int = 0
    space_free: int | None = None


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``index`` (from 1) of ``count``: the same files belong to it on every machine."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"--shard {self.index}/{self.count}: give a part such as 2/8, counted from 1")

    def holds(self, name: str) -> bool:
        """Whether the file called ``name`` belongs to this part."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which files of a folder are meant: globs over the path below it, or over the name alone."""

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: Shard = field(default_factory=Shard)

    def takes(self, name: str) -> bool:
        """Whether the file at ``name`` (forward slashes) is selected."""
        short = PurePosixPath(name).name

        def matches(patterns: tuple[str, ...]) -> bool:
            return any(fnmatch.fnmatch(name, p) or fnmatch.fnmatch(short, p) for p in patterns)

        wanted = not self.include or matches(self.include)
        return wanted and not matches(self.exclude) and self.shard.holds(name)


def plan_batch(folder: Path, out: Path, selection: Selection, options: PictureOptions) -> BatchPlan:
    """Look at every file below ``folder`` and decide what becomes of it.

    Raises :class:`InputError` when ``folder`` is not a readable folder, :class:`OutputError` when ``out``
    is the folder itself or a file.
    """
    _check_folders(folder, out)
    found: list[tuple[str, Path, int, str]] = []
    refused: list[Refusal] = []
    other = 0
    for name, path in _files(folder, out, selection.recursive, refused):
        if not selection.takes(name):
            continue
        try:
            head = read_head(path, HEAD_BYTES)
            size = path.stat().st_size
        except (InputError, OSError) as error:
            refused.append(Refusal(name=name, reason=str(error)))
            continue
        kind = kind_of(head)
        if kind in ("picture", "animation"):
            found.append((name, path, size, kind if kind == "animation" else picture_format(head) or ""))
        elif not head:
            refused.append(Refusal(name=name, reason=f"{path} is empty"))
        elif format_for(name) is not None:
            refused.append(Refusal(name=name, reason=f"{path} is not the picture that its name says"))
        else:
            other += 1
    jobs, renamed = _with_outputs(found, out, options)
    factor = (options.target.scale or 2.0) ** 2
    return BatchPlan(
        folder=folder,
        out=out,
        jobs=jobs,
        refused=tuple(refused),
        renamed=renamed,
        other=other,
        space_needed=int(sum(job.bytes_in for job in jobs) * factor * _GROWTH),
        space_free=_free_space(out),
    )


def _check_folders(folder: Path, out: Path) -> None:
    if not folder.exists():
        raise InputError(f"{folder} does not exist")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; 'xlsr upscale {folder}' enlarges it")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; give a folder with --out")
    if out.exists() and out.samefile(folder):
        raise OutputError(f"{out} is the input folder itself; give another one with --out")


def _files(folder: Path, out: Path, recursive: bool, refused: list[Refusal]) -> Iterator[tuple[str, Path]]:
    """(path below the folder, path) of every file, in a stable order; ``out`` is never entered.

    Dot-files and AppleDouble's ``._*`` are left out. Links to files are followed; links to folders are
    not, which is why no loop can be entered.
    """
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError as error:
            name = current.relative_to(folder).as_posix()
            refused.append(Refusal(name=name, reason=f"cannot look into {current}: {error.strerror}"))
            continue
        below = []
        for entry in entries:
            path = current / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if recursive and not _same(path, out):
                    below.append(path)
            elif entry.is_symlink() and not path.exists():
                name = path.relative_to(folder).as_posix()
                refused.append(Refusal(name=name, reason=f"{path} is a link to nothing"))
            elif entry.is_file():
                yield path.relative_to(folder).as_posix(), path
        pending += reversed(below)


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _with_outputs(
    found: list[tuple[str, Path, int, str]], out: Path, options: PictureOptions
) -> tuple[tuple[Job, ...], tuple[str, ...]]:
    """Each picture's output: the tree mirrored, the extension that of the format written.

    Where two inputs would share one output (``a.jpg`` and ``a.png`` with --format png, or names that
    differ only in case or in how é is written), the input's extension becomes part of the stem, and
    where that does not help, a number.
    """
    taken: set[str] = set()
    jobs, renamed = [], []
    for name, path, size, format in found:
        relative = _output_name(PurePosixPath(name), format, options)
        candidate, number = relative, 1
        while _key(candidate) in taken:
            extension = PurePosixPath(name).suffix[1:] or "file"
            suffix = f"_{extension}" if number == 1 else f"_{extension}{number}"
            candidate = relative.with_name(f"{relative.stem}{suffix}{relative.suffix}")
            number += 1
        if candidate != relative:
            renamed.append(f"{name} -> {candidate} ({relative} is taken by another file)")
        taken.add(_key(candidate))
        pixels = peek_pixels(path)
        jobs.append(Job(name=name, source=path, output=out / candidate, bytes_in=size, pixels=pixels))
    return tuple(jobs), tuple(renamed)


def _output_name(name: PurePosixPath, format: str, options: PictureOptions) -> PurePosixPath:
    """``format`` is the picture's, or ``animation``, which keeps its name and is written as that says."""
    if format == "animation" and options.format is None:
        return name
    written = options.format or format_for(name.name) or writable_format(format)
    if format_for(name.name) == written:
        return name
    return (
        name.with_name(name.name + extension_for(written))
        if not name.suffix
        else name.with_suffix(extension_for(written))
    )


def _key(name: PurePosixPath) -> str:
    """What two names have in common that some file systems take for one."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def _free_space(out: Path) -> int | None:
    existing = next((path for path in (out, *out.absolute().parents) if path.exists()), None)
    try:
        return None if existing is None else shutil.disk_usage(existing).free
    except OSError:
        return None
