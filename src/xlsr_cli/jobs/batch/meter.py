"""How far a batch is, for its bar: in megapixels, or, where films are among the files, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

from xlsr_cli.jobs.batch.effort import Rates
from xlsr_cli.jobs.batch.item import Item, ItemResult, is_settled
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.progress import Progress


class Meter:
    """Reports the results of ``items`` to ``progress``.

    ``rates``: converts pixels of each kind to seconds; None: megapixels are counted. Items that an earlier
    run has done do not count, unless they have to be done again.
    """

    def __init__(
        self, items: Sequence[Item], recipe: Recipe, rates: Rates | None, progress: Progress
    ) -> None:
        self._progress = progress
        self._sizes = {
            item.job.name: max(item.job.pixels, 1) / 1e6 if rates is None else rates.seconds(item.job)
            for item in items
        }
        self._settled = {item.job.name for item in items if is_settled(item, recipe)}
        self._frames = {item.job.name: item.job.frames for item in items}
        self._parts: dict[str, float] = {}
        self._ended = 0
        self._failed = 0
        total = sum(size for name, size in self._sizes.items() if name not in self._settled)
        progress.start(total, "MP" if rates is None else "s")

    def part(self, name: str, share: float) -> None:
        """``share`` (0 to 1) of the file ``name`` is done."""
        self._advance(name, share)
        frames = self._frames[name]
        done = f" {round(share * frames)}/{frames} frames" if frames > 1 else ""
        self._note(f"{name}{done}", self._ended + 1)

    def end(self, result: ItemResult) -> None:
        """A file has come to its end."""
        name, worked = result.entry.name, result.outcome in ("done", "failed")
        if worked or name not in self._settled:
            self._advance(name, 1.0)
        self._ended += 1
        self._failed += result.outcome in ("failed", "failed-before")
        self._note(name, self._ended)

    def finish(self) -> None:
        """Nothing more will come."""
        self._progress.finish()

    def _advance(self, name: str, share: float) -> None:
        if name in self._settled:  # it was thought to be done
            self._settled.remove(name)
            self._progress.extend(self._sizes[name])
        before = self._parts.get(name, 0.0)
        if share > before:
            self._parts[name] = share
            self._progress.advance(self._sizes[name] * (share - before))

    def _note(self, name: str, number: int) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        self._progress.note(f"{number}/{len(self._sizes)} files{failed}, {name}")
