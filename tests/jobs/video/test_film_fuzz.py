"""Changed films, new ones in every run: what is there is enlarged, or one sentence says why not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzzing import fuzz, mutated
from tests.jobs.video.films import FIXTURES
from tests.media.video import clips

#: Looks at a file as a batch does, and enlarges two frames as the command line does with ``--max-pixels 1M
#: --max-memory 500M``, into a container and codec that the number of the file chooses, some from 0.1 s on.
PROBE = """
import io
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.video.run import upscale_video
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.stream import upscale_y4m
from xlsr_cli.media.video.demux import is_film
from xlsr_cli.media.video.quick_look import quick_look
from xlsr_cli.options import EngineOptions, PictureOptions, VideoOptions

WAYS = [
    ("mkv", "h264"), ("mp4", "h264"), ("ts", "h264"), ("avi", "h264"), ("webm", "vp9"), ("mov", "hevc"),
    ("mkv", "ffv1"), ("mkv", None), ("3gp", "h264"), ("m2ts", "h264"),
]
engine = EngineOptions(max_memory=500 << 20, threads=1)
options = PictureOptions(max_pixels=1_000_000, engine=engine, overwrite=True)
upscaler = Upscaler.from_options(options.engine, options.target)

def use(path):
    number = int(path.name)
    with path.open("rb") as file:
        if file.read(9) == b"YUV4MPEG2":
            file.seek(0)
            task = Task(options=options, video=VideoOptions(frames=2), upscaler=upscaler)
            upscale_y4m(file, io.BytesIO(), task)
            return
    if is_film(path):
        quick_look(path)
    suffix, codec = WAYS[number % len(WAYS)]
    preset, start = "ultrafast" if codec == "h264" else None, 0.1 if number % 7 == 0 else None
    video = VideoOptions(codec=codec, frames=2, preset=preset, start=start, deinterlace=number % 11 == 0)
    task = Task(options=options, video=video, upscaler=upscaler)
    upscale_video(path, path.parent.parent / f"out.{suffix}", task)
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_changed_films(tmp_path: Path) -> None:
    seeds = [path.read_bytes() for path in sorted(FIXTURES.iterdir())]
    rich = clips.make(
        tmp_path / "rich.mkv",
        frames=6,
        audio=[{"language": "fra"}],
        subtitles=[{"language": "deu"}],
        attachments=[("a.ttf", "font/ttf", b"font")],
        chapters=[(0, 100, "one")],
        rotation=90,
    )
    seeds += [rich.read_bytes(), clips.make(tmp_path / "a.mp4", frames=6, rotation=90).read_bytes()]

    def make(source: random.Random) -> bytes:
        data = mutated(source.choice(seeds), source)
        if source.random() < 0.2:  # a copy that broke off
            data = data[: source.randrange(len(data)) + 1]
        if source.random() < 0.1:  # two files put together
            data += source.choice(seeds)
        return data

    assert fuzz(PROBE, make, tmp_path, default=60, at_once=40) > 0
