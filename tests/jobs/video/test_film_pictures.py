"""Films into pictures and animations, animations into films, and films through a pipe."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.jobs.video.films import FIXTURES, lost
from tests.jobs.video.test_film_looks import seen
from tests.media.video import clips
from xlsr_cli.cli.app import main
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, NotKeptError, UsageError
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.pictures import film_to_animation, film_to_pictures
from xlsr_cli.jobs.video.spooled import upscale_stream
from xlsr_cli.options import PictureOptions, VideoOptions


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_film_becomes_numbered_pictures(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=3, tags=(1, 1, 1, 1), audio=[{}], pale=True)
    video = VideoOptions()
    result = film_to_pictures(source, tmp_path / f"o_%03d{suffix}", Task(video=video, upscaler=upscaler))
    assert [path.name for path in sorted(tmp_path.glob("o_*"))] == [f"o_00{n}{suffix}" for n in (1, 2, 3)]
    assert "stream-dropped" in {notice.code for notice in result.notices}
    first = cv2.imread(str(tmp_path / f"o_001{suffix}"))[..., ::-1].astype(int)
    enlarged = seen(source).repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs((first - enlarged).mean(axis=(0, 1))).max() < 2


def test_deep_films_become_deep_pictures(tmp_path: Path, upscaler: Upscaler) -> None:
    options, video = PictureOptions(), VideoOptions(frames=1)
    film_to_pictures(
        FIXTURES / "hdr10.mp4", tmp_path / "o%d.png", Task(options=options, video=video, upscaler=upscaler)
    )
    assert cv2.imread(str(tmp_path / "o1.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert b"cICP\x09\x10\x00\x01" in (tmp_path / "o1.png").read_bytes()


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_film_becomes_an_animation(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=5, rate=10)
    result = film_to_animation(
        source, tmp_path / f"o{suffix}", Task(video=VideoOptions(frames=4), upscaler=upscaler)
    )
    assert result.frames == 4
    assert lost(result) == ({"colors-reduced"} if suffix == ".gif" else set())  # type: ignore[arg-type]
    with Image.open(tmp_path / f"o{suffix}") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (4, (96, 64), 0)
        shown = []
        for number in range(4):
            image.seek(number)
            image.load()
            shown.append(image.info["duration"])
    assert shown == [100] * 4


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_an_animation_becomes_a_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    frames = [Image.fromarray(np.full((32, 48, 3), 60 * n, np.uint8)) for n in range(1, 4)]
    frames[0].save("in.gif", save_all=True, append_images=frames[1:], duration=[100, 200, 50], loop=0)
    assert main(["upscale", "in.gif", f"o{suffix}"]) == 0
    assert "plays once" in capsys.readouterr().err
    found = clips.frames(Path(f"o{suffix}"))
    assert clips.times(Path(f"o{suffix}")) == pytest.approx([0, 0.1, 0.3], abs=0.0011)
    assert {frame.format.name for frame in found} == {"yuv420p"}
    means = [seen_mean(frame) for frame in found]
    assert means == pytest.approx([60, 120, 180], abs=3)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def seen_mean(frame: av.VideoFrame) -> float:
    """How bright a gray frame is shown."""
    return float((clips.plane(frame).astype(float).mean() - 16) * 255 / 219)


def test_the_last_frame_of_an_animation_keeps_its_time(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((32, 48), 60 * n, np.uint8)) for n in range(1, 3)]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=[100, 700])
    assert main(["upscale", str(tmp_path / "in.gif"), str(tmp_path / "o.mkv"), "--codec", "ffv1"]) == 0
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert float(container.duration) / av.time_base == pytest.approx(0.8, abs=0.0011)


def test_a_film_through_a_pipe(tmp_path: Path, upscaler: Upscaler) -> None:
    data = (FIXTURES / "ts_2997.ts").read_bytes()
    task = Task(video=VideoOptions(frames=5), upscaler=upscaler)
    result = upscale_stream(io.BytesIO(data), "stdin", tmp_path / "o.mkv", task)
    assert (str(result.source), result.frames) == ("stdin", 5)
    assert [path.name for path in tmp_path.iterdir()] == ["o.mkv"]
    with pytest.raises(InputError, match=r"^stdin: the file is damaged"):
        upscale_stream(io.BytesIO(b"x" * 99), "stdin", tmp_path / "p.mkv", task)
    with pytest.raises(NotKeptError, match="captions"):
        stream = io.BytesIO((FIXTURES / "cc608.mp4").read_bytes())
        strict = replace(task, options=PictureOptions(strict=True))
        upscale_stream(stream, "stdin", tmp_path / "q.webm", strict)


def test_what_pictures_do_not_take(tmp_path: Path, upscaler: Upscaler) -> None:
    source = FIXTURES / "ts_2997.ts"
    for output, video, message in (
        ("o_%d.xyz", VideoOptions(), "cannot be written as '.xyz'"),
        ("o_%d.png", VideoOptions(codec="h264"), "codec is for films"),
    ):
        with pytest.raises(UsageError, match=message):
            film_to_pictures(source, tmp_path / output, Task(video=video, upscaler=upscaler))


def test_pictures_begin_where_they_were_asked(tmp_path: Path, upscaler: Upscaler) -> None:
    source = FIXTURES / "gop.ts"
    options, video = PictureOptions(), VideoOptions(start=3.0, frames=2)
    film_to_pictures(source, tmp_path / "o%d.png", Task(options=options, video=video, upscaler=upscaler))
    shown = cv2.imread(str(tmp_path / "o1.png"), cv2.IMREAD_GRAYSCALE)[::2, ::2].astype(int)
    grays = [
        frame.to_ndarray(format="gray").astype(int) for frame in itertools.islice(clips.frames(source), 90)
    ]
    distances = [np.abs(gray - shown).mean() for gray in grays]
    assert distances.index(min(distances)) == 75
