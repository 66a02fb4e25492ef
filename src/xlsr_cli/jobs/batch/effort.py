"""How long each file of a batch takes, roughly, so that the bar shows work done and not just files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.notices import counted
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler

#: The size of the picture for which the time is estimated.
_SIZE = Size(width=512, height=512)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds for a million input pixels. ``film``: for frames of films, of which the network enlarges only
    Y′ by default. Encoding is not included: it takes a small part of the time."""

    picture: float
    film: float

    def shared(self, count: int) -> Rates:
        """Those of ``count`` workers together."""
        return Rates(picture=self.picture / count, film=self.film / count)

    def seconds(self, job: Job) -> float:
        """About how long ``job`` takes."""
        rate = self.film if job.kind == "film" else self.picture
        return max(job.pixels, 1) / 1e6 * rate


def measure(recipe: Recipe, upscaler: Upscaler) -> Rates:
    """The rates of this process, from a tile of each network and a small picture that are timed here."""
    from xlsr_cli.jobs.video.plan import wants_rgb

    target = recipe.options.target
    size = target.size_for(_SIZE) if target.scale is not None else Size(width=1024, height=1024)

    def rate(channels: int) -> float:
        plan = upscaler.plan(_SIZE, channels=channels, depth=8, size=size)
        return plan.seconds / (_SIZE.pixels / 1e6)

    picture = rate(3)
    return Rates(picture=picture, film=picture if wants_rgb(recipe.options) else rate(1))


def parts_of(job: Job) -> int:
    """About how many parts ``job`` is done in; more than one for a film only."""
    return max(1, math.ceil(job.frames / SEGMENT_FRAMES)) if job.kind == "film" else 1


def forecast(jobs: Sequence[Job], rates: Rates) -> str:
    """``films in about 38 parts and 44 other files: about 5 min if nothing is done yet``."""
    films = [job for job in jobs if job.kind == "film"]
    parts = sum(map(parts_of, films))
    seconds = sum(rates.seconds(job) for job in jobs)
    count = len(jobs) - len(films)
    others = f" and {counted(count, 'other file')}" if count else ""
    shown = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"films in about {counted(parts, 'part')}{others}: about {shown} if nothing is done yet"


def is_mixed(jobs: Sequence[Job]) -> bool:
    """Whether megapixels of ``jobs`` do not all take the same time."""
    return any(job.kind == "film" for job in jobs)
