"""Frames are shown when and as long as they were."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.jobs.video.films import codes, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import UsageError
from xlsr_cli.media.video.inspect import inspect


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_uneven_times_pass_through(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    ticks = [0, 3, 4, 9, 10, 11, 30, 31, 33, 60, 61, 90]
    source = clips.make(tmp_path / f"in{suffix}", times=ticks, time_base=Fraction(1, 60), audio=[{}])
    result = run(source, tmp_path / f"out{suffix}", upscaler)
    assert clips.times(result.output) == pytest.approx(clips.times(source), abs=0.001)
    assert result.duration == pytest.approx(91 / 60, abs=0.1)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_reordered_frames_are_shown_as_long_as_they_were(
    tmp_path: Path, upscaler: Upscaler, suffix: str
) -> None:
    # In the file, the frame shown last is followed by one that is decoded half a second later.
    options = {"bf": "3", "b-adapt": "0", "sc_threshold": "0"}
    ticks = [0, 3, 4, 9, 10, 11, 30, 31, 60, 90, 91, 93]
    source = clips.make(tmp_path / "in.mp4", times=ticks, time_base=Fraction(1, 60), options=options)
    with av.open(str(source)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps[-1] != max(stamps)
    assert float(inspect(source).end) == pytest.approx(94 / 60, abs=0.1)
    result = run(source, tmp_path / f"out{suffix}", upscaler)
    assert result.duration == pytest.approx(94 / 60, abs=0.1)
    assert clips.times(result.output) == pytest.approx(clips.times(source), abs=0.001)


def test_an_avi_holds_one_frame_rate(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=4, times=[0, 3, 4, 9], time_base=Fraction(1, 60))
    with pytest.raises(UsageError, match="holds one frame rate"):
        run(source, tmp_path / "out.avi", upscaler)
    even = clips.make(tmp_path / "even.avi", frames=5, encoder="mpeg4")
    result = run(even, tmp_path / "out.avi", upscaler)
    assert len(clips.frames(result.output)) == 5
    with av.open(str(result.output)) as container:
        assert container.streams.video[0].average_rate == 25


def test_an_avi_begins_with_all_of_its_streams(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", audio=[{"late": 0.3}])
    with pytest.raises(UsageError, match="begins later"):
        run(source, tmp_path / "out.avi", upscaler)


def test_frames_of_an_avi_come_at_even_times(tmp_path: Path, upscaler: Upscaler) -> None:
    """It holds times of decoding alone; with B-frames FFmpeg's guess of the others is out of order."""
    source = clips.make(
        tmp_path / "in.avi", frames=20, options={"preset": "medium", "x264-params": "bframes=3:b-adapt=0"}
    )
    result = run(source, tmp_path / "out.mkv", upscaler)
    assert codes(result) == set()
    steps = np.diff(clips.times(result.output))
    assert steps == pytest.approx([0.04] * 19, abs=0.0011)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_part_can_be_tried(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    chapters = [(0, 400, "One"), (400, 1200, "Two")]
    source = clips.make(tmp_path / f"in{suffix}", frames=30, audio=[{}], chapters=chapters)
    result = run(source, tmp_path / f"out{suffix}", upscaler, start=0.5, end=0.8)
    assert result.frames == len(clips.frames(result.output)) == 7  # 0.52 to 0.76
    assert clips.times(result.output)[0] == pytest.approx(clips.times(source)[0], abs=0.002)
    sound = clips.streams(result.output)[1].packets
    everything = [p[0] for p in clips.streams(source)[1].packets]
    assert 0 < len(sound) < len(everything)
    assert all(p[0] in everything and -0.03 <= p[1] <= 0.3 for p in sound)
    assert [c[2] for c in clips.summary(result.output)["chapters"]] == ["Two"]
    assert run(source, tmp_path / f"few{suffix}", upscaler, frames=3).frames == 3
    with pytest.raises(UsageError, match="after the end"):
        run(source, tmp_path / f"no{suffix}", upscaler, start=9.0)
