"""Changed pictures and animations, new ones in every run: enlarged, or refused by one sentence."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cases import CASES
from tests.fuzzing import fuzz, mutated
from tests.media.picture import pictures
from tests.media.picture.rich_files import rich_files
from tests.media.picture.test_damage import FILES
from tests.media.picture.test_telephones import heic, jxl
from xlsr_cli.formats import FORMATS
from xlsr_cli.media.picture.animation import write_animation
from xlsr_cli.media.picture.fitting import fit_metadata
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Film, Picture
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.options import Size

#: Enlarges the file as the command line does with ``--max-pixels 1M --max-memory 500M``, into a format that
#: its name chooses. Large pictures are only decoded and encoded.
PROBE = """
import io
from dataclasses import replace
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.formats import FORMATS, PICTURE_FORMATS
from xlsr_cli.jobs.animation import upscale_animation
from xlsr_cli.jobs.picture import upscale_picture
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.media.picture.quick_header import glance
from xlsr_cli.media.sniff import kind_of
from xlsr_cli.formats import HEAD_BYTES, format_of
from xlsr_cli.options import EngineOptions, PictureOptions, Target

ANIMATED = [f.animation.extensions[0] for f in FORMATS if f.animation is not None]
engine = EngineOptions(max_memory=500 << 20, threads=1)
options = PictureOptions(max_pixels=1_000_000, engine=engine, overwrite=True)
upscaler = Upscaler.from_options(options.engine, options.target)
task = Task(options=options, upscaler=upscaler)

def use(path):
    number, data = int(path.name), path.read_bytes()
    head = data[:HEAD_BYTES]
    if format_of(head) is not None:
        glance(path, format_of(head), head)
    source = open_picture(data, str(path))
    output = path.parent.parent / "out"
    if kind_of(data) == "animation" and source.size.pixels < 5_000 and source.pages < 20:
        upscale_animation(source, output.with_suffix("." + ANIMATED[number % 3]), task)
        return
    format = PICTURE_FORMATS[number % len(PICTURE_FORMATS)]
    if source.size.pixels < 5_000:
        with io.BytesIO() as file:
            upscale_picture(source, None, replace(task, options=replace(options, format=format)), file=file)
    else:
        picture, _ = decode(source, max_pixels=1_000_000)
        encode(picture, format)
"""


def rich() -> Metadata:
    """Metadata of every kind."""
    return Metadata(
        icc=pictures.icc(),
        cicp=(9, 16, 0, 1),
        exif=pictures.exif(orientation=6, dpi=None),
        xmp=pictures.XMP % 6,
        iptc=b"\x1c\x02\x78\0\x05hello",
        motion=struct.pack(">I4s", 24, b"ftyp") + bytes(40),
        dpi=(300, 300),
        color_chunks=((b"gAMA", struct.pack(">I", 45455)),),
    )


def optional() -> Iterator[bytes]:
    """Files of the formats whose libraries are extras, where those are installed."""
    pixels = pictures.pixels(40, 52, 4)
    if find_spec("pillow_heif") is not None:
        for mode in ("RGB", "RGBA", "L"):
            samples = {"RGB": pixels[..., :3], "L": pixels[..., 0]}.get(mode, pixels)
            yield heic(samples, mode, exif=pictures.exif(orientation=6, dpi=None), xmp=pictures.XMP % 1)
    if find_spec("pillow_jxl") is not None:
        for samples in (pixels, pixels[..., :3], pixels[..., 0], pictures.pixels(40, 52, dtype=np.uint16)):
            yield jxl(np.ascontiguousarray(samples))
            yield jxl(np.ascontiguousarray(samples), lossless=False, quality=60)


def corpus() -> list[bytes]:
    """Small files of every format, plain and with everything that they have room for, still and moving."""
    found = [
        *FILES.values(),
        *rich_files().values(),
        *optional(),
        *(path.read_bytes() for path in CASES.iterdir() if path.suffix != ".onnx"),
    ]
    for format in FORMATS:
        if format.still is not None:
            kinds = (((40, 48, 3), np.uint8), ((33, 35, 4), np.uint8), ((34, 36), np.uint16))
            for shape, dtype in kinds:
                pixels = pictures.pixels(*shape, dtype=dtype)
                found.append(encode(Picture(pixels=pixels, metadata=rich(), format="png"), format.name)[0])
        if format.animation is not None:
            frames = [np.roll(pictures.pixels(24, 30, 4), 5 * number, 1) for number in range(4)]
            metadata, _ = fit_metadata(rich(), format.animation, in_color=True)
            film = Film(
                size=Size(width=30, height=24), delays=[Fraction(1, 10)] * 4, plays=3, metadata=metadata
            )
            file = io.BytesIO()
            write_animation(file, format.name, film, iter(frames))
            found.append(file.getvalue())
    for plugin in (
        "PCX",
        "SGI",
        "TGA",
        "XBM",
        "ICNS",
        "ICO",
        "DDS",
        "QOI",
        "JPEG2000",
        "PPM",
        "MPO",
        "GIF",
        "TIFF",
    ):
        shown = pictures.image(64, 64, 3).convert("1" if plugin == "XBM" else "RGB")
        found.append(pictures.saved(shown, plugin))
    for mode in ("P", "L", "1", "CMYK", "LA", "RGBA", "I;16", "F", "YCbCr", "LAB"):
        for compression in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "group4"):
            try:
                image = Image.fromarray(pictures.pixels(20, 24, dtype=np.uint16)) if mode == "I;16" else None
                shown = image or pictures.image(20, 24, 3).convert("RGB" if mode == "LAB" else mode)
                found.append(pictures.saved(shown, "TIFF", compression=compression))
            except (OSError, ValueError, KeyError):  # a pair that libtiff does not have
                continue
    return found


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have right checksums again, so that a decoder looks into them."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        parts += [data[at : at + 8 + size], struct.pack(">I", zlib.crc32(data[at + 4 : at + 8 + size]))]
        at += 12 + size
    return b"".join(parts) + data[at:]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_changed_pictures(tmp_path: Path) -> None:
    seeds = corpus()

    def make(source: random.Random) -> bytes:
        data = mutated(source.choice(seeds), source)
        if source.random() < 0.1:  # two files put together
            data = data[: source.randrange(len(data)) + 1] + source.choice(seeds)[source.randrange(20) :]
        if data.startswith(b"\x89PNG") and source.random() < 0.7:
            data = with_checksums(data)
        return data

    assert fuzz(PROBE, make, tmp_path, default=60) > 0
