"""Every stream beside the video, names and covers: copied, or told."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.jobs.video.films import codes, run
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import NotKeptError
from xlsr_cli.media.video.inspect import inspect

DEFAULT, FORCED, COMMENT = 1, 64, 8


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
