"""How the time for one long film falls with the number of machines: measured parts, simulated machines.

The parts of a synthetic film are enlarged here, one after the other. The CPU time of each is measured: a
machine with one core would need as long. Planning, which each machine does for itself, and joining, which one
machine does alone, are measured as well. From these numbers, the time for a film of two
hours is simulated: one machine plans, then all do, and each takes the next part as soon as it is free.

``python -m benchmarks.cluster [--parts N]`` writes ``docs/cluster.png`` and prints the numbers.
"""

from __future__ import annotations

import argparse
import heapq
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenes import scenes
from benchmarks.video import write_clip
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.jobs.video.parts import make_part, parts_of, take_parts
from xlsr_cli.jobs.video.plan import VideoPlan, plan_video
from xlsr_cli.jobs.video.run import put_together
from xlsr_cli.jobs.video.segments import open_segments
from xlsr_cli.options import EngineOptions, PictureOptions, Size, Target

_SOURCE = Size(width=640, height=360)
_RATE = 25
_HOURS = 2
_MACHINES = (1, 2, 4, 8, 16, 32, 64)
_PAGE = Path(__file__).parents[1] / "docs" / "cluster.png"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """CPU seconds: of each part; for a frame of the film, of planning and of joining."""

    parts: Sequence[float]
    planning: float
    joining: float


def simulated(measured: Measured, frames: int, machines: int, seed: int = 1) -> float:
    """Seconds for ``frames`` on ``machines`` of one core each; parts are drawn from the measured ones."""
    draw = random.Random(seed)
    plan = frames * measured.planning
    free = [2 * plan] * machines
    for _ in range(-(-frames // SEGMENT_FRAMES)):
        heapq.heappush(free, heapq.heappop(free) + draw.choice(measured.parts))
    return max(free) + frames * measured.joining


def measure(count: int) -> Measured:
    """Enlarge a synthetic film of ``count`` parts ×2, part by part, on one thread."""
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / "in.mkv", Path(name) / "out.mkv"
        frames = count * SEGMENT_FRAMES
        write_clip(source, scenes(_SOURCE, frames), rate=_RATE, seconds=frames // _RATE)
        with Upscaler.from_options(EngineOptions(threads=1), Target()) as upscaler:
            options = PictureOptions(engine=EngineOptions(threads=1))
            plan, planning = _timed(
                lambda: plan_video(source, output, Task(options=options, upscaler=upscaler))
            )
            parts, _ = parts_of(plan)
            seconds = [_timed(lambda part=part: make_part(plan, part, output))[1] for part in parts]
            _, joining = _timed(lambda: _join(plan, output, parts))
    return Measured(parts=seconds, planning=planning / frames, joining=joining / frames)


def _join(plan: VideoPlan, output: Path, parts: list[Any]) -> None:
    with open_segments(output, plan.key) as segments:
        take_parts(segments, output, plan.key, parts)
        put_together(plan, segments, output, segments.notices(), overwrite=False)


def _timed(work: Any) -> tuple[Any, float]:
    started = time.process_time()
    result = work()
    return result, time.process_time() - started


def plot(hours: dict[int, float]) -> None:
    """Time against machines, both logarithmic, with the line of perfect division."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=120)
    machines = list(hours)
    axes.plot(machines, [hours[1] / n for n in machines], "--", color="#999", label="divided without loss")
    axes.plot(machines, list(hours.values()), "o-", color="#1b6ca8", label="simulated, with measured parts")
    for count, value in hours.items():
        shown = f"{value:.1f} h" if value >= 1 else f"{value * 60:.0f} min"
        axes.annotate(shown, (count, value), textcoords="offset points", xytext=(4, 7), fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(machines, [str(count) for count in machines])
    axes.set_xlabel("machines (one core each)")
    axes.set_ylabel("hours")
    axes.set_title(f"A film of {_HOURS} hours, {_SOURCE} ×2, {_RATE} frames per second", fontsize=11)
    axes.grid(alpha=0.3)
    axes.margins(0.08, 0.1)
    axes.legend()
    figure.tight_layout()
    figure.savefig(_PAGE)


def main() -> None:
    """Measure, simulate, print and draw."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--parts", type=int, default=16, help="how many parts are measured")
    measured = measure(arguments.parse_args().parts)
    frames = _HOURS * 3600 * _RATE
    hours = {count: simulated(measured, frames, count) / 3600 for count in _MACHINES}
    print("CPU seconds of a part:", ", ".join(f"{each:.1f}" for each in measured.parts))
    print(f"mean {np.mean(measured.parts):.1f} s, standard deviation {np.std(measured.parts):.1f} s")
    print(f"planning {frames * measured.planning:.0f} s, joining {frames * measured.joining:.0f} s")
    for count, value in hours.items():
        print(f"{count:3} machines: {value:6.2f} h, {hours[1] / value / count:.0%} of a perfect division")
    plot(hours)


if __name__ == "__main__":
    main()
