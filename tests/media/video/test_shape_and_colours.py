"""The shape of pixels, the tags of colours and the rotation are kept, or told."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.jobs.video.films import codes, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.options import Target


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "ffv1"])
def test_aspect_and_colour_tags_are_kept(tmp_path: Path, upscaler: Upscaler, codec: str) -> None:
    tags = (5, 4, 5, 1)  # BT.470 BG primaries, gamma 2.2, BT.470 BG matrix, limited range
    source = clips.make(
        tmp_path / "in.mkv", frames=3, width=64, height=64, aspect=Fraction(64, 45), tags=tags
    )
    result = run(source, tmp_path / "out.mkv", upscaler, codec=codec)
    found = clips.summary(result.output)
    assert (found["tags"], found["size"]) == (tags, (128, 128))
    assert found["codec"] == codec
    assert result.codec == codec
    assert found["aspect"] == Fraction(64, 45)
    assert codes(result) == set()


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "h264"), (".mp4", "hevc"), (".mp4", "av1"), (".mp4", "vp9"), (".mkv", "vp9"),
        (".mkv", "av1"), (".mkv", "ffv1"), (".webm", "vp9"), (".webm", "av1"), (".ts", "h264"),
        (".mov", "hevc"), (".avi", "h264"),
    ],
)  # fmt: skip
def test_the_shape_of_pixels_is_kept(tmp_path: Path, upscaler: Upscaler, suffix: str, codec: str) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, width=64, height=64, aspect=Fraction(64, 45))
    result = run(source, tmp_path / f"out{suffix}", upscaler, codec=codec)
    assert clips.summary(result.output)["aspect"] == Fraction(64, 45)
    assert codes(result) == set()


def test_a_shape_that_cannot_be_kept_is_told(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, width=64, height=64, aspect=Fraction(64, 45))
    assert codes(run(source, tmp_path / "out.avi", upscaler, codec="ffv1")) == {"aspect-dropped"}


@pytest.mark.parametrize("title", [None, "Main ü", "x" * 200])
@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_the_shape_of_pixels_moves_nothing_else(
    tmp_path: Path, upscaler: Upscaler, suffix: str, title: str | None
) -> None:
    """It takes the room of a longer title, which comes through as it was; checksums and seeking hold."""
    audio = [{"codec": "libopus"}]
    plain = clips.make(tmp_path / "plain.mkv", aspect=Fraction(4, 3), frames=40, audio=audio)
    source = tmp_path / "in.mkv"
    with av.open(str(plain)) as given, av.open(str(source), "w") as named:
        streams = [named.add_stream_from_template(stream) for stream in given.streams]
        streams[1].metadata["language"] = "fra"
        if title is not None:
            streams[0].metadata["title"] = title
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                named.mux(packet)
    result = run(source, tmp_path / f"out{suffix}", upscaler, codec="vp9")
    assert codes(result) == set()
    assert clips.summary(result.output)["aspect"] == Fraction(4, 3)
    found = clips.streams(result.output)
    assert found[0].title == (title or "")
    assert (found[1].language, len(found[0].packets)) == ("fra", 40)
    with av.open(str(result.output), options={"err_detect": "crccheck+explode"}) as container:
        container.seek(1_000_000)
        assert next(container.decode(video=0)).key_frame


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv", ".avi"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 2, 2, 1), (9, 16, 9, 1), (1, 1, 1, 2)])
def test_h264_keeps_the_four_tags(tmp_path: Path, upscaler: Upscaler, suffix: str, tags: Any) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, tags=tags)
    run(source, tmp_path / f"out{suffix}", upscaler)
    assert clips.summary(tmp_path / f"out{suffix}")["tags"] == tags


def test_silence_about_colours_stays_silence(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mp4", frames=2)
    run(source, tmp_path / "out.mp4", upscaler)
    assert clips.summary(tmp_path / "out.mp4")["tags"] == (2, 2, 2, 0)


def test_both_sides_of_an_anamorphic_video_keep_its_shape(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=1, width=72, height=58, aspect=Fraction(64, 45))
    result = run(source, tmp_path / "out.mkv", upscaler, target=Target(width=192, height=108))
    assert float(clips.summary(result.output)["aspect"]) == pytest.approx(
        72 * 64 / 45 / 58 / (192 / 108), rel=1e-3
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_rotation_is_kept(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    source = clips.make(tmp_path / "in.mp4", frames=2, rotation=90)
    result = run(source, tmp_path / f"out{suffix}", upscaler, target=Target(width=64))
    frame = clips.frames(result.output)[0]
    assert (frame.width, frame.height, frame.rotation) == (96, 64, 90)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_where_a_rotation_cannot_be_kept_frames_are_upright(
    tmp_path: Path, upscaler: Upscaler, degrees: int
) -> None:
    source = clips.make(tmp_path / "in.mp4", frames=2, rotation=degrees, aspect=Fraction(4, 3))
    result = run(source, tmp_path / "out.ts", upscaler)
    stored, frame = clips.frames(source)[0], clips.frames(result.output)[0]
    upright = np.rot90(clips.plane(stored), degrees // 90)
    answer = upscaler(np.ascontiguousarray(upright))
    assert np.abs(clips.plane(frame).astype(int) - answer).mean() < 3  # as near as H.264 comes
    assert frame.rotation == 0
    aspect = Fraction(4, 3) if degrees == 180 else Fraction(3, 4)
    assert clips.summary(result.output)["aspect"] == aspect


def test_a_rotation_that_is_none_is_left_out(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mp4", frames=2, matrix=[0, 0, 0, 0, 0, 0, 0, 0, 1 << 30])
    result = run(source, tmp_path / "out.mp4", upscaler)
    assert codes(result) == {"rotation-invalid"}
    assert clips.frames(result.output)[0].rotation == 0


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_ffprobe_agrees(tmp_path: Path, upscaler: Upscaler) -> None:
    import json

    def probe(path: Path) -> list[dict[str, Any]]:
        words = "stream=codec_type,sample_aspect_ratio,color_range,color_space,color_transfer,color_primaries"
        command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", f"{words},nb_read_frames"]
        answer = subprocess.run([*command, "-of", "json", str(path)], capture_output=True, check=True)
        return list(json.loads(answer.stdout)["streams"])

    source = clips.make(tmp_path / "in.mp4", audio=[{}], tags=(1, 1, 1, 1), aspect=Fraction(8, 9))
    result = run(source, tmp_path / "out.mp4", upscaler)
    assert probe(result.output) == probe(source)
