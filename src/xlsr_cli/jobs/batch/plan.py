"""Which files of a folder become which outputs: decided and checked before a pixel is touched."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import math
import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.jobs.batch.executors import WORKER_MEMORY
from xlsr_cli.jobs.batch.journal import Entry, is_journal
from xlsr_cli.jobs.picture import read_head
from xlsr_cli.media.picture.image import check_limits, extension_for, format_for, writable_format
from xlsr_cli.media.picture.quick_header import Glance, glance
from xlsr_cli.media.picture.source import REFUSED
from xlsr_cli.media.sniff import HEAD_BYTES, kind_of, picture_format
from xlsr_cli.options import PictureFormat, PictureOptions

#: Bytes of a pixel as formats store photographs, for the check of free space.
_STORED = {"png": 2.5, "tiff": 3.0, "bmp": 3.0, "pnm": 3.0, "jpeg": 0.6, "webp": 0.5, "avif": 0.4, "jp2": 1.0}
#: Bytes for each pixel of input and output together, measured: what lies between them, and what encoders
#: of these formats take; see ``_memory``.
_HELD, _HELD_WITH_ALPHA, _HELD_DEEP = 6, 12, 22
_HELD_BY_ENCODER = {"webp": 30, "avif": 20, "jp2": 20}
#: Documents and drawings that begin like a picture and are none.
_NO_PICTURES = ("pdf", "eps", "svg", "xcf")
#: The longest file name on the file systems of Linux, macOS and Windows, in bytes.
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One picture to do: ``folder / name`` becomes ``out / target``; both with forward slashes.

    ``pixels`` is what its header claims, 0 where that cannot be told without reading all of it.
    ``memory``: bytes that a worker takes for it, an estimate. ``space``: bytes that its output will take.
    """

    folder: Path
    name: str
    out: Path
    target: str
    bytes_in: int = 0
    pixels: int = 0
    memory: int = WORKER_MEMORY
    space: int = 0

    @property
    def source(self) -> Path:
        """The picture's file."""
        return self.folder / self.name

    @property
    def output(self) -> Path:
        """The file that it becomes."""
        return self.out / self.target


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A file that cannot be done, known before any work; ``reason`` is a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a batch will do.

    ``remarks``: sentences about collisions and about folders that are left out. ``other`` counts files that
    are no pictures and are left alone, ``finished`` the jobs that an earlier run has done. ``space_needed``
    is for the others.
    """

    folder: Path
    out: Path
    jobs: tuple[Job, ...]
    refused: tuple[Refusal, ...] = ()
    remarks: tuple[str, ...] = ()
    other: int = 0
    finished: int = 0
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
    """Which files of a folder are meant.

    Globs are matched with the path below the folder, with the name alone, and with the folders on the way:
    ``drafts`` means all that is in a folder of that name.
    """

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: Shard = field(default_factory=Shard)

    def takes(self, name: str) -> bool:
        """Whether the globs select the file at ``name`` (forward slashes)."""
        if not self.include and not self.exclude:
            return True
        wanted = not self.include or _matches(name, self.include)
        return wanted and not _matches(name, self.exclude)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    names = {part for place in (path, *path.parents[:-1]) for part in (str(place), place.name)}
    for pattern in patterns:
        pattern = pattern.removeprefix("./").rstrip("/")
        # ** also stands for no folder at all.
        forms = {pattern, pattern.removeprefix("**/"), pattern.replace("/**/", "/")}
        if any(fnmatch.fnmatch(each, form) for each in names for form in forms):
            return True
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A picture as it lies there. ``format`` is its own; ``animation`` for one that moves."""

    name: str
    format: str
    bytes_in: int
    identity: tuple[int, int]
    seen: Glance | None


def plan_batch(
    folder: Path,
    out: Path,
    selection: Selection,
    options: PictureOptions,
    known: Mapping[str, Entry] | None = None,
) -> BatchPlan:
    """Look at every file below ``folder`` and decide what becomes of it.

    ``known``: what the journals in ``out`` say, by name; a picture keeps the output that it had. Raises
    :class:`InputError` when ``folder`` is not a readable folder, :class:`OutputError` when ``out`` is the
    folder itself or a file.
    """
    known = known or {}
    check_folders(folder, out)
    refused: list[Refusal] = []
    results: list[str] = []
    found, other = _looked_at(folder, out, selection, refused, results)
    targets, renamed = _targets(found, options, known)
    sources = {each.identity for each in found}
    jobs: list[Job] = []
    finished = 0
    for each in found:
        if not selection.shard.holds(each.name):
            continue
        job = _job(folder, out, each, targets[each.name], options)
        existing = _identity(job.output)
        reason = _reason_against(job, each, options) or (
            _reason_to_spare(job, existing, sources, known.get(each.name), options) if existing else None
        )
        if reason is not None:
            refused.append(Refusal(name=each.name, reason=reason))
            continue
        jobs.append(job)
        entry = known.get(each.name)
        finished += bool(existing and entry and entry.status == "done")
    here = selection.shard.holds
    return BatchPlan(
        folder=folder,
        out=out,
        jobs=tuple(jobs),
        refused=tuple(refusal for refusal in refused if here(refusal.name)),
        remarks=(
            *(f"{name} holds the results of a batch and is left out" for name in results),
            *(line for name, line in renamed.items() if here(name)),
        ),
        other=other,
        finished=finished,
        space_needed=sum(job.space for job in jobs if not _identity(job.output)),
        space_free=_free_space(out),
    )


