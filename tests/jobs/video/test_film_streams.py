"""What becomes of sound and subtitles: copied where the container takes them, else converted, else told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.jobs.video.films import FIXTURES, codes, lost, run
from tests.jobs.video.test_film_times import seconds, tracks
from tests.media.video import clips
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import NotKeptError
from xlsr_cli.media.video import pyav

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
SUBTITLES = "1\n00:00:00,200 --> 00:00:00,600\nHello <i>World</i>\n\n2\n00:00:00,700 --> 00:00:00,900\nZwei\n"


def made(path: Path, *words: str, subtitles: bool = False) -> Path:
    """A second of film with the sound that ``words`` ask FFmpeg for."""
    command = ["ffmpeg", "-v", "error", "-y"]
    command += ["-f", "lavfi", "-i", "testsrc2=s=48x32:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1:r=48000"]
    if subtitles:
        (path.parent / "lines.srt").write_text(SUBTITLES)
        command += ["-i", str(path.parent / "lines.srt"), "-map", "0", "-map", "1", "-map", "2"]
    subprocess.run([*command, "-strict", "-2", *words, str(path)], check=True)
    return path


@needs_ffmpeg
@pytest.mark.parametrize(
    ("source", "words", "output"),
    [
        ("a.ts", ["-c:a", "truehd", "-ac", "2"], "o.ts"),
        ("a.ts", ["-c:a", "dca", "-ac", "2"], "o.ts"),
        ("a.ts", ["-c:a", "dca", "-ac", "2"], "o.mkv"),
        ("a.m2ts", ["-c:a", "aac"], "o.m2ts"),
        ("a.avi", ["-c:a", "adpcm_ms"], "o.avi"),
        ("a.avi", ["-c:a", "adpcm_ima_wav"], "o.avi"),
        ("a.avi", ["-c:a", "adpcm_ms"], "o.mkv"),
        ("a.avi", ["-c:a", "mp3"], "o.avi"),
        ("a.avi", ["-c:a", "pcm_s16le"], "o.avi"),
        ("a.wmv", ["-c:a", "wmav2"], "o.mkv"),
        ("a.mkv", ["-c:a", "flac"], "o.mp4"),
        ("a.mkv", ["-c:a", "libopus"], "o.webm"),
        ("a.mkv", ["-c:a", "libvorbis"], "o.webm"),
        ("a.mov", ["-c:a", "pcm_s24be"], "o.mkv"),
    ],
)
def test_sound_that_the_container_takes_is_copied(
    tmp_path: Path, upscaler: Upscaler, source: str, words: list[str], output: str
) -> None:
    film = made(tmp_path / source, *words)
    result = run(film, tmp_path / output, upscaler, strict=True)
    before, after = tracks(film)[1], tracks(result.output)[1]
    assert after.codec == before.codec
    assert sum(after.sizes) == sum(before.sizes) or before.codec in ("aac", "pcm_s24be")
    assert seconds(after)[0] == pytest.approx(seconds(before)[0], abs=0.0011)
    assert seconds(after)[-1] == pytest.approx(seconds(before)[-1], abs=0.03)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("source", "words", "output", "becomes", "loss"),
    [
        ("a.mp4", ["-c:a", "aac"], "o.webm", "opus", True),
        ("a.mkv", ["-c:a", "pcm_s16le"], "o.webm", "opus", True),
        ("a.mkv", ["-c:a", "truehd", "-ac", "2"], "o.mp4", "flac", False),
        ("a.mkv", ["-c:a", "libvorbis"], "o.ts", "aac", True),
        ("a.mkv", ["-c:a", "libopus"], "o.avi", "ac3", True),
        ("a.mov", ["-c:a", "pcm_s24be"], "o.avi", "pcm_s24le", False),
        ("a.mkv", ["-c:a", "pcm_s16le"], "o.m2ts", "ac3", True),
    ],
)
def test_sound_that_it_does_not_take_is_coded_again(
    tmp_path: Path, upscaler: Upscaler, source: str, words: list[str], output: str, becomes: str, loss: bool
) -> None:
    language = [] if output.endswith("avi") else ["-metadata:s:a:0", "language=fra"]
    film = made(tmp_path / source, *words, *language)
    result = run(film, tmp_path / output, upscaler)
    assert codes(result) == {"sound-converted"}
    assert lost(result) == ({"sound-converted"} if loss else set())
    before, after = tracks(film)[1], tracks(result.output)[1]
    assert after.codec == becomes
    assert seconds(after)[0] == pytest.approx(seconds(before)[0], abs=0.03)  # an encoder's lead-in
    assert seconds(after)[-1] == pytest.approx(seconds(before)[-1], abs=0.12)
    heard, was = sound(result.output), sound(film)
    assert len(heard) == pytest.approx(len(was), rel=0.1)
    assert np.abs(heard).mean() == pytest.approx(np.abs(was).mean(), rel=0.1)
    if not loss:
        np.testing.assert_allclose(heard[: len(was)], was[: len(heard)], atol=1e-6)
    with av.open(str(result.output)) as container:
        assert container.streams.audio[0].language == ("fra" if language else None)


def sound(path: Path) -> np.ndarray:
    """All samples of the first channel, from -1 to 1."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=48000)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])


