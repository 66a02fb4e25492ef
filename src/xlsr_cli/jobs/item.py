"""One file of a batch, as a worker does it: verify what is known, else upscale."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlsr_cli.engine.models import bundled_models
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import OutputError, XlsrError
from xlsr_cli.jobs.journal import Entry
from xlsr_cli.jobs.picture import PictureResult, read_source, upscale_bytes
from xlsr_cli.jobs.plan import Job
from xlsr_cli.media.atomic import atomic_output
from xlsr_cli.media.sniff import kind_of
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureOptions

if TYPE_CHECKING:
    from xlsr_cli.jobs.animation import AnimationResult

Outcome = Literal["done", "kept", "failed", "failed-before"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A job with what the journal knows of it. ``retry``: a known failure is tried again."""

    job: Job
    known: Entry | None
    retry: bool = False


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """What became of an item; ``entry`` is what the journal shall say."""

    outcome: Outcome
    entry: Entry
    notices: tuple[Notice, ...] = ()


def fingerprint(options: PictureOptions) -> str:
    """What of the options and the models decides the bytes of an output."""
    engine = replace(
        options.engine, threads=None, tile=None, max_memory=None, provider=options.engine.provider
    )
    deciding = replace(options, engine=engine, overwrite=False, strict=False)
    text = repr(sorted(asdict(deciding).items())) + repr(sorted(spec.sha256 for spec in bundled_models()))
    if options.engine.model is not None and Path(options.engine.model).is_file():
        text += hashlib.sha256(Path(options.engine.model).read_bytes()).hexdigest()
    return hashlib.sha256(text.encode()).hexdigest()


def do_item(
    item: Item,
    options: PictureOptions,
    options_key: str,
    upscaler: Upscaler,
    tell_key: Callable[[str], None] = lambda key: None,
) -> ItemResult:
    """Do one file; every :class:`XlsrError` becomes a failed entry, so that the batch goes on.

    ``tell_key`` hears the journal's key before the work begins: should this process die of the file, the
    failure is known by it.
    """
    started = time.perf_counter()
    job, known = item.job, item.known
    key = ""
    try:
        data = read_source(job.source)
        key = hashlib.sha256(hashlib.sha256(data).digest() + options_key.encode()).hexdigest()
        tell_key(key)
        if known is not None and known.key == key:
            if known.status == "done" and _verified(job.output, known):
                return ItemResult(outcome="kept", entry=known)
            if known.status == "failed" and not item.retry:
                return ItemResult(outcome="failed-before", entry=known)
        ours = known is not None and known.status in ("working", "done") and known.output == str(job.output)
        if job.output.exists() and not (ours or options.overwrite):
            raise OutputError(
                f"{job.output} exists and is not from this batch; give --overwrite to replace it"
            )
        result = _upscaled(data, job, replace(options, overwrite=ours or options.overwrite), upscaler)
        encoded = read_source(job.output)
    except XlsrError as error:
        return failed(job, str(error), key=key, seconds=time.perf_counter() - started)
    except MemoryError:
        return failed(job, f"not enough memory for {job.source}", key=key)
    entry = Entry(
        name=job.name,
        status="done",
        key=key,
        output=str(job.output),
        output_bytes=len(encoded),
        output_sha256=hashlib.sha256(encoded).hexdigest(),
        megapixels=result.source_size.pixels / 1e6,
        seconds=time.perf_counter() - started,
    )
    return ItemResult(outcome="done", entry=entry, notices=result.notices)


def _upscaled(
    data: bytes, job: Job, options: PictureOptions, upscaler: Upscaler
) -> PictureResult | AnimationResult:
    """Write the output of one file, whose content is ``data``."""
    output = _made(job.output)
    if kind_of(data) == "animation":
        from xlsr_cli.jobs.animation import upscale_animation

        return upscale_animation(job.source, output, options, upscaler=upscaler)
    encoded, result = upscale_bytes(data, str(job.source), output, options, upscaler=upscaler)
    with atomic_output(output, overwrite=options.overwrite) as file:
        file.write(encoded)
    return result


def failed(job: Job, reason: str, *, key: str = "", seconds: float = 0.0) -> ItemResult:
    """The result of a job that failed; ``reason`` is a sentence."""
    entry = Entry(
        name=job.name, status="failed", key=key, output=str(job.output), seconds=seconds, reason=reason
    )
    return ItemResult(outcome="failed", entry=entry)


def _verified(output: Path, known: Entry) -> bool:
    """Whether the output is still the one that was written."""
    try:
        if output.stat().st_size != known.output_bytes:
            return False
        return hashlib.sha256(output.read_bytes()).hexdigest() == known.output_sha256
    except OSError:
        return False


def _made(output: Path) -> Path:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {output.parent}: {error.strerror or error}") from error
    return output
