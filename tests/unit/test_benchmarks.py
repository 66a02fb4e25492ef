"""What the benchmarks write: where their results go, and that noise keeps them out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import harness, pairs, video
from xlsr_cli.bench.noise import Noise

ROOT = Path(__file__).resolve().parents[2]
QUIET = Noise(other_cores=0.0, reasons=())
NOISY = Noise(other_cores=2.0, reasons=("other programs were busy",))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a place for two results."""
    path = tmp_path / "performance.md"
    parts = [f"<!-- {name}: begin -->\nold {name}\n<!-- {name}: end -->" for name in ("engine", "peers")]
    path.write_text("\n\n".join(["# Title", *parts, "the end\n"]), encoding="utf-8")
    monkeypatch.setattr(harness, "PAGE", path)
    return path


def test_every_result_has_a_place_on_the_page() -> None:
    published = {
        name
        for path in (ROOT / "benchmarks").glob("*.py")
        for name in re.findall(r"^ +publish\(\"(\w+)\"", path.read_text("utf-8"), re.MULTILINE)
    }
    published |= {*video.PARTS, "engine", "layers", "models"}  # which are published in loops
    assert len(published) == 11
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert published == set(re.findall(r"<!-- (\w+): begin -->", text))
    assert published == set(re.findall(r"<!-- (\w+): end -->", text))


def test_a_result_replaces_the_old_one_alone(page: Path) -> None:
    harness.publish("engine", r"new \1 numbers", QUIET, harness.parser("").parse_args(["--write"]))
    text = page.read_text("utf-8")
    assert r"new \1 numbers" in text
    assert "old engine" not in text
    assert "old peers" in text
    assert text.endswith("the end\n")


def test_noise_is_not_written_unless_forced_and_then_said(page: Path) -> None:
    before = page.read_text("utf-8")
    with pytest.raises(SystemExit, match="quiet machine"):
        harness.publish("engine", "noisy", NOISY, harness.parser("").parse_args(["--write"]))
    assert page.read_text("utf-8") == before
    harness.publish("engine", "noisy", NOISY, harness.parser("").parse_args(["--write", "--force"]))
    assert "**Not to be trusted:** other programs were busy." in page.read_text("utf-8")


def test_without_write_nothing_is_written(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = page.read_text("utf-8")
    harness.publish("engine", "shown", QUIET, harness.parser("").parse_args([]))
    assert page.read_text("utf-8") == before
    assert "shown" in capsys.readouterr().out


def test_ratios_are_taken_within_pairs() -> None:
    """A machine that gets slower and slower changes times, but not ratios."""
    ratio = pairs.Ratio.of([2.0, 4.0, 6.0, 8.0], [1.0, 2.0, 3.0, 4.0])
    assert (ratio.low, ratio.median, ratio.high) == (2.0, 2.0, 2.0)
    assert str(ratio) == "2.00 (2.00–2.00)"


def test_the_median_is_known_better_with_more_pairs() -> None:
    """Unlike the middle half, which tells how they scatter."""
    assert pairs.Ratio.of([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]).doubt == 1.0
    random = np.random.default_rng(3)
    few, many = (pairs.Ratio.of(random.normal(2, 0.2, count), [1.0] * count) for count in (15, 500))
    assert many.doubt < few.doubt / 3 < (few.high - few.low) / few.median
    known = 0
    for _ in range(400):
        found = pairs.Ratio.of(random.normal(2, 0.2, 15), [1.0] * 15)
        known += abs(found.median - 2) <= found.doubt * found.median
    assert known >= 380


def test_pairs_are_added_until_the_median_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    seconds = {"base": lambda: 1.0, "even": lambda: 2.0, "uneven": lambda: random.normal(2, 0.15)}
    monkeypatch.setattr(pairs, "_timed", lambda run, in_a_row: run())
    measured = pairs.side_by_side(seconds, threads=1)
    assert measured.timings["even"].samples == 15
    assert 15 < measured.timings["uneven"].samples <= 60
    assert measured.ratios["uneven"].doubt < 0.1


def test_each_is_timed_beside_the_first_one_which_takes_both_places() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in ("base", "one", "two")}
    measured = pairs.side_by_side(runs, threads=1, repeats=2, in_a_row=0)
    assert order == ["one", "base", "two", "base", "base", "one", "base", "two"]
    assert measured.timings["base"].samples == 4
    assert measured.timings["two"].samples == 2
    assert list(measured.ratios) == ["one", "two", "base"]
    assert any("2 pairs" in reason for reason in measured.noise.reasons)


@pytest.mark.parametrize(("spins", "waits"), [(0.0, 0.02), (0.05, 0.08), (0.3, 0.32), (9.0, 2.0)])
def test_nothing_is_timed_while_threads_of_what_ran_before_spin(
    spins: float, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of a runtime keep one core busy for ``spins`` seconds; a program that never rests is not waited
    for."""
    clock = Clock(spins)
    monkeypatch.setattr(pairs, "time", clock)
    pairs.rest()
    assert clock.now == pytest.approx(waits, abs=0.001)


class Clock:
    """The module ``time`` in a process that works for ``spins`` seconds; only sleeping takes time."""

    def __init__(self, spins: float) -> None:
        self.now, self.spins = 0.0, spins

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return min(self.now, self.spins)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
