"""Which networks each kind of file gets; each file is looked at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.media.compression.test_films import film
from tests.media.video import clips
from tests.photographs import photograph
from xlsr_cli.engine import choice, models, restore
from xlsr_cli.engine.models import bundled_models
from xlsr_cli.engine.restore import Limits, Quantizers
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.animation import upscale_animation
from xlsr_cli.jobs.batch.compute import compute
from xlsr_cli.jobs.batch.item import Item
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import recipe_for
from xlsr_cli.jobs.picture import PictureResult, open_file, upscale_file
from xlsr_cli.jobs.picture_plan import plan_picture
from xlsr_cli.jobs.sequence import upscale_sequence
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.forecast import forecast_video
from xlsr_cli.jobs.video.pictures import film_to_pictures
from xlsr_cli.jobs.video.run import upscale_video
from xlsr_cli.jobs.video.stream import upscale_y4m
from xlsr_cli.media.compression import webp
from xlsr_cli.options import PictureOptions, Target, VideoOptions
from xlsr_cli.quality.compare import compare_self

PICTURE = photograph(0, 96, 112)


@pytest.fixture(autouse=True)
def every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of every level, called by it; they compute what those for clean sources do."""
    clean = [spec for spec in bundled_models() if spec.restore == "off"]
    levels = ("light", "strong", "drawing")
    others = [replace(spec, name=f"{level}_{spec.name}", restore=level) for spec in clean for level in levels]
    for module in (models, choice):
        monkeypatch.setattr(module, "bundled_models", lambda *words: (*clean, *others))


@pytest.fixture
def upscaler() -> Iterator[Upscaler]:
    upscaler = Upscaler(threads=1)
    yield upscaler
    upscaler.close()


def written(path: Path, *parameters: int) -> Path:
    assert cv2.imwrite(str(path), PICTURE, parameters)
    return path


def enlarged(path: Path, upscaler: Upscaler, **options: Any) -> PictureResult:
    return upscale_file(
        path, path.with_name("out.png"), Task(options=PictureOptions(**options), upscaler=upscaler)
    )


@pytest.mark.parametrize(
    ("name", "parameters", "said", "level"),
    [
        ("a.jpg", (cv2.IMWRITE_JPEG_QUALITY, 50), "JPEG, about quality 50: strong", "strong"),
        ("a.jpg", (cv2.IMWRITE_JPEG_QUALITY, 90), "JPEG, about quality 90: light", "light"),
        ("a.jpg", (cv2.IMWRITE_JPEG_QUALITY, 99), "JPEG, about quality 99: off", "off"),
        ("a.png", (), "no traces of compression: off", "off"),
        ("a.bmp", (), "no traces of compression: off", "off"),
        ("a.tif", (), "no traces of compression: off", "off"),
    ],
)
def test_a_picture_gets_the_networks_that_its_file_asks_for(
    tmp_path: Path, upscaler: Upscaler, name: str, parameters: tuple[int, ...], said: str, level: str
) -> None:
    path = written(tmp_path / name, *parameters)
    result = enlarged(path, upscaler)
    assert str(result.compression) == said
    assert result.models == ("xlsr_x2_rgb_int8" if level == "off" else f"{level}_xlsr_x2_rgb_int8",)
    plan = plan_picture(open_file(path), tmp_path / "o.png", Task(upscaler=upscaler))
    assert plan.compression == result.compression
    assert tuple(step.model for step in plan.passes) == result.models


def test_a_png_that_was_a_jpeg_is_known_by_its_pixels(tmp_path: Path, upscaler: Upscaler) -> None:
    decoded = cv2.imread(str(written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)))
    assert decoded is not None
    assert cv2.imwrite(str(tmp_path / "b.png"), decoded)
    result = enlarged(tmp_path / "b.png", upscaler)
    assert result.models == ("strong_xlsr_x2_rgb_int8",)
    assert result.compression is not None
    assert result.compression.seen == "pixels"
    assert abs(result.compression.value - 60) <= 2


