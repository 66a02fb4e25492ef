"""What films hold beside frames, sound and text: kept, or named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.jobs.video.films import FIXTURES, codes, lost, run
from tests.jobs.video.test_film_looks import facts
from tests.jobs.video.test_film_times import tracks
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import NotKeptError
from xlsr_cli.media.video.tags import carries_captions
from xlsr_cli.options import VideoCodec

# Captions


@pytest.mark.parametrize(
    ("codec", "kept"), [("h264", True), ("hevc", True), ("av1", False), ("vp9", False), ("ffv1", False)]
)
def test_captions_are_kept_or_named(
    tmp_path: Path, upscaler: Upscaler, codec: VideoCodec, kept: bool
) -> None:
    result = run(FIXTURES / "cc608.mp4", tmp_path / "o.mkv", upscaler, codec=codec)
    assert lost(result) == (set() if kept else {"captions-dropped"})
    before = [carries_captions(frame) for frame in clips.frames(FIXTURES / "cc608.mp4")]
    after = [carries_captions(frame) for frame in clips.frames(result.output)]
    assert after == (before if kept else [False] * len(before))


def test_captions_that_begin_later_are_named_too(tmp_path: Path, upscaler: Upscaler) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as output:
        stream: Any = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 192, 108, "yuv420p"
        for number, frame in enumerate(clips.frames(FIXTURES / "cc608.mp4")):
            given = frame if number > 5 else av.VideoFrame(192, 108, "yuv420p")
            given.pts, given.time_base, given.pict_type = number, Fraction(1, 30), 0
            output.mux(stream.encode(given))
        output.mux(stream.encode(None))
    assert not carries_captions(clips.frames(source)[0])
    assert lost(run(source, tmp_path / "o.mkv", upscaler, codec="ffv1")) == {"captions-dropped"}
    with pytest.raises(NotKeptError, match="captions"):
        run(source, tmp_path / "strict.mkv", upscaler, codec="ffv1", strict=True)


# Transport streams


def _television(path: Path) -> Path:
    return clips.make(path, frames=5, metadata={"service_name": "Kanal Süd", "service_provider": "ÖR"})


def test_the_names_of_a_service_are_kept(tmp_path: Path, upscaler: Upscaler) -> None:
    source = _television(tmp_path / "in.ts")
    names = {"service_name": "Kanal Süd", "service_provider": "ÖR"}
    assert facts(source).service == names
    result = run(source, tmp_path / "o.ts", upscaler, strict=True)
    assert facts(result.output).service == names
    kept = run(source, tmp_path / "o.mkv", upscaler, strict=True)
    metadata = {key.lower(): value for key, value in clips.summary(kept.output)["metadata"].items()}
    assert names.items() <= metadata.items()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_where_they_have_no_place_they_are_named(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    result = run(_television(tmp_path / "in.ts"), tmp_path / f"o{suffix}", upscaler)
    assert lost(result) == {"metadata-dropped"}
    assert "service_name" in str(result.notices)


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_cues_of_advertisements_are_named(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    """SCTE-35: FFmpeg's muxer of transport streams would take them, as data that no reader knows."""
    source = tmp_path / "in.ts"
    source.write_bytes(_with_cues((FIXTURES / "gop.ts").read_bytes()))
    assert [track.codec for track in tracks(source)] == ["h264", "scte_35"]
    result = run(source, tmp_path / f"o{suffix}", upscaler, frames=10)
    assert lost(result) == {"stream-dropped"}
    assert "scte_35" in str(result.notices)
    assert [track.codec for track in tracks(result.output)] == ["h264"]


_CUE_PID, _TABLE_PID = 0x1F0, 0x1000
_CUE = bytes.fromhex("fc302500000000000000fff01405000000017feffe2d142b00fe0123d3080001010100007f157a49")


def _with_cues(film: bytes) -> bytes:
    """A transport stream of one program with a stream of splice information (SCTE 35) in it."""
    packets = [bytearray(film[at : at + 188]) for at in range(0, len(film), 188)]
    answer = b""
    for number, packet in enumerate(packets):
        if (packet[1] & 0x1F) << 8 | packet[2] == _TABLE_PID:
            packet[5:] = _with_cue_stream(packet[5:]).ljust(183, b"\xff")
        answer += packet
        if number in (10, 200):
            head = bytes([0x47, 0x40 | _CUE_PID >> 8, _CUE_PID & 255, 0x10 | number // 200, 0])
            answer += (head + _CUE).ljust(188, b"\xff")
    return answer


def _with_cue_stream(table: bytes) -> bytes:
    """A table of the program's streams (ISO/IEC 13818-1, 2.4.4.8) with one more in it."""
    end = 3 + ((table[1] & 0x0F) << 8 | table[2]) - 4
    described = 12 + ((table[10] & 0x0F) << 8 | table[11])
    stream = bytes([0x86, 0xE0 | _CUE_PID >> 8, _CUE_PID & 255, 0xF0, 0])
    head = table[3:10] + bytes([0xF0, described - 12 + 6]) + table[12:described] + b"\x05\x04CUEI"
    body = head + table[described:end] + stream
    section = bytes([table[0], 0xB0, len(body) + 4]) + body
    return section + clips.mpeg_crc(section)


# Transparency


def test_the_transparency_of_webm_goes_into_ffv1(tmp_path: Path, upscaler: Upscaler) -> None:
    source = FIXTURES / "vp9alpha.webm"
    result = run(source, tmp_path / "o.mkv", upscaler, codec="ffv1", strict=True)
    assert result.pix_fmt == "yuva420p"
    with av.open(str(source)) as container:
        decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
        frame = next(iter(decoder.decode(next(container.demux(video=0)))))
    before, after = clips.plane(frame, 3), clips.plane(clips.frames(result.output)[0], 3)
    assert np.ptp(before) > 200
    assert np.abs(after[::2, ::2].astype(int) - before).mean() < 6


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_elsewhere_it_is_named(tmp_path: Path, upscaler: Upscaler, codec: VideoCodec) -> None:
    result = run(FIXTURES / "vp9alpha.webm", tmp_path / "o.mkv", upscaler, codec=codec, frames=2)
    assert codes(result) == {"alpha-dropped"}


# Colour tags


def test_colours_that_a_container_does_not_say_are_named(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, tags=(9, 16, 9, 2))
    result = run(source, tmp_path / "o.avi", upscaler, codec="ffv1")
    assert lost(result) == {"color-dropped"}
    assert "primaries, transfer, matrix, range" in str(result.notices)
    assert lost(run(source, tmp_path / "o.mkv", upscaler, codec="ffv1")) == set()


# Frames made whole


def test_a_size_that_changes_can_be_deinterlaced(tmp_path: Path, upscaler: Upscaler) -> None:
    source = FIXTURES / "reschange.ts"
    result = run(source, tmp_path / "o.mp4", upscaler, deinterlace=True)
    assert result.frames == len(clips.frames(source))
