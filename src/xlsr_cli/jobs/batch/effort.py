"""How long each file of a batch takes, roughly, so that the bar shows work done and not just files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import Recipe
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


def is_mixed(jobs: Sequence[Job]) -> bool:
    """Whether megapixels of ``jobs`` do not all take the same time."""
    return any(job.kind == "film" for job in jobs)
