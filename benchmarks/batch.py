"""``xlsr batch`` beside ``xlsr upscale`` in a shell loop, and beside the engine alone; what planning costs.

``python -m benchmarks.batch``: 640×360 JPEGs to ×2 JPEGs on all usable cores, in turns within one run; with
``--write`` into docs/performance.md. ``--planning N`` plans and journals N files and counts CPU time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import SOURCE, machine_line, parser, publish, table
from xlsr_cli.bench.noise import LoadWatch, Noise, judge
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.bench.timing import Timing
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.batch.effort import Rates
from xlsr_cli.jobs.batch.executors.executor import Executor, Hear, ignore
from xlsr_cli.jobs.batch.item import Item, ItemResult
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.journal import Entry
from xlsr_cli.jobs.batch.plan import plan_batch
from xlsr_cli.jobs.batch.recipe import Recipe
from xlsr_cli.jobs.batch.run import run_batch
from xlsr_cli.jobs.batch.selection import Batch
from xlsr_cli.machine import this_machine

#: Files of the batch: so many that its start does not count. The shell loop does fewer; each pays a start.
_FILES, _LOOPED = 600, 6
_ROUNDS = 3
_XLSR = [sys.executable, "-m", "xlsr_cli"]


def write_pictures(folder: Path, count: int) -> None:
    """Different JPEGs that look like photographs, quality 90."""
    picture = made_picture(SOURCE)
    for number in range(count):
        rolled = np.roll(picture, 7 * number, axis=1)
        (folder / f"{number:05}.jpg").write_bytes(
            cv2.imencode(".jpg", rolled, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        )


def batch_rate(folder: Path, out: Path) -> float:
    """Files per second of one whole run."""
    began = time.perf_counter()
    subprocess.run([*_XLSR, "batch", str(folder), "--out", str(out), "--quiet"], check=True)
    return _FILES / (time.perf_counter() - began)


def loop_rate(folder: Path, out: Path) -> float:
    """Files per second of a shell loop."""
    out.mkdir()
    began = time.perf_counter()
    for path in sorted(folder.iterdir())[:_LOOPED]:
        subprocess.run([*_XLSR, "upscale", str(path), str(out / path.name), "--quiet"], check=True)
    return _LOOPED / (time.perf_counter() - began)


def engine_rate(seconds: float = 4.0) -> float:
    """Pictures per second of the engine alone, decoded and not encoded, on all cores."""
    picture = made_picture(SOURCE)
    upscaler = Upscaler(2, restore="off")  # the batch finds out for each file how it was compressed
    for _ in range(5):
        upscaler(picture)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        upscaler(picture)
        count += 1
    rate = count / (time.perf_counter() - began)
    upscaler.close()
    return rate


def compare() -> tuple[str, Noise]:
    """The table, and whether the machine was calm enough."""
    machine = this_machine()
    rates: dict[str, list[float]] = {"batch": [], "loop": [], "engine": []}
    with tempfile.TemporaryDirectory() as name, LoadWatch() as watch:
        folder = Path(name) / "in"
        folder.mkdir()
        write_pictures(folder, _FILES)
        for number in range(_ROUNDS):
            rates["engine"].append(engine_rate())
            rates["loop"].append(loop_rate(folder, Path(name) / f"loop{number}"))
            rates["batch"].append(batch_rate(folder, Path(name) / f"batch{number}"))
    found = {name: float(np.median(values)) for name, values in rates.items()}
    megapixels = 4 * SOURCE.pixels / 1e6
    rows = [
        [f"`xlsr batch`, {_FILES} files", *_cells(found["batch"], found["batch"], megapixels)],
        ["`xlsr upscale` in a shell loop", *_cells(found["loop"], found["batch"], megapixels)],
        ["the engine alone, array to array", *_cells(found["engine"], found["batch"], megapixels)],
    ]
    text = "\n".join(
        [
            machine_line(machine.cores.usable),
            "",
            table([f"{SOURCE} JPEG → ×2 JPEG", "files/s", "MP/s out", "of batch's"], rows),
            "",
            f"The batch has **{found['batch'] / found['loop']:.1f} times** the throughput of the loop and "
            f"**{found['batch'] / found['engine']:.0%}** of the engine's own speed; the rest is decoding, "
            "encoding, hashing, and starting.",
        ]
    )
    scatter = [Timing.of([1 / rate for rate in values]) for values in rates.values()]
    noise = judge(
        [Timing(seconds=each.seconds, spread=each.spread, samples=5) for each in scatter],
        other_cores=None,
        logical_cores=machine.cores.logical,
        used_cores=machine.cores.usable,
    )
    del watch
    return text, noise


def _cells(rate: float, batch: float, megapixels: float) -> list[str]:
    return [f"{rate:.1f}", f"{rate * megapixels:.1f}", f"{rate / batch:.2f}"]


class _Instant(Executor):
    """An executor that does nothing, so that only the cost of the batch itself is left."""

    def prepare(self, recipe: Recipe, jobs: Sequence[Job]) -> None:
        self._recipe = recipe

    def run(self, items: Iterable[Item], hear: Hear = ignore) -> Iterator[ItemResult]:
        for item in items:
            entry = Entry(
                name=item.job.name,
                status="done",
                key=f"{'0' * 64}-{self._recipe.key}",
                output=item.job.target,
                output_sha256="0" * 64,
            )
            yield ItemResult(outcome="done", entry=entry)

    def measure(self) -> Rates:
        return Rates(picture=1.0, film=1.0)

    def stop(self) -> None:
        pass


def planning(count: int) -> str:
    """CPU time and memory of planning, journaling and reporting ``count`` tiny files, nothing hashed."""
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "in", Path(name) / "out"
        folder.mkdir()
        data = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
        for number in range(count):
            (folder / f"{number:06}.png").write_bytes(data)
        before, began = _peak(), time.process_time()
        run_batch(plan_batch(Batch(folder=folder, out=out)), _Instant())
        seconds = time.process_time() - began
    return (
        f"Planning, journaling and reporting {count:,} files: {seconds / count * 1e3:.2f} ms of CPU time "
        f"a file, {(_peak() - before) / count / 1e3:.1f} kB of memory a file."
    )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def add_options(options: argparse.ArgumentParser) -> None:
    """The options that only this benchmark has."""
    options.add_argument("--planning", type=int, default=20_000, help="files to plan and journal")


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for."""
    costs = planning(options.planning)
    text, noise = compare()
    publish("batch", f"{text}\n\n{costs}", noise, options)


if __name__ == "__main__":
    command = parser(__doc__)
    add_options(command)
    main(command.parse_args())