@needs_ffmpeg
def test_copy_only_codes_nothing_again(tmp_path: Path, upscaler: Upscaler) -> None:
    film = made(tmp_path / "a.mp4", "-c:a", "aac", "-c:s", "mov_text", subtitles=True)
    result = run(film, tmp_path / "o.webm", upscaler, copy_only=True)
    assert codes(result) == {"stream-dropped"}
    assert [track.kind for track in tracks(result.output)] == ["video"]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("source", "codec", "output", "text", "loss"),
    [
        ("a.mp4", "mov_text", "o.mkv", b"Hello <i>World</i>", False),
        ("a.mkv", "srt", "o.mp4", b"Hello World", False),
        ("a.mkv", "ass", "o.mp4", b"Hello World", True),
        ("a.mkv", "srt", "o.webm", b"Hello <i>World</i>", False),
    ],
)
def test_text_becomes_the_container_s_own(
    tmp_path: Path, upscaler: Upscaler, source: str, codec: str, output: str, text: bytes, loss: bool
) -> None:
    film = made(tmp_path / source, "-c:a", "libopus", "-c:s", codec, subtitles=True)
    result = run(film, tmp_path / output, upscaler)
    assert codes(result) == {"subtitles-converted"}
    assert bool(lost(result)) is loss
    lines, before = subtitles(result.output), subtitles(film)
    assert text in lines[0][0]
    assert [line[1:] for line in lines] == [pytest.approx(line[1:], abs=0.0011) for line in before]


