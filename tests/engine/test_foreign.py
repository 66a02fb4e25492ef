"""Networks from outside, in the forms in which people export them, and the errors for other forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xlsr_cli.engine.models import TensorForm
from xlsr_cli.engine.runtimes.foreign import describe, read_form
from xlsr_cli.engine.session import Session
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import ModelError, UsageError
from xlsr_cli.options import Size

NETWORKS = Path(__file__).resolve().parents[1] / "fixtures" / "foreign"
#: The receptive-field radius of the fixtures, in pixels.
HALO = 3
#: Every form, by what differs from the usual: float32, NCHW, RGB, any size, 0 to 1.
FORMS: dict[str, TensorForm] = {
    "free": TensorForm(),
    "float16": TensorForm(dtype="float16"),
    "channels_last": TensorForm(channels_last=True, answer_last=True),
    "levels": TensorForm(top=255.0, answer_top=255.0),
    "levels_out": TensorForm(answer_top=255.0),
    "fixed": TensorForm(size=Size(width=40, height=32)),
    "fixed_height": TensorForm(size=Size(width=40, height=40)),
    "phone": TensorForm(
        dtype="float16",
        channels_last=True,
        answer_last=True,
        top=255.0,
        answer_top=255.0,
        size=Size(width=48, height=48),
    ),
}
LUMA: dict[str, TensorForm] = {
    "luma": TensorForm(),
    "old": TensorForm(size=Size(width=32, height=32)),
}


def path_of(name: str) -> str:
    return str(NETWORKS / f"{name}.onnx")


def picture(height: int = 75, width: int = 93, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, *shape), dtype=np.uint8)


@pytest.mark.parametrize("name", [*FORMS, *LUMA])
def test_the_form_is_found(name: str) -> None:
    spec = Session.foreign(Path(path_of(name)), halo=None).spec
    assert (spec.scale, spec.form) == (2, (FORMS | LUMA)[name])
    assert spec.colour == ("luma" if name in LUMA else "rgb")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_picture(name: str, channels: int) -> None:
    """The same function in another form gives the same pixels, apart from rounding of floats."""
    pixels = picture(75, 93, channels)
    expected = Upscaler(2, model=path_of("free"), halo=HALO)(pixels)
    found = Upscaler(2, model=path_of(name), halo=HALO)(pixels)
    half = FORMS[name].dtype == "float16"
    assert np.abs(found.astype(int) - expected).max() <= (2 if half else 1)
    assert np.mean(found != expected) < (0.1 if half else 0.001)


@pytest.mark.parametrize("name", LUMA)
def test_a_network_for_luma_gets_luma_alone(name: str) -> None:
    """As the bundled ones: colours are split, chroma is resized, and a gray picture goes straight in."""
    gray = picture()
    expected = Upscaler(2, model=path_of("luma"), halo=HALO)(gray)
    upscaler = Upscaler(2, model=path_of(name), halo=HALO)
    assert upscaler.choice.splits_luma
    np.testing.assert_array_equal(upscaler(gray), expected)
    coloured = upscaler(np.repeat(gray[..., None], 3, axis=2))
    assert np.abs(coloured.astype(int) - expected[..., None]).max() <= 1
    with pytest.raises(UsageError, match="works on ycbcr"):
        Upscaler(2, model=path_of(name), color="rgb")(gray)
    with pytest.raises(UsageError, match="works on rgb"):
        Upscaler(2, model=path_of("free"), color="ycbcr")(gray)


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (31, 39), (32, 40), (33, 41), (150, 17)])
def test_a_network_of_one_size_takes_pictures_of_any(size: tuple[int, int]) -> None:
    """Tiles of just that size, with reflection beyond the border, as for every other network."""
    pixels = picture(*size, 3)
    expected = Upscaler(2, model=path_of("free"), halo=HALO)(pixels)
    np.testing.assert_array_equal(Upscaler(2, model=path_of("fixed"), halo=HALO)(pixels), expected)


def test_16_bits_go_through_every_form() -> None:
    pixels = picture(40, 50, 3).astype(np.uint16) * 257
    expected = Upscaler(2, model=path_of("free"), halo=HALO)(pixels).astype(int)
    for name, form in FORMS.items():
        found = Upscaler(2, model=path_of(name), halo=HALO)(pixels)
        most = 500 if form.dtype == "float16" else 2
        assert np.abs(found - expected).max() <= most, name


def test_a_halo_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="leaves nothing of the 40x32"):
        Upscaler(2, model=path_of("fixed"), halo=16)(picture(8, 8, 3))
    with pytest.raises(UsageError, match="takes 40x32 pixels only"):
        Upscaler(2, model=path_of("fixed"), halo=3, tile=16)(picture(8, 8, 3))


def test_a_plan_counts_the_tiles_of_the_only_size() -> None:
    plan = Upscaler(2, model=path_of("fixed"), halo=HALO).plan(
        Size(width=100, height=60), channels=3, depth=8
    )
    assert plan.passes[0].tiles == 3 * 3


class Input:
    """What onnxruntime says of an input."""

    def __init__(self, type: str, shape: list[Any], name: str = "picture") -> None:
        self.name, self.type, self.shape = name, type, shape


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([Input("tensor(float)", [1, 3, "h", "w"]), Input("tensor(float)", [1], "noise")], "2 inputs"),
        ([Input("tensor(uint8)", [1, 3, "h", "w"])], "takes tensor(uint8)"),
        ([Input("tensor(float)", [3, "h", "w"])], "the shape [3, 'h', 'w']"),
        ([Input("tensor(float)", [4, 3, "h", "w"])], "the shape [4, 3, 'h', 'w']"),
        ([Input("tensor(float)", [1, 4, "h", "w"])], "4 channels"),
        ([Input("tensor(float)", [1, 12, 64, 64])], "12 channels"),
    ],
)
def test_what_is_refused_is_told(inputs: list[Input], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_form(inputs, Path("own.onnx"))
    assert words in str(caught.value)
    assert "xlsr understands" in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 3, 64, 72), (1, 3, 128, 72), (1, 1, 128, 144), (3, 128, 144), (5,)])
def test_an_answer_that_is_no_enlarged_picture_is_told(shape: tuple[int, ...]) -> None:
    found = read_form([Input("tensor(float)", [1, 3, "h", "w"])], Path("own.onnx"))
    with pytest.raises(ModelError) as caught:
        describe(found, lambda tile: np.zeros(shape, np.float32), Path("own.onnx"), halo=None, sha256="")
    assert f"answers {shape}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("free", "x2, float32, NCHW, RGB, 0 to 1, any size, the picture at once"),
        ("old", "x2, float32, NCHW, Y′ alone, 0 to 1, 32x32 pixels only, in tiles with a halo of 8"),
        ("phone", "x2, float16, NHWC, RGB, 0 to 255, 48x48 pixels only, in tiles with a halo of 12"),
        ("levels_out", "x2, float32, NCHW, RGB, 0 to 1 in and 0 to 255 out, any size, the picture at once"),
    ],
)
def test_what_was_found_is_said(name: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        Session.foreign(Path(path_of(name)), halo=None)
    assert caplog.messages == [f"{path_of(name)}: {words}"]
