"""Training data for compressed and drawn sources: files, films, drawings; and their scores."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.photographs import Pixels, photograph  # noqa: E402
from training.compress import LEVELS, Level, compress, one_quality, scaled_table, through_file  # noqa: E402
from training.data import Crops, Pair, compressed  # noqa: E402
from training.drawings import SIDE, drawing_pairs  # noqa: E402
from training.films import ENCODERS, FRAMES, TRAVEL, WINDOW, moving, through_encoder  # noqa: E402
from training.levels import case_of, film_cases, film_gains, gains  # noqa: E402
from training.loss import overshoot  # noqa: E402
from xlsr_cli.engine.traces.jpeg import LUMA_STEPS, traces_in  # noqa: E402
from xlsr_cli.engine.traces.samples import Sample  # noqa: E402
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8  # noqa: E402
from xlsr_cli.quality.metrics import psnr  # noqa: E402


def luma(seed: int, height: int = 160, width: int = 192) -> Pixels:
    return np.ascontiguousarray(photograph(seed, height, width)[..., 1:2])


def mean_psnr(name: str, pictures: int = 40) -> float:
    random = np.random.default_rng(0)
    picture = photograph(1, 64, 64)
    return float(np.mean([psnr(picture, compress(picture, LEVELS[name], random)) for _ in range(pictures)]))


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_compressed_crop_is_of_the_same_kind_and_another_each_time(name: str, channels: int) -> None:
    picture = photograph(0, 56, 61)[..., :channels]
    random = np.random.default_rng(1)
    found = [compress(picture, LEVELS[name], random) for _ in range(12)]
    assert {one.shape for one in found} == {picture.shape}
    assert {one.dtype for one in found} == {np.dtype(np.uint8)}
    assert len({one.tobytes() for one in found}) > 8
    again = np.random.default_rng(1)
    assert np.array_equal(compress(picture, LEVELS[name], again), found[0])


def test_strong_is_stronger_than_light() -> None:
    assert mean_psnr("strong") < mean_psnr("light") - 3


def test_one_quality_is_that_jpeg_alone() -> None:
    picture = photograph(2)
    found = [compress(picture, one_quality(60), np.random.default_rng(seed)) for seed in range(4)]
    expected = through_file(picture, "JPEG", quality=60, subsampling=2)
    assert all(np.array_equal(one, expected) for one in found)
    traces = traces_in(Sample(expected))
    assert traces is not None
    assert abs(traces.quality - 60) <= 2


def test_tables_are_scaled_as_libjpeg_does() -> None:
    rows = LUMA_STEPS.tolist()
    assert scaled_table(rows, 50) == LUMA_STEPS.reshape(-1).tolist()
    assert scaled_table(rows, 100) == [1] * 64
    assert max(scaled_table(rows, 1)) == 255
    assert scaled_table(rows, 75)[0] == 8


def test_crops_of_a_level_are_compressed_and_their_targets_are_not() -> None:
    high = photograph(3, 128, 128)
    pairs = [Pair(high=high, low=shrink(high, 2))]
    options = {"scale": 2, "crop": 32, "batch": 6, "intensities": [1.0], "seed": 5}

    def error(level: Level | None) -> float:
        low, high, _ = Crops(pairs, **options, level=level).next()  # type: ignore[arg-type]
        shrunk = torch.nn.functional.avg_pool2d(high, 2)
        return float((low[:, :, 5:-5, 5:-5] - shrunk).abs().mean())

    assert error(one_quality(20)) > 1.5 * error(None)


def test_a_share_of_the_crops_stays_clean() -> None:
    high = photograph(3, 128, 128)
    pairs = [Pair(high=high, low=shrink(high, 2))]
    options = {"scale": 2, "crop": 64, "batch": 40, "intensities": [1.0], "seed": 5}

    def clean(share: float) -> int:
        """How many of forty crops, which are the whole picture, turned at most, nothing was done to."""
        crops = Crops(pairs, **options, level=one_quality(20), clean=share)  # type: ignore[arg-type]
        low, _, _ = crops.next()
        sums = (low * 255).round().sum(dim=(1, 2, 3))
        return int((sums == float(pairs[0].low.sum())).sum())

    assert clean(0) == 0
    assert 3 < clean(0.25) < 20
    assert clean(1) == 40


@pytest.mark.parametrize("level", [None, one_quality(5)])
def test_a_share_of_the_crops_is_nearly_lossless_whatever_the_level(level: Level | None) -> None:
    high = photograph(3, 128, 128)
    pairs = [Pair(high=high, low=shrink(high, 2))]

    def errors(share: float) -> list[float]:
        """The mean error of each of forty crops of the whole picture, in grey levels."""
        crops = Crops(
            pairs, scale=2, crop=64, batch=40, intensities=[1.0], seed=5, level=level, near_lossless=share
        )
        low, high, _ = crops.next()
        shrunk = torch.nn.functional.avg_pool2d(high, 2)
        return ((low[:, :, 5:-5, 5:-5] - shrunk).abs().mean(dim=(1, 2, 3)) * 255).tolist()

    usual, nearly = errors(0), errors(1)
    assert max(nearly) < (max(usual) + 3 if level is None else min(usual))
    assert sum(error not in usual for error in nearly) > 30
    assert 3 < sum(error not in usual for error in errors(0.25)) < 20


def test_held_out_pairs_are_compressed_once_and_always_alike() -> None:
    high = photograph(4, 96, 96)
    pairs = [Pair(high=high, low=shrink(high, 2)), Pair(high=high, low=shrink(high, 2), compressed=True)]
    first, second = (compressed(pairs, LEVELS["strong"]) for _ in range(2))
    assert np.array_equal(first[0].low, second[0].low)
    assert not np.array_equal(first[0].low, pairs[0].low)
    assert first[1] is pairs[1]
    assert compressed(pairs, None) is pairs


@pytest.mark.parametrize("name", ENCODERS)
def test_frames_come_back_from_every_encoder(name: str) -> None:
    frames = [luma(1, 98, 131)[at : at + 90, at : at + 121] for at in range(4)]
    encoder = ENCODERS[name]
    fine, coarse = (through_encoder(frames, name, at) for at in (encoder.light[0], encoder.strong[1]))
    for found in (fine, coarse):
        assert [frame.shape for frame in found] == [frame.shape for frame in frames]
    errors = [np.mean([psnr(a, b) for a, b in zip(found, frames, strict=True)]) for found in (fine, coarse)]
    assert errors[0] > errors[1] + 3
    assert errors[0] > 33


def test_patches_move_at_their_own_speed_in_limited_range() -> None:
    patches = [luma(seed, WINDOW + TRAVEL, WINDOW + TRAVEL) for seed in range(16)]
    frames = moving(patches, np.random.default_rng(3))
    assert len(frames) == FRAMES
    assert {frame.shape for frame in frames} == {(4 * WINDOW, 4 * WINDOW, 1)}
    assert min(frame.min() for frame in frames) >= 16
    assert max(frame.max() for frame in frames) <= 235
    assert any(not np.array_equal(frames[0], frame) for frame in frames[1:])


@pytest.mark.parametrize(("scale", "colours"), [(2, 3), (3, 1), (4, 3)])
def test_drawings_are_pairs_of_their_truth(scale: int, colours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMOOTH", "PIXELS", "SPRITES"):
        monkeypatch.setattr(f"training.drawings.{name}", 4)
    pairs = drawing_pairs(scale, colours)
    assert len(pairs) == 12
    for pair in pairs:
        assert pair.low.shape == (SIDE, SIDE, colours)
        assert pair.high.shape == (SIDE * scale, SIDE * scale, colours)
    for pair in pairs[4:]:  # pixel fonts and sprites
        assert np.array_equal(pair.high, pair.low.repeat(scale, axis=0).repeat(scale, axis=1))
    for pair in pairs[:4]:  # a mean of what is large
        blocks = pair.high.reshape(SIDE, scale, SIDE, scale, colours).mean(axis=(1, 3))
        assert np.abs(blocks - pair.low).max() <= 1
    assert all(
        np.array_equal(a.low, b.low) for a, b in zip(pairs, drawing_pairs(scale, colours), strict=True)
    )


def test_overshoot_counts_what_leaves_the_range_around() -> None:
    low = torch.zeros(1, 3, 20, 20)
    low[..., 10:] = 0.5
    answer = low[:, :, 5:-5, 5:-5].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert float(overshoot(answer, low, 2)) == 0
    assert float(overshoot(answer + 0.5, low, 2)) == pytest.approx(0.4)  # but where both colours are near
    answer[0, 0, 0, 0] = -0.3
    assert float(overshoot(answer, low, 2)) == pytest.approx(0.3 / answer.numel(), rel=1e-4)


def test_bicubic_gains_nothing_over_itself() -> None:
    high = photograph(6, 96, 120)
    case = case_of(high, shrink(high, 2), 2)
    assert gains(lambda low: to_uint8(imresize(low, 96, 120)), [case], 2, 3) == [pytest.approx(0.0)]
    cases = film_cases([high], 2, 30)

    def bicubic(low: Pixels) -> Pixels:
        height, width = (2 * side for side in low.shape[:2])
        return to_uint8(imresize(low, height, width)).reshape(height, width, 1)

    assert film_gains(bicubic, cases, 2) == pytest.approx([0.0] * len(cases))
    assert min(case.low.min() for case in cases) >= 0
