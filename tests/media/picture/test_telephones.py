"""HEIC and JPEG XL: made by the libraries themselves, read through the extras, refused without them."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.jobs.batch.folders import Capture, batch, fill, told
from xlsr_cli.cli.app import main
from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format, format_named
from xlsr_cli.media.picture.quick_header import glance
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.opening import open_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


EXIF = Image.Exif()
EXIF[0x010E] = "a telephone"
EXIF[0x0112] = 6
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def icc() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(height: int = 40, width: int = 52, channels: int = 3) -> np.ndarray:
    """Smooth, so that lossy codecs keep it: RGB, or RGBA, or gray."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 4, y * 5, (x + y) * 2, 255 - x * 3][: channels or 1]
    stacked = np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)
    return stacked[..., 0] if channels == 1 else stacked


def heic(pixels: np.ndarray, mode: str, **settings: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    made = pillow_heif.from_bytes(
        mode=mode, size=pixels.shape[1::-1], data=np.ascontiguousarray(pixels).tobytes()
    )
    file = io.BytesIO()
    made.save(file, **{"quality": -1, **settings})
    return file.getvalue()


def jxl(pixels: np.ndarray, **settings: object) -> bytes:
    pytest.importorskip("pillow_jxl")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JXL", **{"lossless": True, **settings})
    return file.getvalue()


def opened(data: bytes) -> tuple[Picture, set[str]]:
    picture, notices = decode(open_picture(data, "a"), max_pixels=10**6)
    return picture, {notice.code for notice in notices}


def rgb(picture: Picture) -> np.ndarray:
    pixels = picture.pixels
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


class TestHeic:
    @pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("RGBA", 4), ("L", 1)])
    def test_of_8_bits(self, mode: str, channels: int) -> None:
        pixels = photo(channels=channels)
        picture, codes = opened(heic(pixels, mode))
        assert codes == set()
        assert (picture.pixels.dtype, picture.format) == (np.uint8, "heic")
        assert np.abs(rgb(picture).astype(int) - pixels).max() <= 6

    @pytest.mark.parametrize("bits", [10, 12])
    def test_of_more_bits(self, bits: int) -> None:
        pillow_heif = pytest.importorskip("pillow_heif")
        pixels = photo().astype(np.uint16) * 257
        pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
        try:
            data = heic(pixels, "RGB;16")
        finally:
            pillow_heif.options.SAVE_HDR_TO_12_BIT = False
        picture, codes = opened(data)
        assert (picture.pixels.dtype, picture.bits, codes) == (np.uint16, bits, set())
        assert np.abs(rgb(picture).astype(int) - pixels).max() <= 1000
        assert len(np.unique(picture.pixels)) > 256

    def test_metadata(self) -> None:
        profile = icc()
        data = heic(photo(), "RGB", exif=EXIF.tobytes(), xmp=XMP, icc_profile=profile)
        picture, codes = opened(data)
        assert picture.metadata.icc == profile
        assert picture.metadata.xmp == XMP
        assert b"a telephone" in (picture.metadata.exif or b"")
        assert picture.metadata.orientation == 1
        assert codes == set()

    def test_turned_by_its_boxes(self) -> None:
        data = heic(photo(), "RGB", exif=EXIF.tobytes())  # the writer makes boxes of its orientation
        source = open_picture(data, "a")
        picture, _ = opened(data)
        assert (
            (source.size.width, source.size.height) == (picture.size.width, picture.size.height) == (40, 52)
        )
        assert np.abs(rgb(picture).astype(int) - np.rot90(photo(), -1)).max() <= 6

    def test_several_pictures(self) -> None:
        pillow_heif = pytest.importorskip("pillow_heif")
        made = pillow_heif.from_bytes(mode="RGB", size=(52, 40), data=photo().tobytes())
        made.add_from_pillow(Image.fromarray(photo(20, 30)))
        file = io.BytesIO()
        made.save(file)
        picture, codes = opened(file.getvalue())
        assert (picture.size.width, codes) == (52, {"pages-dropped"})


