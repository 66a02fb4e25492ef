"""Films that several workers share: the order of the steps, until the film is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from xlsr_cli.jobs.batch.executors.executor import Hear
from xlsr_cli.jobs.batch.item import Cut, Item, ItemResult
from xlsr_cli.jobs.batch.job import Step
from xlsr_cli.jobs.video import Part
from xlsr_cli.notices import Notice
from xlsr_cli.progress import Quiet

#: Seconds between two reports about the same file.
_PACE = 0.5


@dataclass(kw_only=True)
class _Shared:
    """A film that is being made. ``left``: parts that are not finished; ``done``: frames of the finished
    ones, which took ``seconds``; ``partly``: finished frames of unfinished parts."""

    cut: Cut
    left: int
    done: int = 0
    seconds: float = 0.0
    failed: bool = False
    partly: dict[Part, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """How much of what is to be done here is done, 0 to 1."""
        return (self.done + sum(self.partly.values())) / max(1, self.cut.frames)


class Sharing:
    """Divides films among the items into steps, and makes one result of the results of the steps.

    ``hear`` gets the progress of each file. ``divides``: which films. ``begun`` are those of which other
    runs make parts, or have made some; a single worker does others as a whole, on all of its threads.
    """

    def __init__(self, hear: Hear, *, divides: Literal["all", "begun", "none"] = "all") -> None:
        self._hear = hear
        self._divides = divides
        self._shared: dict[str, _Shared] = {}
        self._whole: dict[str, str] = {}

    def first(self, item: Item) -> Item:
        """The first step of ``item``."""
        if item.job.kind != "film" or self._divides == "none":
            return item
        if self._divides == "begun" and item.job.shard.count == 1 and not _is_begun(item):
            return item
        return replace(item, step=Step(kind="plan"))

    def heard(self, item: Item, share: float) -> None:
        """Report that ``share`` (0 to 1) of the step ``item`` is done."""
        shared = self._shared.get(item.job.name)
        if item.step.kind == "whole":
            self._hear(item.job.name, share)
        elif item.step.kind == "part" and shared is not None:
            shared.partly[item.step.part] = share * item.step.part.frames
            self._hear(item.job.name, shared.share)

    def then(self, item: Item, result: ItemResult) -> tuple[list[Item], ItemResult | None]:
        """The steps that can be done after ``item``; the result of the file if nothing is left to do."""
        if self._divides == "none":  # whoever gave the step gets its result
            return [], result
        if result.outcome == "planned":
            assert result.cut is not None
            return list(self._planned(item, result, result.cut)), None
        shared = self._shared.get(item.job.name)
        if item.step.kind == "part" and shared is not None:
            return self._made(item, result, shared)
        why = self._whole.get(item.job.name)
        if why and result.outcome == "done":
            message = f"the film was not shared among workers: {why}"
            notice = Notice(code="film-not-shared", message=message, loss=False)
            result = replace(result, notices=(*result.notices, notice))
        if shared is not None:
            seconds = result.entry.seconds + shared.seconds
            result = replace(result, entry=replace(result.entry, seconds=seconds))
        return [], result

    def _planned(self, item: Item, result: ItemResult, cut: Cut) -> Iterator[Item]:
        name = item.job.name
        if not cut.parts:  # nobody else waits for it: another part may have said so before
            if name not in self._whole:
                self._whole[name] = cut.why
                yield replace(item, step=Step())
            return
        todo = sum(part.frames for part in cut.todo)
        self._shared[name] = shared = _Shared(cut=cut, left=len(cut.todo), done=cut.frames - todo)
        self._hear(name, shared.share)
        step = Step(kind="part", key=cut.key, entry_key=result.entry.key)
        for part in cut.todo:
            yield replace(item, step=replace(step, part=part))
        if not cut.todo:
            yield replace(item, step=self._joining(step, cut))

    def _made(self, item: Item, result: ItemResult, shared: _Shared) -> tuple[list[Item], ItemResult | None]:
        if result.outcome != "part":  # one part has failed, and so has the film; the others end as they may
            first, shared.failed = not shared.failed, True
            return [], result if first else None
        shared.left -= 1
        shared.seconds += result.entry.seconds
        shared.done += item.step.part.frames
        shared.partly.pop(item.step.part, None)
        self._hear(item.job.name, shared.share)
        if shared.left or shared.failed or item.job.name in self._whole:
            return [], None
        return [replace(item, step=self._joining(item.step, shared.cut))], None

    @staticmethod
    def _joining(step: Step, cut: Cut) -> Step:
        return replace(step, kind="join", parts=cut.parts)


def _is_begun(item: Item) -> bool:
    from xlsr_cli.jobs.video.segments import has_parts

    return has_parts(item.job.output)


class Share(Quiet):
    """A :class:`~xlsr_cli.progress.Progress` that tells from time to time which share of its work is done, 0
    to 1; nothing where the total is not known."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._done, self._total = 0.0, 0.0
        self._last = time.monotonic()

    def start(self, total: float | None, unit: str) -> None:
        self._done, self._total = 0.0, total or 0.0

    def advance(self, amount: float) -> None:
        self._done += amount
        now = time.monotonic()
        if self._total and now - self._last >= _PACE:
            self._last = now
            self._tell(min(1.0, self._done / self._total))

    def extend(self, amount: float) -> None:
        self._total += amount
