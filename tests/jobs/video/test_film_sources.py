"""Films of every container and of none, whole or cut: read, and written to the container that holds most."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.jobs.video.films import FIXTURES, run
from tests.jobs.video.test_film_times import seconds, tracks
from tests.media.video import clips
from xlsr_cli.cli.app import main
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.formats import HEAD_BYTES
from xlsr_cli.media.sniff import kind_of
from xlsr_cli.media.video.demux import is_film, packets_of

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

#: Name, words for FFmpeg, frames that are expected.
BARE = [
    ("a.h264", ["-c:v", "libx264"]),
    ("b.264", ["-c:v", "libx264", "-f", "h264", "-bsf:v", "h264_metadata=aud=insert"]),
    ("a.hevc", ["-c:v", "libx265", "-x265-params", "log-level=none"]),
    ("b.265", ["-c:v", "libx265", "-x265-params", "log-level=none:aud=1", "-f", "hevc"]),
    ("a.obu", ["-c:v", "libaom-av1", "-cpu-used", "8"]),
    ("a.mjpeg", ["-c:v", "mjpeg"]),
    ("a.m1v", ["-c:v", "mpeg1video", "-f", "mpeg1video"]),
    ("a.m2v", ["-c:v", "mpeg2video", "-f", "mpeg2video"]),
    ("a.m4e", ["-c:v", "mpeg4", "-f", "m4v"]),
]
CONTAINERS = ["wmv", "flv", "mpg", "vob", "mxf", "ogv", "asf", "nut", "f4v", "mts"]


def film(
    path: Path, *words: str, size: str = "96x64", rate: str = "25", sound: bool = False, frames: int = 6
) -> Path:
    """``frames``, or with ``sound`` a quarter of a second, made with ffmpeg."""
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}"]
    command += ["-f", "lavfi", "-i", "sine=r=48000", "-t", "0.24"] if sound else ["-frames:v", str(frames)]
    subprocess.run([*command, *words, str(path)], check=True)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(("name", "words"), BARE, ids=[name for name, _ in BARE])
def test_bare_streams_are_read(tmp_path: Path, upscaler: Upscaler, name: str, words: list[str]) -> None:
    source = film(tmp_path / name, *words)
    assert kind_of(source.read_bytes()[:HEAD_BYTES], name) == "video"
    result = run(source, tmp_path / "o.mkv", upscaler, strict=True)
    assert result.frames == 6
    assert clips.times(result.output) == pytest.approx([n / 25 for n in range(6)], abs=0.0011)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("size", "rate", "pix_fmt"), [("720x576", "25", "yuv420p"), ("720x480", "30000/1001", "yuv411p")]
)
def test_dv_is_read(tmp_path: Path, upscaler: Upscaler, size: str, rate: str, pix_fmt: str) -> None:
    source = film(tmp_path / "a.dv", "-c:v", "dvvideo", "-pix_fmt", pix_fmt, size=size, rate=rate)
    assert kind_of(source.read_bytes()[:HEAD_BYTES]) == "video"
    assert run(source, tmp_path / "o.mkv", upscaler, frames=1).pix_fmt == (
        "yuv422p" if "411" in pix_fmt else pix_fmt
    )


@pytest.mark.parametrize(("name", "frames"), [("a.hevc", 30), ("es.h264", 30)])
def test_the_bare_streams_among_the_fixtures(
    tmp_path: Path, upscaler: Upscaler, name: str, frames: int
) -> None:
    result = run(FIXTURES / name, tmp_path / "o.mkv", upscaler, strict=True)
    assert result.frames == len(clips.frames(FIXTURES / name))


@pytest.mark.parametrize("cut", [1, 47, 100, 187, 1000])
@pytest.mark.parametrize("name", ["ts_2997.ts", "aac.m2ts", "mpeg2_to_mp4.ts"])
def test_a_transport_stream_may_begin_in_the_middle_of_a_packet(
    tmp_path: Path, upscaler: Upscaler, name: str, cut: int
) -> None:
    source = tmp_path / name
    source.write_bytes((FIXTURES / name).read_bytes()[cut:])
    assert kind_of(source.read_bytes()[:HEAD_BYTES]) == "video"
    if cut == 100:
        assert run(source, tmp_path / "o.mkv", upscaler).frames > 5


@needs_ffmpeg
def test_a_program_stream_may_begin_in_the_middle(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mpg", size="320x240", frames=50)
    source.write_bytes(source.read_bytes()[777:])
    assert kind_of(source.read_bytes()[:HEAD_BYTES]) == "unknown"
    assert is_film(source)


def test_what_is_no_film_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no film\n" * 1000)
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 300)
    assert not is_film(tmp_path / "a.txt")
    assert not is_film(tmp_path / "a.bin")
    jpeg = b"\xff\xd8\xff\xe0"
    assert (kind_of(jpeg, "a.jpg"), kind_of(jpeg, "a.mjpeg")) == ("picture", "video")


@needs_ffmpeg
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_what_has_no_container_of_its_own_becomes_matroska(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = film(tmp_path / f"a.{suffix}", sound=True)
    assert main(["upscale", source.name]) == 0
    output = next(tmp_path.glob("a_x2.*"))
    if output.suffix == ".mkv":
        assert f".{suffix} is not written; the result is a_x2.mkv" in capsys.readouterr().err
    else:
        assert output.suffix == f".{suffix}"
    before, after = tracks(source), tracks(output)
    assert sorted(track.kind for track in after) == sorted(track.kind for track in before)
    video = next(track for track in after if track.kind == "video")
    assert len(seconds(video)) == len(clips.frames(source))


@needs_ffmpeg
def test_fragments_at_29_97(tmp_path: Path, upscaler: Upscaler) -> None:
    words = ["-g", "2", "-movflags", "frag_keyframe+empty_moov"]
    source = film(tmp_path / "a.mp4", *words, rate="30000/1001", sound=True)
    result = run(source, tmp_path / "o.mp4", upscaler, strict=True)
    assert clips.times(result.output) == pytest.approx(clips.times(source), abs=0.0001)


@needs_ffmpeg
def test_a_stream_may_have_the_number_of_the_muxer_s_table(tmp_path: Path, upscaler: Upscaler) -> None:
    source = film(tmp_path / "a.ts", "-mpegts_start_pid", "4096", "-mpegts_pmt_start_pid", "256", sound=True)
    assert run(source, tmp_path / "o.ts", upscaler, strict=True).frames == 6


def test_streams_that_begin_on_the_way_are_counted() -> None:
    """A transport stream may have new streams behind what FFmpeg looks at; PyAV has no object for them."""

    class Container:
        """Gives packets 0 to 5, of which 2 and 3 are of a stream that nobody knows."""

        packets = iter(range(6))
        file = None

        def demux(self) -> Iterator[Any]:
            for number in self.packets:
                if number in (2, 3):
                    raise IndexError("list index out of range")
                yield SimpleNamespace(
                    size=1, number=number, stream_index=0, time_base=None, pts=None, dts=None, duration=0
                )

    unknown: list[int] = []
    container: Any = Container()
    numbers = [packet.number for packet in packets_of(container, lambda: unknown.append(1))]
    assert (numbers, len(unknown)) == ([0, 1, 4, 5], 2)
