"""The training loop: it learns, it stops and resumes exactly, and it says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training import train as loop  # noqa: E402
from training.ablation import PlainInt8  # noqa: E402
from training.data import Crops, NoPictures, Pair, load_pairs, shrunk_too  # noqa: E402
from training.evaluate import torch_upscale  # noqa: E402
from training.loss import bicubic, loss_of, weights  # noqa: E402
from training.network import HALO, XLSR, FoldedXLSR  # noqa: E402
from training.quantize import QuantizedXLSR  # noqa: E402
from training.recipe import BadRecipe, Recipe, load_recipe  # noqa: E402
from training.refit import refit_tail  # noqa: E402
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(4):
        coarse = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC))
    (folder / "notes.txt").write_text("not a picture", encoding="utf-8")
    return folder


def recipe(**changes: object) -> Recipe:
    base = Recipe(name="test", form="folded", scale=2, colours=3, steps=60, batch=4, crop=20, warmup=5)
    return replace(base, **changes)


def test_crops_show_the_target_of_their_inner_pixels(pictures: Path) -> None:
    pairs = load_pairs(pictures, 2, 3)
    crops = Crops(pairs, scale=2, crop=20, batch=8, intensities=[1.0], seed=1)
    low, high, _ = crops.next()
    assert low.shape == (8, 3, 20, 20)
    assert high.shape == (8, 3, 20, 20)  # (20 - 10) · 2
    inner = low[:, :, HALO:-HALO, HALO:-HALO]
    shrunk = torch.nn.functional.avg_pool2d(high, 2)
    assert float((inner - shrunk).abs().mean()) < 0.03


def test_plain_colours_and_ramps_come_first_in_a_batch(pictures: Path) -> None:
    pairs = load_pairs(pictures, 2, 3)
    crops = Crops(pairs, scale=2, crop=20, batch=30, intensities=[1.0], seed=1, flat=20)
    low, high = (side * 255 for side in crops.next()[:2])
    inner = low[:, :, HALO:-HALO, HALO:-HALO]
    shrunk = torch.nn.functional.avg_pool2d(high, 2)
    # Where nothing is clipped, a ramp shrinks to the ramp: rounding is all that may differ.
    assert float((inner - shrunk)[:20].abs().max()) <= 2.0
    plain = [bool((crop == crop[:, :1, :1]).all()) for crop in low]
    assert 0 < sum(plain[:20]) < 20
    assert not any(plain[20:])
    curved = [float(_second_difference(crop).max()) for crop in low]
    assert max(curved[:20]) < min(max(curved[20:]), 12)


def _second_difference(crop: torch.Tensor) -> torch.Tensor:
    return (crop[..., 2:] - 2 * crop[..., 1:-1] + crop[..., :-2]).abs()


def test_every_picture_is_shown_again_at_smaller_sizes(pictures: Path) -> None:
    pairs = load_pairs(pictures, 2, 3)
    more = shrunk_too(pairs, 2, [0.7, 0.5])
    assert more[:4] == pairs
    assert [pair.high.shape[:2] for pair in more[4:]] == [(66, 66)] * 4 + [(48, 48)] * 4
    for pair in more:
        np.testing.assert_array_equal(pair.low, shrink(pair.high, 2))


def test_a_square_counts_as_much_as_psnr_makes_it_count() -> None:
    network = FoldedXLSR(2)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    # The network answers black, so these two are off by 10 and by 40 levels everywhere.
    pairs = [
        Pair(high=np.full((48, 48, 3), level, np.uint8), low=np.full((24, 24, 3), level, np.uint8))
        for level in (10, 40)
    ]
    found = weights(network, pairs, recipe())
    np.testing.assert_allclose(found, [255**2 / 105, 255**2 / 1605], rtol=1e-5)
    np.testing.assert_allclose(
        weights(network, pairs, recipe(enough=0.5)), [255**2 / 100.5, 255**2 / 1600.5], rtol=1e-5
    )
    high = torch.stack([torch.full((3, 8, 8), level / 255) for level in (10, 40)])
    black, low = torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 14, 14)
    loss = loss_of(black, low, high, torch.tensor(found), recipe(loss="psnr"))
    assert float(loss) == pytest.approx((100 / 105 + 1600 / 1605) / 2, rel=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_of_a_batch_is_that_of_the_literature(scale: int) -> None:
    low = np.random.default_rng(scale).integers(0, 256, (30, 26, 3)).astype(np.uint8)
    halo = HALO * scale
    expected = to_uint8(imresize(low, 30 * scale, 26 * scale))[halo:-halo, halo:-halo]
    batch = torch.from_numpy(low).permute(2, 0, 1)[None].float() / 255
    found = (bicubic(batch, scale)[0] * 255).permute(1, 2, 0).numpy()
    # Sums that end at a half may be rounded either way.
    np.testing.assert_allclose(found, expected, atol=1)
    assert (found != expected).mean() < 0.001


def test_what_gains_little_over_bicubic_counts_more() -> None:
    low = torch.rand(2, 3, 18, 18, generator=torch.Generator().manual_seed(4))
    large = bicubic(low, 2)
    high = (large + 0.1).clamp(0, 1)
    # The first answer is as bad as bicubic's, the second one is three times as close.
    answer = torch.stack([large[0], high[1] + (large[1] - high[1]) / 3])
    weight = torch.ones(2)
    plain = [
        float(loss_of(answer[i : i + 1], low[i : i + 1], high[i : i + 1], weight[:1], recipe(loss="psnr")))
        for i in (0, 1)
    ]
    found = loss_of(answer, low, high, weight, recipe(loss="psnr", lagging=3.0))
    assert float(found) == pytest.approx((3 * plain[0] + plain[1]) / 2, rel=1e-5)


def test_the_last_layer_is_solved_for_what_counts(pictures: Path) -> None:
    good = load_pairs(pictures, 2, 3)
    odd = [replace(pair, high=255 - pair.high) for pair in good]

    def error_with(weight: float) -> float:
        torch.manual_seed(3)
        network = FoldedXLSR(2)
        pairs = good + [replace(pair, weight=weight) for pair in odd]
        refit_tail(network, Crops(pairs, scale=2, crop=20, batch=8, intensities=[1.0], seed=1), batches=30)
        low, high, _ = Crops(good, scale=2, crop=20, batch=8, intensities=[1.0], seed=2).next()
        return float((network(low) - high).square().mean().detach())

    assert error_with(0.0) < 0.1 * error_with(1.0)


def test_without_the_clip_a_bare_conversion_to_bytes_wraps() -> None:
    for clipped in (True, False):
        network = XLSR(3, clipped=clipped)
        torch.nn.init.constant_(network.tail.weight, 1e-6)
        torch.nn.init.constant_(network.tail.bias, 258 / 255)
        plain = PlainInt8(network, [torch.rand(1, 3, 24, 24)])
        low = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        assert (torch_upscale(plain)(low) == 255).all()
        assert (torch_upscale(plain, wraps=True)(low) == (255 if clipped else 2)).all()


@pytest.mark.parametrize("optimizer", ["muon", "soap"])
def test_a_short_run_learns(optimizer: str, pictures: Path, tmp_path: Path) -> None:
    network = loop.train(recipe(steps=300, optimizer=optimizer), pictures, tmp_path, CPU)
    entries = (tmp_path / "test" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [loop.json.loads(line)["loss"] for line in entries]
    assert losses[-1] < 0.5 * losses[0]
    assert not network.training


@pytest.mark.parametrize(
    "changes", [{"optimizer": "adam"}, {"optimizer": "muon"}, {"optimizer": "soap", "loss": "psnr"}]
)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    changes: dict[str, object], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loop.train(recipe(**changes), pictures, tmp_path / "whole", CPU)

    class Killed(Exception):
        pass

    def killed_at_35(*arguments: object) -> None:
        save(*arguments)
        if arguments[2] == 35:
            raise Killed

    save = loop._save
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_save", killed_at_35)
    with pytest.raises(Killed):
        loop.train(recipe(**changes), pictures, tmp_path / "parts", CPU)
    monkeypatch.setattr(loop, "_save", save)
    parts = loop.train(recipe(**changes), pictures, tmp_path / "parts", CPU)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


def test_each_stage_starts_from_the_one_before(pictures: Path, tmp_path: Path) -> None:
    stages = [
        recipe(name="published", form="xlsr", steps=10),
        recipe(name="folded", start="published", steps=10),
        recipe(name="luma", colours=1, start="folded", steps=10),
        recipe(name="larger", scale=4, start="folded", steps=10, crop=16),
        recipe(name="anchored", start="folded", anchored=True, steps=10, optimizer="muon"),
        recipe(name="int8", form="int8", anchored=True, start="anchored", steps=10),
        recipe(name="int8_without", form="int8", start="folded", steps=10),
    ]
    for stage in stages:
        loop.train(stage, pictures, tmp_path, CPU)
    crops = Crops(load_pairs(pictures, 2, 3), scale=2, crop=20, batch=4, intensities=[1.0], seed=1)
    fresh = loop.build_network(replace(stages[1], name="again"), tmp_path, crops)
    published = loop.restore_network(stages[0], loop.load_checkpoint(tmp_path / "published"))
    low, _, _ = crops.next()
    with torch.no_grad():
        assert torch.allclose(fresh(low), published(low), atol=1e-5)


@pytest.mark.parametrize(("form", "refit", "worse"), [("folded", True, 1.0), ("int8", False, 1.001)])
def test_what_is_solved_once_training_is_over_is_solved_once(
    form: str, refit: bool, worse: float, pictures: Path, tmp_path: Path
) -> None:
    start = recipe(name="start", steps=200, optimizer="muon")
    loop.train(start, pictures, tmp_path, CPU)
    stage = recipe(name="stage", form=form, start="start", steps=10, refit=refit)
    after = loop.train(stage, pictures, tmp_path, CPU)
    before = loop._empty_network(stage)
    before.load_state_dict(loop.load_checkpoint(tmp_path / "stage")["average"])
    crops = Crops(load_pairs(pictures, 2, 3), scale=2, crop=32, batch=32, intensities=[1.0], seed=9)
    low, high, _ = crops.next()
    with torch.no_grad():
        errors = [float((network(low) - high).square().mean()) for network in (before, after)]
    assert not torch.equal(before.tail.weight, after.tail.weight)
    assert errors[1] < worse * errors[0]
    again = loop.train(stage, pictures, tmp_path, CPU)
    assert torch.equal(after.tail.weight, again.tail.weight)
    assert (tmp_path / "stage" / "log.jsonl").read_text(encoding="utf-8").count("solved") == 1


def test_layers_behind_a_rounded_one_are_trained_on_and_it_is_not(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.train(recipe(name="start", steps=20, optimizer="soap", anchored=True), pictures, tmp_path, CPU)
    stage = recipe(
        name="stage", form="int8", start="start", steps=5, settle=4, optimizer="soap", anchored=True
    )
    seen: list[dict[str, tuple[torch.Tensor, bool]]] = []
    settle = loop._settle

    def watched(recipe: Recipe, network: QuantizedXLSR, *more: Any) -> None:
        settle(recipe, network, *more)
        layers = network.convolutions().items()
        seen.append({name: (conv.weight.clone(), conv.weight.requires_grad) for name, conv in layers})

    monkeypatch.setattr(loop, "_settle", watched)
    monkeypatch.setattr(loop, "round_weights", partial(loop.round_weights, batches=5))
    finished = loop.train(stage, pictures, tmp_path, CPU)
    assert isinstance(finished, QuantizedXLSR)
    names = list(finished.convolutions())
    assert len(seen) == len(names) - 1
    for rounded, layers in enumerate(seen, start=1):
        assert [trained for _, trained in layers.values()] == [
            place >= rounded for place in range(len(names))
        ]
        for name in names[:rounded]:
            assert torch.equal(layers[name][0], finished.convolutions()[name].weight)
    assert not torch.equal(seen[0]["tail"][0], seen[1]["tail"][0])


def test_a_teacher_is_followed(pictures: Path, tmp_path: Path) -> None:
    """Targets are what the network answers that it starts from, as far as the recipe says so."""
    start = loop.train(recipe(name="start", steps=20), pictures, tmp_path, CPU)
    low = torch.rand(2, 3, 20, 20)
    batch = (low, torch.zeros(2, 3, 20, 20), torch.ones(2))
    for share in (0.0, 0.5, 1.0):
        stage = recipe(name="stage", start="start", teacher=share)
        _, high, _ = loop._taught(stage, batch, loop._teacher(stage, tmp_path))
        torch.testing.assert_close(high, share * start(low).detach())


def test_the_pauses_between_checkpoints_are_short() -> None:
    assert loop.CHECKPOINT_SECONDS <= 300


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here", encoding="utf-8")
    with pytest.raises(NoPictures, match=str(tmp_path)):
        load_pairs(tmp_path, 2, 3)
    with pytest.raises(NoPictures, match="not a folder"):
        load_pairs(tmp_path / "missing", 2, 3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('form = "folded"\nscale = 2\ncolours = 3\nsteps = 1\nstepz = 2', "stepz"),
        ('form = "folded"\nscale = 5\ncolours = 3\nsteps = 1', "scale"),
        ('form = "folded"\nscale = 2', "steps"),
        ("form =", "cannot read"),
    ],
)
def test_a_bad_recipe_is_one_sentence(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRecipe, match=complaint):
        load_recipe(path)


def test_every_recipe_in_the_repository_is_valid() -> None:
    from training.make import ORDER, RECIPES

    for name in ORDER:
        loaded = load_recipe(RECIPES / f"{name}.toml")
        assert loaded.name == name
        assert loaded.start is None or ORDER.index(loaded.start) < ORDER.index(name)


def test_every_shipped_network_was_trained_by_its_recipe() -> None:
    from training.make import RECIPES
    from training.record import RECORDS
    from xlsr_cli.engine.models import bundled_models

    for spec in bundled_models():
        newest = max(RECORDS.glob(f"*-{spec.name}/recipe.toml"))
        assert load_recipe(newest) == load_recipe(RECIPES / f"{spec.recipe}.toml"), spec.name
