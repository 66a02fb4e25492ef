"""One measurement, from options to report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from xlsr_cli.bench.memory import peak_memory, reset_peak
from xlsr_cli.bench.noise import LoadWatch, judge
from xlsr_cli.bench.pictures import FILTER_PSNR, FILTERS, filtered, made_picture, score, why_not_scored
from xlsr_cli.bench.report import BenchReport, MemoryUse, Row, ThreadRow
from xlsr_cli.bench.stages import ENGINE_STAGES, staged
from xlsr_cli.bench.timing import Contestant, Timing, race, timed
from xlsr_cli.engine.models import ModelPrecision, ModelSpec, bundled_model, bundled_models, find_model
from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.runtimes.plugins import PLUG_INS, why_unusable
from xlsr_cli.engine.session import model_scale
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import UsageError
from xlsr_cli.formats import FALLBACK, PictureFormat, writable_format
from xlsr_cli.jobs.picture import open_file
from xlsr_cli.jobs.restore import for_picture
from xlsr_cli.machine import Machine, this_machine
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture, Source
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.options import DEFAULT_MAX_PIXELS, EngineOptions, Size, Target
from xlsr_cli.progress import QUIET, Progress

DEFAULT_SIZE = Size(width=640, height=360)
DEFAULT_SCALE = 3.0
#: Seconds for all timed rounds, unless a number of repeats was given: the whole takes less than a minute.
_SECONDS = 20.0
#: The data set whose scores describe a model if the user gave no picture.
_QUALITY_SET = "Set14"
_SEVERAL = 8

_WHAT = {
    "decode": "file to pixels",
    "look": "how strongly it was compressed",
    "inference": "the network",
    "depth-to-space": "output of the network into the picture",
    "merge": "tiles, colour, alpha, fitting the size",
    "encode": "pixels to file",
}


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure.

    ``size`` of a synthetic picture, or ``image``, a picture file; with neither, a synthetic one of 640×360.
    ``scale`` above 1; None is the named model's own, or 3. ``repeats``: exactly so many rounds; None fits
    them into 20 seconds. Raises :class:`UsageError` when size and image are both given.
    """

    scale: float | None = None
    size: Size | None = None
    image: Path | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    repeats: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.image is not None:
            raise UsageError("give --size for a synthetic picture or --image for one of yours, not both")
        if self.repeats is not None and self.repeats < 1:
            raise UsageError(f"--repeat must be at least 1, not {self.repeats}")
        if self.size is not None and min(self.size.width, self.size.height) < 1:
            raise UsageError(f"--size must be at least 1x1, not {self.size}")


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """The picture: its file (``source``), its ``pixels``, and the ``format`` to be written."""

    source: Source
    pixels: Pixels
    format: PictureFormat

    @property
    def size(self) -> Size:
        return Size(width=self.pixels.shape[1], height=self.pixels.shape[0])

    def models(self, upscaler: Upscaler) -> tuple[str, ...]:
        """The names of the networks that it goes through in ``upscaler``."""
        channels = 1 if self.pixels.ndim == 2 else self.pixels.shape[2]
        return upscaler.model_names(self.size, channels=channels, depth=8 * self.pixels.itemsize)


def measure(options: BenchOptions, *, progress: Progress = QUIET) -> BenchReport:
    """Run the measurement; under a minute for the default options.

    Raises :class:`InputError` for a picture that cannot be read, and what
    :class:`~xlsr_cli.engine.upscaler.Upscaler` raises.
    """
    scale = options.scale or float(model_scale(options.engine) or DEFAULT_SCALE)
    target = Target(scale=scale)
    subject = _subject(options)
    size = target.size_for(subject.size)
    machine = this_machine()
    with ExitStack() as stack:

        def opened(engine: EngineOptions) -> Upscaler:
            return stack.enter_context(closing(Upscaler.from_options(engine, target)))

        asked = opened(options.engine)
        upscaler, found = for_picture(asked, subject.source, lambda: subject.pixels, (subject.size, size))
        engine = upscaler.options
        memory = _memory_use(upscaler, subject)
        others = {name: opened(other) for name, other in _others(engine, upscaler, subject)}
        counts = thread_counts(upscaler.threads)[:-1]
        fewer = {count: opened(replace(engine, threads=count)) for count in counts}
        contestants = list(_contestants(asked, subject, size, others, fewer))
        stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(upscaler.threads)
        with LoadWatch() as watch:
            timings = race(contestants, repeats=options.repeats, seconds=_SECONDS, progress=progress)
        quality, scores = _quality(scale, options.image is None, upscaler, others, subject)
        model = ", ".join(subject.models(upscaler))
    return BenchReport(
        machine=machine,
        model=model,
        source=subject.size,
        target=size,
        threads=upscaler.threads,
        picture=subject.source.name,
        stages=tuple(_stage_rows(timings, size)),
        engine=Row(
            name="engine",
            what="pixels to pixels",
            timing=timings["engine"],
            output=size,
            psnr=scores.get("engine"),
        ),
        whole=Row(name="whole", what="file to file", timing=timings["whole"], output=size),
        scaling=tuple(_thread_rows(timings, upscaler.threads)),
        beside=tuple(_beside_rows(timings, [*others, *FILTERS], size, scores)),
        quality=quality,
        memory=memory,
        noise=judge(
            [timings["engine"], *(timings[name] for name in others)],
            other_cores=watch.other_cores,
            logical_cores=machine.cores.logical,
            used_cores=min(upscaler.threads, machine.cores.usable),
        ),
        remarks=tuple(_remarks(machine, upscaler.threads, engine, found)),
    )