def subtitles(path: Path) -> list[tuple[bytes, float, float]]:
    """Bytes, time and duration in seconds of every line."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.subtitles[0])
        return [
            (bytes(packet), float(packet.pts * packet.time_base), float(packet.duration * packet.time_base))
            for packet in packets
            if packet.size > 2  # MP4 fills the time between two lines
        ]


def test_the_cover_of_a_film_with_chapters_keeps_its_mark(tmp_path: Path, upscaler: Upscaler) -> None:
    result = run(FIXTURES / "chapters_cover.mkv", tmp_path / "o.mp4", upscaler, strict=True)
    assert codes(result) == set()
    assert "cover" in [track.kind for track in tracks(result.output)]


def test_sound_that_changes_on_the_way_is_converted_whole(tmp_path: Path, upscaler: Upscaler) -> None:
    """A broadcast goes from stereo to mono, or to another rate, between two programmes."""
    source = tmp_path / "a.ts"
    with pyav.open_output(str(source)) as output:
        video: Any = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        parts: list[Any] = [output.add_stream("ac3", rate=48_000, layout="stereo")]
        for rate, layout in ((48_000, "mono"), (32_000, "stereo")):
            encoder: Any = av.CodecContext.create("ac3", "w")
            encoder.sample_rate, encoder.layout, encoder.format = rate, layout, "fltp"
            parts.append(encoder)
        output.start_encoding()
        for number, picture in enumerate(clips.pictures(clips.Clip(frames=75))):
            picture.pts = number
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        for second, encoder in enumerate(parts):
            rate, layout = encoder.sample_rate, encoder.layout
            wave = np.sin(np.arange(rate) * 440 * 2 * np.pi / rate).astype(np.float32) / 2
            sound: Any = av.AudioFrame.from_ndarray(
                np.stack([wave] * layout.nb_channels), "fltp", layout.name
            )
            sound.sample_rate, sound.pts = rate, 0
            for packet in encoder.encode(sound) + encoder.encode(None):
                ticks = round((second + packet.pts * packet.time_base) * 90_000)
                packet.time_base, packet.pts, packet.dts = Fraction(1, 90_000), ticks, ticks
                packet.stream = parts[0]
                output.mux(packet)
    result = run(source, tmp_path / "b.webm", upscaler)
    assert lost(result) == {"sound-converted"}
    with pyav.open_input(str(result.output)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert abs(samples / 48_000 - 3) < 0.1


def damaged(path: Path, places: slice) -> Path:
    """A film with FLAC, of which the packets at ``places`` are made of zeros."""
    source = clips.make(path, audio=[{"codec": "flac"}])
    data = source.read_bytes()
    with pyav.open_input(str(source)) as container:
        for packet in [packet for packet in container.demux(audio=0) if packet.size][places]:
            data = data.replace(bytes(packet), bytes(packet.size))
    source.write_bytes(data)
    return source


def test_packets_that_cannot_be_converted_are_told(tmp_path: Path, upscaler: Upscaler) -> None:
    source, output = damaged(tmp_path / "a.mkv", slice(2, 4)), tmp_path / "b.mov"
    with pytest.raises(NotKeptError, match="2 packets of stream 1"):
        run(source, output, upscaler, strict=True)
    assert not output.exists()
    result = run(source, output, upscaler)
    assert lost(result) == {"stream-damaged"}
    assert "2 packets of stream 1 (audio, flac) are damaged" in result.notices[-1].message


def test_sound_that_cannot_be_decoded_is_named(tmp_path: Path, upscaler: Upscaler) -> None:
    source = damaged(tmp_path / "a.mkv", slice(None))
    result = run(source, tmp_path / "b.webm", upscaler)
    (notice,) = result.notices
    assert (notice.code, result.frames) == ("stream-dropped", 12)
    assert "cannot be decoded" in notice.message


@needs_ffmpeg
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-c:a", "mp2", "-output_ts_offset", "3600"], set()),  # as if an hour had been left out
        (["-c:a", "aac"], set()),
        (["-c:a", "eac3"], {"sound-converted"}),
    ],
)
def test_a_broadcast_becomes_an_avi(
    words: list[str], told: set[str], tmp_path: Path, upscaler: Upscaler
) -> None:
    source = made(tmp_path / "a.ts", *words)
    result = run(source, tmp_path / "b.avi", upscaler)
    assert lost(result) == told
    before, after = tracks(source)[1], tracks(result.output)[1]
    assert after.codec == (before.codec if not told else "ac3")
    assert abs(len(after.times) * after.base - before.duration) < 0.1
    if before.codec == "aac":
        assert result.output.read_bytes().count(b"\x00\x16\x01\x00\x80\xbb") == 1  # 0x1600: with headers


@needs_ffmpeg
def test_converted_sound_before_its_picture_begins_an_avi(tmp_path: Path, upscaler: Upscaler) -> None:
    """Its place counts as that of copied sound does."""
    source = made(tmp_path / "a.mkv", "-c:a", "libopus", "-vf", "setpts=PTS+0.5/TB")
    result = run(source, tmp_path / "b.avi", upscaler)
    assert lost(result) == {"sound-converted"} and "start-filled" in codes(result)
    assert abs(seconds(tracks(result.output)[0])[1] - 0.5) <= 0.04


def shifted(source: Path, ticks: Callable[[int], int]) -> Path:
    """``source`` with each packet of its sound so many milliseconds later, by its number from 1."""
    moved = source.with_name(f"shifted{source.suffix}")
    with pyav.open_input(str(source)) as before, pyav.open_output(str(moved)) as after:
        copies = [after.add_stream_from_template(stream, opaque=True) for stream in before.streams]
        number = 0
        for packet in before.demux():
            if not packet.size:
                continue
            if packet.stream is before.streams[1]:
                number += 1
                packet.pts, packet.dts = (time + ticks(number) for time in (packet.pts, packet.dts))  # type: ignore[operator]
            packet.stream = copies[packet.stream_index]
            after.mux_one(packet)
    return moved


@needs_ffmpeg
@pytest.mark.parametrize("output", ["c.mov", "c.mp4", "c.avi", "c.mkv"])
@pytest.mark.parametrize("gap", [0, 200])
def test_a_gap_in_samples_lasts_as_long_in_every_container(
    output: str, gap: int, tmp_path: Path, upscaler: Upscaler
) -> None:
    """MOV, MP4 and AVI give PCM no times: what is copied would come too early behind the gap."""
    source = made(tmp_path / "a.mkv", "-c:a", "pcm_s16le")
    moved = shifted(source, lambda number: gap if number > 30 else 0)
    result = run(moved, tmp_path / output, upscaler)
    assert lost(result) == set()
    assert ("sound-converted" in codes(result)) == (gap > 0 and output != "c.mkv")
    wanted, found = tracks(moved)[1], tracks(result.output)[1]
    assert abs(float(wanted.end - found.end)) < 0.05


@needs_ffmpeg
@pytest.mark.parametrize("output", ["c.webm", "c.mov"])
def test_gaps_and_overlaps_of_sound_are_converted(output: str, tmp_path: Path, upscaler: Upscaler) -> None:
    """After a gap, sound is at its time again; where packets overlap, none is lost and none goes back.

    PCM in MOV is where the number of samples before it says: silence fills the gap.
    """
    source = made(tmp_path / "a.mkv", "-c:a", "flac")
    moved = shifted(source, lambda number: 60 if number > 4 else 0 if number < 3 else -40)
    result = run(moved, tmp_path / output, upscaler)
    assert lost(result) == ({"sound-converted"} if output == "c.webm" else set())
    assert "sound-converted" in codes(result)
    wanted, found = tracks(moved)[1], tracks(result.output)[1]
    assert abs(seconds(wanted)[-1] + float(wanted.base * 96) - float(found.end)) < 0.15
    assert sorted(found.times) == list(found.times)


@needs_ffmpeg
def test_sound_with_a_gap_becomes_an_avi(tmp_path: Path, upscaler: Upscaler) -> None:
    """Fragmented MP4 without an edit list: its first packet is longer than its sound."""
    words = ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-c:v", "libx264", "-bf", "2"]
    source = made(tmp_path / "a.mp4", *words)
    result = run(source, tmp_path / "b.avi", upscaler)
    assert lost(result) == {"sound-converted"}
    wanted, found = tracks(source)[1], tracks(result.output)[1]
    assert abs(float(wanted.duration - found.duration)) < 0.1
