"""Decide before any work which files of a folder become which outputs, and check what can be checked."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.formats import FALLBACK, PictureFormat, format_for, still_of
from xlsr_cli.jobs.batch.job import FILM_MEMORY, WORKER_MEMORY, Job, Refusal, Shard
from xlsr_cli.jobs.batch.journal import Entry, read_journals
from xlsr_cli.jobs.batch.naming import output_names
from xlsr_cli.jobs.batch.scan import Found, identity_of, look_at
from xlsr_cli.jobs.batch.selection import Batch
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.media.picture.steps.limits import check_limits, check_pixels
from xlsr_cli.notices import counted
from xlsr_cli.options import PictureOptions

#: Bytes of intermediate results per pixel of input and output together, measured; see ``_memory``.
_HELD, _HELD_WITH_ALPHA, _HELD_DEEP = 6, 12, 22
#: Bytes for each pixel of a film's output: frames between the stages, and those that its encoder holds.
_HELD_FRAMES = 100
#: The longest file name on the file systems of Linux, macOS and Windows, in bytes.
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What a batch will do.

    ``remarks``: sentences about collisions and about folders that are left out. ``left``: files that are left
    alone, each with the reason in a few words. ``finished``: how many jobs an earlier run has done.
    ``space_needed`` is for the others.
    """

    batch: Batch
    jobs: tuple[Job, ...]
    refused: tuple[Refusal, ...] = ()
    remarks: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    finished: int = 0
    space_needed: int = 0
    space_free: int | None = None


def plan_batch(batch: Batch) -> BatchPlan:
    """Look at every file of the folder and decide what to do with it, knowing what earlier runs did.

    A file keeps the output that it had. Raises what :meth:`Batch.check_folders` does, and
    :class:`OutputError` when another run is working on the folder.
    """
    batch.check_folders()
    options, shard = batch.options, batch.selection.shard
    known = read_journals(batch.out, shard)
    looked = look_at(batch)
    found, refused = looked.found, looked.refused
    targets, renamed = output_names(found, options, known)
    sources = {each.identity for each in found}
    jobs: list[Job] = []
    finished = 0
    for each in found:
        divided = _is_divided(each, shard)
        if not divided and not shard.holds(each.name):
            continue
        job = _job(batch, each, targets[each.name])
        job = _share_of(job, shard) if divided else job
        existing = identity_of(job.output)
        reason = _reason_against(job, each, options) or (
            _reason_to_spare(job, existing, sources, known.get(each.name), options) if existing else None
        )
        if reason is not None:
            refused.append(Refusal(name=each.name, reason=reason))
            continue
        jobs.append(job)
        entry = known.get(each.name)
        finished += bool(existing and entry and entry.status == "done")
    return BatchPlan(
        batch=batch,
        jobs=tuple(jobs),
        refused=tuple(refusal for refusal in refused if shard.holds(refusal.name)),
        remarks=(
            *(f"{name} holds the results of a batch and is left out" for name in looked.results),
            *(line for name, line in renamed.items() if shard.holds(name)),
            *_remark_on_shares(jobs, shard),
        ),
        left=looked.left,
        finished=finished,
        space_needed=sum(job.space for job in jobs if not identity_of(job.output)),
        space_free=_free_space(batch.out),
    )


def _is_divided(found: Found, shard: Shard) -> bool:
    """Whether all shards have a part of ``found``."""
    return shard.count > 1 and found.kind == "film" and found.frames > SEGMENT_FRAMES


def _share_of(job: Job, shard: Shard) -> Job:
    """What ``shard`` does of the film ``job``, about."""
    frames = math.ceil(job.frames / shard.count)
    pixels = job.pixels // job.frames * frames
    return replace(job, shard=shard, frames=frames, pixels=pixels, space=job.space // shard.count)


def _remark_on_shares(jobs: list[Job], shard: Shard) -> list[str]:
    count = sum(job.shard.count > 1 for job in jobs)
    if not count:
        return []
    films = f"{counted(count, 'film')} {'is' if count == 1 else 'are'}"
    return [f"{films} shared by all {shard.count} shards; the one that ends last puts its parts together"]


def _job(batch: Batch, found: Found, target: str) -> Job:
    seen, options = found.seen, batch.options
    factor = _area_factor(found, options)
    pixels = 0 if seen is None else seen.size.pixels
    format = None if found.format is None else options.format or format_for(target) or FALLBACK.name
    if format is None or format == found.format or not pixels:
        space = found.bytes_in * factor
    else:
        space = pixels * factor * still_of(format).stored
    return Job(
        folder=batch.folder,
        name=found.name,
        out=batch.out,
        target=target,
        kind=found.kind,
        frames=found.frames,
        bytes_in=found.bytes_in,
        pixels=pixels * found.frames,
        memory=_memory(found, format, factor, options),
        space=int(space),
    )


def _area_factor(found: Found, options: PictureOptions) -> float:
    if found.seen is None:
        return (options.target.scale or 2.0) ** 2
    try:
        return options.target.size_for(found.seen.size).pixels / found.seen.size.pixels
    except UsageError:
        return 1.0


def _memory(found: Found, format: PictureFormat | None, factor: float, options: PictureOptions) -> int:
    """Bytes that a worker takes for ``found``, libraries and model included. ``format`` is a picture's."""
    seen = found.seen
    if format is None:
        deep = seen is not None and seen.deep
        pixels = 0 if seen is None else seen.size.pixels
        return FILM_MEMORY + int(pixels * factor * _HELD_FRAMES * (2 if deep else 1))
    if seen is None:  # probably a format without compression
        pixels, held = found.bytes_in // 3, float(_HELD_DEEP)
    else:
        pixels = seen.size.pixels
        held = _HELD_DEEP if seen.deep else _HELD_WITH_ALPHA if seen.alpha else _HELD
    held = max(held, _held_by_encoder(found, format, lossless=options.lossless))
    # Models enlarge by whole factors; what is larger than asked for is shrunk afterwards.
    return WORKER_MEMORY + int(pixels * (1 + math.ceil(math.sqrt(factor)) ** 2) * held)


def _held_by_encoder(found: Found, format: PictureFormat, *, lossless: bool) -> float:
    """Bytes of an encoded pixel and of what the encoder takes for it."""
    capabilities, seen = still_of(format), found.seen
    samples = 4 if seen is not None and seen.alpha else 3
    deep = seen is not None and seen.deep and capabilities.bits > 8
    # A lossless source stays lossless in its own format, and whether it is one has not been read yet.
    memory = capabilities.memory(lossless=lossless or found.format == format)
    return samples * (2 if deep else 1) * (1 + memory)


def _reason_against(job: Job, found: Found, options: PictureOptions) -> str | None:
    """Why a picture cannot be done, as far as its header tells; None if it can."""
    if len(os.fsencode(PurePosixPath(job.target).name)) > _LONGEST_NAME:
        return f"cannot write {job.output}: the name is too long: choose a shorter one"
    if found.seen is None:
        return None
    size = found.seen.size
    try:
        check_pixels(size, str(job.source), options.max_pixels)
        target = options.target.size_for(size)
        if found.kind == "picture":
            check_limits(options.format or format_for(job.target) or FALLBACK.name, target)
    except InputError as error:
        return error.in_flags
    except (UsageError, OutputError) as error:
        return f"{job.source}: {error.in_flags}"
    return None


def _reason_to_spare(
    job: Job,
    existing: tuple[int, int],
    sources: set[tuple[int, int]],
    entry: Entry | None,
    options: PictureOptions,
) -> str | None:
    """Why an existing output file must not be replaced; None if it may be."""
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