def test_broken_tables_leave_it_to_the_pixels_and_say_so(tmp_path: Path, upscaler: Upscaler) -> None:
    path = written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xdb")
    content[at + 5 + 60] = 0  # a step of nothing, for a frequency that is hardly there
    path.write_bytes(content)
    result = enlarged(path, upscaler)
    assert result.compression is not None
    assert result.compression.seen == "pixels"
    assert "quantization tables make no sense" in str(result.compression)


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({"restore": "off"}, "xlsr_x2_rgb_int8"),
        ({"restore": "light"}, "light_xlsr_x2_rgb_int8"),
        ({"model": "xlsr_x2_rgb_int8"}, "xlsr_x2_rgb_int8"),
        ({"precision": "fp32"}, "strong_xlsr_x2_rgb_fp32"),
        ({"color": "ycbcr"}, "strong_xlsr_x2_luma_int8"),
    ],
)
def test_what_is_asked_for_comes_first(tmp_path: Path, options: dict[str, str], model: str) -> None:
    path = written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 40)
    asked = Upscaler(threads=1, **options)
    result = enlarged(path, asked)
    assert result.models == (model,)
    assert (result.compression is None) == ("restore" in options or "model" in options)


def test_arrays_are_looked_at_as_files_are(tmp_path: Path, upscaler: Upscaler, used: list[str]) -> None:
    decoded = cv2.imread(str(written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 40)))
    assert decoded is not None
    upscaler(decoded)
    upscaler(PICTURE)
    assert used == ["strong_xlsr_x2_rgb_int8", "xlsr_x2_rgb_int8"]
    upscaler.restoring("light")(PICTURE)
    assert used[2:] == ["light_xlsr_x2_rgb_int8"]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the networks of all passes, in order."""
    from xlsr_cli.engine import upscaler

    names: list[str] = []
    run = upscaler._Call._pass

    def listed(call: Any, session: Any, *rest: Any, **named: Any) -> Any:
        names.append(session.spec.name)
        return run(call, session, *rest, **named)

    monkeypatch.setattr(upscaler._Call, "_pass", listed)
    return names


def test_all_frames_of_a_film_go_through_one_network(
    tmp_path: Path, upscaler: Upscaler, used: list[str]
) -> None:
    source = film(tmp_path / "a.mp4", "libx264", {"crf": "38"}, frames=6)
    result = upscale_video(
        source, tmp_path / "b.mp4", Task(video=VideoOptions(reuse=False), upscaler=upscaler)
    )
    assert result.compression is not None
    assert result.compression.level == "strong"
    assert set(used) == {"strong_xlsr_x2_luma_int8"}


def test_a_part_of_a_film_is_decided_upon_as_the_whole(tmp_path: Path, upscaler: Upscaler) -> None:
    source = film(tmp_path / "a.mp4", "libx264", {"crf": "30", "g": "5"}, frames=20)
    found = [
        upscale_video(
            source, tmp_path / f"{start}.mp4", Task(video=VideoOptions(start=start), upscaler=upscaler)
        ).compression
        for start in (None, 0.6)
    ]
    assert found[0] == found[1]


def test_all_frames_of_an_animation_go_through_one_network(
    tmp_path: Path, upscaler: Upscaler, used: list[str]
) -> None:
    from PIL import Image

    frames = [Image.fromarray(np.roll(PICTURE, 8 * number, axis=1)) for number in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], quality=20)
    result = upscale_animation(open_file(tmp_path / "a.webp"), tmp_path / "b.webp", Task(upscaler=upscaler))
    assert result.compression is not None
    assert result.compression.level == "strong"
    assert set(used) == {"strong_xlsr_x2_rgb_int8"}


def test_numbered_pictures_follow_the_first(tmp_path: Path, upscaler: Upscaler) -> None:
    for number, quality in enumerate((50, 99, 90)):
        written(tmp_path / f"in{number}.jpg", cv2.IMWRITE_JPEG_QUALITY, quality)
    result = upscale_sequence(tmp_path / "in%d.jpg", tmp_path / "out%d.png", Task(upscaler=upscaler))
    assert str(result.compression) == "JPEG, about quality 50: strong"


def test_raw_frames_follow_the_first(tmp_path: Path, upscaler: Upscaler, used: list[str]) -> None:
    gray = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)
    coarse = cv2.imdecode(cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 0)
    assert coarse is not None
    stream = io.BytesIO(b"YUV4MPEG2 W112 H96 F25:1 Ip A1:1 Cmono\n")
    stream.seek(0, io.SEEK_END)
    for frame in (coarse, gray):
        stream.write(b"FRAME\n" + frame.tobytes())
    stream.seek(0)
    result = upscale_y4m(stream, io.BytesIO(), Task(video=VideoOptions(reuse=False), upscaler=upscaler))
    assert result.compression is not None
    assert result.compression.level == "strong"
    assert set(used) == {"strong_xlsr_x2_luma_int8"}


LEVELS = {2: "strong", 3: "light", 4: "off"}
#: At ×2 every quantizer needs the network for strongly compressed sources, at ×3 that for lightly compressed
#: ones, at ×4 that for clean ones.
LIMITS = {2: Limits(-1e9, -1e9), 3: Limits(-1e9, 1e9), 4: Limits(1e9, 1e9)}


@pytest.fixture
def a_level_for_each_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Quantizers("a codec", 255, LIMITS)
    for name in ("_JPEG_FILES", "_JPEG_ALONE"):
        monkeypatch.setattr(restore, name, known)
    monkeypatch.setattr(webp, "_LIMITS", known)
    monkeypatch.setitem(restore.FILM_QUANTIZERS, "h264", known)


def picture_level(folder: Path, task: Task) -> Any:
    path = written(folder / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)
    planned = plan_picture(open_file(path), folder / "o.png", task).compression
    result = upscale_file(path, folder / "o.png", task).compression
    assert planned == result
    return result and result.level


def pixels_level(folder: Path, task: Task) -> Any:
    decoded = cv2.imread(str(written(folder / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)))
    assert decoded is not None
    cv2.imwrite(str(folder / "b.png"), decoded)
    result = upscale_file(folder / "b.png", folder / "o.png", task).compression
    return result and result.level


def animation_level(folder: Path, task: Task) -> Any:
    from PIL import Image

    frames = [Image.fromarray(np.roll(PICTURE, 8 * number, axis=1)) for number in range(2)]
    frames[0].save(folder / "a.webp", save_all=True, append_images=frames[1:], quality=60)
    result = upscale_animation(open_file(folder / "a.webp"), folder / "b.webp", task).compression
    return result and result.level


def film_level(folder: Path, task: Task) -> Any:
    source = film(folder / "a.mp4", "libx264", {"crf": "30"}, frames=2)
    found = [
        forecast_video(source, folder / "b.mkv", task).compression,
        upscale_video(source, folder / "b.mkv", task).compression,
        film_to_pictures(source, folder / "o%d.png", task).compression,
    ]
    assert len(set(found)) == 1
    return found[0] and found[0].level


def stream_level(folder: Path, task: Task) -> Any:
    decoded = cv2.imread(str(written(folder / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)), 0)
    assert decoded is not None
    stream = io.BytesIO(b"YUV4MPEG2 W112 H96 F25:1 Ip A1:1 Cmono\nFRAME\n" + decoded.tobytes())
    result = upscale_y4m(stream, io.BytesIO(), task).compression
    return result and result.level


def self_test_level(folder: Path, task: Task) -> Any:
    path = written(folder / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)
    scale = task.options.target.scale
    assert scale is not None
    return compare_self(path, int(scale), task.upscaler)[0].compression.level


@pytest.mark.usefixtures("a_level_for_each_scale")
@pytest.mark.parametrize("scale", LEVELS)
@pytest.mark.parametrize(
    "level_of", [picture_level, pixels_level, animation_level, film_level, stream_level, self_test_level]
)
def test_each_scale_has_limits_of_its_own(
    tmp_path: Path, upscaler: Upscaler, level_of: Callable[[Path, Task], Any], scale: int
) -> None:
    options = PictureOptions(target=Target(scale=scale))
    assert level_of(tmp_path, Task(options=options, upscaler=upscaler)) == LEVELS[scale]


@pytest.mark.usefixtures("a_level_for_each_scale")
@pytest.mark.parametrize(
    ("target", "scale"),
    [
        (Target(scale=1.5), 2),
        (Target(scale=6), 2),  # ×2, then ×3
        (Target(scale=9), 3),
        (Target(width=300), 3),
        (Target(height=340), 4),
        (Target(width=113, height=360), 4),
    ],
)
def test_the_first_network_decides(tmp_path: Path, upscaler: Upscaler, target: Target, scale: int) -> None:
    path = written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)
    result = upscale_file(
        path, tmp_path / "o.png", Task(options=PictureOptions(target=target), upscaler=upscaler)
    )
    assert result.compression is not None
    assert result.compression.level == LEVELS[scale]
    first = {"strong": "strong_xlsr_x2", "light": "light_xlsr_x3", "off": "xlsr_x4"}[LEVELS[scale]]
    assert result.models[0] == f"{first}_rgb_int8"


@pytest.mark.usefixtures("a_level_for_each_scale")
@pytest.mark.parametrize(("scale", "level"), [(1, "strong"), (3, "light"), (5, "off"), (8, "off")])
def test_models_of_other_scales_can_be_compared(
    tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch, scale: int, level: str
) -> None:
    path = written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 60)
    monkeypatch.setattr(Upscaler, "first_scale", lambda *_: scale)  # as of a foreign model
    assert compare_self(path, 2, upscaler)[0].compression.level == level


@pytest.mark.usefixtures("a_level_for_each_scale")
@pytest.mark.parametrize("scale", LEVELS)
def test_arrays_follow_the_limits_of_their_scale(upscaler: Upscaler, used: list[str], scale: int) -> None:
    encoded = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    upscaler(decoded, size=(112 * scale, 96 * scale))
    level = {"off": ""}.get(LEVELS[scale], f"{LEVELS[scale]}_")
    assert used == [f"{level}xlsr_x{scale}_rgb_int8"]


@pytest.mark.usefixtures("a_level_for_each_scale")
@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_film_that_is_turned_upright_goes_through_the_networks_that_are_named(
    tmp_path: Path, upscaler: Upscaler, used: list[str], suffix: str
) -> None:
    source = clips.make(tmp_path / "a.mp4", frames=2, rotation=90)
    task = Task(video=VideoOptions(reuse=False), upscaler=upscaler)
    named = forecast_video(source, tmp_path / f"b{suffix}", task)
    used.clear()
    result = upscale_video(source, tmp_path / f"b{suffix}", task)
    assert named.models == ("strong_xlsr_x2_luma_int8",)
    assert set(used) == {"strong_xlsr_x2_luma_int8"}
    assert named.compression == result.compression


def test_a_batch_says_it_of_every_file(tmp_path: Path, upscaler: Upscaler) -> None:
    path = written(tmp_path / "a.jpg", cv2.IMWRITE_JPEG_QUALITY, 72)
    job = Job(folder=path.parent, out=tmp_path / "out", name="a.jpg", target="a.png")
    computed = compute(Item(job=job, known=None), recipe_for(PictureOptions(), VideoOptions()), upscaler)
    assert computed.entry.reason == "JPEG, about quality 72: strong"
