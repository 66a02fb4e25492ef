"""One file of a batch, as a worker does it: verify what is known, else upscale, then put it in its place."""

from __future__ import annotations

import errno
import hashlib
import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlsr_cli.engine.models import bundled_models
from xlsr_cli.errors import InputError, NotKeptError, OutputError, UsageError, XlsrError
from xlsr_cli.jobs.batch.job import Job, Refusal
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureOptions

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler

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

    ``no_room``: nothing can be written any more, and going on would be in vain.
    """

    outcome: Outcome
    entry: Entry
    notices: tuple[Notice, ...] = ()
    no_room: bool = False


@dataclass(frozen=True, kw_only=True)
class Computed:
    """A picture that is encoded and not yet written."""

    item: Item
    entry: Entry
    encoded: bytes
    replaces: bool
    notices: tuple[Notice, ...]


def fingerprint(options: PictureOptions) -> str:
    """What of the options and the models decides the bytes of an output, or whether there is one."""
    engine = replace(options.engine, threads=None, tile=None, max_memory=None)
    deciding = replace(options, engine=engine, overwrite=False)
    text = repr(sorted(asdict(deciding).items())) + repr(sorted(spec.sha256 for spec in bundled_models()))
    if options.engine.model is not None and Path(options.engine.model).is_file():
        text += hashlib.sha256(Path(options.engine.model).read_bytes()).hexdigest()
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def is_settled(item: Item, options_key: str) -> bool:
    """Whether ``item`` should need no more than being verified, unless its input has changed."""
    known = item.known
    if known is None or not known.key.endswith(options_key):
        return False
    return known.status == "done" or (known.status == "failed" and not item.retry)


def compute(
    item: Item,
    options: PictureOptions,
    options_key: str,
    upscaler: Upscaler,
    tell_key: Callable[[str], None] = lambda key: None,
) -> Computed | ItemResult:
    """All of one file but writing it, for :func:`place`; a result where nothing is left to write.

    Every error becomes a failed entry, so that the batch goes on. ``tell_key`` hears the
    journal's key before the content is touched: should this process die of it, the failure is known by it.
    """
    from xlsr_cli.jobs.picture import read_source

    started = time.perf_counter()
    job, known = item.job, item.known
    key = ""
    try:
        data = read_source(job.source)
        key = f"{hashlib.sha256(data).hexdigest()}-{options_key}"
        tell_key(key)
        if known is not None and known.key == key:
            if known.status == "done" and known.output == job.target and is_as_written(job.output, known):
                return ItemResult(outcome="kept", entry=known)
            if known.status == "failed" and not item.retry:
                return ItemResult(outcome="failed-before", entry=known)
        replaces = options.overwrite or _may_replace(item, options_key)
        options = replace(options, overwrite=replaces)
        entry = Entry(name=job.name, status="done", key=key, output=job.target)
        return _upscaled(item, data, entry, options, upscaler, started)
    except XlsrError as error:
        return failed(item, str(error), key=key, seconds=time.perf_counter() - started, error=error)
    except MemoryError as error:
        return failed(item, f"not enough memory for {job.source}", key=key, error=error)
    except Exception as error:  # a bug, which shall cost one file as well
        return failed(item, f"{job.source}: {_bug(error)}", key=key, error=error)


def _upscaled(
    item: Item, data: bytes, entry: Entry, options: PictureOptions, upscaler: Upscaler, started: float
) -> Computed | ItemResult:
    from xlsr_cli.jobs.picture import read_source, upscale_picture
    from xlsr_cli.media.picture.image import open_picture
    from xlsr_cli.media.sniff import kind_of

    job = item.job
    _make_folder(job.out, job.output.parent)
    source = open_picture(data, str(job.source))
    is_animation = kind_of(data) == "animation"
    if is_animation:
        from xlsr_cli.jobs.animation import upscale_animation

        claimed = item.known is not None and item.known.claim != ""
        options = replace(options, overwrite=options.overwrite or claimed)
        animated = upscale_animation(source, job.output, options, upscaler=upscaler)
        size, notices, encoded = animated.source_size, animated.notices, read_source(job.output)
        compression = animated.compression
    else:
        file = io.BytesIO()
        result = upscale_picture(source, job.output, options, file=file, upscaler=upscaler)
        size, notices, encoded = result.source_size, result.notices, file.getvalue()
        compression = result.compression
    entry = replace(
        entry,
        output_bytes=len(encoded),
        output_sha256=hashlib.sha256(encoded).hexdigest(),
        megapixels=size.pixels / 1e6,
        seconds=time.perf_counter() - started,
        reason="" if compression is None else str(compression),
    )
    if is_animation:
        return ItemResult(outcome="done", entry=entry, notices=notices)
    return Computed(item=item, entry=entry, encoded=encoded, replaces=options.overwrite, notices=notices)


def place(computed: Computed) -> ItemResult:
    """Write what :func:`compute` made; waits for the disk and for nothing else."""
    from xlsr_cli.media.atomic import atomic_output

    item, entry = computed.item, computed.entry
    output = item.job.output
    done = ItemResult(outcome="done", entry=entry, notices=computed.notices)
    try:
        if not computed.replaces and is_as_written(output, entry):
            return done  # a run that was killed before it could say so had written it
        if not computed.replaces and output.exists():
            raise _not_ours(item)
        with atomic_output(output, overwrite=computed.replaces) as file:
            file.write(computed.encoded)
    except XlsrError as error:
        return failed(item, str(error), key=entry.key, seconds=entry.seconds, error=error)
    except Exception as error:
        return failed(item, f"{output}: {_bug(error)}", key=entry.key, error=error)
    return done


def _bug(error: Exception) -> str:
    return f"internal error ({type(error).__name__}: {error}); please report it"


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


def _may_replace(item: Item, options_key: str) -> bool:
    """Whether the file in the output's place, if there is one, is ours.

    It is ours as long as it is what was written, and where it is damaged. Of a run that did not live to say
    what it wrote, only the claim is known: what such a run with the same options wrote is what this one
    will write, so that :func:`place` can tell it from a file of somebody else. Raises
    :class:`OutputError` where it is somebody else's.
    """
    output, known = item.job.output, item.known
    if not output.exists():
        return False
    if known is None or known.output != item.job.target:
        raise _not_ours(item)
    if known.output_sha256 and (is_as_written(output, known) or _is_damaged(output)):
        return True
    if not known.claim:
        raise _not_ours(item)
    return _is_damaged(output) or (known.status == "working" and known.claim != options_key)


def _not_ours(item: Item) -> OutputError:
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
        return hashlib.sha256(output.read_bytes()).hexdigest() == entry.output_sha256
    except OSError:
        return False


def _is_damaged(output: Path) -> bool:
    """Whether nobody can have made the file as it is: no picture, or one that breaks off."""
    from xlsr_cli.jobs.picture import open_file
    from xlsr_cli.media.picture.image import decode

    try:
        decode(open_file(output), max_pixels=1 << 40)
    except InputError:
        return True
    return False


def _make_folder(out: Path, folder: Path) -> None:
    """Make ``folder`` below ``out``, which is the user's choice; a link below it may be anybody's."""
    below = [folder, *folder.parents]
    for path in below[: below.index(out)]:
        if path.is_symlink():
            raise OutputError(f"{path} is a link, and nothing is written through one; remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
