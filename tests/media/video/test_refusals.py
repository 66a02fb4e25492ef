"""What is damaged or does not go together is one sentence, before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.jobs.video.films import codes, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, NotKeptError, OutputError, UsageError, XlsrError
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.run import VideoResult, upscale_video
from xlsr_cli.media.video.inspect import inspect
from xlsr_cli.media.video.truncation import missing_bytes
from xlsr_cli.options import PictureOptions, Size


def _audio_only(path: Path) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        output.mux([*stream.encode(frame), *stream.encode(None)])


def _encrypted(path: Path) -> None:
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
    clips.make(path, frames=4, muxer=key)


def _no_frames(path: Path) -> None:
    clips.make(path, frames=0)


REFUSED: list[tuple[str, Any, type[XlsrError], str]] = [
    ("noise.mp4", lambda p: p.write_bytes(b"\x93noise" * 999), InputError, "damaged or no video"),
    ("empty.mkv", lambda p: p.write_bytes(b""), InputError, "damaged or no video"),
    ("missing.mp4", lambda p: None, InputError, "no such file"),
    ("sound.mp4", _audio_only, InputError, "no video stream"),
    ("secret.mp4", _encrypted, InputError, "encrypted"),
    ("nothing.mp4", _no_frames, InputError, "no (frame|video)|damaged"),
]


@pytest.mark.parametrize(("name", "build", "error", "says"), REFUSED, ids=[entry[0] for entry in REFUSED])
def test_a_bad_input_is_one_sentence(
    tmp_path: Path, upscaler: Upscaler, name: str, build: Any, error: type[XlsrError], says: str
) -> None:
    build(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=says):
        run(tmp_path / name, tmp_path / "out.mp4", upscaler)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("output", "video", "says"),
    [
        ("out.webm", {"codec": "h264"}, r"cannot hold h264"),
        ("out.mp4", {"codec": "ffv1"}, r"cannot hold ffv1"),
        ("out.xyz", {}, r"no video can be written to \.xyz"),
        ("out.mkv", {"codec": "ffv1", "crf": 3}, "no meaning for ffv1"),
        ("out.mkv", {"crf": 60}, "0 to 51 for h264"),
        ("out.mkv", {"preset": "sloth"}, "no preset 'sloth'"),
        ("out.mkv", {"pix_fmt": "yuv420p12le"}, "cannot be written in yuv420p12le"),
    ],
)
def test_what_does_not_go_together_is_found_at_once(
    tmp_path: Path, upscaler: Upscaler, output: str, video: dict[str, Any], says: str
) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2)
    with pytest.raises(UsageError, match=says):
        run(source, tmp_path / output, upscaler, **video)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mkv"]


def test_an_existing_output_is_not_touched(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2)
    output = tmp_path / "out.mkv"
    output.write_bytes(b"mine")
    with pytest.raises(OutputError, match="overwrite=True"):
        run(source, output, upscaler)
    assert output.read_bytes() == b"mine"
    assert run(source, output, upscaler, overwrite=True).frames == 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_cut_short_gives_what_it_has(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    muxer = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    whole = clips.make(tmp_path / f"whole{suffix}", frames=100, muxer=muxer)
    source = tmp_path / f"in{suffix}"
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = run(source, tmp_path / f"out{suffix}", upscaler)
    assert "truncated" in codes(result)
    assert 20 < result.frames < 80
    assert len(clips.frames(result.output)) == result.frames
    with pytest.raises(NotKeptError, match="truncated"):
        run(source, tmp_path / f"strict{suffix}", upscaler, strict=True)


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mp4"])
def test_a_missing_end_is_seen_in_the_bytes(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    """Where less is missing than headers are usually wrong by."""
    muxer = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    source = clips.make(tmp_path / f"in{suffix}", frames=20, muxer=muxer)
    assert missing_bytes(source) == 0
    whole = source.read_bytes()
    source.write_bytes(whole[:-3000])
    assert missing_bytes(source) == 3000
    assert "truncated" in codes(run(source, tmp_path / "out.mkv", upscaler))
    source.write_bytes(whole + b"something that somebody added")
    assert missing_bytes(source) == 0


class TestTooManyPixels:
    """Refused by what the header claims, and by the decoder where only the frames tell."""

    BOUND = 1_000_000

    def test_a_header_that_lies(self, tmp_path: Path) -> None:
        data = bytearray(clips.make(tmp_path / "a.avi", encoder="utvideo", frames=2).read_bytes())
        at = data.index(b"strf") + 12
        data[at : at + 8] = (10_000).to_bytes(4, "little") * 2
        source = tmp_path / "b.avi"
        source.write_bytes(data)
        with pytest.raises(InputError, match=r"b\.avi: 10000x10000 is more than max_pixels 1000000; raise"):
            upscale(source, tmp_path / "o.mkv", max_pixels=self.BOUND)

    def test_a_film_that_is_too_large(self, tmp_path: Path) -> None:
        source = clips.make(tmp_path / "a.mkv", width=1200, height=900, frames=1)
        with pytest.raises(InputError, match=r"1200x900 is more than max_pixels 1000000"):
            upscale(source, tmp_path / "o.mkv", max_pixels=self.BOUND)
        assert inspect(source, max_pixels=1200 * 900).size == Size(width=1200, height=900)

    def test_frames_that_grow_on_the_way_are_not_decoded(self, tmp_path: Path) -> None:
        small = clips.make(tmp_path / "a.mjpeg", encoder="mjpeg", pix_fmt="yuvj420p", frames=3).read_bytes()
        large = clips.make(
            tmp_path / "b.mjpeg", encoder="mjpeg", pix_fmt="yuvj420p", frames=1, width=4000, height=3000
        )
        source = tmp_path / "c.mjpeg"
        source.write_bytes(small + large.read_bytes())
        result = upscale(source, tmp_path / "o.mkv", max_pixels=self.BOUND)
        assert result.frames == 3
        assert "frames-damaged" in {notice.code for notice in result.notices}
        whole = upscale(source, tmp_path / "p.mkv", max_pixels=1 << 28)
        assert whole.frames == 4


def upscale(source: Path, output: Path, *, max_pixels: int) -> VideoResult:
    """Enlarge with the usual options and this bound."""
    options = PictureOptions(max_pixels=max_pixels)
    return upscale_video(source, output, Task(options=options, upscaler=Upscaler(threads=1)))
