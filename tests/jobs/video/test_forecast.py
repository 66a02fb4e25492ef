"""A dry run of a film: it writes nothing, and says what is the bottleneck."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.media.video import clips
from xlsr_cli.cli.app import main


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return clips.make(tmp_path / "film.mp4", frames=12, width=96, height=64)


@pytest.mark.parametrize(
    ("options", "bottleneck"),
    [
        (["--preset", "ultrafast", "--precision", "fp32"], "network"),
        (["--codec", "hevc", "--preset", "placebo"], "encoder"),
    ],
)
def test_what_takes_more_of_a_frame_is_the_brake(
    film: Path, options: list[str], bottleneck: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upscale", str(film), "-s", "2", "--dry-run", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bottleneck"] == bottleneck
    assert (told["network_seconds"] > told["encoder_seconds"]) == (bottleneck == "network")
    assert told["size"] == {"width": 192, "height": 128}
    assert told["frames"] == 12
    frame = told["decoder_seconds"] + told["network_seconds"] + told["encoder_seconds"]
    assert told["frames_per_second"] == pytest.approx(told["threads"] / frame)
    assert told["seconds"] == pytest.approx(12 / told["frames_per_second"])
    assert all(name.startswith("xlsr_x2_luma_") for name in told["models"])


def test_it_writes_nothing_and_speaks_plainly(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in film.parent.iterdir()}
    assert main(["upscale", str(film), str(film.with_suffix(".webm")), "--dry-run"]) == 0
    assert {path: path.read_bytes() for path in film.parent.iterdir()} == before
    told = capsys.readouterr().out
    assert "96x64" in told
    assert "192x128 vp9, preset 6" in told
    assert "is the bottleneck" in told
    assert "12 frames" in told


def test_a_part_without_frames_is_refused_as_in_the_work(film: Path) -> None:
    assert main(["upscale", str(film), "--dry-run", "--start", "100"]) == 2
