"""One file of a batch: what the journal knows, its result, and whether its output is from this batch."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlsr_cli.errors import InputError, NotKeptError, OutputError, UsageError
from xlsr_cli.jobs.batch.job import WHOLE, Job, Refusal, Step
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.jobs.video import Part
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from xlsr_cli.jobs.task import Task

#: ``shared``: a film of which this shard has done its share. ``planned`` and ``part`` are those of steps,
#: which executors keep to themselves.
Outcome = Literal["done", "kept", "failed", "failed-before", "shared", "planned", "part"]

#: With these errors, no later file can be written either.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A job with what the journal knows of it. ``retry``: a known failure is tried again."""

    job: Job
    known: Entry | None
    retry: bool = False
    step: Step = WHOLE


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """The ``parts`` of a film; ``todo`` are those that are to be made here and are not made yet. ``frames``:
    of all that are to be made here. ``key``: its plan's. ``why``: where it has to be done as a whole, the
    reason."""

    parts: tuple[Part, ...] = ()
    todo: tuple[Part, ...] = ()
    frames: int = 0
    key: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """The result of an item; ``entry`` goes into the journal.

    ``no_room``: nothing can be written any more, so the batch ends. ``leftover``: a folder that
    is to be removed once the journal has the entry. ``cut``: what ``plan`` found out.
    """

    outcome: Outcome
    entry: Entry
    notices: tuple[Notice, ...] = ()
    no_room: bool = False
    leftover: Path | None = None
    cut: Cut | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """An item that has to be computed. ``key``: its key in the journal. ``task``: its options permit to
    replace an output of this batch."""

    item: Item
    key: str
    task: Task

    @property
    def claimed(self) -> bool:
        """Whether an earlier run may have written the output and been killed before it recorded that."""
        return self.item.known is not None and self.item.known.claim != ""

    def done(self, *, pixels: int, size: int, sha256: str, compression: object) -> Entry:
        """The entry of the output of ``size`` bytes, from an input of ``pixels``, all frames together."""
        return Entry(
            name=self.item.job.name,
            status="done",
            key=self.key,
            output=self.item.job.target,
            output_bytes=size,
            output_sha256=sha256,
            megapixels=pixels / 1e6,
            reason="" if compression is None else str(compression),
        )


def is_settled(item: Item, recipe: Recipe) -> bool:
    """Whether ``item`` was done before, so that verifying it is probably enough."""
    known = item.known
    if known is None or not known.key.endswith(recipe.key_for(item.job)):
        return False
    return known.status == "done" or (known.status == "failed" and not item.retry)


def failed(
    item: Item, reason: str, *, key: str = "", seconds: float = 0.0, error: BaseException | None = None
) -> ItemResult:
    """The result of an item that failed; ``reason`` is a sentence.

    ``error`` is the cause. The failure is recorded for this content and these options (``key``) only if
    another try would fail as well: not if a disk was full or another file was in the way.
    """
    lasting = error is None or isinstance(error, InputError | NotKeptError | UsageError)
    known = item.known
    entry = Entry(
        name=item.job.name,
        status="failed",
        key=key if lasting else "",
        output=item.job.target,
        # The output of an earlier run stays recorded as ours.
        output_bytes=0 if known is None else known.output_bytes,
        output_sha256="" if known is None else known.output_sha256,
        seconds=seconds,
        reason=reason,
    )
    cause = None if error is None else error.__cause__
    no_room = isinstance(cause, OSError) and cause.errno in _NO_ROOM and isinstance(error, OutputError)
    return ItemResult(outcome="failed", entry=entry, no_room=no_room)


def refused(refusal: Refusal) -> ItemResult:
    """The result of a file that was refused before any work."""
    entry = Entry(name=refusal.name, status="failed", reason=refusal.reason)
    return ItemResult(outcome="failed", entry=entry)


def may_replace(item: Item, options_key: str) -> bool:
    """Whether an existing output file is from this batch, so that it may be replaced.

    It is if its content is what the journal says, or if it is damaged. Of a run that was killed before it
    recorded the content, the journal has only the claim: with the same options, that run wrote the same
    bytes as this one will, by which the worker recognises the file. Raises :class:`OutputError` if the file
    is somebody else's.
    """
    output, known = item.job.output, item.known
    if not output.exists():
        return False
    if known is None or known.output != item.job.target:
        raise not_ours(item)
    if known.output_sha256 and (is_as_written(output, known) or _is_damaged(item.job)):
        return True
    if not known.claim:
        raise not_ours(item)
    return _is_damaged(item.job) or (known.status == "working" and known.claim != options_key)


def not_ours(item: Item) -> OutputError:
    output, known = item.job.output, item.known
    if known is not None and known.output == item.job.target and known.output_sha256:
        return OutputError(
            f"{output} was changed since it was written; move it away to have it made again, "
            "or give --overwrite to replace it"
        )
    return OutputError(f"{output} exists and is not from this batch; give --overwrite to replace it")


def is_as_written(output: Path, entry: Entry) -> bool:
    """Whether the output is still the one of ``entry``."""
    try:
        if output.stat().st_size != entry.output_bytes:
            return False
        return file_hash(output) == entry.output_sha256
    except (OSError, InputError):
        return False


def _is_damaged(job: Job) -> bool:
    """Whether the output is broken: no picture or film, or one that breaks off."""
    try:
        if job.kind == "film":
            from xlsr_cli.media.video.inspect import inspect

            return any(notice.code == "truncated" for notice in inspect(job.output).notices)
        from xlsr_cli.jobs.picture import open_file
        from xlsr_cli.media.picture.steps.decoding import decode

        decode(open_file(job.output), max_pixels=1 << 40)
    except InputError:
        return True
    return False


def file_hash(path: Path) -> str:
    """SHA-256 of the file at ``path``, read piece by piece. Raises :class:`InputError`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
