"""Which files of a folder belong to a batch: patterns, kinds, and one part of several."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import get_args

from xlsr_cli.declaration import option
from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.jobs.batch.job import JobKind, Shard
from xlsr_cli.options import PictureOptions, VideoOptions


def parse_shard(text: str) -> Shard:
    """``2/8`` → the second part of eight. Raises :class:`ValueError` for other text."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a part such as 2/8")
    return Shard(index=int(match[1]), count=int(match[2]))


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which files of a folder are selected.

    A pattern is compared with the path below the folder, with the name, and with each folder on the way:
    ``drafts`` matches everything in a folder of that name. ``kind``: the only kinds that are done; empty for
    all. ``listed``: the only files, and folders, that are looked at, by their paths below the folder; empty
    for all.

    Raises :class:`UsageError` for a kind that does not exist.
    """

    recursive: bool = option(False, "Include subfolders; the output gets the same tree.", "files", short="-r")
    include: tuple[str, ...] = option(
        (), "Only files that match this pattern; repeatable.", "files", value="GLOB"
    )
    exclude: tuple[str, ...] = option(
        (), "Skip files that match this pattern; repeatable.", "files", value="GLOB"
    )
    kind: tuple[str, ...] = option(
        (), "Only pictures, animations or films; repeatable.", "files", value="|".join(get_args(JobKind))
    )
    shard: Shard = option(
        Shard(),
        "Process shard K of N, such as 2/8: for one of N machines.",
        "machine",
        value="K/N",
        parse=parse_shard,
    )
    listed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = get_args(JobKind)
        for kind in self.kind:
            if kind not in kinds:
                raise UsageError(f"--kind must be one of {', '.join(kinds)}, not {kind!r}")

    def takes_kind(self, kind: JobKind) -> bool:
        """Whether files of ``kind`` are done."""
        return not self.kind or kind in self.kind

    def takes(self, name: str) -> bool:
        """Whether the globs select the file at ``name`` (forward slashes)."""
        return (not self.include or _matches(name, self.include)) and not self.leaves_out(name)

    def leaves_out(self, name: str) -> bool:
        """Whether ``--exclude`` names the file or folder at ``name``, and so all that lies below it."""
        return bool(self.exclude) and _matches(name, self.exclude)


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Which files are meant, whether known failures are tried again, and what is asked of films."""

    selection: Selection = field(default_factory=Selection)
    retry_failed: bool = option(False, "Try again what failed before.", "files")
    video: VideoOptions = field(default_factory=VideoOptions)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch: the files of ``folder`` that ``settings`` select are enlarged into the folder ``out``."""

    folder: Path
    out: Path
    options: PictureOptions = field(default_factory=PictureOptions)
    settings: BatchOptions = field(default_factory=BatchOptions)

    @property
    def selection(self) -> Selection:
        """Which files of the folder."""
        return self.settings.selection

    def check_folders(self) -> None:
        """Raise :class:`InputError` where ``folder`` is none, :class:`OutputError` where ``out`` is a file,
        or that folder itself."""
        folder, out = self.folder, self.out
        if not folder.exists():
            raise InputError(f"{folder} does not exist")
        if not folder.is_dir():
            raise InputError(f"{folder} is a file; 'xlsr upscale {folder}' enlarges it")
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out} is a file; give a folder with --out")
        if out.exists() and out.samefile(folder):
            raise OutputError(f"{out} is the input folder itself; give another one with --out")


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
