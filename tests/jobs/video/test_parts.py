"""A film in parts: the same bytes as in one go, and which films cannot be cut."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest

from tests.jobs.batch.films_in_folders import contents, film
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import OutputError
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.parts import Part, make_part, part_file, parts_of, take_parts
from xlsr_cli.jobs.video.plan import VideoPlan, plan_video
from xlsr_cli.jobs.video.run import put_together, upscale_video
from xlsr_cli.jobs.video.segments import open_segments, work_folder
from xlsr_cli.options import VideoOptions


def prepared(source: Path, output: Path, upscaler: Upscaler, **video: object) -> VideoPlan:
    return plan_video(source, output, Task(video=VideoOptions(**video), upscaler=upscaler))


def made(path: Path, *, frames: int, options: dict[str, str], codec: str = "libx264") -> Path:
    """A film without sound, coded with ``options``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", **options})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(frames):
            planes = np.full((48, 48), 128, np.uint8)
            planes[:32] = (np.arange(48)[None] * 5 + np.arange(32)[:, None] * 3 + number * 2) % 200 + 20
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_parts_in_any_order_make_the_same_film(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    source = film(tmp_path / f"in{suffix}", frames=760)
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    upscale_video(source, whole, Task(upscaler=upscaler))
    ready = prepared(source, output, upscaler)
    parts, reason = parts_of(ready)
    assert [(part.begin, part.end) for part in parts] == [(0, 240), (240, 480), (480, 720), (720, 760)]
    assert reason == ""
    for part in random.Random(3).sample(parts, len(parts)):
        make_part(ready, part, output)
    with open_segments(output, ready.key) as segments:
        take_parts(segments, output, ready.key, parts)
        assert segments.count == 4
        put_together(ready, segments, output, [], overwrite=False)
        segments.remove()
    assert contents(output) == contents(whole)
    with av.open(str(output)) as ours, av.open(str(whole)) as theirs:
        for mine, other in zip(ours.demux(video=0), theirs.demux(video=0), strict=True):
            assert (mine.pts, mine.dts, mine.duration, bytes(mine)) == (
                other.pts, other.dts, other.duration, bytes(other),
            )  # fmt: skip
    assert not work_folder(output).exists()


@pytest.mark.parametrize(
    ("options", "video", "said"),
    [
        ({"g": "2000", "sc_threshold": "0"}, {}, "a single key frame"),
        ({"g": "50", "x264-params": "open-gop=1:bframes=3:b-adapt=0"}, {}, "are open"),
        ({"g": "50"}, {"deinterlace": True}, "neighbours"),
        ({"g": "50"}, {"frames": 300}, "only a part"),
    ],
    ids=["one key frame", "open GOPs", "deinterlaced", "a piece"],
)
def test_what_cannot_be_cut_says_why(
    tmp_path: Path, upscaler: Upscaler, options: dict[str, str], video: dict[str, object], said: str
) -> None:
    source = made(tmp_path / "in.mkv", frames=600, options=options)
    parts, reason = parts_of(prepared(source, tmp_path / "out.mkv", upscaler, **video))
    assert len(parts) == 1
    assert said in reason


def test_without_times(tmp_path: Path, upscaler: Upscaler) -> None:
    source = made(tmp_path / "in.h264", frames=600, options={"g": "50"})
    parts, reason = parts_of(prepared(source, tmp_path / "out.mkv", upscaler))
    assert len(parts) == 1
    assert "no times" in reason


def test_key_frames_far_apart_make_larger_parts(tmp_path: Path, upscaler: Upscaler) -> None:
    source = made(tmp_path / "in.mkv", frames=2000, options={"g": "900", "sc_threshold": "0"})
    parts, _ = parts_of(prepared(source, tmp_path / "out.mkv", upscaler))
    assert [part.begin for part in parts] == [0, 240, 480, 960, 1200, 1920]
    assert parts[-1].end == 2000


def test_a_damaged_part_is_made_again(tmp_path: Path, upscaler: Upscaler) -> None:
    source, output = film(tmp_path / "in.mkv", frames=300), tmp_path / "out.mkv"
    ready = prepared(source, output, upscaler)
    parts, _ = parts_of(ready)
    key = ready.key
    for part in parts:
        make_part(ready, part, output)
    damaged = part_file(output, key, parts[1])
    damaged.write_bytes(damaged.read_bytes()[:2000])
    with open_segments(output, key) as segments, pytest.raises(OutputError, match="makes it again"):
        take_parts(segments, output, key, parts)
    assert not damaged.exists()
    make_part(ready, parts[1], output)
    with open_segments(output, key) as segments:
        take_parts(segments, output, key, parts)
        assert segments.frames == 300


def test_parts_wait_while_nothing_is_joined(tmp_path: Path, upscaler: Upscaler) -> None:
    source, output = film(tmp_path / "in.mkv", frames=300), tmp_path / "out.mkv"
    ready = prepared(source, output, upscaler)
    make_part(ready, Part(begin=0, end=240), output)
    with open_segments(output, ready.key):
        pass
    assert part_file(output, ready.key, Part(begin=0, end=240)).exists()
