"""Colours, chroma and borders of films come out as they were meant, and are tagged as what they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.jobs.video.films import FIXTURES, codes, lost, run
from tests.media.video import clips
from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.media.video.demux import open_video
from xlsr_cli.media.video.facts import Facts, facts_of
from xlsr_cli.media.video.tags import ColorTags
from xlsr_cli.options import Size, Target, VideoCodec

RGB, BT709, SILENT, BT601 = 0, 1, 2, 6


def facts(path: Path) -> Facts:
    """What FFmpeg says of the first stream."""
    with open_video(path) as container:
        return facts_of(container, 0)


def seen(path: Path) -> np.ndarray:
    """The first frame as a player shows it: by the matrix and range that the file says."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        matrix = container.streams.video[0].codec_context.colorspace
        range = container.streams.video[0].codec_context.color_range
    words = {} if matrix in (RGB, SILENT) else {"src_colorspace": {1: 1, 5: 5, 6: 5}[matrix]}
    return frame.reformat(format="rgb24", src_color_range=range or 1, dst_color_range=2, **words).to_ndarray()


# Matrices


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [
        ("h264", "yuv444p"), ("h264", "yuv420p"), ("hevc", "yuv444p"), ("av1", "yuv420p"), ("vp9", "yuv444p"),
        ("ffv1", "yuv444p"),
    ],
)  # fmt: skip
def test_rgb_becomes_the_matrix_that_its_tag_says(
    tmp_path: Path, upscaler: Upscaler, pix_fmt: str, codec: VideoCodec
) -> None:
    source = FIXTURES / "rgb_qtrle.mov"
    result = run(source, tmp_path / "o.mkv", upscaler, codec=codec, pix_fmt=pix_fmt, frames=2)
    assert clips.summary(result.output)["tags"][2:] == (BT601, 1)
    before, after = seen(source), seen(result.output)
    enlarged = before.repeat(2, axis=0).repeat(2, axis=1).astype(int)
    difference = (after.astype(int) - enlarged).mean(axis=(0, 1))  # a wrong matrix is 5 and more off
    assert np.abs(difference).max() < 2


def test_large_rgb_becomes_bt709(tmp_path: Path, upscaler: Upscaler) -> None:
    source, output = FIXTURES / "rgb_qtrle.mov", tmp_path / "o.mp4"
    run(source, output, upscaler, pix_fmt="yuv444p", frames=1, target=Target(height=600))
    assert clips.summary(output)["tags"][2:] == (BT709, 1)
    shown = seen(output)
    whole = resize(seen(source), Size(width=shown.shape[1], height=shown.shape[0]))
    assert np.abs((shown.astype(int) - whole).mean(axis=(0, 1))).max() < 2


