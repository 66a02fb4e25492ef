"""The network as published, its folding, and its integers."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from training.anchor import NEIGHBOURS, anchor, double_anchor, hold, is_anchored, skip_to_neighbours  # noqa: E402
from training.data import Crops, Pair  # noqa: E402
from training.export import INPUT_CHANNELS, export_fp32, export_int8, run_order  # noqa: E402
from training.integer import run_layer, run_network, shift_right  # noqa: E402
from training.network import HALO, XLSR, FoldedXLSR, fold, parameter_count  # noqa: E402
from training.optimizer import build_optimizers  # noqa: E402
from training.quantize import (  # noqa: E402
    WEIGHT_MAX,
    QuantizedXLSR,
    fill_steps,
    integer_layers,
    normalise,
    smallest_step,
)
from training.recipe import Recipe  # noqa: E402
from training.rounding import round_jointly, round_weights  # noqa: E402
from training.train import build_network  # noqa: E402
from xlsr_cli.engine.models import ModelSpec  # noqa: E402
from xlsr_cli.engine.session import Session  # noqa: E402
from xlsr_cli.engine.tiles.tile import windows  # noqa: E402


def randomised(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights large enough that every ReLU cuts something and every bias matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.15, generator=generator)
    return network.eval()


@pytest.mark.parametrize(("scale", "count"), [(2, 17_612), (3, 21_947), (4, 28_016)])
def test_parameter_counts_are_those_of_the_paper(scale: int, count: int) -> None:
    assert parameter_count(XLSR(scale)) == count


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_folding_is_exact_at_every_pixel(scale: int, colours: int) -> None:
    network = randomised(XLSR(scale, colours, clipped=False), seed=scale).double()
    folded = fold(network).double()
    picture = torch.rand(2, colours, 23, 31, dtype=torch.float64)
    with torch.no_grad():
        before, after = network(picture), folded(picture)
    assert before.shape == (2, colours, (23 - 2 * HALO) * scale, (31 - 2 * HALO) * scale)
    # The folded weights are stored in float32.
    assert torch.allclose(before, after, rtol=0, atol=1e-6 * float(before.abs().max()))


def test_the_receptive_field_is_the_halo() -> None:
    network = randomised(FoldedXLSR(2, clipped=False))
    picture = torch.rand(1, 3, 31, 31, requires_grad=True)
    out = network(picture)
    middle = out.shape[-1] // 2
    out[0, :, middle, middle].sum().backward()
    rows, columns = picture.grad[0].abs().sum(dim=0).nonzero(as_tuple=True)
    assert (rows.max() - rows.min(), columns.max() - columns.min()) == (2 * HALO, 2 * HALO)


@pytest.fixture(scope="module", params=[(2, 3), (3, 3), (4, 3), (3, 1)], ids=str)
def quantized(request: pytest.FixtureRequest) -> QuantizedXLSR:
    scale, colours = request.param
    folded = randomised(FoldedXLSR(scale, colours), seed=scale)
    with torch.no_grad():
        folded.tail.bias.add_(0.5)
    return normalise(folded, [torch.rand(4, colours, 40, 40, generator=torch.Generator().manual_seed(9))])


def test_normalising_keeps_the_function(quantized: QuantizedXLSR) -> None:
    # Fake quantization costs a few levels; a wrong rescaling would cost dozens.
    folded = randomised(FoldedXLSR(quantized.scale, quantized.colours), seed=quantized.scale)
    with torch.no_grad():
        folded.tail.bias.add_(0.5)
        picture = (torch.rand(1, quantized.colours, 40, 40) * 255).round() / 255
        difference = (quantized(picture) - folded(picture)).abs().mean()
    assert difference < 6 / 255


def test_onnxruntime_equals_the_integers_bit_for_bit(quantized: QuantizedXLSR, tmp_path: Path) -> None:
    layers = integer_layers(quantized)
    assert all(np.abs(layer.weight.astype(int)).max() <= WEIGHT_MAX for layer in layers.values())
    path = tmp_path / "model.onnx"
    export_int8(layers, scale=quantized.scale, colours=quantized.colours, path=path)
    session = Session(_spec(path, quantized, "int8"), path.read_bytes())
    order = run_order(quantized.colours, quantized.scale)
    random = np.random.default_rng(3)
    for height, width in [(11, 11), (11, 40), (29, 12), (33, 47), (64, 64)]:
        tile = random.integers(0, 256, (height, width, quantized.colours), dtype=np.uint8)
        given = windows(tile if quantized.colours == 3 else tile[..., 0])
        answer = session.run(given[None])[0][..., : len(order)]
        expected = run_network(layers, tile)[..., order]
        np.testing.assert_array_equal(answer, expected)


def test_the_integers_are_what_the_rounded_network_computes(
    quantized: QuantizedXLSR, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In units of a grey level and in float64 all is exact; in units of 0 … 1 halves would round either way.
    network = rounded(quantized).double()
    layers = integer_layers(network)
    for conv in network.convolutions().values():
        conv.bias.data = (conv.bias.data * 255 / conv.step).round() * conv.step
    monkeypatch.setattr("training.quantize._eight_bits", lambda out: out.clamp(0, 255).round())
    tile = np.random.default_rng(4).integers(0, 256, (30, 26, quantized.colours), dtype=np.uint8)
    with torch.no_grad():
        fake = network(torch.from_numpy(tile).permute(2, 0, 1)[None].double())
    planes = torch.from_numpy(run_network(layers, tile)).permute(2, 0, 1)[None]
    assert torch.equal(fake, torch.nn.functional.pixel_shuffle(planes, quantized.scale).double())


def test_the_float_graph_is_the_network(tmp_path: Path) -> None:
    network = randomised(FoldedXLSR(3))
    path = tmp_path / "model.onnx"
    export_fp32(network, path=path)
    session = Session(_spec(path, network, "fp32"), path.read_bytes())
    picture = np.random.default_rng(5).random((1, 20, 30, 3), dtype=np.float32)
    answer = session.run(picture)[0].reshape(10, 20, 3, 3, 3)
    with torch.no_grad():
        expected = network(torch.from_numpy(picture).permute(0, 3, 1, 2))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(answer.transpose(0, 2, 1, 3, 4).reshape(30, 60, 3), expected, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["muon", "soap"])
@pytest.mark.parametrize("colours", [1, 3])
def test_anchors_are_the_picture_and_stay_it(colours: int, optimizer: str) -> None:
    folded = randomised(FoldedXLSR(2, colours), seed=6)
    assert not is_anchored(folded)
    pictures = [torch.rand(2, colours, 24, 24)]
    network = anchor(folded, pictures)
    assert is_anchored(network)
    hold(network.skip, colours)
    hold(network.fuse, colours)
    optimizers = build_optimizers(network, replace(_recipe(colours), optimizer=optimizer))
    for _ in range(25):  # SOAP's held directions drift only once its eigenvectors were followed
        network.zero_grad()
        network(torch.rand(2, colours, 24, 24)).square().mean().backward()
        for each in optimizers:
            each.step()
    assert is_anchored(network)
    assert not torch.equal(network.skip.weight, anchor(folded, pictures).skip.weight)


def test_anchoring_keeps_what_the_network_does_where_it_can() -> None:
    folded = randomised(FoldedXLSR(2, 1, clipped=False), seed=7)
    with torch.no_grad():
        folded.tail.weight[:, 5] = 0.0  # carries nothing, so it makes room
        picture = torch.rand(1, 1, 24, 24)
        # One colour has nine skip filters at most, so none is lost.
        assert torch.allclose(anchor(folded, [picture])(picture), folded(picture), atol=1e-4)


def test_skip_filters_of_luma_can_be_the_pixels_themselves() -> None:
    folded = anchor(randomised(FoldedXLSR(2, 1, clipped=False), seed=9), [torch.rand(2, 1, 24, 24)])
    network = copy.deepcopy(folded)
    skip_to_neighbours(network)
    assert is_anchored(network)
    picture = torch.rand(1, 1, 24, 24)
    with torch.no_grad():
        assert torch.allclose(network(picture), folded(picture), atol=1e-4)
    tile = np.random.default_rng(1).integers(0, 256, (9, 14, 1), dtype=np.uint8)
    skip = run_layer(integer_layers(normalise(folded, [torch.rand(4, 1, 40, 40)]))["skip"], tile)
    shifted = [tile[tap // 3 : 7 + tap // 3, tap % 3 : 12 + tap % 3, 0] for tap in NEIGHBOURS]
    np.testing.assert_array_equal(skip[..., :9], np.stack(shifted, axis=2))
    assert not skip[..., 9:].any()


def test_a_second_anchor_costs_only_the_feature_that_others_can_tell() -> None:
    pictures = [torch.rand(4, 1, 30, 30, generator=torch.Generator().manual_seed(12))]
    folded = anchor(randomised(FoldedXLSR(2, 1, clipped=False), seed=11), pictures)
    with torch.no_grad():
        folded.fuse.weight[9], folded.fuse.bias[9] = folded.fuse.weight[20], folded.fuse.bias[20]
    doubled = copy.deepcopy(folded)
    double_anchor(doubled, pictures)
    assert is_anchored(doubled)
    with torch.no_grad():
        features = doubled.features(pictures[0])
        assert torch.equal(features[:, 1], pictures[0][:, 0, 4:-4, 4:-4])
        assert torch.equal(doubled.tail.weight[:, 0], doubled.tail.weight[:, 1])
        assert torch.allclose(doubled(pictures[0]), folded(pictures[0]), atol=1e-3)


def test_tuning_leaves_the_copies_of_luma_alone(tmp_path: Path) -> None:
    folded = anchor(randomised(FoldedXLSR(2, 1), seed=10), [torch.rand(2, 1, 24, 24)])
    recipe = replace(_recipe(1), anchored=True)
    (tmp_path / "start").mkdir()
    checkpoint = {"recipe": asdict(recipe), "average": folded.state_dict()}
    torch.save(checkpoint, tmp_path / "start" / "checkpoint.pt")
    smooth = np.arange(96 * 96, dtype=np.int64).reshape(96, 96, 1) // 40
    pair = Pair(high=smooth.astype(np.uint8), low=smooth[::2, ::2].astype(np.uint8))
    crops = Crops([pair], scale=2, crop=36, batch=4, intensities=[1.0], seed=3)
    tuned = replace(recipe, form="int8", optimizer="adam", start="start")
    network = build_network(tuned, tmp_path, crops)
    assert isinstance(network, QuantizedXLSR)
    before = copy.deepcopy(network.skip.state_dict())
    fuse = network.fuse.weight.detach().clone()
    assert torch.equal(fuse[0], fuse[1])
    for optimizer in build_optimizers(network, tuned):
        optimizer.zero_grad()
        network(crops.next()[0]).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in network.skip.state_dict().items())
    assert torch.equal(fuse[:2], network.fuse.weight[:2])
    assert not torch.equal(fuse, network.fuse.weight)


def test_anchors_are_exact_in_eight_bits() -> None:
    folded = anchor(randomised(FoldedXLSR(3), seed=8), [torch.rand(2, 3, 24, 24)])
    layers = integer_layers(normalise(folded, [torch.rand(4, 3, 40, 40)]))
    tile = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)
    skip = run_layer(layers["skip"], tile)
    np.testing.assert_array_equal(skip[..., :3], tile[1:-1, 1:-1])
    joined = np.concatenate([np.zeros((14, 14, 32), dtype=np.uint8), skip], axis=2)
    np.testing.assert_array_equal(run_layer(layers["fuse"], joined)[..., :3], tile[1:-1, 1:-1])


def rounded(quantized: QuantizedXLSR) -> QuantizedXLSR:
    network = copy.deepcopy(quantized)
    smooth = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(2))
    picture = torch.nn.functional.interpolate(smooth[None], size=(96, 96), mode="bilinear")[0]
    high = (picture.permute(1, 2, 0).numpy()[..., : network.colours] * 255).astype(np.uint8)
    pair = Pair(high=high, low=high[:: network.scale, :: network.scale])
    crops = Crops([pair], scale=network.scale, crop=20, batch=8, intensities=[1.0], seed=2)
    round_weights(network, crops, batches=8)
    return network


def test_rounded_weights_are_the_integers_that_are_shipped(quantized: QuantizedXLSR) -> None:
    network = rounded(quantized)
    for name, shipped in integer_layers(network).items():
        conv = network.get_submodule(name)
        step = np.exp2(-shipped.shift.astype(float))
        np.testing.assert_array_equal(
            conv.weight.detach().numpy(), shipped.weight * step[:, None, None, None]
        )
        np.testing.assert_allclose(conv.bias.detach().numpy(), shipped.bias * step / 255, atol=1e-6)
        assert np.abs(shipped.weight.astype(int)).max() <= WEIGHT_MAX
        assert shipped.shift.min() >= 0


def test_a_sum_is_divided_by_its_power_of_two_half_to_even() -> None:
    total = np.arange(-2000, 2000, dtype=np.int32)[:, None].repeat(9, axis=1)
    shift = np.arange(9, dtype=np.int32)
    np.testing.assert_array_equal(shift_right(total, shift), np.rint(total / 2.0**shift))


@pytest.mark.parametrize("largest", [0.96, 0.6])
def test_channels_are_stretched_a_little_to_fill_their_step_and_shrunk_at_2_alone(
    quantized: QuantizedXLSR, largest: float
) -> None:
    network = copy.deepcopy(quantized)
    head = network.convolutions()["head"]
    with torch.no_grad():
        for conv in network.convolutions().values():
            conv.weight *= largest * WEIGHT_MAX / 64 / conv.weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    before = head.weight.detach().clone()
    fill_steps(network)
    steps = head.weight.detach().abs().amax(dim=(1, 2, 3)) / smallest_step(head.weight)
    near, shrinks = largest == 0.96, network.scale == 2
    assert bool((steps > 0.99 * WEIGHT_MAX).all()) == (near or shrinks)
    assert float((head.weight.detach() / before).min()) > 0.999 or (shrinks and not near)


def test_rounding_jointly_beats_rounding_each_weight() -> None:
    generator = torch.Generator().manual_seed(1)
    alike = torch.rand(4000, 1, generator=generator) + 0.1 * torch.rand(4000, 288, generator=generator)
    features = torch.cat([alike, torch.ones(4000, 1)], dim=1).double()
    exact = torch.randn(289, 4, generator=generator).double() * 0.2
    gram = features.T @ features
    smallest = exact[:-1].abs().amax(dim=0) / WEIGHT_MAX
    joint, step = round_jointly(exact, gram, smallest)
    whole = joint[:-1] / step
    assert float((whole - whole.round()).abs().max()) < 1e-6
    assert float(whole.abs().max()) <= WEIGHT_MAX
    nearest = torch.cat([(exact[:-1] / smallest).round() * smallest, exact[-1:]])
    errors = [float((features @ (rounded - exact)).square().mean()) for rounded in (joint, nearest)]
    assert errors[0] < 0.05 * errors[1]


def _recipe(colours: int) -> Recipe:
    return Recipe(name="test", form="folded", scale=2, colours=colours, steps=9, optimizer="muon")


def _spec(path: Path, network: FoldedXLSR | QuantizedXLSR, precision: str) -> ModelSpec:
    return ModelSpec(
        name=path.stem, path=path, scale=network.scale, precision=precision, halo=HALO, sha256="",
        colour="rgb" if network.colours == 3 else "luma", input_channels=INPUT_CHANNELS[network.colours],
    )  # fmt: skip
