"""What the benchmarks write: where their results go, and that noise keeps them out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import harness, video
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