# What is measured


def _subject(options: BenchOptions) -> _Subject:
    if options.image is not None:
        source = open_file(options.image)
        picture, _ = decode(source, max_pixels=DEFAULT_MAX_PIXELS)
        return _Subject(source=source, pixels=picture.pixels, format=writable_format(picture.format))
    size, format = options.size or DEFAULT_SIZE, FALLBACK.name
    picture = Picture(pixels=made_picture(size), metadata=Metadata(), format=format)
    content, _ = encode(picture, format)
    source = open_picture(content, f"synthetic, {size}")
    return _Subject(source=source, pixels=picture.pixels, format=format)


def _whole_way(asked: Upscaler, subject: _Subject, size: Size) -> Mapping[str, float]:
    """A contestant: from file to file, with the seconds of every stage, the choice of networks among them."""
    seconds: dict[str, float] = {}
    seconds |= timed("decode", partial(_decoded, subject))()
    started = time.perf_counter()
    upscaler, _ = for_picture(asked, subject.source, lambda: subject.pixels, (subject.size, size))
    if asked.depends_on_source:
        seconds["look"] = time.perf_counter() - started
    result, inside = staged(upscaler, subject.pixels)
    picture = Picture(pixels=result, metadata=Metadata(), format=subject.format)
    seconds |= inside
    seconds |= timed("encode", partial(encode, picture, subject.format))()
    return seconds | {"engine": sum(inside.values()), "whole": sum(seconds.values())}


def _decoded(subject: _Subject) -> Picture:
    return decode(open_picture(subject.source.data, subject.source.name), max_pixels=1 << 60)[0]


def _contestants(
    asked: Upscaler,
    subject: _Subject,
    size: Size,
    others: dict[str, Upscaler],
    fewer: dict[int, Upscaler],
) -> Iterator[Contestant]:
    """Everything that is timed in turn: file to file, the engine with fewer threads, and the alternatives."""
    yield partial(_whole_way, asked, subject, size)
    for count, other in fewer.items():
        yield timed(f"threads {count}", partial(other, subject.pixels))
    for name, other in others.items():
        yield timed(name, partial(other, subject.pixels))
    for name in FILTERS:
        yield timed(name, partial(filtered, subject.pixels, size, name))


def _others(
    engine: EngineOptions, upscaler: Upscaler, subject: _Subject
) -> Iterator[tuple[str, EngineOptions]]:
    """Alternatives: the network in its other precision and in each runtime, by names for people."""
    used = _first_network(upscaler, subject)
    if used not in bundled_models():
        yield "bundled model", replace(engine, model=None, precision="auto", halo=None)
    elif subject.pixels.dtype == np.uint8:
        other: ModelPrecision = "fp32" if used.precision == "int8" else "int8"
        sibling = bundled_model(used.scale, used.colour, other, used.restore).name
        name = "float32 graph" if other == "fp32" else "int8 graph"
        yield name, replace(engine, model=engine.model and sibling, precision=other)
    if engine.provider == "auto" and used is not None and used.precision == "int8":
        for name in _runtimes():
            yield f"in {name}", replace(engine, provider=name)


def _runtimes() -> list[str]:
    """All runtimes that work here; none if there is only one, since the engine runs in it anyway."""
    usable = [row.name for row in PLUG_INS if row.is_installed and why_unusable(row) is None]
    return ["cpu", *usable] if usable else []


def _first_network(upscaler: Upscaler, subject: _Subject) -> ModelSpec | None:
    """The description of the first network that runs; None of a foreign one."""
    named = None if upscaler.options.model is None else find_model(upscaler.options.model)
    if isinstance(named, Path):
        return None
    known = bundled_models() if named is None else (named, *bundled_models())
    return next(spec for spec in known if spec.name == subject.models(upscaler)[0])