def test_yuv_that_becomes_rgb_is_tagged_so(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mkv", frames=2, tags=(1, 1, 1, 1), pale=True)
    result = run(source, tmp_path / "o.mkv", upscaler, codec="ffv1", pix_fmt="bgr0")
    assert clips.summary(result.output)["tags"][2:] in ((RGB, 2), (RGB, 0))
    enlarged = seen(source).repeat(2, axis=0).repeat(2, axis=1).astype(int)
    assert np.abs((seen(result.output).astype(int) - enlarged).mean(axis=(0, 1))).max() < 2


@pytest.mark.parametrize(
    ("source", "target", "matrix"),
    [
        (Size(width=64, height=576), Size(width=128, height=1152), BT601),
        (Size(width=700, height=300), Size(width=1400, height=600), BT601),
        (Size(width=700, height=200), Size(width=1400, height=400), BT601),
        (Size(width=64, height=578), Size(width=128, height=1156), SILENT),
        (Size(width=64, height=288), Size(width=128, height=576), SILENT),
    ],
)
def test_a_small_silent_film_that_becomes_large_is_tagged(source: Size, target: Size, matrix: int) -> None:
    """Players read a silent film by BT.601 up to 576 lines, and by BT.709 above."""
    tags = ColorTags().enlarged(source, target, family="yuv", becomes="yuv")
    assert tags == ColorTags(matrix=matrix)
    said = ColorTags(matrix=9, range=1)
    assert said.enlarged(source, target, family="yuv", becomes="yuv") == said


def test_the_matrix_that_was_assumed_is_written(tmp_path: Path, upscaler: Upscaler) -> None:
    source = clips.make(tmp_path / "in.mp4", frames=1, width=32, height=320)
    for suffix, codec in ((".mp4", "h264"), (".mp4", "hevc"), (".mkv", "av1"), (".webm", "vp9")):
        output = run(source, tmp_path / f"{codec}{suffix}", upscaler, codec=codec).output
        assert clips.summary(output)["tags"][2] == BT601


# Chroma


@pytest.mark.parametrize(
    ("codec", "suffix", "place"),
    [
        ("hevc", ".mp4", "topleft"), ("hevc", ".mkv", "topleft"), ("hevc", ".ts", "topleft"),
        ("av1", ".mp4", "topleft"), ("av1", ".mkv", "topleft"), ("vp9", ".mkv", "topleft"),
        ("ffv1", ".mkv", "topleft"), ("ffv1", ".avi", None), ("vp9", ".mp4", None),
    ],
)  # fmt: skip
def test_chroma_stays_where_it_lies_or_is_moved(
    tmp_path: Path, upscaler: Upscaler, codec: VideoCodec, suffix: str, place: str | None
) -> None:
    """Where an output cannot say it, chroma is moved to the left, which is what silence means."""
    source = FIXTURES / "hdr10.mp4"
    assert facts(source).siting == "topleft"
    pix_fmt = "yuv420p" if codec == "vp9" else None
    result = run(source, tmp_path / f"o{suffix}", upscaler, codec=codec, frames=2, pix_fmt=pix_fmt)
    assert facts(result.output).siting == place
    assert lost(result) <= {"hdr-dropped", "depth-reduced", "color-dropped"}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi"])
def test_chroma_of_4_2_2_is_at_the_left(tmp_path: Path, upscaler: Upscaler, suffix: str) -> None:
    source = FIXTURES / "mjpeg_yuvj422p.avi"
    result = run(source, tmp_path / f"o{suffix}", upscaler, crf=1, frames=1)
    assert facts(result.output).siting == "left"
    before, after = clips.plane(clips.frames(source)[0], 1), clips.plane(clips.frames(result.output)[0], 1)
    size = Size(width=before.shape[1] * 2, height=before.shape[0] * 2)
    moved = resize(before, size, siting=(0.0, 0.0), becomes=(0.25, 0.0)).astype(int)
    stayed = resize(before, size).astype(int)
    assert 3 * np.abs(after - moved).mean() < np.abs(after - stayed).mean()


# Borders


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_what_a_container_hides_is_cut_off(tmp_path: Path, upscaler: Upscaler, codec: VideoCodec) -> None:
    source = FIXTURES / "crop.mkv"
    result = run(source, tmp_path / "o.mkv", upscaler, codec=codec, frames=2, strict=True)
    assert codes(result) == {"cropped"}
    assert (result.source_size, result.size) == (Size(width=160, height=92), Size(width=320, height=184))
    assert clips.summary(result.output)["aspect"] in (None, Fraction(1))
    for index, (left, top) in enumerate([(16, 8), (8, 4)]):
        whole = clips.plane(clips.frames(source)[0], index).astype(int)
        shown = clips.plane(clips.frames(result.output)[0], index)[::2, ::2]
        cut = whole[top : top + shown.shape[0], left : left + shown.shape[1]]
        assert np.abs(cut - shown).mean() < 6


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ((2, 8, 16, 4), Size(width=172, height=98)),
        ((2, 7, 15, 4), Size(width=174, height=100)),  # where chroma cannot be cut, nothing is
    ],
)
def test_any_sides_may_be_hidden(
    tmp_path: Path, upscaler: Upscaler, sides: tuple[int, ...], size: Size
) -> None:
    data = bytearray((FIXTURES / "crop.mkv").read_bytes())
    for name, pixels in zip((b"\x54\xaa", b"\x54\xbb", b"\x54\xcc", b"\x54\xdd"), sides, strict=True):
        data[data.index(name + b"\x81") + 3] = pixels
    (tmp_path / "in.mkv").write_bytes(data)
    result = run(tmp_path / "in.mkv", tmp_path / "o.mkv", upscaler, frames=1)
    assert codes(result) == {"cropped"}
    assert result.source_size == size


# Frames that differ from the first


def test_frames_of_another_size_are_brought_to_that_of_the_first(tmp_path: Path, upscaler: Upscaler) -> None:
    source = FIXTURES / "reschange.ts"
    result = run(source, tmp_path / "o.mp4", upscaler)
    assert lost(result) == {"frames-resized"}
    sizes = [(frame.width, frame.height) for frame in clips.frames(source)]
    assert len(set(sizes)) > 1
    frames = clips.frames(result.output)
    assert {(frame.width, frame.height) for frame in frames} == {(2 * sizes[0][0], 2 * sizes[0][1])}
    assert len(frames) == len(sizes)
    last = clips.frames(source)[-1].reformat(width=sizes[0][0], height=sizes[0][1])
    assert np.abs(clips.plane(last).astype(int) - clips.plane(frames[-1])[::2, ::2]).mean() < 6
