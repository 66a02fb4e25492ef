"""What the benchmarks share: one picture, the same options, one page to write to."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.bench.timing import Timing
from xlsr_cli.engine.cgroup import usable_cores
from xlsr_cli.machine import this_machine
from xlsr_cli.options import Size

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

#: The size of mobile benchmarks in the literature: 360p, which ×3 makes 1080p.
SOURCE = Size(width=640, height=360)


def on_picture(upscalers: Mapping[str, Callable[..., object]]) -> dict[str, Callable[[], object]]:
    """Each of ``upscalers`` applied to the picture of :data:`SOURCE`."""
    picture = made_picture(SOURCE)
    return {name: partial(upscale, picture) for name, upscale in upscalers.items()}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--threads", type=int, default=min(2, usable_cores()), help="for every runtime")
    options.add_argument("--repeats", type=int, help="how often each pair is timed, or each film")
    options.add_argument("--write", action="store_true", help="put the result into docs/performance.md")
    options.add_argument("--force", action="store_true", help="write even what the noise spoiled")
    return options


def machine_line(threads: int) -> str:
    """One sentence about where it was measured."""
    machine = this_machine()
    versions = ", ".join(
        f"{name} {machine.versions[name]}" for name in ("onnxruntime", "opencv-python-headless", "numpy")
    )
    return (
        f"Measured on: {machine.cpu.model} ({machine.cpu.kernel}), {machine.cores.usable} cores, "
        f"{threads} thread{'s' if threads > 1 else ''}, {machine.system}, Python {machine.python}, "
        f"{versions}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table; the first ``left`` columns are text, the others numbers."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milliseconds(timing: Timing) -> str:
    """``19.4 ± 0.6``."""
    digits = 1 if timing.seconds >= 2e-3 else 2
    return f"{timing.seconds * 1e3:.{digits}f} ± {timing.spread * 1e3:.{digits}f}"


def publish(name: str, text: str, noise: Noise, options: argparse.Namespace) -> None:
    """Print ``text``; with ``--write`` put it between the markers ``name`` of the page.

    Raises ``SystemExit`` when it should be written and the machine was too noisy.
    """
    print(text)
    for reason in noise.reasons:
        print(f"\nnot to be trusted: {reason}")
    if not options.write:
        return
    if not noise.trustworthy and not options.force:
        raise SystemExit("nothing was written; measure on a quiet machine, or give --force")
    if not noise.trustworthy:
        text = f"**Not to be trusted:** {'; '.join(noise.reasons)}.\n\n{text}"
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if begin not in page or end not in page:
        raise SystemExit(f"{PAGE} has no place for {name!r}: its markers are missing")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page), encoding="utf-8")
    print(f"\nwrote {PAGE.name}, {name}")
