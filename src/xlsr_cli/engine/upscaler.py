"""Upscale one picture: the steps in order."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from xlsr_cli.declaration import takes_options_of
from xlsr_cli.engine import color, resample
from xlsr_cli.engine.cgroup import memory_limit, usable_cores
from xlsr_cli.engine.choice import Choice, Plane
from xlsr_cli.engine.estimate import LARGE, Estimator, Plan
from xlsr_cli.engine.models import Restore
from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import look
from xlsr_cli.engine.session import Session, is_out_of_memory
from xlsr_cli.engine.tiles.reuse import FrameReuse, Reuse
from xlsr_cli.engine.tiles.tile import SMALLEST_TILE, blank_tile, run_tile
from xlsr_cli.engine.tiles.tiling import Region, Tiling, tile_budget
from xlsr_cli.engine.tiles.workers import Workers
from xlsr_cli.errors import ResourceError, UsageError
from xlsr_cli.options import AnySize, EngineOptions, Size, Target, as_size
from xlsr_cli.progress import QUIET, Progress

#: The halo, in pixels, that is assumed of a foreign model whose own is not known.
_UNKNOWN_HALO = 32


class Upscaler:
    """Enlarges arrays: ``Upscaler(scale=2)(pixels)``.

    Models are loaded when first needed and kept. Safe to call from several threads at once; each call
    spreads its tiles over ``threads`` workers, which all calls share. In a process that is forked, it loads
    its models again and works as in its parent. ``with Upscaler(…) as upscaler`` closes it at the end.
    """

    @takes_options_of(EngineOptions)
    def __init__(self, scale: float = 2.0, **options: Any) -> None:
        """``options`` are the fields of :class:`~xlsr_cli.options.EngineOptions`, which explains each.

        Raises :class:`UsageError` for numbers out of range, :class:`ModelError` for an unknown model.
        """
        self._configure(EngineOptions(**options), Target(scale=scale))

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
        self.choice = Choice(options, threads=self.threads)
        #: Bytes that this process's control group grants; None without a limit.
        self.memory_limit = memory_limit()
        budget = tile_budget(self.memory_limit) if options.max_memory is None else options.max_memory
        self._tiling = Tiling(side=options.tile, workers=self.threads, max_memory=budget)
        self._workers = Workers(self.threads)
        self._estimator = Estimator(self.choice, self._tiling, self._upscale_alone)

    def __call__(
        self,
        pixels: Pixels,
        *,
        size: AnySize | None = None,
        progress: Progress = QUIET,
        reuse: Reuse | FrameReuse | None = None,
    ) -> Pixels:
        """``pixels`` enlarged, same dtype and channels.

        uint8 or uint16; (H, W) or (H, W, 1) gray, (H, W, 2) gray and alpha, (H, W, 3) BGR, (H, W, 4)
        BGRA, alpha straight. ``size``, also as (width, height), overrides the target of the constructor.
        ``progress`` hears input megapixels. ``reuse`` carries unchanged tiles from the frame before; the
        array that is returned may then be read-only. Where frames overlap, give each what
        ``reuse.begin()`` returned for it.
        With ``restore`` on ``auto``, the networks follow what JPEG left in ``pixels``; :meth:`restoring`
        decides once for all frames of a film.

        Raises :class:`UsageError` for an array of another shape or dtype or an impossible size,
        :class:`ModelError` and :class:`ResourceError` for what their names say.
        """
        _check_array(pixels)
        source, target = self._sizes((pixels.shape[1], pixels.shape[0]), size)
        memory = reuse.begin() if isinstance(reuse, Reuse) else reuse
        try:
            call = _Call(
                choice=self._choice_for(pixels, source, target),
                tiling=self._tiling,
                workers=self._workers,
                source=source,
                target=target,
                progress=progress,
                reuse=memory,
            )
            upscaled = call.run(np.ascontiguousarray(pixels))
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

    @property
    def depends_on_source(self) -> bool:
        """Whether the networks depend on how strongly the source was compressed; see :meth:`restoring`."""
        return self.choice.depends_on_source

    def first_scale(self, source: AnySize, size: AnySize | None = None) -> int:
        """The scale of the first network for a picture of ``source``, which is the one that restores."""
        return self.choice.scales(*self._sizes(source, size))[0]

    def restoring(self, level: Restore) -> Upscaler:
        """This upscaler for a source that needs the networks of ``level``, unless the options name others.

        It shares all models and workers with this one; close only this one.
        """
        if not self.depends_on_source:
            return self
        other = copy.copy(self)
        other.options = replace(self.options, restore=level)
        other.choice = self.choice.restoring(level)
        other._estimator = Estimator(other.choice, self._tiling, other._upscale_alone)
        return other

    def plan(self, source: AnySize, *, channels: int, depth: int, size: AnySize | None = None) -> Plan:
        """What a call would do with a picture of ``source``, ``channels`` (1 to 4) and ``depth`` bits.

        Loads the models, and times a tile of each and a small picture for the estimate of seconds.
        """
        source, target = self._sizes(source, size)
        return self._estimator.plan(source, target, channels=channels, dtype=_dtype_for(depth))

    def peak_memory(self, source: AnySize, *, channels: int, depth: int, size: AnySize | None = None) -> int:
        """The memory estimate of :meth:`plan`, in bytes, without timing anything. Loads the models."""
        source, target = self._sizes(source, size)
        return self._estimator.peak_memory(source, target, channels=channels, dtype=_dtype_for(depth))

    def model_names(
        self, source: AnySize, *, channels: int, depth: int, size: AnySize | None = None
    ) -> tuple[str, ...]:
        """The models that a picture goes through, each once, in the order of their first use. Loads them."""
        source, target = self._sizes(source, size)
        groups = self._estimator.passes(source, target, channels=channels, dtype=_dtype_for(depth))
        return tuple(dict.fromkeys(step.model for group in groups for step in group))

    @property
    def works_in_tiles(self) -> bool:
        """Whether pictures are cut into tiles. They are not where the model's halo is unknown."""
        return self.choice.works_in_tiles

    def interrupt(self) -> None:
        """Make calls on other threads fail soon, even where a network computes a whole picture at once."""
        for session in self.choice.loaded:
            session.stop()

    def close(self) -> None:
        """Stop the worker threads and forget the models. The object may be used again."""
        self._workers.stop()
        self.choice.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _choice_for(self, pixels: Pixels, source: Size, target: Size) -> Choice:
        if not self.depends_on_source:
            return self.choice
        return self.choice.restoring(look(pixels, self.first_scale(source, target)).level)

    def _sizes(self, source: AnySize, size: AnySize | None) -> tuple[Size, Size]:
        """Of a picture and of its result: ``size`` where it is given, else the target of the constructor."""
        source = as_size(source, "source")
        if size is None:
            return source, self.target.size_for(source)
        asked = as_size(size)
        return source, Target(width=asked.width, height=asked.height).size_for(source)

    def _upscale_alone(self, pixels: Pixels, size: Size) -> Pixels:
        """``pixels`` enlarged on one thread, as a trial that is timed."""
        call = _Call(
            choice=self.choice,
            tiling=self._tiling._replace(side=None, workers=1),
            workers=Workers(1),
            source=Size(width=pixels.shape[1], height=pixels.shape[0]),
            target=size,
            progress=QUIET,
            reuse=None,
        )
        return call.run(pixels)