class TestJpegXl:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_of_8_bits(self, channels: int) -> None:
        pixels = photo(channels=channels)
        picture, codes = opened(jxl(pixels))
        assert np.array_equal(rgb(picture), pixels)
        assert (picture.format, codes) == ("jxl", set())

    def test_gray_of_16_bits(self) -> None:
        pixels = photo(channels=1).astype(np.uint16) * 200
        picture, codes = opened(jxl(pixels))
        assert np.array_equal(picture.pixels, pixels)
        assert codes == set()

    @pytest.mark.parametrize(
        ("width", "height"), [(8, 8), (256, 8), (300, 7), (700, 500), (40, 30), (16, 9), (9000, 3)]
    )
    def test_the_header_states_the_size(self, width: int, height: int) -> None:
        source = open_picture(jxl(np.zeros((height, width, 3), np.uint8)), "a")
        assert (source.size.width, source.size.height, source.channels) == (width, height, 3)

    def test_metadata(self) -> None:
        data = jxl(photo(), exif=EXIF.tobytes(), xmp=XMP)
        picture, codes = opened(data)
        assert picture.metadata.xmp == XMP
        assert b"a telephone" in (picture.metadata.exif or b"")
        assert picture.metadata.orientation == 1
        assert picture.pixels.shape[:2] == (40, 52)
        assert picture.metadata.icc
        assert codes == set()

    def test_compressed_metadata_is_named(self) -> None:
        _, codes = opened(jxl(photo(), exif=EXIF.tobytes(), xmp=XMP, compress_metadata=True))
        assert codes == {"exif-dropped", "xmp-dropped"}

    def test_a_jpeg_in_it_is_that_jpeg(self, tmp_path: Path) -> None:
        pytest.importorskip("pillow_jxl")
        Image.fromarray(photo()).save(tmp_path / "a.jpg", quality=90, exif=EXIF.tobytes())
        with Image.open(tmp_path / "a.jpg") as image:
            image.save(tmp_path / "a.jxl", lossless_jpeg=True)
        ours, codes = opened((tmp_path / "a.jxl").read_bytes())
        theirs, _ = opened((tmp_path / "a.jpg").read_bytes())
        assert np.array_equal(ours.pixels, theirs.pixels)
        assert (ours.format, ours.metadata.exif, codes) == ("jxl", theirs.metadata.exif, set())

    def test_a_huge_one_is_refused_before_it_is_decoded(self) -> None:
        pytest.importorskip("pillow_jxl")
        height = 0b11 << 1 | (2**29 - 1) << 3  # the last of four ways to say it has 30 bits
        data = b"\xff\x0a" + height.to_bytes(8, "little") + bytes(64)
        with pytest.raises(InputError, match="max_pixels"):
            decode(open_picture(data, "a.jxl"), max_pixels=10**6)


def damaged(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[:40], data[:-20] if data[:2] != b"\xff\x0a" else data[:-1]]


@pytest.mark.parametrize("kind", ["heic", "jxl"])
def test_what_is_damaged_is_refused(kind: str) -> None:
    data = heic(photo(), "RGB") if kind == "heic" else jxl(photo())
    for broken in damaged(data)[:2]:
        with pytest.raises(InputError, match="damaged"):
            opened(broken)


@pytest.mark.parametrize("kind", ["heic", "jxl"])
def test_upscale_and_batch(folder: Path, capsys: Capture, kind: str) -> None:
    data = heic(photo(), "RGB", exif=EXIF.tobytes()) if kind == "heic" else jxl(photo(), exif=EXIF.tobytes())
    (folder / f"a.{kind}").write_bytes(data)
    assert main(["upscale", str(folder / f"a.{kind}")]) == 0
    said = capsys.readouterr().err
    assert "format-changed" in said
    with Image.open(folder / "a_x2.png") as image:
        assert image.size == ((80, 104) if kind == "heic" else (104, 80))
        assert image.getexif()[0x0112] == 1
        assert image.getexif()[0x010E] == "a telephone"
    seen = glance(folder / f"a.{kind}", format_named(kind), data)
    assert seen is not None
    assert str(seen.size) == ("40x52" if kind == "heic" else "52x40")
    assert told(folder, capsys)[f"a.{kind}"] == "done"


def without(format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra was not installed."""
    monkeypatch.setitem(sys.modules, format.library, None)
    monkeypatch.setattr(
        "xlsr_cli.formats.find_spec", lambda name: None if name == format.library else object()
    )


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("heic", struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic"),
        ("jxl", b"\xff\x0a" + bytes(40)),
    ],
)
class TestWithoutTheExtra:
    def test_the_refusal_names_the_command(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, head: bytes
    ) -> None:
        without(format_named(kind), monkeypatch)
        with pytest.raises(InputError, match=rf"pip install 'xlsr-cli\[{kind}\]'"):
            open_picture(head, f"a.{kind}")

    def test_a_batch_says_it_once_with_the_count(
        self, folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, kind: str, head: bytes
    ) -> None:
        without(format_named(kind), monkeypatch)
        fill(folder, "a.png")
        for number in range(5):
            (folder / f"p{number}.{kind}").write_bytes(head)
        batch(folder, code=7)
        said = capsys.readouterr().err
        assert said.count("pip install") == 1
        assert f"p0.{kind}" in said
        assert "and 4 more of the kind" in said
        assert "5 files failed" in said