def check_folders(folder: Path, out: Path) -> None:
    """Raise what :func:`plan_batch` raises, without looking at any file."""
    if not folder.exists():
        raise InputError(f"{folder} does not exist")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; 'xlsr upscale {folder}' enlarges it")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; give a folder with --out")
    if out.exists() and out.samefile(folder):
        raise OutputError(f"{out} is the input folder itself; give another one with --out")


def stable_state(folder: Path, out: Path, selection: Selection) -> dict[str, tuple[int, int]]:
    """(bytes, time of change) of every file that is selected, by name: two looks tell what changes."""
    states = {}
    for name in _files(folder, out, selection.recursive, [], []):
        if selection.takes(name):
            with contextlib.suppress(OSError):
                status = (folder / name).stat()
                states[name] = (status.st_size, status.st_mtime_ns)
    return states


def _looked_at(
    folder: Path, out: Path, selection: Selection, refused: list[Refusal], results: list[str]
) -> tuple[list[_Found], int]:
    """Every picture that the globs select, whatever its shard, and the number of other files."""
    found: list[_Found] = []
    other = 0
    for name in _files(folder, out, selection.recursive, refused, results):
        if not selection.takes(name):
            continue
        path = folder / name
        try:
            head = read_head(path, HEAD_BYTES)
            status = path.stat()
        except (InputError, OSError) as error:
            refused.append(Refusal(name=name, reason=str(error)))
            continue
        kind, format = kind_of(head), picture_format(head) or ""
        seen = glance(path, head) if kind in ("picture", "animation") else None
        if seen is None and format in REFUSED and format not in _NO_PICTURES:
            reason = f"{path} is {REFUSED[format]}; convert it to PNG or TIFF first"
            refused.append(Refusal(name=name, reason=reason))
        elif kind in ("picture", "animation") and format not in _NO_PICTURES:
            found.append(
                _Found(
                    name=name,
                    format="animation" if kind == "animation" else format,
                    bytes_in=status.st_size,
                    identity=(status.st_dev, status.st_ino),
                    seen=seen,
                )
            )
        elif not head:
            refused.append(Refusal(name=name, reason=f"{path} is empty"))
        elif format_for(name) is not None:
            refused.append(Refusal(name=name, reason=f"{path} is not the picture that its name says"))
        else:
            other += 1
    return found, other


def _files(
    folder: Path, out: Path, recursive: bool, refused: list[Refusal], results: list[str]
) -> Iterator[str]:
    """The path below the folder of every file, in a stable order.

    ``out`` is never entered, nor is another folder that holds a batch's journal, which goes into
    ``results``. Dot-files and AppleDouble's ``._*`` are left out. Links to files are followed; links to
    folders are not, which is why no loop can be entered.
    """
    pending = [""]
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
                if recursive and not _same(folder / name, out):
                    below.append(f"{name}/")
            elif entry.is_symlink() and not (folder / name).exists():
                refused.append(Refusal(name=name, reason=f"{folder / name} is a link to nothing"))
            elif entry.is_file():
                yield name
        pending += reversed(below)


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _targets(
    found: list[_Found], options: PictureOptions, known: Mapping[str, Entry]
) -> tuple[dict[str, str], dict[str, str]]:
    """Each picture's output, and a sentence about each that could not have its first choice, by name.

    The tree is mirrored, the extension is that of the format written. Where two inputs would share one
    output (``a.jpg`` and ``a.png`` with --format png, or names that differ only in case or in how é is
    written), the one that had it keeps it, then the one that is called so; the other's extension becomes
    part of its stem, and where that does not help, a number.
    """
    wanted = {each.name: _wanted(PurePosixPath(each.name), each.format, options) for each in found}
    names = sorted(wanted, key=lambda name: wanted[name] != name)
    taken = {_key(str(parent)) for name in names for parent in PurePosixPath(name).parents}
    targets: dict[str, str] = {}
    renamed: dict[str, str] = {}
    for name in names:
        if name in known and _is_variant(known[name].output, wanted[name]):
            targets[name] = known[name].output
            taken.add(_key(targets[name]))
    for name in names:
        if name in targets:
            continue
        candidate, number = wanted[name], 1
        while _key(candidate) in taken:
            path = PurePosixPath(wanted[name])
            extension = PurePosixPath(name).suffix[1:] or "file"
            suffix = f"_{extension}" if number == 1 else f"_{extension}{number}"
            candidate = str(path.with_name(f"{path.stem}{suffix}{path.suffix}"))
            number += 1
        if candidate != wanted[name]:
            renamed[name] = f"{name} -> {candidate} ({wanted[name]} is taken by another file)"
        targets[name] = candidate
        taken.add(_key(candidate))
    return targets, renamed