def thread_counts(most: int) -> list[int]:
    """1 … ``most``, and above eight only the powers of two between."""
    if most <= _SEVERAL:
        return list(range(1, most + 1))
    powers = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return [*powers, most]


def _memory_use(upscaler: Upscaler, subject: _Subject) -> MemoryUse:
    reset_peak()
    before = peak_memory()
    upscaler(subject.pixels)
    return MemoryUse(before=before, peak=peak_memory())


# Quality


def _quality(
    scale: float, made: bool, upscaler: Upscaler, others: dict[str, Upscaler], subject: _Subject
) -> tuple[str, dict[str, float]]:
    """(what the scores were measured on, PSNR in dB by row name)."""
    if scale not in (2, 3, 4):
        return "no PSNR: the scale is none of 2, 3 and 4", {}
    upscalers = {"engine": upscaler, **others}
    if made:
        return f"PSNR on luma, {_QUALITY_SET}", _published(int(scale), upscalers, subject)
    hindrance = why_not_scored(subject.pixels)
    if hindrance:
        return f"no PSNR: {hindrance}", {}
    ways = upscalers | {name: partial(_enlarged, int(scale), name) for name in FILTERS}
    scores = {name: score(subject.pixels, int(scale), way) for name, way in ways.items()}
    finite = {name: value for name, value in scores.items() if math.isfinite(value)}
    return "PSNR on luma, the picture itself shrunk and enlarged again", finite


def _published(scale: int, upscalers: dict[str, Upscaler], subject: _Subject) -> dict[str, float]:
    """The scores in the manifest of models that run at their own scale, and those of filters."""
    found = {name: FILTER_PSNR[name][scale][_QUALITY_SET] for name in FILTERS}
    for name, upscaler in upscalers.items():
        spec = _first_network(upscaler, subject)
        if spec is not None and spec.scale == scale and _QUALITY_SET in spec.psnr:
            found[name] = spec.psnr[_QUALITY_SET]
    return found


def _enlarged(scale: int, name: str, low: Pixels) -> Pixels:
    return filtered(low, Size(width=low.shape[1] * scale, height=low.shape[0] * scale), name)


# What goes into the report


def _stage_rows(timings: dict[str, Timing], size: Size) -> Iterator[Row]:
    names = [name for name in ("decode", "look", *ENGINE_STAGES, "encode") if name in timings]
    total = sum(timings[name].seconds for name in names)
    for name in names:
        share = timings[name].seconds / total
        yield Row(name=name, what=_WHAT[name], timing=timings[name], output=size, share=share)


def _thread_rows(timings: dict[str, Timing], most: int) -> Iterator[ThreadRow]:
    by_count = {
        count: timings["engine" if count == most else f"threads {count}"] for count in thread_counts(most)
    }
    for count, timing in by_count.items():
        yield ThreadRow(threads=count, timing=timing, speedup=by_count[1].seconds / timing.seconds)


def _beside_rows(
    timings: dict[str, Timing], names: list[str], size: Size, scores: dict[str, float]
) -> Iterator[Row]:
    what = {"bicubic": "OpenCV, INTER_CUBIC", "Lanczos": "OpenCV, INTER_LANCZOS4"}
    for name in names:
        yield Row(
            name=name,
            what=what.get(name, "xlsr"),
            timing=timings[name],
            output=size,
            times_faster=timings[name].seconds / timings["engine"].seconds,
            psnr=scores.get(name),
        )


def _remarks(
    machine: Machine, threads: int, engine: EngineOptions, found: Compression | None
) -> Iterator[str]:
    cores = machine.cores
    if threads > cores.usable:
        yield (
            f"{threads} threads share {_counted(cores.usable, 'usable core')}, as asked for: those beyond "
            "the cores gain nothing"
        )
    elif engine.threads is not None:
        yield f"{_counted(threads, 'thread')}, as asked for, on {_counted(cores.usable, 'usable core')}"
    else:
        yield f"{_counted(threads, 'thread')}: one for each usable core"
    if cores.usable < cores.logical:
        limit = "the control group's quota" if cores.usable < cores.affinity else "the affinity mask"
        yield f"only {cores.usable} of {cores.logical} cores may be used: {limit} forbids the others"
    if not machine.cpu.has_dot_product:
        yield f"this CPU has {machine.cpu.kernel}: the int8 network gains less here than with VNNI"
    if found is not None:
        yield f"the picture: {found}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
