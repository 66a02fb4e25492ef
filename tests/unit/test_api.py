"""The Python API: what it exports, that it is the command line's twin, and how it fails."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import xlsr_cli
from xlsr_cli import InputError, NotKeptError, OutputError, Upscaler, UsageError, XlsrError, upscale
from xlsr_cli.declaration import declared
from xlsr_cli.errors import SWITCHES
from xlsr_cli.options import EngineOptions, PictureOptions, Size, Target, VideoOptions


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
    with pytest.raises(InputError, match="max_pixels"):
        upscale(picture, out, max_pixels=100)
    with pytest.raises(UsageError, match="give one of"):
        upscale(picture, out, scale=2, width=90)
    with pytest.raises(UsageError, match="format must be one of"):
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


#: Where errors come from that the functions of the API let through.
ROOMS = (
    "engine/**/*.py",
    "media/**/*.py",
    "jobs/picture.py",
    "jobs/restore.py",
    "options.py",
    "declaration.py",
)


def sentences(path: Path) -> Iterator[str]:
    """Every text of a module that names a flag, with {} for what is put in; docstrings are none."""
    tree = ast.parse(path.read_text("utf-8"))
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif isinstance(node, ast.Constant) and node not in parts | docstrings:
            text = str(node.value)
        if re.search(r"--[a-z]", text):
            yield text


def test_every_error_of_the_api_speaks_of_parameters() -> None:
    package = Path(xlsr_cli.__file__).parent
    found = {text for room in ROOMS for path in package.glob(room) for text in sentences(path)}
    assert len(found) > 20
    # Films go through the same rooms.
    names = {*inspect.signature(upscale).parameters, *(each.name for each in declared(VideoOptions))}
    for text in found:
        assert UsageError(text).in_flags == text
        said = re.sub(r"'xlsr [^']*'|pip (?:un)?install [^;,)]*", "", str(UsageError(text)))
        assert not re.search(r"--[a-z]", said)
        flags = re.findall(r"--([a-z][a-z-]*[a-z])", re.sub(r"pip install [^;,)]*", "", text))
        assert {flag.removeprefix("no-").replace("-", "_") for flag in flags} - {"no"} <= names, text


def test_switches_are_those_that_are_declared() -> None:
    switches = {
        each.name for each in (*declared(PictureOptions), *declared(VideoOptions)) if each.kind is bool
    }
    assert switches == SWITCHES


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("raise --max-pixels, or give --overwrite", "raise max_pixels, or give overwrite=True"),
        ("leave out --no-reuse", "leave out reuse=False"),
        ("run: pip install --upgrade av; or --tile", "run: pip install --upgrade av; or tile"),
        ("see 'xlsr doctor --json'", "see 'xlsr doctor --json'"),
        ("a--b.png is no dash", "a--b.png is no dash"),
    ],
)
def test_flags_become_parameters(message: str, said: str) -> None:
    assert str(UsageError(message)) == said
    assert UsageError(message).in_flags == message


class TestValuesOfOtherTypes:
    """Values of other types are converted where their meaning is clear; others are refused in a sentence."""

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ({"max_memory": "500M"}, 500 << 20),
            ({"tile": np.int64(64)}, 64),
            ({"model": Path("models") / "mine.onnx"}, str(Path("models") / "mine.onnx")),
        ],
    )
    def test_that_are_plain(self, given: dict[str, Any], kept: object) -> None:
        (name,) = given
        found = getattr(EngineOptions(**given), name)
        assert found == kept
        assert type(found) is type(kept)

    @pytest.mark.parametrize("box", [(90, 90), [90, 90], "90x90", Size(width=90, height=90)])
    def test_sizes(self, picture: Path, box: Any) -> None:
        if isinstance(box, list):
            with pytest.raises(UsageError, match=r"fit must be \(width, height\).*, not \[90, 90\]"):
                upscale(picture, fit=box)
        else:
            assert Path(upscale(picture, fit=box).output).name == "in_fit90x90.png"

    def test_the_size_of_an_array(self) -> None:
        pixels = np.zeros((5, 7), np.uint8)
        assert Upscaler()(pixels, size=(14, 10)).shape == (10, 14)
        assert Upscaler().plan((7, 5), channels=1, depth=8, size=(14, 10)).target == Size(width=14, height=10)

    @pytest.mark.parametrize("size", [(14,), (14, "10"), (14.5, 10.0), "14x10", 2, (True, 10)])
    def test_sizes_that_are_none(self, size: Any) -> None:
        with pytest.raises(
            UsageError, match=r"size must be Size\(width=…, height=…\) or \(width, height\), not"
        ):
            Upscaler()(np.zeros((5, 7), np.uint8), size=size)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"tile": "64"}, "tile must be a whole number or None, not '64'"),
            ({"tile": 64.5}, "tile must be a whole number"),
            ({"threads": True}, "threads must be a whole number or None, not True"),
            ({"max_memory": "much"}, "max_memory: 'much' is not a size such as 500M or 2G"),
            ({"scale": "2"}, "scale must be a number or None, not '2'"),
            ({"scale": None, "provider": None}, "provider must be text, not None"),
            ({"color": 3}, "color must be one of auto, rgb, ycbcr, not 3"),
            ({"precision": ["int8"]}, "precision must be one of"),
        ],
    )
    def test_sentences(self, given: dict[str, Any], says: str) -> None:
        with pytest.raises(UsageError, match=says):
            Upscaler(**given)

    def test_of_every_option(self) -> None:
        """An object that no option can be made of gets a sentence that names the option."""
        for kind in (Target, EngineOptions, PictureOptions, VideoOptions):
            for each in declared(kind):
                if each.name in {entry.name for entry in dataclasses.fields(kind)}:
                    with pytest.raises(UsageError, match=rf"^{each.name}(=True|=False)? must be "):
                        kind(**{each.name: object()})
