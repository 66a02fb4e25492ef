"""Every frame and packet is at its time, in every container, or is refused before the work."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.jobs.video.films import FIXTURES, codes, lost, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import open_video
from xlsr_cli.media.video.output.tracks import Track, read_tracks


def tracks(path: Path) -> list[Track]:
    """All streams of a film with sizes and times of their packets."""
    with open_video(path) as container:
        return read_tracks(container)


def seconds(track: Track) -> list[float]:
    """The times of all packets, rising."""
    return sorted(float(ticks * track.base) for ticks in track.times)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("ts_2997.ts", "o.mp4"),
        ("ts_2997.ts", "o.mov"),
        ("mpeg2_to_mp4.ts", "o.mp4"),
        ("mpeg2_to_mp4.ts", "o.mov"),
        ("timelapse.mp4", "o.mkv"),
        ("aac.m2ts", "o.m2ts"),
        ("wma.wmv", "o.mkv"),
        ("avi_ac3.avi", "o.avi"),
        ("avi_gap.avi", "o.avi"),
        ("x264.avi", "o.avi"),
        ("mjpeg_exif.avi", "o.avi"),
        ("longts.mkv", "o.mkv"),
        ("chapters_cover.mkv", "o.mp4"),
    ],
)
def test_every_packet_is_at_its_time(tmp_path: Path, upscaler: Upscaler, name: str, output: str) -> None:
    result = run(FIXTURES / name, tmp_path / output, upscaler, strict=True)
    assert lost(result) == set()
    before, after = tracks(FIXTURES / name), tracks(result.output)
    kept = [track for track in before if track.kind in ("video", "audio")]
    found = [track for track in after if track.kind in ("video", "audio")]
    assert [track.kind for track in kept] == [track.kind for track in found]
    for old, new in zip(kept, found, strict=True):
        assert seconds(new) == pytest.approx(seconds(old), abs=max(0.0002, float(new.base)))
        if old.kind == "audio":
            assert (old.codec, new.codec) in (
                (old.codec, old.codec),
                ("mp2", "mp3"),
            )  # MP4 tells no difference
        if old.kind == "audio" and old.codec != "aac":  # which has a header of its own in transport streams
            assert list(new.sizes) == list(old.sizes)
            assert new.content == old.content


def test_a_clock_that_wraps_gives_rising_times(tmp_path: Path, upscaler: Upscaler) -> None:
    source = FIXTURES / "wrap.ts"
    result = run(source, tmp_path / "o.mkv", upscaler, strict=True)
    assert codes(result) == {"times-moved"}
    picture, sound = tracks(result.output)
    times, before = seconds(picture), tracks(source)
    assert len(times) == 100
    assert times[0] >= 0
    assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx([0.04] * 99, abs=0.0011)
    # Picture and sound have moved together.
    lead = seconds(before[0])[0] - seconds(before[1])[0]
    assert times[0] - seconds(sound)[0] == pytest.approx(lead, abs=0.0011)


def test_frames_may_be_minutes_apart(tmp_path: Path, upscaler: Upscaler) -> None:
    result = run(FIXTURES / "timelapse.mp4", tmp_path / "o.ts", upscaler, strict=True)
    times = seconds(tracks(result.output)[0])
    assert 0 <= times[0] < 10
    assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx([600.0] * 5, abs=0.0001)


@pytest.mark.parametrize("start", [0.5, 3.0, 3.3, 4.02])
def test_a_transport_stream_is_begun_where_it_was_asked(
    tmp_path: Path, upscaler: Upscaler, start: float
) -> None:
    source = FIXTURES / "gop.ts"
    result = run(source, tmp_path / "o.ts", upscaler, start=start, frames=5)
    whole = clips.frames(source)
    first = round(start * 25 + 0.49)
    shown = clips.plane(clips.frames(result.output)[0])
    distances = [abs(clips.plane(frame).astype(int) - shown[::2, ::2].astype(int)).mean() for frame in whole]
    assert distances.index(min(distances)) == first
    assert result.frames == 5


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("suffix", ["vob", "mpg", "ts", "mkv", "avi"])
def test_every_container_is_begun_where_it_was_asked(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    """A program stream has no index, and FFmpeg seeks to where it guesses."""
    source, begin = tmp_path / f"in.{suffix}", 3.4
    words = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25", "-t", "6", "-c:v", "mpeg2video", "-g", "50"]
    kind = ["-f", "vob"] if suffix == "vob" else []
    subprocess.run(["ffmpeg", "-v", "error", *words, "-q:v", "2", *kind, str(source)], check=True)
    result = run(source, tmp_path / "o.mkv", upscaler, start=begin, frames=3)
    shown = clips.plane(clips.frames(result.output)[0])[::2, ::2].astype(int)
    distances = [np.abs(clips.plane(frame).astype(int) - shown).mean() for frame in clips.frames(source)]
    assert distances.index(min(distances)) == round(begin * 25)


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_a_picture_later_than_its_sound_begins_an_avi(codec: Any, tmp_path: Path, upscaler: Upscaler) -> None:
    """An AVI begins with all of its streams: the first frame stands there until its own time comes."""
    times = range(12, 30)
    source = clips.make(tmp_path / "a.mkv", frames=18, times=times, audio=[{"codec": "pcm_s16le"}])
    done = run(source, tmp_path / "b.avi", upscaler, codec=codec, strict=True)
    assert "start-filled" in codes(done)
    with pyav.open_input(str(done.output)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size]
        assert [packet.dts for packet in found] == [0, *times]
        assert bytes(found[0]) == bytes(found[1])
    part = run(source, tmp_path / "c.avi", upscaler, codec=codec, strict=True, start=0.2)
    assert "start-filled" not in codes(part)
    with pyav.open_input(str(part.output)) as container:
        assert [packet.dts for packet in container.demux(video=0) if packet.size] == list(range(13))