def _wanted(name: PurePosixPath, format: str, options: PictureOptions) -> str:
    """The output's first choice; what the content is decides the format, as in ``xlsr upscale``."""
    if format == "animation" and options.format is None:
        return str(name)
    written = options.format or writable_format(format)
    if format_for(name.name) == written:
        return str(name)
    if not name.suffix:
        return str(name) + extension_for(written)
    return str(name.with_suffix(extension_for(written)))


def _is_variant(target: str, wanted: str) -> bool:
    """Whether an earlier run may have given ``target`` to a picture that wants ``wanted``."""
    had, path = PurePosixPath(target), PurePosixPath(wanted)
    if (had.parent, had.suffix) != (path.parent, path.suffix):
        return False
    return had.stem == path.stem or had.stem.startswith(f"{path.stem}_")


def _key(name: str) -> str:
    """What two names have in common that some file systems take for one."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _job(folder: Path, out: Path, found: _Found, target: str, options: PictureOptions) -> Job:
    seen = found.seen
    factor = _area_factor(found, options)
    pixels = 0 if seen is None else seen.size.pixels
    format = options.format or format_for(target) or "png"
    if format == found.format or not pixels:
        space = found.bytes_in * factor
    else:
        space = pixels * factor * _STORED[format]
    return Job(
        folder=folder,
        name=found.name,
        out=out,
        target=target,
        bytes_in=found.bytes_in,
        pixels=pixels,
        memory=_memory(found, format, factor),
        space=int(space),
    )


def _area_factor(found: _Found, options: PictureOptions) -> float:
    if found.seen is None:
        return (options.target.scale or 2.0) ** 2
    try:
        return options.target.size_for(found.seen.size).pixels / found.seen.size.pixels
    except UsageError:
        return 1.0


def _memory(found: _Found, format: PictureFormat, factor: float) -> int:
    """Bytes that a worker takes for ``found``, libraries and model included."""
    seen = found.seen
    if seen is None:  # most likely one of the formats that store bytes as they are
        pixels, held = found.bytes_in // 3, _HELD_DEEP
    else:
        pixels = seen.size.pixels
        held = _HELD_DEEP if seen.deep else _HELD_WITH_ALPHA if seen.alpha else _HELD
    held = max(held, _HELD_BY_ENCODER.get(format, 0))
    # Models enlarge by whole factors; what is larger than asked for is shrunk afterwards.
    return WORKER_MEMORY + int(pixels * (1 + math.ceil(math.sqrt(factor)) ** 2) * held)


def _reason_against(job: Job, found: _Found, options: PictureOptions) -> str | None:
    """Why a picture cannot be done, as far as its header tells; None when nothing speaks against it."""
    if len(os.fsencode(PurePosixPath(job.target).name)) > _LONGEST_NAME:
        return f"cannot write {job.output}: the name is too long: choose a shorter one"
    if found.seen is None:
        return None
    size = found.seen.size
    if size.pixels > options.max_pixels:
        return (
            f"{job.source} claims {size} pixels and --max-pixels allows {options.max_pixels}; "
            "raise it if you trust the file"
        )
    try:
        target = options.target.size_for(size)
        if found.format != "animation":
            check_limits(options.format or format_for(job.target) or "png", target)
    except (UsageError, OutputError) as error:
        return f"{job.source}: {error}"
    return None


def _reason_to_spare(
    job: Job,
    existing: tuple[int, int],
    sources: set[tuple[int, int]],
    entry: Entry | None,
    options: PictureOptions,
) -> str | None:
    """Why the file that is in the output's place must not be replaced; None when it may be."""
    if existing in sources:
        return f"{job.output} is itself one of the pictures to enlarge; give another folder with --out"
    ours = entry is not None and entry.output == job.target and (entry.output_sha256 or entry.claim)
    if ours or options.overwrite:
        return None
    return f"{job.output} exists and is not from this batch; give --overwrite to replace it"


def _free_space(out: Path) -> int | None:
    existing = next((path for path in (out, *out.absolute().parents) if path.exists()), None)
    try:
        return None if existing is None else shutil.disk_usage(existing).free
    except OSError:
        return None
