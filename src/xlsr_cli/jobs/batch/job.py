"""One file of a batch that is to be done, and the memory that it needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xlsr_cli.errors import UsageError
from xlsr_cli.jobs.video import Part

JobKind = Literal["picture", "animation", "film"]
#: The usual reason to leave a file alone.
NOTHING_TO_ENLARGE = "no picture, animation or film"

#: Bytes of memory of the process that gives out the work.
LEAD_MEMORY = 90 << 20
#: Bytes of memory of a worker, for libraries, models and tiles, without pictures.
WORKER_MEMORY = 170 << 20
#: The same with FFmpeg loaded, for a film.
FILM_MEMORY = 220 << 20


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part ``index`` (from 1) of ``count``: the same files, and parts of films, belong to it everywhere."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"--shard {self.index}/{self.count}: give a part such as 2/8, counted from 1")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, name: str, place: int = 0) -> bool:
        """Whether part ``place`` (from 0) of the film called ``name`` belongs to this shard; a whole file
        belongs where its first part would."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return (int.from_bytes(digest[:8], "big") + place) % self.count == self.index - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One file to do: ``folder / name`` becomes ``out / target``; both with forward slashes.

    ``pixels``: of all ``frames`` together, as its header says; 0 if the whole file would have to be read.
    ``memory``: bytes that a worker takes for it, an estimate. ``space``: bytes that its output will take.
    ``shard``: where several shards share a film, this one; ``frames``, ``pixels`` and ``space`` are then
    about its share.
    """

    folder: Path
    name: str
    out: Path
    target: str
    kind: JobKind = "picture"
    frames: int = 1
    bytes_in: int = 0
    pixels: int = 0
    memory: int = WORKER_MEMORY
    space: int = 0
    shard: Shard = Shard()

    @property
    def source(self) -> Path:
        """The file to enlarge."""
        return self.folder / self.name

    @property
    def output(self) -> Path:
        """The file that it becomes."""
        return self.out / self.target


NO_PART = Part(0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What of a file is done in one go: the whole of it, or, of a film that several workers share, a step.

    ``plan``: find out its parts. ``part``: enlarge one. ``join``: put ``parts`` together. ``key``: of the
    film's plan, which everybody has to agree with; ``entry_key``: the journal's of the film.
    """

    kind: Literal["whole", "plan", "part", "join"] = "whole"
    key: str = ""
    entry_key: str = ""
    part: Part = NO_PART
    parts: tuple[Part, ...] = ()


WHOLE = Step()


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A file that cannot be done, known before any work; ``reason`` is a sentence.

    ``extra``: what of this package would have to be installed to do it; empty where that would not help.
    """

    name: str
    reason: str
    extra: str = ""
