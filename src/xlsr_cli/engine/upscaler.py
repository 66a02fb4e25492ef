"""Upscale one picture: the steps in order."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine import color, resample, tiling
from xlsr_cli.engine.models import Colour, ModelPrecision, ModelSpec, bundled_model, find_model
from xlsr_cli.engine.plan import (
    LARGE,
    Pass,
    Plan,
    chain_for,
    foreign_chain,
    kept_memory,
    peak_memory,
    tile_pixels,
)
from xlsr_cli.engine.reuse import FrameReuse, Reuse
from xlsr_cli.engine.session import Session, is_out_of_memory, usable_cores
from xlsr_cli.engine.tile import SMALLEST_TILE, blank_tile, run_tile
from xlsr_cli.engine.tiling import Region
from xlsr_cli.errors import ModelError, ResourceError, UsageError
from xlsr_cli.options import ColorMode, EngineOptions, Precision, Size, Target
from xlsr_cli.progress import QUIET, Progress

Pixels = NDArray[Any]
Part = TypeVar("Part")

#: The halo that is assumed of a model from outside which does not tell, in pixels.
_UNKNOWN_HALO = 32
#: Side of the tile that is timed for an estimate, and of the picture that is tried.
_TIMED_SIDE = 128
_TRIED_SIDE = 96


class Upscaler:
    """Enlarges arrays: ``Upscaler(scale=2)(pixels)``.

    Models are loaded when first needed and kept. Safe to call from several threads at once; each call
    spreads its tiles over ``threads`` workers, which all calls share.
    """

    def __init__(
        self,
        scale: float = 2.0,
        *,
        model: str | None = None,
        color: ColorMode = "auto",
        precision: Precision = "auto",
        tile: int | None = None,
        halo: int | None = None,
        threads: int | None = None,
        provider: str = "cpu",
        max_memory: int | None = None,
    ) -> None:
        """See :class:`~xlsr_cli.options.EngineOptions` for what each argument means.

        Raises :class:`UsageError` for numbers out of range, :class:`ModelError` for an unknown model.
        """
        options = EngineOptions(
            model=model,
            color=color,
            precision=precision,
            tile=tile,
            halo=halo,
            threads=threads,
            provider=provider,
            max_memory=max_memory,
        )
        self._configure(options, Target(scale=scale))

    @classmethod
    def from_options(cls, options: EngineOptions, target: Target | None = None) -> Upscaler:
        """The same from an options object; ``target`` is the size asked for, by default ×2."""
        upscaler = cls.__new__(cls)
        upscaler._configure(options, target or Target())
        return upscaler

    def _configure(self, options: EngineOptions, target: Target) -> None:
        self.options = options
        self.target = target
        self.threads = options.threads or usable_cores()
        self._model = None if options.model is None else find_model(options.model)
        _check_choice(self._model, options)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._seconds_per_pixel: dict[str, float] = {}

    def __call__(
        self,
        pixels: Pixels,
        *,
        size: Size | None = None,
        progress: Progress = QUIET,
        reuse: Reuse | FrameReuse | None = None,
    ) -> Pixels:
        """``pixels`` enlarged, same dtype and channels.

        uint8 or uint16; (H, W) or (H, W, 1) gray, (H, W, 2) gray and alpha, (H, W, 3) BGR, (H, W, 4)
        BGRA, alpha straight. ``size`` overrides the target of the constructor. ``progress`` hears input
        megapixels. ``reuse`` carries unchanged tiles from the frame before; the array that is returned
        may then be read-only. Where frames overlap, give each what ``reuse.begin()`` returned for it.

        Raises :class:`UsageError` for an array of another shape or dtype or an impossible size,
        :class:`ModelError` and :class:`ResourceError` for what their names say.
        """
        _check_array(pixels)
        source = Size(width=pixels.shape[1], height=pixels.shape[0])
        target = self._target_size(source, size)
        memory = reuse.begin() if isinstance(reuse, Reuse) else reuse
        try:
            upscaled = self._upscale(np.ascontiguousarray(pixels), source, target, progress, memory)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise ResourceError(
                f"not enough memory for a picture of {target}; close other programs or ask for a smaller size"
            ) from error
        finally:
            if memory is not None and memory is not reuse:
                memory.close()
        return upscaled.reshape(*upscaled.shape[:2], *pixels.shape[2:])

    def plan(self, source: Size, *, channels: int, depth: int, size: Size | None = None) -> Plan:
        """What a call would do with a picture of ``source``, ``channels`` (1 to 4) and ``depth`` bits.

        Loads the models, and times a tile of each and a small picture for the estimate of seconds.
        """
        target = self._target_size(source, size)
        dtype = np.dtype(np.uint8 if depth <= 8 else np.uint16)
        planes = self._planes(channels)
        groups = [self._plan_passes(source, target, colour, dtype) for colour in planes]
        passes = tuple(step for group in groups for step in group)
        network = sum(self._seconds_for(step) for step in passes) / self.threads
        return Plan(
            source=source,
            target=target,
            passes=passes,
            resample=passes[-1].answer != target,
            threads=self.threads,
            peak_memory=peak_memory(
                source, target, groups, channels=channels, itemsize=dtype.itemsize, threads=self.threads
            ),
            kept_memory=kept_memory(target.pixels * channels * dtype.itemsize, groups, threads=self.threads),
            seconds=network + self._seconds_around(source, target, channels, dtype, passes),
        )

    def model_names(
        self, source: Size, *, channels: int, depth: int, size: Size | None = None
    ) -> tuple[str, ...]:
        """The models that a picture goes through, each once, in the order of their first use."""
        target = self._target_size(source, size)
        dtype = np.dtype(np.uint8 if depth <= 8 else np.uint16)
        names = [
            self._session(scale, colour, dtype).spec.name
            for colour in self._planes(channels)
            for scale in self._chain(source, target)
        ]
        return tuple(dict.fromkeys(names))

    @property
    def works_in_tiles(self) -> bool:
        """Whether pictures are cut into tiles; of a model whose halo is not known they are not."""
        return not isinstance(self._model, Path) or self.options.halo is not None

    def interrupt(self) -> None:
        """Let calls on other threads fail soon, where a network computes a whole picture at once."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.stop()

    def close(self) -> None:
        """Stop the worker threads and forget the models. The object may be used again."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
            self._pool = None
            self._sessions.clear()

    # What runs: colour, luma, alpha

    def _upscale(
        self, pixels: Pixels, source: Size, target: Size, progress: Progress, reuse: FrameReuse | None
    ) -> Pixels:
        colour, alpha = color.split_alpha(pixels)
        if alpha is not None:
            colour = color.bleed_under_alpha(colour, alpha, self._reach(source, target, colour))
        progress.start(self._passes_megapixels(source, target, alpha), "MP")
        try:
            upscaled = self._upscale_colour(colour, target, progress, reuse)
            if alpha is not None:
                upscaled = color.merge_alpha(upscaled, self._upscale_alpha(alpha, target, progress, reuse))
        finally:
            progress.finish()
        return upscaled

    def _release_memory(self) -> None:
        """Leave the memory that tiles took to what follows: merging, shrinking, an encoder."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            session.run(blank_tile(session.spec, SMALLEST_TILE), last=True)

    def _reach(self, source: Size, target: Size, colour: Pixels) -> int:
        """How far from visible pixels, in source pixels, hidden colours have a say in visible ones."""
        # Alpha may grow by one pixel, and the filter that shrinks has three lobes.
        reach, factor = 1.0 + 3.0, 1
        for scale in self._chain(source, target):
            kind: Colour = "luma" if colour.ndim == 2 or self._color_mode() == "ycbcr" else "rgb"
            halo = self._session(scale, kind, colour.dtype).spec.halo
            reach += (_UNKNOWN_HALO if halo is None else halo) / factor
            factor *= scale
        return math.ceil(reach)

    def _upscale_colour(
        self, colour: Pixels, target: Size, progress: Progress, reuse: FrameReuse | None
    ) -> Pixels:
        if colour.ndim == 2:
            return self._upscale_plane(colour, target, "luma", progress, reuse)
        if self._color_mode() == "rgb":
            return self._upscale_plane(colour, target, "rgb", progress, reuse)
        luma, chroma = color.split_ycc(colour)
        luma = self._upscale_plane(luma, target, "luma", progress, reuse)
        answer = np.empty((*luma.shape, 3), dtype=luma.dtype)
        resized = resample.Resized(chroma, target)

        def merge(band: slice) -> None:
            answer[band] = color.merge_ycc(luma[band], resized.rows(band))

        self._each(merge, resized.bands())
        return answer

    def _upscale_alpha(
        self, alpha: Pixels, target: Size, progress: Progress, reuse: FrameReuse | None
    ) -> Pixels:
        lowest = alpha.min()
        if lowest == alpha.max():
            return np.full((target.height, target.width), lowest, dtype=alpha.dtype)
        upscaled = self._upscale_plane(alpha, target, "luma", progress, reuse, "alpha")
        return color.bound_alpha(upscaled, alpha)

    def _upscale_plane(
        self,
        pixels: Pixels,
        target: Size,
        colour: Colour,
        progress: Progress,
        reuse: FrameReuse | None,
        role: str = "picture",
    ) -> Pixels:
        """Through as many models as it takes, then shrunk to ``target``."""
        source = Size(width=pixels.shape[1], height=pixels.shape[0])
        for place, scale in enumerate(self._chain(source, target)):
            session = self._session(scale, colour, pixels.dtype)
            key = (role, place, session.spec.name)
            pixels = self._run_pass(session, pixels, key, progress, reuse)
        if pixels.nbytes >= LARGE:
            self._release_memory()
        return self._shrink(pixels, target) if _differs(pixels, target) else pixels

    def _shrink(self, pixels: Pixels, target: Size) -> Pixels:
        answer = np.empty((target.height, target.width, *pixels.shape[2:]), dtype=pixels.dtype)
        resized = resample.Resized(pixels, target, filter="lanczos3")

        def shrink(band: slice) -> None:
            answer[band] = resized.rows(band)

        self._each(shrink, resized.bands())
        return answer

    def _run_pass(
        self, session: Session, pixels: Pixels, key: object, progress: Progress, reuse: FrameReuse | None
    ) -> Pixels:
        halo, known = session.spec.halo, None
        if halo is None:  # any pixel may depend on any other
            reuse = None
        elif reuse is not None:
            known = reuse.changed_regions(key, pixels, halo)
        if known is None:
            height, width = pixels.shape[:2]
            scale = session.spec.scale
            answer = np.empty((height * scale, width * scale, *pixels.shape[2:]), dtype=pixels.dtype)
            regions = self._regions(Size(width=width, height=height), session.spec)
        else:
            answer, regions = known
        self._run_tiles(session, pixels, answer, regions, progress)
        if reuse is not None:
            reuse.remember(key, answer)
        return answer

    # Tiles and bands over workers

    def _run_tiles(
        self, session: Session, pixels: Pixels, answer: Pixels, regions: list[Region], progress: Progress
    ) -> None:
        """Compute ``regions`` of ``answer``; a tile that does not fit memory is cut into quarters."""
        try:
            self._each(
                lambda region: run_tile(session, pixels, answer, region),
                regions,
                lambda region: progress.advance(region.pixels / 1e6),
                here=session.spec.halo is not None,
            )
        except KeyboardInterrupt:
            session.stop()
            raise

    def _each(
        self,
        work: Callable[[Part], None],
        parts: list[Part],
        done: Callable[[Part], None] | None = None,
        *,
        here: bool = True,
    ) -> None:
        """``work`` for each of ``parts``, by all workers; ``done`` hears of each in order, in this thread.

        What one worker can do is done in this thread, unless not ``here``: a thread that waits hears Ctrl-C,
        one that computes a whole picture at once does not.
        """
        if here and (self.threads == 1 or len(parts) == 1):
            waiting: list[Callable[[], None]] = [partial(work, part) for part in parts]
            futures = []
        else:
            futures = [self._workers().submit(work, part) for part in parts]
            waiting = [future.result for future in futures]
        try:
            for wait, part in zip(waiting, parts, strict=True):
                wait()
                if done is not None:
                    done(part)
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _workers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="xlsr-tile")
            return self._pool

    def _regions(self, size: Size, spec: ModelSpec) -> list[Region]:
        if spec.halo is None:
            return tiling.plan_tiles(size, tile=None, workers=1, max_pixels=max(size.pixels, 1 << 30))
        limit = tile_pixels(spec.precision, self.threads, self.options.max_memory)
        return tiling.plan_tiles(size, tile=self.options.tile, workers=self.threads, max_pixels=limit)

    # Which model runs

    def _target_size(self, source: Size, size: Size | None) -> Size:
        target = self.target if size is None else Target(width=size.width, height=size.height)
        return target.size_for(source)

    def _color_mode(self) -> ColorMode:
        """``rgb`` or ``ycbcr``: a model that was named decides by its own colours, else ``auto`` is rgb."""
        if isinstance(self._model, ModelSpec):
            return "ycbcr" if self._model.colour == "luma" else "rgb"
        return "rgb" if self.options.color == "auto" or self._model is not None else self.options.color

    def _precision(self, dtype: np.dtype[Any]) -> ModelPrecision:
        wanted = self._model.precision if isinstance(self._model, ModelSpec) else self.options.precision
        if dtype == np.uint16:
            if wanted == "int8":
                raise UsageError("--precision int8 would cut a 16-bit picture to 8 bits; leave it out")
            return "fp32"
        return "fp32" if wanted == "fp32" else "int8"

    def _chain(self, source: Size, target: Size) -> tuple[int, ...]:
        if self._model is None:
            return chain_for(source, target)
        if isinstance(self._model, ModelSpec):
            return foreign_chain(self._model.scale, source, target)
        return foreign_chain(self._foreign_session(self._model).spec.scale, source, target)

    def _session(self, scale: int, colour: Colour, dtype: np.dtype[Any]) -> Session:
        if isinstance(self._model, Path):
            return self._foreign_session(self._model)
        named = self._model
        if named is not None and dtype == np.uint16 and named.precision == "int8":
            deeper = named.name.replace("int8", "fp32")
            raise ModelError(f"{named.name} works in 8 bits and the picture has 16; use {deeper}")
        if named is not None and colour == named.colour:
            spec = named
        else:
            spec = bundled_model(scale, colour, self._precision(dtype))
        with self._lock:
            if spec.name not in self._sessions:
                self._sessions[spec.name] = Session.bundled(spec, provider=self.options.provider)
            return self._sessions[spec.name]

    def _foreign_session(self, path: Path) -> Session:
        with self._lock:
            if str(path) not in self._sessions:
                threads = self.threads if self.options.halo is None else 1
                self._sessions[str(path)] = Session.foreign(
                    path, halo=self.options.halo, threads=threads, provider=self.options.provider
                )
            return self._sessions[str(path)]

    # What it will take

    def _planes(self, channels: int) -> list[Colour]:
        planes: list[Colour] = ["luma" if channels <= 2 or self._color_mode() == "ycbcr" else "rgb"]
        return [*planes, "luma"] if channels in (2, 4) else planes

    def _plan_passes(self, source: Size, target: Size, colour: Colour, dtype: np.dtype[Any]) -> list[Pass]:
        passes = []
        size = source
        for scale in self._chain(source, target):
            spec = self._session(scale, colour, dtype).spec
            step = Pass(
                model=spec.name,
                scale=spec.scale,
                size=size,
                tiles=len(self._regions(size, spec)),
                macs=spec.macs,
                precision=spec.precision,
                colours=3 if colour == "rgb" else 1,
            )
            passes.append(step)
            size = step.answer
        return passes

    def _passes_megapixels(self, source: Size, target: Size, alpha: Pixels | None) -> float:
        """Input megapixels of all passes together; a flat alpha needs none."""
        total, size = 0.0, source
        for scale in self._chain(source, target):
            total += size.pixels / 1e6
            size = Size(width=size.width * scale, height=size.height * scale)
        return total if alpha is None or alpha.min() == alpha.max() else 2 * total

    def _seconds_for(self, step: Pass) -> float:
        """Core-seconds of one pass: one tile is run and timed, once per model."""
        session = next(s for s in self._sessions.values() if s.spec.name == step.model)
        if step.model not in self._seconds_per_pixel:
            tile = blank_tile(session.spec, _TIMED_SIDE)
            session.run(tile)
            started = time.perf_counter()
            session.run(tile)
            elapsed = time.perf_counter() - started
            self._seconds_per_pixel[step.model] = elapsed / _TIMED_SIDE**2
        return self._seconds_per_pixel[step.model] * step.size.pixels

    def _seconds_around(
        self, source: Size, target: Size, channels: int, dtype: np.dtype[Any], passes: tuple[Pass, ...]
    ) -> float:
        """Seconds of what is done around the network: colour, fitting the size, alpha in one thread."""
        if isinstance(self._model, Path):  # beside such a network the rest is nothing, and a trial is slow
            return 0.0
        alone = copy.copy(self)
        alone.threads, alone.options = 1, replace(self.options, tile=None)
        shrink = math.sqrt(_TRIED_SIDE**2 / source.pixels)
        tried = Size(width=_TRIED_SIDE, height=_TRIED_SIDE)
        size = Size(
            width=max(_TRIED_SIDE, round(target.width / source.width * _TRIED_SIDE)),
            height=max(_TRIED_SIDE, round(target.height / source.height * _TRIED_SIDE)),
        )
        pixels = np.arange(tried.pixels * channels).reshape(tried.height, tried.width, channels).astype(dtype)
        alone(pixels, size=size)
        started = time.perf_counter()
        alone(pixels, size=size)
        elapsed = time.perf_counter() - started
        network = sum(self._seconds_for(step) for step in passes) * shrink**2
        around = max(0.0, elapsed - network) / shrink**2
        return around if channels in (2, 4) else around / self.threads


