"""Whatever a video file holds is in the output: streams, times, shape, colours, chapters, metadata."""

from __future__ import annotations

import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideDataType

from tests.jobs.video.films import codes, run
from tests.media.video import clips
from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, NotKeptError, OutputError, UsageError, XlsrError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.inspect import inspect
from xlsr_cli.media.video.truncation import missing_bytes
from xlsr_cli.options import EngineOptions, Size, Target, VideoCodec

DEFAULT, FORCED, COMMENT = 1, 64, 8


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(threads=1)


# Streams


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts"])
def test_every_other_stream_is_copied(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    rich = suffix == ".mkv"
    source = clips.make(
        tmp_path / f"in{suffix}",
        audio=[
            {"language": "eng", "disposition": 0, "late": 0.2},
            {"codec": "ac3", "language": "fra", "title": "Commentary", "disposition": DEFAULT | COMMENT},
        ],
        subtitles=[{"language": "jpn", "disposition": FORCED}] if rich else [],
        attachments=[("Foo Bär.ttf", "application/x-truetype-font", b"\0\1\0\0 font")] if rich else [],
        chapters=[] if suffix == ".ts" else [(0, 200, "One"), (200, 480, "Zwei ü")],
        metadata={} if suffix == ".ts" else {"title": "My film", "comment": "漢字"},
    )
    result = run(source, tmp_path / f"out{suffix}", upscaler)
    assert codes(result) == set()
    before, after = clips.streams(source), clips.streams(result.output)
    assert [s.kind for s in before] == [s.kind for s in after]
    for old, new in zip(before[1:], after[1:], strict=True):
        assert (new.codec, new.language, new.title) == (old.codec, old.language, old.title)
        assert new.disposition == old.disposition
        assert [p[0] for p in new.packets] == [p[0] for p in old.packets]
        assert [p[1] for p in new.packets] == pytest.approx([p[1] for p in old.packets], abs=0.001)
    assert after[0].disposition == before[0].disposition
    then, now = clips.summary(source), clips.summary(result.output)
    assert now["chapters"] == then["chapters"]
    assert now["metadata"].items() >= {
        (key, value) for key, value in then["metadata"].items() if key.lower() != "encoder"
    }
    assert clips.times(result.output) == pytest.approx(clips.times(source), abs=0.001)
    if rich:
        with av.open(str(result.output)) as container:
            assert container.streams.attachments[0].data == b"\0\1\0\0 font"
            assert container.streams.attachments[0].name == "Foo Bär.ttf"


def test_a_cover_stays_a_cover(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", attachments=[("cover.png", "image/png", _png())])
    result = run(source, tmp_path / "out.mkv", upscaler)
    before, after = clips.streams(source), clips.streams(result.output)
    assert codes(result) == set()
    assert [(s.kind, s.disposition) for s in after] == [(s.kind, s.disposition) for s in before]
    assert after[1].packets[0][0] == before[1].packets[0][0]


@pytest.mark.parametrize("suffix", [".mov", ".ts", ".webm"])
def test_a_cover_that_has_no_place_is_told(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    source = clips.make(tmp_path / "in.mkv", attachments=[("cover.png", "image/png", _png())])
    result = run(source, tmp_path / f"out{suffix}", upscaler)
    assert codes(result) == {"stream-dropped"}
    assert [s.kind for s in clips.streams(result.output)] == ["video"]


def test_a_transport_stream_would_take_everything_as_data(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(
        tmp_path / "in.mkv",
        audio=[{}],
        subtitles=[{"language": "jpn"}],
        attachments=[("a.ttf", "font/ttf", b"font")],
        metadata={"title": "My film"},
    )
    result = run(source, tmp_path / "out.ts", upscaler)
    told = [(notice.code, notice.message) for notice in result.notices]
    assert [code for code, _ in told] == ["stream-dropped", "stream-dropped", "metadata-dropped"]
    assert "title" in told[2][1]
    assert [s.kind for s in clips.streams(result.output)] == ["video", "audio"]


@pytest.mark.parametrize(("suffix", "kept"), [(".mov", True), (".mp4", True), (".mkv", True), (".ts", False)])
def test_a_time_code_is_kept_or_told(tmp_path: Path, upscaler: Upscaler, suffix: str, kept: bool) -> None:
    source = clips.make(tmp_path / "in.mov", metadata={"timecode": "01:02:03:04"})
    result = run(source, tmp_path / f"out{suffix}", upscaler)
    assert codes(result) - {"metadata-dropped"} == (set() if kept else {"timecode-dropped"})
    with av.open(str(result.output)) as container:
        found = {key.lower(): value for key, value in container.streams.video[0].metadata.items()}
    assert found.get("timecode") == ("01:02:03:04" if kept else None)


def test_m2ts_has_a_time_before_every_packet(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", audio=[{"codec": "ac3", "language": "fra"}])
    output = run(source, tmp_path / "out.m2ts", upscaler).output
    assert set(output.read_bytes()[4::192]) == {0x47}
    before, after = clips.streams(source), clips.streams(output)
    assert [p[0] for p in after[1].packets] == [p[0] for p in before[1].packets]
    assert after[1].language == "fra"
    assert clips.times(output) == pytest.approx(clips.times(source), abs=0.001)


def test_programs_of_a_transport_stream_are_told(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.ts", frames=4)
    assert inspect(source).programs == 1
    data = bytearray(source.read_bytes())
    table = data.index(b"\x47\x40\x00")  # packet 0 of the table: one entry more, and a checksum to fit
    begin = table + 5
    section = bytes(data[begin : begin + 3 + data[begin + 2] - 4])
    longer = section[:2] + bytes([section[2] + 4]) + section[3:] + section[8:12]
    longer = longer[:-3] + bytes([2]) + longer[-2:]  # the number of the second program
    longer += clips.mpeg_crc(longer)
    for at in range(0, len(data), 188):
        if data[at + 1] & 0x1F == 0 and data[at + 2] == 0:
            data[at + 5 : at + 5 + len(longer)] = longer
    source.write_bytes(data)
    assert inspect(source).programs == 2
    assert codes(run(source, tmp_path / "out.ts", upscaler)) == {"programs-merged"}


def _png() -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1])


def test_what_a_container_does_not_hold_is_told_before_the_work(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(
        tmp_path / "in.mkv",
        subtitles=[{"language": "jpn"}],
        attachments=[("a.ttf", "font/ttf", b"font")],
        audio=[{}],
    )
    with pytest.raises(NotKeptError, match=r"in\.mkv: stream 2 \(subtitle, srt, jpn\) .*stream-dropped"):
        run(source, tmp_path / "out.mp4", upscaler, strict=True, copy_only=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mkv"]
    result = run(source, tmp_path / "out.mp4", upscaler)
    assert codes(result) == {"stream-dropped", "subtitles-converted"}
    assert [s.kind for s in clips.streams(result.output)] == ["video", "audio", "subtitle"]


def test_a_title_that_is_not_utf8_comes_through(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", metadata={"title": "caf\udce9"})
    assert b"caf\xe9" in source.read_bytes()
    result = run(source, tmp_path / "out.mkv", upscaler)
    assert clips.summary(result.output)["metadata"]["title"] == "caf\udce9"


@pytest.mark.parametrize("name", ["a:b ñ 漢字 🎬.mp4", "-x.mp4", "http:x.mp4", "%05d.mp4"])
def test_any_name_will_do(tmp_path: Path, upscaler: Upscaler, name: str) -> None:
    source = clips.make(tmp_path / "plain.mp4", frames=2).rename(tmp_path / name)
    assert run(source, tmp_path / f"out {name}", upscaler).frames == 2


# Times


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
    with pytest.raises(UsageError, match="behind the end"):
        run(source, tmp_path / f"no{suffix}", upscaler, start=9.0)


# Shape and colours


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


# Pixels


def test_planes_are_upscaled_and_nothing_is_converted(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=3, encoder="ffv1", tags=(1, 1, 1, 1))
    result = run(source, tmp_path / "out.mkv", upscaler, codec="ffv1")
    for before, after in zip(clips.frames(source), clips.frames(result.output), strict=True):
        np.testing.assert_array_equal(clips.plane(after), upscaler(clips.plane(before)))
        for index in (1, 2):
            chroma = resize(clips.plane(before, index), Size(width=48, height=32), siting=(0.25, 0.0))
            np.testing.assert_array_equal(clips.plane(after, index), chroma)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe is not installed")
def test_chroma_stays_where_it_lies(tmp_path: Path, upscaler: Upscaler, codec: str) -> None:
    for encoder, place in (("mjpeg", "center"), ("libx264", "left")):
        pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        source = clips.make(tmp_path / f"{encoder}.mkv", frames=2, encoder=encoder, pix_fmt=pix_fmt)
        output = run(source, tmp_path / f"{encoder}.mp4", upscaler, codec=codec).output
        words = ["-select_streams", "v", "-show_entries", "stream=chroma_location", "-of", "csv=p=0"]
        said = subprocess.run(
            ["ffprobe", "-v", "error", *words, str(output)], capture_output=True, check=True
        )
        assert said.stdout.decode().strip() in ((place, "unspecified") if place == "left" else (place,))


@pytest.mark.parametrize(
    ("pix_fmt", "written"),
    [
        ("yuv422p", "yuv422p"),
        ("yuv444p", "yuv444p"),
        ("gray", "gray"),
        ("yuv411p", "yuv411p"),
        ("yuva420p", "yuva420p"),
        ("gbrp10le", "gbrp10le"),
        ("yuv422p12le", "yuv422p12le"),
        ("gray16le", "gray16le"),
    ],
)
def test_ffv1_keeps_the_pixel_format(tmp_path: Path, upscaler: Upscaler, pix_fmt: str, written: str) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, encoder="ffv1", pix_fmt=pix_fmt)
    result = run(source, tmp_path / "out.mkv", upscaler, codec="ffv1")
    assert clips.summary(result.output)["pix_fmt"] == result.pix_fmt == written
    assert codes(result) == set()
    before, after = clips.frames(source)[0], clips.frames(result.output)[0]
    for index in range(len(before.planes)):
        small, large = clips.plane(before, index), clips.plane(after, index)
        assert abs(float(small.mean()) - float(large.mean())) < 0.02 * float(small.mean())


def test_ten_bits_stay_ten_bits(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, encoder="ffv1", pix_fmt="yuv420p10le")
    result = run(source, tmp_path / "out.mkv", upscaler, codec="ffv1")
    luma = clips.plane(clips.frames(result.output)[0])
    assert luma.max() <= 1023
    assert len(np.unique(luma % 4)) == 4  # cut to 8 bits, the lowest two would repeat the highest
    assert run(source, tmp_path / "out.mp4", upscaler).codec == "hevc"
    with pytest.raises(UsageError, match="cannot hold 10 bits"):
        run(source, tmp_path / "no.mkv", upscaler, codec="vp9")
    cut = run(source, tmp_path / "cut.mkv", upscaler, codec="h264", pix_fmt="yuv420p")
    assert (codes(cut), cut.pix_fmt) == ({"depth-reduced"}, "yuv420p")


@pytest.mark.parametrize("codec", ["hevc", "h264", "av1"])
def test_hdr10_metadata_stay_in_the_bitstream(tmp_path: Path, upscaler: Upscaler, codec: str) -> None:
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    source = clips.make(
        tmp_path / "in.mkv",
        frames=2,
        width=64,
        height=64,
        encoder="libx265",
        pix_fmt="yuv420p10le",
        tags=(9, 16, 9, 1),
        options={"x265-params": f"log-level=none:master-display={display}:max-cll=1000,400"},
    )
    result = run(source, tmp_path / "out.mp4", upscaler, codec=codec)
    wanted = _hdr(clips.frames(source)[0])
    assert len(wanted) == 12
    assert _hdr(clips.frames(result.output)[0]) == pytest.approx(wanted, rel=2e-3)
    assert clips.summary(result.output)["tags"] == (9, 16, 9, 1)
    lost = run(source, tmp_path / "out.mkv", upscaler, codec="ffv1")
    assert codes(lost) == {"hdr-dropped"}


def _hdr(frame: av.VideoFrame) -> list[float]:
    """Ten numbers of the mastering display and two of the light level."""
    data = {side.type: bytes(side) for side in pyav.side_data(frame)}
    numbers = np.frombuffer(data.get(SideDataType.MASTERING_DISPLAY_METADATA, b""), np.int32)[:20]
    light = np.frombuffer(data.get(SideDataType.CONTENT_LIGHT_LEVEL, b""), np.uint32)[:2]
    return [*(numbers[0::2] / numbers[1::2]).tolist(), *light.astype(float).tolist()]


def test_rgb_shifts_no_colour(tmp_path: Path) -> None:
    upscaler = Upscaler(threads=1, color="rgb")
    for matrix in (1, 5, 9):
        for span in (1, 2):
            source = clips.make(
                tmp_path / f"{matrix}{span}.mkv",
                frames=1,
                encoder="ffv1",
                tags=(1, 1, matrix, span),
                pale=True,
            )
            engine = EngineOptions(color="rgb")
            output = tmp_path / f"out{matrix}{span}.mkv"
            run(source, output, upscaler, engine=engine, codec="ffv1")
            before, after = clips.frames(source)[0], clips.frames(output)[0]
            for index in range(3):
                small, large = clips.plane(before, index), clips.plane(after, index)
                assert abs(float(small.mean()) - float(large.mean())) < 1.5


@pytest.mark.parametrize(("width", "height"), [(47, 31), (48, 31), (1, 1), (17, 2)])
@pytest.mark.parametrize("target", [Target(), Target(scale=3), Target(scale=1.7)])
def test_odd_sides(tmp_path: Path, upscaler: Upscaler, width: int, height: int, target: Target) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=1, width=width, height=height, encoder="ffv1")
    result = run(source, tmp_path / "out.mkv", upscaler, target=target)
    asked = target.size_for(Size(width=width, height=height))
    assert (result.size.width, result.size.height) == (-(-asked.width // 2) * 2, -(-asked.height // 2) * 2)
    assert codes(result) == (set() if result.size == asked else {"size-rounded"})


def test_interlaced_video_is_told_and_can_be_made_whole(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=8, options={"x264-params": "tff=1"})
    combed = run(source, tmp_path / "out.mkv", upscaler)
    assert codes(combed) == {"interlaced"}
    whole = run(source, tmp_path / "whole.mkv", upscaler, deinterlace=True)
    assert codes(whole) == set()
    assert clips.times(whole.output) == clips.times(combed.output)
    assert (clips.plane(clips.frames(whole.output)[3]) != clips.plane(clips.frames(combed.output)[3])).any()


def test_tiles_that_do_not_change_are_not_computed_again(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=6, encoder="ffv1", width=160, height=96, still=True)
    kept = run(source, tmp_path / "kept.mkv", upscaler, codec="ffv1")
    fresh = run(source, tmp_path / "fresh.mkv", upscaler, codec="ffv1", reuse=False)
    assert kept.reused > 0
    assert fresh.tiles == fresh.reused == 0
    for one, other in zip(clips.frames(kept.output), clips.frames(fresh.output), strict=True):
        for index in range(3):
            np.testing.assert_array_equal(clips.plane(one, index), clips.plane(other, index))


# What is refused


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
    with pytest.raises(OutputError, match="--overwrite"):
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


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no such policies")
@pytest.mark.parametrize("codec", get_args(VideoCodec))
def test_no_encoder_makes_this_thread_a_real_time_one(tmp_path: Path, upscaler: Upscaler, codec: str) -> None:
    """SVT-AV1 does so, where the process may, and whatever is started later inherits it."""
    before = os.sched_getscheduler(0)
    run(clips.make(tmp_path / "in.mkv"), tmp_path / "out.mkv", upscaler, codec=codec)
    assert os.sched_getscheduler(0) == before
