"""Show people and programs what a job did, or would do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlsr_cli.cli.console import console
from xlsr_cli.notices import counted

if TYPE_CHECKING:
    from xlsr_cli.jobs.picture_plan import PicturePlan
    from xlsr_cli.jobs.video.forecast import VideoForecast


def show_result(result: Any, *, json: bool) -> None:
    """The result of any job."""
    console.notices(str(result.source), result.notices)
    if json:
        console.json(_plain(result))
        return
    console.info(f"{result.source} ({result.source_size}) -> {result.output} ({result.size})")
    for name, value in _details(result):
        console.detail(f"  {name}: {value}")


def show_plan(plan: PicturePlan, *, json: bool) -> None:
    """What would be done with a picture."""
    if json:
        console.json(_plain(plan))
        return
    console.data(f"{plan.source}: {plan.source_size} -> {plan.output}: {plan.size} {plan.format}")
    if plan.compression is not None:
        console.data(f"  {plan.compression}")
    for step in plan.passes:
        console.data(f"  {step.model} on {step.size} in {counted(step.tiles, 'tile')}")
    if plan.resample:
        console.data(f"  shrink to {plan.size}")
    threads, memory = counted(plan.threads, "thread"), plan.peak_memory / 1e6
    console.data(f"  about {plan.seconds:.1f} s on {threads}, {memory:.0f} MB at most")


def show_forecast(found: VideoForecast, *, json: bool) -> None:
    """What would be done with a film."""
    console.notices(found.source, found.notices)
    if json:
        console.json(_plain(found))
        return
    preset = "" if found.preset is None else f", preset {found.preset}"
    console.data(f"{found.source}: {found.source_size} -> {found.output}: {found.size} {found.codec}{preset}")
    if found.compression is not None:
        console.data(f"  {found.compression}")
    for model in found.models:
        console.data(f"  {model}")
    parts = ("decoder", "network", "encoder")
    times = ", ".join(f"{part} {getattr(found, f'{part}_seconds') * 1e3:.0f} ms" for part in parts)
    console.data(f"  CPU time of each frame: {times}: the {found.bottleneck} is the bottleneck")
    threads, rate = counted(found.threads, "thread"), f"{found.frames_per_second:.1f} frames per second"
    console.data(f"  about {found.seconds:.1f} s for {found.frames} frames on {threads}, {rate}")


def _details(result: Any) -> Iterator[tuple[str, str]]:
    """What --verbose adds about a result: names of fields, and their values in words."""
    for field in dataclasses.fields(result):
        if field.name not in ("source", "output", "source_size", "size", "notices"):
            yield field.name.replace("_", " "), _for_people(getattr(result, field.name))


def _for_people(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_for_people(part)}" for name, part in value.items()) or "none"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_for_people, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Dataclasses, paths and tuples in types that JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, Path) else value
