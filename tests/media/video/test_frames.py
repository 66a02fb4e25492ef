"""What is in the frames: samples, depth, chroma, HDR10, fields and reuse."""

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
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.video.films import codes, run
from tests.media.video import clips
from xlsr_cli.engine.choice import chain_for
from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import UsageError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.frame_upscaler import EnlargedFrames, FrameUpscaler, StoredFrames
from xlsr_cli.media.video.layout import layout_of
from xlsr_cli.options import EngineOptions, Size, Target, VideoCodec

#: Of the networks, in pixels of the source.
HALO = 5


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


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuva420p", "yuv420p10le"])
@pytest.mark.parametrize("rgb", [False, True])
def test_sides_are_made_even_by_repeating_the_edge(pix_fmt: str, rgb: bool) -> None:
    """Nothing is stretched, and what was asked for goes through the networks that were asked for."""
    upscaler = Upscaler(3.0, threads=1, color="rgb" if rgb else "auto")
    source = StoredFrames(size=Size(width=47, height=31), layout=layout_of(pix_fmt))
    asked, even = Size(width=141, height=93), Size(width=142, height=94)
    frame = av.VideoFrame(47, 31, pix_fmt)
    random, deep = np.random.default_rng(0), pix_fmt.endswith("10le")
    for plane in frame.planes:
        samples = random.integers(64, 900, plane.buffer_size // 2, np.uint16)
        plane.update((samples if deep else (samples >> 2).repeat(2).astype(np.uint8)).tobytes())

    def enlarged(size: Size, asked: Size | None = None) -> list[Any]:
        result = EnlargedFrames(size=size, pix_fmt=pix_fmt, asked=asked)
        assert upscaler.first_scale(*result.way(source.size)) == 3
        upscale = FrameUpscaler(upscaler, source, result, rgb=rgb)
        return [clips.plane(upscale.begin(frame)(), index) for index in range(len(frame.planes))]

    exact, evened = enlarged(asked), enlarged(even, asked)
    inside = np.s_[: 93 - 3 * HALO, : 141 - 3 * HALO]  # at the edge, what is beyond it has a say
    np.testing.assert_array_equal(evened[0][inside], exact[0][inside])
    if not rgb:
        for index in (1, 2):
            np.testing.assert_array_equal(evened[index], exact[index])


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    scale=st.fractions(Fraction(21, 20), 15, max_denominator=60),
    chroma=st.sampled_from([(0, 0), (1, 0), (1, 1), (2, 0)]),
)
def test_the_way_of_a_frame_holds_the_result(
    width: int, height: int, scale: Fraction, chroma: tuple[int, int]
) -> None:
    source = Size(width=width, height=height)
    asked = Target(scale=float(scale)).size_for(source)
    steps = [1 << shift for shift in chroma]
    size = Size(width=-(-asked.width // steps[0]) * steps[0], height=-(-asked.height // steps[1]) * steps[1])
    padded, becomes = EnlargedFrames(size=size, pix_fmt="yuv420p", asked=asked).way(source)
    assert padded.width - width in range(steps[0])
    assert padded.height - height in range(steps[1])
    assert becomes.width >= size.width
    assert becomes.height >= size.height
    assert chain_for(padded, becomes) == chain_for(source, asked)
    if size == asked:
        assert (padded, becomes) == (source, asked)


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


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no such policies")
@pytest.mark.parametrize("codec", get_args(VideoCodec))
def test_no_encoder_makes_this_thread_a_real_time_one(tmp_path: Path, upscaler: Upscaler, codec: str) -> None:
    """SVT-AV1 does so, where the process may, and whatever is started later inherits it."""
    before = os.sched_getscheduler(0)
    run(clips.make(tmp_path / "in.mkv"), tmp_path / "out.mkv", upscaler, codec=codec)
    assert os.sched_getscheduler(0) == before