def _check_choice(model: ModelSpec | Path | None, options: EngineOptions) -> None:
    """Refuse what the model that runs would ignore."""
    if options.halo is not None and not isinstance(model, Path):
        raise UsageError(
            "--halo is for an ONNX file of your own, given with --model; other models know theirs"
        )
    if options.tile is not None and options.halo is None and isinstance(model, Path):
        raise UsageError(f"--tile needs --halo beside it: how far {model} sees is not known")
    if model is None:
        return
    colour, precision, name = "rgb", "fp32", str(model)
    if isinstance(model, ModelSpec):
        colour = "ycbcr" if model.colour == "luma" else "rgb"
        precision, name = model.precision, model.name
    if options.color not in ("auto", colour):
        raise UsageError(f"--color {options.color} contradicts --model {name}, which works on {colour}")
    if options.precision not in ("auto", precision):
        raise UsageError(f"--precision {options.precision} contradicts --model {name}; give one of the two")


def _check_array(pixels: object) -> None:
    if not isinstance(pixels, np.ndarray):
        raise UsageError(f"cannot upscale a {type(pixels).__name__}; give a numpy array, as cv2.imread does")
    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 2, 3, 4))
    if pixels.dtype not in (np.uint8, np.uint16) or not shaped or pixels.size == 0:
        raise UsageError(
            f"cannot upscale an array of shape {pixels.shape} and dtype {pixels.dtype}; give uint8 or uint16 "
            "of shape (H, W), (H, W, 2), (H, W, 3) or (H, W, 4)"
        )


def _differs(pixels: Pixels, size: Size) -> bool:
    return pixels.shape[:2] != (size.height, size.width)
