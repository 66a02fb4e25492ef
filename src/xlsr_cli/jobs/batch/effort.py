"""How long the files of a batch take beside one another, so that its bar counts work and not files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from xlsr_cli.engine.upscaler import Upscaler

#: The picture that is planned with.
_SIZE = Size(width=512, height=512)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Seconds for a million input pixels. ``film``: of its frames, of which the network sees Y′ alone unless
    told otherwise. Encoding is not in them: it takes a small part of either."""

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
