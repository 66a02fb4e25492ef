"""A format has one home: its row and its module. Everything else derives from them."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xlsr_cli
from tests.media.picture import pictures
from xlsr_cli.engine.models import models_folder
from xlsr_cli.formats import FORMATS, Format
from xlsr_cli.media.compression.picture import Teller
from xlsr_cli.media.picture.codecs import Codec, codec_of

PACKAGE = Path(xlsr_cli.__file__).parent
DOCS = Path(__file__).parents[3] / "docs"

# The row and the module that a new format takes.

ROW = """
    Format(
        name="toy",
        module="toy",
        begins=(b"TOY1",),
        still=FormatCapabilities(shown="Toy", extensions=("toy",), alpha=False, longest_side=5000),
        header_in_head=True,
    ),
"""
MODULE = '''
"""Eight bytes of size behind the signature, a byte for the channels, then the pixels as they are."""

import struct

import numpy as np

from xlsr_cli.media.picture.damage import TRUNCATED, damaged
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.options import Size


def read_header(data, name, format):
    width, height, channels = struct.unpack_from(">IIB", data, 4)
    size = Size(width=width, height=height)
    return Source(data=data, name=name, format=format.name, stored_size=size, channels=channels)


def read_pixels(source, max_pixels):
    size, channels = source.stored_size, source.channels
    if len(source.data) < 13 + size.pixels * channels:
        raise damaged(source.name, TRUNCATED)
    pixels = np.frombuffer(source.data, np.uint8, size.pixels * channels, 13)
    shape = (size.height, size.width) if channels == 1 else (size.height, size.width, channels)
    return Decoded(pixels=pixels.reshape(shape))


def write(file, pixels, metadata, encoding):
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    file.write(b"TOY1" + struct.pack(">IIB", pixels.shape[1], pixels.shape[0], channels) + pixels.tobytes())
    return []
'''


class House:
    """A copy of the program with one format more, and a folder to work in."""

    def __init__(self, root: Path) -> None:
        self.root, self.work = root, root / "work"
        package = root / "src" / "xlsr_cli"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        if PACKAGE not in models_folder().parents:
            shutil.copytree(models_folder(), root / "models")
        (package / "media" / "picture" / "codecs" / "toy.py").write_text(MODULE, "utf-8")
        table = package / "formats.py"
        rows = table.read_text("utf-8")
        last = '    Format(name="tga"'
        assert rows.count(last) == 1
        table.write_text(rows.replace(last, ROW + last), "utf-8")
        self.work.mkdir()

    def python(self, *arguments: str, code: int = 0) -> str:
        """What such a process prints."""
        environment = {**os.environ, "PYTHONPATH": str(self.root / "src")}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.work,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=200,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def xlsr(self, *arguments: str, code: int = 0) -> str:
        """What a command of the program prints."""
        return self.python("-m", "xlsr_cli", *arguments, code=code)

    def docs(self, script: str) -> str:
        """A page that is made from the code."""
        folder = self.root / "docs"
        shutil.copytree(DOCS, folder, dirs_exist_ok=True)
        self.python(str(folder / f"make_{script}.py"))
        return (folder / f"{script}.md").read_text("utf-8")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


class TestOneRowAndOneModuleAreEnough:
    def test_upscale(self, house: House) -> None:
        pictures.image(24, 36, 3).save(house.work / "in.png")
        house.xlsr("upscale", "in.png", "out.toy")
        assert (house.work / "out.toy").read_bytes()[:13] == b"TOY1\0\0\0\x48\0\0\0\x30\x03"
        house.xlsr("upscale", "in.png", "same.png")
        house.xlsr("upscale", "out.toy")
        house.xlsr("upscale", "out_x2.toy", "back.png", "--long-edge", "144")
        house.xlsr("upscale", "in.png", "--format", "toy")
        assert (house.work / "in_x2.toy").read_bytes() == (house.work / "out.toy").read_bytes()
        with Image.open(house.work / "same.png") as same:
            pixels = np.asarray(same)[:, :, ::-1]
        assert (house.work / "out.toy").read_bytes()[13:] == pixels.tobytes()

    def test_what_it_cannot_hold_is_told_and_refused(self, house: House) -> None:
        pictures.image(16, 16, 4).save(house.work / "alpha.png")
        told = house.xlsr("upscale", "alpha.png", "alpha.toy")
        assert "Toy has no transparency: the picture was laid over white" in told
        house.xlsr("upscale", "alpha.png", "strict.toy", "--strict", code=8)
        told = house.xlsr("upscale", "alpha.png", "q.toy", "--quality", "50")
        assert "Toy is always lossless" in told
        pictures.image(3, 2600, 3).save(house.work / "wide.png")
        told = house.xlsr("upscale", "wide.png", "wide.toy", code=4)
        assert "Toy holds at most 5000 pixels a side" in told
        (house.work / "cut.toy").write_bytes(b"TOY1\0\0\0\x48\0\0\0\x30\x03abc")
        assert "cut.toy is damaged" in house.xlsr("upscale", "cut.toy", "cut.png", code=3)

    def test_dry_run_and_names(self, house: House) -> None:
        (house.work / "small.toy").write_bytes(b"TOY1\0\0\0\x05\0\0\0\x04\x01" + bytes(range(20)))
        plan = json.loads(house.xlsr("upscale", "small.toy", "--dry-run", "--json"))
        assert plan["format"] == "toy"
        assert plan["size"] == {"width": 10, "height": 8}
        assert plan["output"].endswith("small_x2.toy")
        assert ".toy" in house.xlsr("upscale", "small.toy", "x.unknown", code=4)
        assert "toy" in house.xlsr("upscale", "--help")
        assert "toy" in house.xlsr("upscale", "small.toy", "--format", "unknown", code=2)

    def test_batch(self, house: House) -> None:
        folder = house.work / "folder"
        folder.mkdir()
        (folder / "a.toy").write_bytes(b"TOY1\0\0\0\x05\0\0\0\x04\x01" + bytes(range(20)))
        pictures.image(16, 16, 3).save(folder / "b.png")
        told = house.xlsr("batch", "folder", "--out", "large", "--dry-run")
        assert "a.toy" in told
        assert "b.png" in told
        house.xlsr("batch", "folder", "--out", "large", "--jobs", "1")
        assert (house.work / "large" / "a.toy").read_bytes()[:13] == b"TOY1\0\0\0\x0a\0\0\0\x08\x01"
        house.xlsr("batch", "folder", "--out", "toys", "--jobs", "1", "--format", "toy")
        assert sorted(path.name for path in (house.work / "toys").glob("*.toy")) == ["a.toy", "b.toy"]

    def test_docs(self, house: House) -> None:
        page = house.docs("fidelity")
        assert (
            "| Toy | `icc-dropped` | `exif-dropped` | `xmp-dropped` | `dpi-dropped` | `alpha-dropped` |"
            in page
        )
        assert "| Toy | 5,000 |" in page
        assert "toy" in house.docs("reference")

    @pytest.mark.slow
    def test_doctor(self, house: House) -> None:
        findings = json.loads(house.xlsr("doctor", "--json"))["findings"]
        found = [
            each["status"] for each in findings if each["subject"] == "picture" and each["name"] == "toy"
        ]
        assert found == ["ok"]


# Where formats are named.


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and value of every string of a module but docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


#: The all_capabilities of the modules that a format's row names.
HOMES = ("media/picture/codecs/", "media/compression/")


def test_no_format_is_named_outside_its_row_and_module() -> None:
    """By a string that is its name or extension, or by a sentence that lists formats.

    A single name within a sentence is an example, such as ``out_%05d.png``.
    """
    all_capabilities = [
        capabilities
        for format in FORMATS
        for capabilities in (format.still, format.animation)
        if capabilities is not None
    ]
    names = {format.name for format in FORMATS} | {
        name for capabilities in all_capabilities for name in capabilities.extensions
    }
    shown = {format.name for format in FORMATS if len(format.name) > 2} | {
        capabilities.shown for capabilities in all_capabilities
    }
    words = re.compile(rf"(?<![\w/])({'|'.join(sorted(map(re.escape, shown), key=len, reverse=True))})(?!\w)")
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if place == "formats.py" or place.startswith(HOMES):
            continue
        for line, text in strings(path):
            if text.lstrip(".").lower() in names or len(set(words.findall(text))) > 1:
                found.append(f"{place}:{line}: {text!r}")
    assert found == []


# Rows and modules fit together.


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_a_module_has_the_functions_that_its_row_promises(format: Format) -> None:
    wanted = ["read_header", "read_pixels"]
    wanted += ["write"] if format.still is not None else []
    wanted += ["is_animated", "read_frames", "write_animation"] if format.animation is not None else []
    module = codec_of(format)
    for name in wanted:
        promised = list(inspect.signature(getattr(Codec, name)).parameters)[1:]
        assert list(inspect.signature(getattr(module, name)).parameters) == promised, name


@pytest.mark.parametrize("module", sorted({format.compression for format in FORMATS} - {""}))
def test_what_tells_the_strength_of_compression_has_its_functions(module: str) -> None:
    teller = importlib.import_module(f"xlsr_cli.media.compression.{module}")
    for name in ("compression_of", "compressed_alike"):
        if name == "compressed_alike" and module == "tiff":
            continue  # its strength is a JPEG's
        promised = list(inspect.signature(getattr(Teller, name)).parameters)[1:]
        assert list(inspect.signature(getattr(teller, name)).parameters) == promised, name


def test_names_and_extensions_are_unique() -> None:
    names = [format.name for format in FORMATS]
    extensions = [name for format in FORMATS if format.still for name in format.still.extensions]
    assert len(set(names)) == len(names)
    assert len(set(extensions)) == len(extensions)


def test_every_module_belongs_to_a_row_or_to_several() -> None:
    """What is no format's module is what several of them share."""
    folder = PACKAGE / "media" / "picture" / "codecs"
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert modules - {format.module for format in FORMATS} == {"ends", "opencv", "pillow"}


def test_the_fidelity_page_is_what_the_rows_say() -> None:
    spec = importlib.util.spec_from_file_location("make_fidelity", DOCS / "make_fidelity.py")
    assert spec is not None
    assert spec.loader is not None
    make_fidelity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_fidelity)
    page = make_fidelity.PAGE.read_text("utf-8")
    assert make_fidelity.render(page) == page, "run: python docs/make_fidelity.py"
