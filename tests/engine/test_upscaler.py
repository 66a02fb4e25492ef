"""The engine keeps depth, gray and alpha, gives exact sizes, and copes when memory runs out."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xlsr_cli.engine.session import Session, TileOutOfMemory
from xlsr_cli.engine.tiles.reuse import FrameReuse, Reuse
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import ModelError, ResourceError, UsageError
from xlsr_cli.options import EngineOptions, Size, Target


def picture(height: int = 40, width: int = 52, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth, with edges: what upscaling is made for."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, channels), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(
        height, width, channels
    )
    return smooth[..., 0] if channels == 1 else smooth


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1.5, 2, 3, 4, 5.5])
def test_shape_and_dtype_are_kept(scale: float, dtype: type, channels: int) -> None:
    pixels = picture(channels=channels).astype(dtype) * (257 if dtype == np.uint16 else 1)
    answer = Upscaler(scale, threads=1)(pixels)
    expected = (round(40 * scale), round(52 * scale), *pixels.shape[2:])
    assert (answer.shape, answer.dtype) == (expected, dtype)


@pytest.mark.parametrize("color", ["rgb", "ycbcr"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_answer_is_the_picture_enlarged(scale: int, precision: Any, color: Any) -> None:
    pixels = picture()
    answer = Upscaler(scale, precision=precision, color=color)(pixels)
    bicubic = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    difference = np.abs(answer.astype(int) - bicubic)[8:-8, 8:-8]
    assert difference.mean() < 4
    # No colour may drift: eyes see a tint of two levels where they forgive an edge of ten.
    assert np.abs(answer.reshape(-1, 3).mean(axis=0) - bicubic.reshape(-1, 3).mean(axis=0)).max() < 1.5


def test_sixteen_bits_are_more_than_eight() -> None:
    ramp = np.linspace(20_000, 24_000, 64).astype(np.uint16)
    pixels = np.repeat(ramp[None], 32, axis=0)
    answer = Upscaler(2)(pixels)
    assert len(np.unique(answer)) > 64
    assert (
        np.abs(
            answer[16, 16:-16].astype(int) - np.interp(np.arange(16, 112), np.arange(128), np.repeat(ramp, 2))
        ).mean()
        < 200
    )
    with pytest.raises(UsageError, match="16-bit"):
        Upscaler(2, precision="int8")(pixels)


def test_gray_goes_through_the_luma_model() -> None:
    pixels = picture(channels=1)
    plan = Upscaler(2).plan(Size(width=52, height=40), channels=1, depth=8)
    assert [step.model for step in plan.passes] == ["xlsr_x2_luma_int8"]
    assert np.array_equal(Upscaler(2)(pixels[..., None])[..., 0], Upscaler(2)(pixels))


def test_opaque_stays_opaque_and_transparent_transparent() -> None:
    pixels = picture(channels=4)
    pixels[..., 3] = 0
    pixels[10:30, 10:30, 3] = 255
    alpha = Upscaler(2)(pixels)[..., 3]
    assert (alpha[24:56, 24:56] == 255).all()
    assert (alpha[:16] == 0).all()
    assert (alpha[:, 66:] == 0).all()


def test_colours_under_transparent_pixels_make_no_fringe() -> None:
    pixels = np.zeros((40, 40, 4), dtype=np.uint8)
    pixels[:, :20] = (40, 60, 200, 255)  # a red sheet beside black that nobody sees
    answer = Upscaler(2)(pixels)
    visible = answer[answer[..., 3] > 0][:, :3].astype(int)
    plain = Upscaler(2)(np.full((40, 40, 3), (40, 60, 200), dtype=np.uint8))[20, 20]
    assert np.abs(visible - plain).max() <= 2


def test_a_flat_alpha_stays_flat() -> None:
    pixels = picture(channels=4)
    pixels[..., 3] = 77
    assert (Upscaler(2)(pixels)[..., 3] == 77).all()


def test_a_size_that_no_model_hits_is_shrunk_to() -> None:
    answer = Upscaler(2)(picture(), size=Size(width=130, height=99))
    assert answer.shape == (99, 130, 3)


@pytest.mark.parametrize(
    ("target", "models"),
    [
        (Target(scale=2), ["xlsr_x2_rgb_int8"]),
        (Target(scale=2.5), ["xlsr_x3_rgb_int8"]),
        (Target(scale=3.1), ["xlsr_x4_rgb_int8"]),
        (Target(scale=6), ["xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]),
        (Target(scale=16), ["xlsr_x4_rgb_int8", "xlsr_x4_rgb_int8"]),
        (Target(long_edge=104), ["xlsr_x2_rgb_int8"]),
    ],
)
def test_the_next_model_up_runs(target: Target, models: list[str]) -> None:
    upscaler = Upscaler.from_options(EngineOptions(), target)
    plan = upscaler.plan(Size(width=52, height=40), channels=3, depth=8)
    assert [step.model for step in plan.passes] == models
    assert plan.peak_memory > plan.target.pixels * 3
    assert plan.seconds > 0


def test_a_model_that_is_named_runs() -> None:
    pixels = picture()
    named = Upscaler(2, model="xlsr_x2_luma_int8")(pixels)
    assert np.array_equal(named, Upscaler(2, color="ycbcr")(pixels))
    assert not np.array_equal(named, Upscaler(2)(pixels))
    with pytest.raises(ModelError, match="xlsr_x2_rgb_int8"):
        Upscaler(2, model="no_such_model")


def test_several_threads_may_share_one_upscaler() -> None:
    upscaler = Upscaler(2, threads=2)
    pictures = [picture(seed=seed, height=40 + seed) for seed in range(12)]
    alone = [Upscaler(2, threads=1)(pixels) for pixels in pictures]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(upscaler, pictures))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    upscaler.close()
    np.testing.assert_array_equal(upscaler(pictures[0]), alone[0])


def test_a_tile_out_of_memory_is_cut_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(100, 90)
    expected = Upscaler(2)(pixels)
    run, sizes = Session.run, []

    def short_of_memory(session: Session, tile: NDArray[Any]) -> NDArray[Any]:
        sizes.append(tile.shape[1])
        if tile.shape[1] * tile.shape[2] > 45 * 45:
            raise TileOutOfMemory("too large")
        return run(session, tile)

    monkeypatch.setattr(Session, "run", short_of_memory)
    np.testing.assert_array_equal(Upscaler(2, threads=1)(pixels), expected)
    assert max(sizes) > 45 > min(sizes)


def no_memory_for_opencv() -> cv2.error:
    """What OpenCV raises when an allocation fails."""
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem
    return error


OUT_OF_MEMORY = [TileOutOfMemory("no memory at all"), MemoryError(), no_memory_for_opencv()]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["run", "cut", "bleed", "merge"])
def test_memory_that_is_gone_is_said_so(
    place: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise error

    name = {
        "run": "xlsr_cli.engine.session.Session.run",
        "cut": "xlsr_cli.engine.tiles.tiling.cut",
        "bleed": "xlsr_cli.engine.color.bleed_under_alpha",
        "merge": "xlsr_cli.engine.color.merge_alpha",
    }[place]
    monkeypatch.setattr(name, out_of_memory)
    pixels = picture(channels=4)
    pixels[:9, :9, 3] = 0
    with pytest.raises(ResourceError, match="not enough memory"):
        Upscaler(2)(pixels)


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (Size(width=51, height=80), "only enlarges"),
        (Size(width=20, height=20), "only enlarges"),
        (Size(width=52 * 16 + 1, height=80), "more than 16 times"),
        (Size(width=0, height=80), "at least 1 pixel"),
    ],
)
def test_sizes_that_are_impossible_are_refused(size: Size, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Upscaler(2)(picture(), size=size)
    with pytest.raises(UsageError, match=says):
        Upscaler(2).plan(Size(width=52, height=40), channels=3, depth=8, size=size)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"halo": 5}, "halo is for an ONNX file of your own"),
        ({"halo": 5, "model": "xlsr_x2_rgb_int8"}, "halo is for an ONNX file of your own"),
        ({"tile": 32, "model": "own.onnx"}, "tile needs halo"),
        ({"color": "ycbcr", "model": "xlsr_x2_rgb_int8"}, "contradicts model"),
        ({"precision": "fp32", "model": "xlsr_x2_rgb_int8"}, "contradicts model"),
        ({"color": "hsv"}, "color must be one of"),
        ({"precision": "fp16"}, "precision must be one of"),
    ],
)
def test_options_that_would_be_ignored_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Upscaler(2, **options)


def test_a_named_models_precision_is_alphas_too() -> None:
    plan = Upscaler(2, model="xlsr_x2_rgb_fp32").plan(Size(width=52, height=40), channels=4, depth=8)
    assert [step.model for step in plan.passes] == ["xlsr_x2_rgb_fp32", "xlsr_x2_luma_fp32"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory was used from /proc")
@pytest.mark.parametrize(
    ("scale", "channels", "dtype", "options"),
    [
        (2, 3, "uint8", "{}"),
        (2.5, 3, "uint8", "{}"),
        (5, 1, "uint8", "{}"),
        (2, 3, "uint8", "{'color': 'ycbcr'}"),
        (3, 4, "uint8", "{'max_memory': 1 << 23}"),
        (2, 3, "uint16", "{}"),
    ],
)
def test_peak_memory_is_what_was_said(scale: float, channels: int, dtype: str, options: str) -> None:
    script = f"""
