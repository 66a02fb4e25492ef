"""The results of a measurement, for a table, a chart or JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from xlsr_cli import __version__
from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.timing import Timing
from xlsr_cli.machine import Machine
from xlsr_cli.options import Size

#: Changes with every change of the JSON that could break a reader; described in ``docs/bench.schema.json``.
FORMAT = "xlsr-bench/1"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was timed.

    ``output`` is the size of the result. ``share`` is its part of the whole, 0 … 1, for stages.
    ``times_faster``, of alternatives: how many times faster xlsr is. ``psnr`` in dB.
    """

    name: str
    what: str
    timing: Timing
    output: Size
    share: float | None = None
    times_faster: float | None = None
    psnr: float | None = None

    @property
    def megapixels_per_second(self) -> float:
        """Megapixels of the result in a second."""
        return self.output.pixels / 1e6 / self.timing.seconds if self.timing.seconds else 0.0

    @property
    def frames_per_second(self) -> float:
        """Pictures of this size in a second."""
        return 1.0 / self.timing.seconds if self.timing.seconds else 0.0

    def data(self) -> dict[str, Any]:
        """For JSON."""
        values = {
            "name": self.name,
            "what": self.what,
            **_timing_data(self.timing),
            "megapixels_per_second": round(self.megapixels_per_second, 3),
            "frames_per_second": round(self.frames_per_second, 3),
        }
        optional = {"share": self.share, "times_faster": self.times_faster, "psnr": self.psnr}
        return values | {name: round(value, 4) for name, value in optional.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ThreadRow:
    """The engine with ``threads`` threads, and its ``speedup`` over one thread."""

    threads: int
    timing: Timing
    speedup: float

    @property
    def efficiency(self) -> float:
        """Speedup per thread: 1 is ideal."""
        return self.speedup / self.threads

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "threads": self.threads,
            **_timing_data(self.timing),
            "speedup": round(self.speedup, 4),
            "efficiency": round(self.efficiency, 4),
        }


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Bytes: ``before`` the engine did anything, ``peak`` of the process with the engine running."""

    before: int | None
    peak: int | None


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """Everything that one ``xlsr bench`` measured.

    ``stages`` in the order of the data, ``whole`` from file to file, ``engine`` from array to array.
    ``beside``: alternatives for the same picture. ``quality`` says what the PSNR values were measured on.
    ``remarks``: what the user should know about how it was measured.
    """

    machine: Machine
    model: str
    source: Size
    target: Size
    threads: int
    picture: str
    stages: tuple[Row, ...]
    engine: Row
    whole: Row
    scaling: tuple[ThreadRow, ...]
    beside: tuple[Row, ...]
    quality: str
    memory: MemoryUse
    noise: Noise
    remarks: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """For JSON, as ``docs/bench.schema.json`` describes it; times in milliseconds."""
        return {
            "format": FORMAT,
            "version": __version__,
            "machine": asdict(self.machine),
            "model": self.model,
            "source": str(self.source),
            "target": str(self.target),
            "threads": self.threads,
            "picture": self.picture,
            "stages": [row.data() for row in self.stages],
            "engine": self.engine.data(),
            "whole": self.whole.data(),
            "scaling": [row.data() for row in self.scaling],
            "beside": [row.data() for row in self.beside],
            "quality": self.quality,
            "memory": asdict(self.memory),
            "noise": {
                "trustworthy": self.noise.trustworthy,
                "other_cores": self.noise.other_cores,
                "reasons": list(self.noise.reasons),
            },
            "remarks": list(self.remarks),
        }


def _timing_data(timing: Timing) -> dict[str, Any]:
    return {
        "milliseconds": round(timing.seconds * 1e3, 4),
        "spread": round(timing.spread * 1e3, 4),
        "repeats": timing.samples,
    }
