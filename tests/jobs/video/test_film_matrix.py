"""Codecs × containers × depths × sources, made with ffmpeg: what ``ffmpeg -c copy`` carries, we carry."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.jobs.video.films import codes, lost, run
from tests.jobs.video.test_film_times import seconds, tracks
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import UsageError
from xlsr_cli.media.video.demux import open_video
from xlsr_cli.media.video.output.containers import CONTAINERS
from xlsr_cli.media.video.output.encoder import CODECS
from xlsr_cli.media.video.output.tracks import Track
from xlsr_cli.options import VideoCodec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed"),
]

_LINES = "1\n00:00:00,100 --> 00:00:00,400\nHello <i>World</i>\n\n2\n00:00:00,500 --> 00:00:00,700\nZwei\n"
#: Name of the source → words for FFmpeg: the video's codec, two of sound, one of text.
SOURCES = {
    "aac_mp3.mp4": "-c:v libx264 -bf 2 -c:a:0 aac -c:a:1 libmp3lame -c:s mov_text",
    "alac_ac3.mov": "-c:v prores -c:a:0 alac -c:a:1 ac3 -c:s mov_text",
    "pcm.mov": "-c:v mjpeg -c:a:0 pcm_s24be -c:a:1 pcm_s16le -sn",
    "flac_opus.mkv": "-c:v libx264 -c:a:0 flac -c:a:1 libopus -c:s srt",
    "truehd_dts.mkv": "-c:v mpeg2video -c:a:0 truehd -c:a:1 dca -ac 2 -strict -2 -c:s ass",
    "vorbis_pcm.mkv": "-c:v ffv1 -c:a:0 libvorbis -c:a:1 pcm_f32le -c:s ass",
    "eac3_wma.mkv": "-c:v libx265 -x265-params log-level=none -c:a:0 eac3 -c:a:1 wmav2 -sn",
    "opus.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a:0 libopus -c:a:1 libvorbis -c:s webvtt",
    "mp2_aac.ts": "-c:v mpeg2video -c:a:0 mp2 -c:a:1 aac -sn",
    "ac3_dts.m2ts": "-c:v libx264 -c:a:0 ac3 -c:a:1 dca -ac 2 -strict -2 -sn",
    "mp3_adpcm.avi": "-c:v mpeg4 -c:a:0 libmp3lame -c:a:1 adpcm_ms -sn",
    "pcm_ac3.avi": "-c:v mjpeg -c:a:0 pcm_s16le -c:a:1 ac3 -sn",
    "wma.wmv": "-c:v wmv2 -c:a:0 wmav2 -c:a:1 wmav1 -sn",
    "mp2.mpg": "-c:v mpeg1video -c:a:0 mp2 -c:a:1 mp2 -sn",
    "opus.ogg": "-c:v libtheora -c:a:0 libopus -c:a:1 flac -sn",
    "amr.3gp": "-c:v h263 -s 176x144 -c:a:0 aac -c:a:1 aac -sn",
}
#: Suffixes with muxers of their own.
OUTPUTS = [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".3gp"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all sources: a second each."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "lines.srt").write_text(_LINES)
    for name, words in SOURCES.items():
        command = "-f lavfi -i testsrc2=s=48x32:r=25 -f lavfi -i sine=r=48000 -i lines.srt -t 0.8"
        maps = "-map 0 -map 1 -map 1 -map 2"
        _ffmpeg(folder, *command.split(), *maps.split(), *words.split(), name)
    return folder


def _ffmpeg(folder: Path, *words: str) -> bool:
    command = ["ffmpeg", "-v", "error", "-y", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("suffix", OUTPUTS)
@pytest.mark.parametrize("name", SOURCES)
def test_what_ffmpeg_copies_is_copied(
    tmp_path: Path, upscaler: Upscaler, sources: Path, name: str, suffix: str
) -> None:
    source = sources / name
    before = tracks(source)
    sounds = [seconds(track)[0] for track in before if track.kind == "audio"]
    pictures = next(seconds(track)[0] for track in before if track.kind == "video")
    if suffix == ".avi" and pictures - min(sounds) > 1 / 25 and max(sounds) - min(sounds) > 1 / 50:
        with pytest.raises(UsageError, match=r"begins later .*use \.mkv"):
            run(source, tmp_path / "o.avi", upscaler)
        return
    result = run(source, tmp_path / f"o{suffix}", upscaler)
    after = tracks(result.output)
    named = " ".join(notice.message for notice in result.notices)
    moved = _offset(before, after, filled="start-filled" in codes(result))
    left = [track for track in after if track.kind != "video"]
    for index, track in enumerate(before):
        if track.kind == "video":
            continue
        told = re.search(rf"stream {index} \(", named) is not None
        reference = _copied_alone(tmp_path, source, index, suffix, track)
        if reference is not None:
            assert not told, f"ffmpeg copies {track.name}, and the notice says: {named}"
        if told and "sound-converted" not in lost(result) and "becomes" not in named and "again" not in named:
            continue
        same_kind = [other for other in left if other.kind == track.kind]
        same_kind.sort(key=lambda other: other.codec != track.codec)
        found = next(iter(same_kind), None)
        assert found is not None or told, f"{track.name} is gone, untold"
        if found is not None:
            left.remove(found)
        if reference is not None and found is not None:
            assert found.codec == reference.codec
            assert found.content == reference.content
            assert seconds(found) == pytest.approx(
                [time + moved for time in seconds(track)], abs=float(max(found.base, track.base)) * 1.01
            )


def _copied_alone(folder: Path, source: Path, index: int, suffix: str, track: Track) -> Track | None:
    """The stream as ``ffmpeg -c copy`` writes it alone; None where it does not, or nobody can read it."""
    output = folder / f"reference{index}{suffix}"
    copies = _ffmpeg(folder, "-i", str(source), "-map", f"0:{index}", "-c", "copy", str(output))
    if not copies:
        return None
    found = tracks(output)
    alike = [other for other in found if (other.kind, other.codec) == (track.kind, track.codec)]
    if not alike or not sum(alike[0].sizes) or len(alike[0].times) != len(track.times):
        return None
    first, last = (seconds(copy)[-1] - seconds(copy)[0] for copy in (track, alike[0]))
    return alike[0] if last == pytest.approx(first, abs=float(max(track.base, alike[0].base))) else None


def _offset(before: list[Track], after: list[Track], *, filled: bool) -> float:
    """By how many seconds all streams were moved together. ``filled``: the first frame is there twice."""
    was, now = (next(track for track in film if track.kind == "video") for film in (before, after))
    return seconds(now)[int(filled)] - seconds(was)[0]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le", "gray", "gbrp"])
@pytest.mark.parametrize(
    ("codec", "suffix"),
    [(codec, suffix) for suffix in OUTPUTS for codec in CODECS if codec in CONTAINERS[suffix].codecs],
)
def test_every_depth_in_every_container(
    tmp_path: Path, upscaler: Upscaler, codec: VideoCodec, suffix: str, pix_fmt: str
) -> None:
    """Every frame at its time, or one sentence."""
    _ffmpeg(
        tmp_path, "-f", "lavfi", "-i", "testsrc2=s=48x32:r=30000/1001", "-frames:v", "5", "-pix_fmt", pix_fmt,
        "-c:v", "ffv1", "in.mkv",
    )  # fmt: skip
    wanted = {"gray": "yuv420p", "gbrp": "yuv420p"}.get(pix_fmt)
    if codec == "vp9" and pix_fmt == "yuv420p10le":
        wanted = "yuv420p"  # libvpx is built for 8 bits
    result = run(
        tmp_path / "in.mkv",
        tmp_path / f"o{suffix}",
        upscaler,
        codec=codec,
        pix_fmt=wanted,
    )
    before, after = tracks(tmp_path / "in.mkv")[0], tracks(result.output)[0]
    base = float(max(before.base, after.base))
    assert seconds(after) == pytest.approx(seconds(before), abs=base * 1.01)
    with open_video(result.output) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
    assert lost(result) <= {"chroma-reduced", "depth-reduced", "color-dropped"}
