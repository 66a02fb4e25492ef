"""One file of a batch: what is known of it, what became of it, and whether its output is ours."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xlsr_cli.errors import InputError, NotKeptError, OutputError, UsageError
from xlsr_cli.jobs.batch.job import Job, Refusal
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.notices import Notice

Outcome = Literal["done", "kept", "failed", "failed-before"]

#: With these no later file can be written either.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A job with what the journal knows of it. ``retry``: a known failure is tried again."""

    job: Job
    known: Entry | None
    retry: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """What became of an item; ``entry`` is what the journal shall say.

    ``no_room``: nothing can be written any more, and going on would be in vain. ``leftover``: a folder that
    is to be removed once the journal has the entry.
    """

    outcome: Outcome
    entry: Entry
    notices: tuple[Notice, ...] = ()
    no_room: bool = False
    leftover: Path | None = None


def is_settled(item: Item, recipe: Recipe) -> bool:
    """Whether ``item`` should need no more than being verified, unless its input has changed."""
    known = item.known
    if known is None or not known.key.endswith(recipe.key_for(item.job)):
        return False
    return known.status == "done" or (known.status == "failed" and not item.retry)


def failed(
    item: Item, reason: str, *, key: str = "", seconds: float = 0.0, error: BaseException | None = None
) -> ItemResult:
    """The result of an item that failed; ``reason`` is a sentence.

    ``error`` is what it failed of. A failure is remembered as one of this content with these options
    (``key``) only where trying again would give the same: not when a disk was full or a file in the way.
    """
    lasting = error is None or isinstance(error, InputError | NotKeptError | UsageError)
    known = item.known
    entry = Entry(
        name=item.job.name,
        status="failed",
        key=key if lasting else "",
        output=item.job.target,
        # What an earlier run wrote there is still ours.
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
    """Whether the file in the output's place, if there is one, is ours.

    It is ours as long as it is what was written, and where it is damaged. Of a run that did not live to say
    what it wrote, only the claim is known: what such a run with the same options wrote is what this one
    will write, so that the worker can tell it from a file of somebody else. Raises
    :class:`OutputError` where it is somebody else's.
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
    """Whether nobody can have made the output as it is: no picture, no film, or one that breaks off."""
    try:
        if job.kind == "film":
            from xlsr_cli.media.video.inspect import inspect

            return any(notice.code == "truncated" for notice in inspect(job.output).notices)
        from xlsr_cli.jobs.picture import open_file
        from xlsr_cli.media.picture.image import decode

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