@dataclass(kw_only=True, eq=False)
class _Call:
    """One call: a picture from ``source`` to ``target``, and who hears of its progress."""

    choice: Choice
    tiling: Tiling
    workers: Workers
    source: Size
    target: Size
    progress: Progress
    reuse: FrameReuse | None

    def run(self, pixels: Pixels) -> Pixels:
        """Contiguous ``pixels`` enlarged: colours and alpha apart, then together again."""
        colour, alpha = color.split_alpha(pixels)
        if alpha is not None:
            colour = color.bleed_under_alpha(colour, alpha, self._reach(colour))
        self.progress.start(self._megapixels(alpha), "MP")
        try:
            upscaled = self._colour(colour)
            if alpha is not None:
                upscaled = color.merge_alpha(upscaled, self._alpha(alpha))
        finally:
            self.progress.finish()
        return upscaled

    def _reach(self, colour: Pixels) -> int:
        """The distance, in source pixels, at which hidden colours still influence visible ones."""
        # Alpha may grow by one pixel, and the filter that shrinks has three lobes.
        reach, factor = 1.0 + 3.0, 1
        plane = Plane(self.choice.colour_for(1 if colour.ndim == 2 else 3))
        for session in self.choice.sessions(self.source, self.target, plane, colour.dtype):
            halo = session.spec.halo
            reach += (_UNKNOWN_HALO if halo is None else halo) / factor
            factor *= session.spec.scale
        return math.ceil(reach)

    def _megapixels(self, alpha: Pixels | None) -> float:
        """Input megapixels of all passes together; a flat alpha needs none."""
        total, size = 0.0, self.source
        for scale in self.choice.scales(self.source, self.target):
            total += size.pixels / 1e6
            size = Size(width=size.width * scale, height=size.height * scale)
        return total if alpha is None or alpha.min() == alpha.max() else 2 * total

    # Colour, luma, alpha

    def _colour(self, colour: Pixels) -> Pixels:
        if colour.ndim == 2:
            return self._plane(colour, Plane("luma"))
        if not self.choice.splits_luma:
            return self._plane(colour, Plane("rgb"))
        luma, *chroma = color.split_ycc(colour)
        luma = self._plane(luma, Plane("luma"))
        planes = [resample.Resized(plane, self.target) for plane in chroma]

        def merge(band: slice, answer: Pixels) -> None:
            color.merge_ycc([luma[band], *(plane.rows(band) for plane in planes)], answer)

        return self._in_bands((3,), luma.dtype, planes[0].bands(), merge)

    def _alpha(self, alpha: Pixels) -> Pixels:
        lowest = alpha.min()
        if lowest == alpha.max():
            return np.full((self.target.height, self.target.width), lowest, dtype=alpha.dtype)
        return color.bound_alpha(self._plane(alpha, Plane("luma", alpha=True)), alpha)

    def _plane(self, pixels: Pixels, plane: Plane) -> Pixels:
        """``pixels`` through all networks of ``plane``, then shrunk to the target."""
        for place, session in enumerate(self.choice.sessions(self.source, self.target, plane, pixels.dtype)):
            pixels = self._pass(session, pixels, key=(plane, place, session.spec.name))
        if pixels.nbytes >= LARGE:
            self._release_memory()
        if pixels.shape[:2] == (self.target.height, self.target.width):
            return pixels
        resized = resample.Resized(pixels, self.target, filter="lanczos3")

        def shrink(band: slice, answer: Pixels) -> None:
            answer[...] = resized.rows(band)

        return self._in_bands(pixels.shape[2:], pixels.dtype, resized.bands(), shrink)

    def _release_memory(self) -> None:
        """Give back the memory of the tiles: merging, shrinking and encoding need it next."""
        for session in self.choice.loaded:
            session.run(blank_tile(session.spec, SMALLEST_TILE), last=True)

    def _in_bands(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        bands: list[slice],
        fill: Callable[[slice, Pixels], None],
    ) -> Pixels:
        """An array whose rows ``fill`` writes band by band, on all workers."""
        answer = np.empty((self.target.height, self.target.width, *shape), dtype=dtype)
        self.workers.each(lambda band: fill(band, answer[band]), bands)
        return answer

    # Passes and tiles

    def _pass(self, session: Session, pixels: Pixels, key: object) -> Pixels:
        """``pixels`` through one network; ``key`` names the pass for the frames that follow."""
        spec = session.spec
        # Without a known halo, any pixel may depend on any other.
        reuse = None if spec.halo is None else self.reuse
        known = None
        if reuse is not None and spec.halo is not None:
            known = reuse.changed_regions(key, pixels, spec.halo)
        if known is None:
            height, width = pixels.shape[:2]
            shape = (height * spec.scale, width * spec.scale, *pixels.shape[2:])
            answer = np.empty(shape, dtype=pixels.dtype)
            regions = self.tiling.regions(Size(width=width, height=height), spec)
        else:
            answer, regions = known
        self._run_tiles(session, pixels, answer, regions)
        if reuse is not None:
            reuse.remember(key, answer)
        return answer

    def _run_tiles(self, session: Session, pixels: Pixels, answer: Pixels, regions: list[Region]) -> None:
        """Compute ``regions`` of ``answer``; a tile that does not fit memory is cut into quarters."""
        keeps_range = self.choice.keeps_range
        try:
            self.workers.each(
                lambda region: run_tile(session, pixels, answer, region, keeps_range),
                regions,
                lambda region: self.progress.advance(region.pixels / 1e6),
                here=session.ends_soon,
            )
        except KeyboardInterrupt:
            session.stop()
            raise


def _dtype_for(depth: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if depth <= 8 else np.uint16)


def _check_array(pixels: object) -> None:
    if not isinstance(pixels, np.ndarray):
        raise UsageError(f"cannot upscale a {type(pixels).__name__}; give a numpy array, as cv2.imread does")
    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 2, 3, 4))
    if pixels.dtype not in (np.uint8, np.uint16) or not shaped or pixels.size == 0:
        raise UsageError(
            f"cannot upscale an array of shape {pixels.shape} and dtype {pixels.dtype}; give uint8 or uint16 "
            "of shape (H, W), (H, W, 2), (H, W, 3) or (H, W, 4)"
        )
