"""The Python API: what it exports, that it is the command line's twin, and how it fails."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import xlsr_cli
from xlsr_cli import InputError, NotKeptError, OutputError, Upscaler, UsageError, XlsrError, upscale
from xlsr_cli.options import EngineOptions, PictureOptions, Target


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)).save(path)
    return path


def test_all_is_complete_and_sorted() -> None:
    """Every error, and every class of ours that a public signature names."""
    assert sorted(xlsr_cli.__all__, key=lambda name: (not name[0].isupper(), name)) == xlsr_cli.__all__
    exported = {name: getattr(xlsr_cli, name) for name in xlsr_cli.__all__}
    assert {kind.__name__ for kind in XlsrError.__subclasses__()} <= set(exported)
    for function in (upscale, Upscaler.__init__, Upscaler.__call__, Upscaler.plan, Upscaler.from_options):
        for hint in typing.get_type_hints(function).values():
            for kind in (hint, *typing.get_args(hint)):
                if inspect.isclass(kind) and kind.__module__.startswith("xlsr_cli"):
                    assert kind in exported.values(), f"{function.__qualname__} names {kind.__name__}"


def test_importing_is_cheap() -> None:
    script = (
        "import sys, xlsr_cli\n"
        "print({'numpy', 'cv2', 'onnxruntime', 'av', 'PIL', 'typer'} & set(sys.modules))\n"
        "xlsr_cli.Upscaler"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_names_that_are_none_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'downscale'"):
        importlib.import_module("xlsr_cli").downscale  # noqa: B018
    assert set(dir(xlsr_cli)) == set(xlsr_cli.__all__)


def test_upscale_takes_every_option_of_a_picture() -> None:
    fields = {
        field.name for kind in (PictureOptions, EngineOptions, Target) for field in dataclasses.fields(kind)
    }
    beside = {"source", "output", "progress"}
    assert set(inspect.signature(upscale).parameters) == fields - {"target", "engine", "y4m"} | beside
    constructor = set(inspect.signature(Upscaler).parameters)
    assert constructor == {field.name for field in dataclasses.fields(EngineOptions)} | {"scale"}


def test_the_file_is_what_the_array_becomes(picture: Path) -> None:
    result = upscale(picture, picture.with_name("out.png"), scale=3, tile=16, max_memory=1 << 22)
    expected = Upscaler(3)(cv2.imread(str(picture), cv2.IMREAD_UNCHANGED))
    np.testing.assert_array_equal(cv2.imread(result.output, cv2.IMREAD_UNCHANGED), expected)
    assert result.notices == ()


def test_the_default_name(picture: Path) -> None:
    assert Path(upscale(str(picture), fit=(90, 90)).output) == picture.with_name("in_fit90x90.png")
    assert Path(upscale(picture, format="webp", width=60).output) == picture.with_name("in_60w.webp")


def test_errors_are_of_their_kind_and_leave_nothing(picture: Path) -> None:
    out = picture.with_name("out.png")
    with pytest.raises(InputError, match="does not exist"):
        upscale(picture.with_name("missing.png"))
    with pytest.raises(InputError, match="--max-pixels"):
        upscale(picture, out, max_pixels=100)
    with pytest.raises(UsageError, match="give one of"):
        upscale(picture, out, scale=2, width=90)
    with pytest.raises(UsageError, match="--format must be one of"):
        upscale(picture, out, format="gif")  # type: ignore[arg-type]
    with pytest.raises(NotKeptError, match="alpha-dropped"):
        upscale(picture, picture.with_name("out.jpg"), strict=True)
    assert [path.name for path in picture.parent.iterdir()] == ["in.png"]


def test_a_file_is_never_replaced_unasked_and_the_input_never_at_all(picture: Path) -> None:
    before = picture.read_bytes()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is the input itself"):
            upscale(picture, picture, overwrite=overwrite)
    assert picture.read_bytes() == before
    out = picture.with_name("out.png")
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        upscale(picture, out)
    assert out.read_bytes() == b"mine"
    upscale(picture, out, overwrite=True)
    assert Image.open(out).size == (60, 40)


def test_an_upscaler_closes_itself_at_the_end_of_a_block() -> None:
    with Upscaler(scale=2) as upscaler:
        assert upscaler(np.zeros((8, 8, 3), np.uint8)).shape == (16, 16, 3)
        assert upscaler.choice.loaded
    assert not upscaler.choice.loaded