import numpy as np, re
from pathlib import Path
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.options import Size

def kilobytes(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

pixels = np.random.default_rng(0).integers(0, 255, (1200, 1500, {channels})).astype(np.{dtype})
upscaler = Upscaler({scale}, threads=2, **{options})
plan = upscaler.plan(Size(width=1500, height=1200), channels={channels}, depth=8 * pixels.itemsize)
Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS") * 1024 - pixels.nbytes
upscaler(pixels)
print((kilobytes("VmHWM") * 1024 - before) / plan.peak_memory)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) < 1.3


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros((0, 4), np.uint8),
        np.zeros((4,), np.uint8),
    ],
    ids=["five channels", "float", "empty", "a row"],
)
def test_other_arrays_are_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(UsageError, match="cannot upscale an array"):
        Upscaler(2)(pixels)
    with pytest.raises(UsageError, match="cannot upscale a list"):
        Upscaler(2)(pixels.tolist())


def test_progress_adds_up() -> None:
    class Listener:
        total: float | None = None
        done = 0.0
        finished = False

        def start(self, total: float | None, unit: str) -> None:
            self.total = total

        def advance(self, amount: float) -> None:
            self.done += amount

        def finish(self) -> None:
            self.finished = True

    for channels in (1, 3, 4):
        listener = Listener()
        Upscaler(5, tile=16)(picture(channels=channels), progress=listener)
        assert listener.total == pytest.approx(listener.done)
        assert listener.finished


@settings(max_examples=25, deadline=None)
@given(
    top=st.integers(0, 99),
    left=st.integers(0, 119),
    height=st.integers(0, 30),
    width=st.integers(0, 30),
    channels=st.sampled_from([1, 3, 4]),
)
def test_reusing_tiles_changes_nothing(top: int, left: int, height: int, width: int, channels: int) -> None:
    first = picture(100, 120, channels)
    second = first.copy()
    second[top : top + height, left : left + width] ^= 0x5A
    reuse = Reuse()
    for frame in (first, second, second, first):
        expected = _FRESH(frame)
        np.testing.assert_array_equal(_FRESH(frame, reuse=reuse), expected)
    assert reuse.reused > 0


_FRESH = Upscaler(2, threads=1)


def test_frames_that_overlap_reuse_each_others_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second frame is looked at before the first is computed, and waits for its answer."""
    first = picture(100, 120)
    second = first.copy()
    second[:20, :20] ^= 0x5A
    expected = [_FRESH(first), _FRESH(second)]
    reuse, upscaler, second_looks = Reuse(), Upscaler(2, threads=1), threading.Event()
    run, looked = Session.run, FrameReuse.changed_regions

    def looking(memory: FrameReuse, key: object, pixels: NDArray[Any], halo: int) -> Any:
        if np.array_equal(pixels, second):
            second_looks.set()
        return looked(memory, key, pixels, halo)

    def running(session: Session, tile: NDArray[Any]) -> NDArray[Any]:
        assert second_looks.wait(60)
        return run(session, tile)

    monkeypatch.setattr(FrameReuse, "changed_regions", looking)
    monkeypatch.setattr(Session, "run", running)
    with ThreadPoolExecutor(2) as pool:
        shares = [reuse.begin(), reuse.begin()]
        answers = [
            pool.submit(upscaler, pixels, reuse=share)
            for pixels, share in zip((first, second), shares, strict=True)
        ]
        for answer, wanted, share in zip(answers, expected, shares, strict=True):
            np.testing.assert_array_equal(answer.result(60), wanted)
            share.close()
    assert (reuse.tiles, reuse.reused) == (18, 8)


def test_a_frame_does_not_wait_for_one_that_failed() -> None:
    reuse = Reuse()
    before, behind = reuse.begin(), reuse.begin()
    pixels = picture(64, 64, 1)
    assert before.changed_regions("pass", pixels, 5) is None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(behind.changed_regions, "pass", pixels, 5)
        before.close()
        assert waiting.result(60) is None
    assert reuse.reused == 0


def test_what_did_not_change_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(480, 480)
    upscaler, reuse = Upscaler(2, threads=1), Reuse()
    upscaler(pixels, reuse=reuse)
    ran: list[int] = []
    run = Session.run

    def counted(session: Session, tile: NDArray[Any]) -> NDArray[Any]:
        ran.append(tile.shape[1] * tile.shape[2])
        return run(session, tile)

    monkeypatch.setattr(Session, "run", counted)
    upscaler(pixels, reuse=reuse)
    assert not ran
    changed = pixels.copy()
    changed[100, 100] ^= 0xFF
    upscaler(changed, reuse=reuse)
    assert 0 < sum(ran) < 0.1 * 480 * 480
