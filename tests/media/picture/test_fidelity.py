"""Every cell of the table in docs/fidelity.md: *kept*, proven with a second library, or its notice."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from tests.media.picture import pictures
from tests.media.picture.pictures import decode
from xlsr_cli.formats import PICTURE_FORMATS, PictureFormat
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.options import PictureOptions

DOC = Path(__file__).parents[3] / "docs" / "fidelity.md"

ICC = pictures.icc()


def table() -> dict[tuple[str, str], str]:
    """The first table of the page: (format, column) → cell."""
    lines = [line for line in DOC.read_text("utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = rows[: 2 + len(PICTURE_FORMATS)]
    head = rows[0][1:]
    return {
        (row[0].lower(), column): cell for row in rows[2:] for column, cell in zip(head, row[1:], strict=True)
    }


TABLE = table()


def png(**options: Any) -> bytes:
    return pictures.saved(pictures.image(32, 48, 3), "PNG", **options)


def jpeg(**options: Any) -> bytes:
    return pictures.saved(pictures.image(32, 48, 3), "JPEG", **options)


def encoded(*shape: int, dtype: Any = np.uint8) -> bytes:
    return cv2.imencode(".png", pictures.pixels(*shape, dtype=dtype))[1].tobytes()


#: A file that holds one thing which has to be kept, and nothing else.
SOURCES: dict[str, Callable[[str], bytes]] = {
    "ICC": lambda format: png(icc_profile=ICC),
    "EXIF": lambda format: jpeg(exif=b"Exif\0\0" + pictures.exif(orientation=6, dpi=None)),
    "XMP": lambda format: png(pnginfo=pictures.xmp_chunk(pictures.XMP % 1)),
    "DPI": lambda format: png(dpi=(240, 120)),
    "alpha": lambda format: encoded(32, 48, 4),
    "16-bit": lambda format: encoded(32, 48, 3, dtype=np.uint16),
    "gray": lambda format: encoded(32, 48),
    "gray + alpha": lambda format: pictures.saved(pictures.image(32, 48, 2), "PNG"),
    "IPTC": lambda format: pictures.with_jpeg_segment(
        jpeg(), 0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05Hello"
    ),
    "comments": lambda format: {
        "jpeg": jpeg(comment=b"Hello"),
        "pnm": b"P6\n# Hello\n48 32\n255\n" + bytes(48 * 32 * 3),
    }.get(format, png(pnginfo=pictures.text_chunks(Comment="Hello"))),
    "CICP": lambda format: pictures.with_png_chunk(png(), b"cICP", bytes((9, 16, 0, 1))),
}


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def kept_icc(data: bytes, source: Picture) -> None:
    assert again(data).metadata.icc == ICC
    image = opened(data)
    # Of a JPEG 2000 Pillow reads none; there the profile stands in the file as it is, see exiftool below.
    assert image.info.get("icc_profile") == ICC or (image.format == "JPEG2000" and ICC in data)


def kept_exif(data: bytes, source: Picture) -> None:
    ours = again(data).metadata
    assert ours.exif is not None
    assert ours.orientation == 1
    image = opened(data)
    if image.format == "JPEG2000":  # Pillow reads no EXIF there; exiftool does, below
        exif = Image.Exif()
        exif.load(b"Exif\0\0" + ours.exif)
    else:
        exif = image.getexif()
    assert exif[0x010F] == "xlsr"
    assert exif.get(0x0112, 1) == 1
    inner = exif.get_ifd(0x8769)
    # The picture was turned by its orientation, so that it is now 32 wide and 48 high.
    assert (inner[0xA002], inner[0xA003]) == (32, 48)
    assert exif.get_ifd(0x8825)[1] == "N"
    assert b"THUMB" not in data


def kept_xmp(data: bytes, source: Picture) -> None:
    assert again(data).metadata.xmp == pictures.XMP % 1
    image = opened(data)
    if image.format != "JPEG2000":
        assert (image.info.get("xmp") or image.tag_v2[700]).rstrip(b"\0") == pictures.XMP % 1  # type: ignore[attr-defined]


def kept_dpi(data: bytes, source: Picture) -> None:
    assert again(data).metadata.dpi == pytest.approx((240, 120), abs=0.02)
    image = opened(data)
    if image.format in ("WEBP", "AVIF"):
        exif = image.getexif()
        assert (float(exif[0x011A]), float(exif[0x011B]), exif[0x0128]) == (240, 120, 2)
    else:
        assert image.info["dpi"] == pytest.approx((240, 120), abs=0.02)


def kept_alpha(data: bytes, source: Picture) -> None:
    alpha = np.asarray(opened(data).getchannel("A")).astype(int)
    assert np.abs(alpha - source.pixels[:, :, 3]).max() <= 3


def kept_16_bit(data: bytes, source: Picture) -> None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, source.pixels)
    assert np.array_equal(again(data).pixels, source.pixels)


def kept_gray(data: bytes, source: Picture) -> None:
    if opened(data).format == "AVIF":  # Pillow before 13 opens every one as RGB
        with av.open(io.BytesIO(data)) as container:
            assert container.streams.video[0].pix_fmt == "gray"
    else:
        assert opened(data).mode == "L"
    assert again(data).pixels.ndim == 2


def kept_gray_alpha(data: bytes, source: Picture) -> None:
    assert opened(data).mode == "LA"
    assert np.array_equal(again(data).pixels, source.pixels)
    assert np.array_equal(np.asarray(opened(data)), source.pixels)


def kept_iptc(data: bytes, source: Picture) -> None:
    image = opened(data)
    records = image.tag_v2[33723] if image.format == "TIFF" else image.info["photoshop"][0x0404]  # type: ignore[attr-defined]
    assert records == again(data).metadata.iptc == b"\x1c\x02\x78\0\x05Hello"


def kept_comments(data: bytes, source: Picture) -> None:
    image = opened(data)
    info = {"comment": data.split(b"\n")[1][2:]} if image.format == "PPM" else image.info
    assert info.get("Comment", info.get("comment")) in ("Hello", b"Hello")


def kept_cicp(data: bytes, source: Picture) -> None:
    cicp = again(data).metadata.cicp
    assert cicp is not None
    assert cicp[:2] == (9, 16)
    assert b"cICP\x09\x10\x00\x01" in data or b"nclx\x00\x09\x00\x10" in data


KEPT: dict[str, Callable[[bytes, Picture], None]] = {
    "ICC": kept_icc,
    "EXIF": kept_exif,
    "XMP": kept_xmp,
    "DPI": kept_dpi,
    "alpha": kept_alpha,
    "16-bit": kept_16_bit,
    "gray": kept_gray,
    "gray + alpha": kept_gray_alpha,
    "IPTC": kept_iptc,
    "comments": kept_comments,
    "CICP": kept_cicp,
}


def again(data: bytes) -> Picture:
    return decode(data, "again", max_pixels=10_000)[0]


def test_the_table_has_every_format_and_every_column() -> None:
    assert {row for row, _ in TABLE} == set(PICTURE_FORMATS)
    assert {column for _, column in TABLE} == set(KEPT) == set(SOURCES)


@pytest.mark.parametrize(("format", "column"), TABLE, ids=lambda value: str(value))
def test_cell(format: PictureFormat, column: str) -> None:
    picture, on_reading = decode(SOURCES[column](format), "source", max_pixels=10_000)
    assert on_reading == []
    data, notices = encode(picture, format)
    cell = TABLE[format, column]
    code = re.fullmatch(r"`([a-z-]+)`", cell)
    assert [notice.code for notice in notices] == ([code[1]] if code else [])
    if code is None:
        assert cell == "kept"
        KEPT[column](data, picture)
    assert opened(data).size == (picture.size.width, picture.size.height)


@pytest.mark.parametrize("format", PICTURE_FORMATS)
def test_the_same_format_in_and_out_keeps_what_it_kept(format: PictureFormat) -> None:
    """What one run writes the next one reads: nothing is lost between two of ours either."""
    for column in SOURCES:
        if TABLE[format, column] != "kept":
            continue
        first, _ = decode(SOURCES[column](format), "source", max_pixels=10_000)
        second = again(encode(first, format)[0])
        data, notices = encode(second, format)
        assert notices == [], column
        KEPT[column](data, second)


def codes(chunk: bytes, content: bytes, format: PictureFormat) -> list[str]:
    picture, on_reading = decode(pictures.with_png_chunk(png(), chunk, content), "source", max_pixels=10_000)
    assert on_reading == []
    return [notice.code for notice in encode(picture, format)[1]]


SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
DISPLAY_P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize(
    ("chunk", "content", "code"),
    [
        (b"gAMA", struct.pack(">I", 45455), None),
        (b"gAMA", struct.pack(">I", 100000), "gamma-dropped"),
        (b"cHRM", struct.pack(">8I", *SRGB), None),
        (b"cHRM", struct.pack(">8I", *DISPLAY_P3), "gamma-dropped"),
        (b"sRGB", b"\0", None),
        (b"mDCV", bytes(24), "mastering-dropped"),
        (b"cLLI", bytes(8), "mastering-dropped"),
    ],
)
def test_what_decides_how_colours_look(chunk: bytes, content: bytes, code: str | None) -> None:
    """PNG's own chunks go into PNG; elsewhere what is not sRGB is told."""
    assert codes(chunk, content, "jpeg") == ([] if code is None else [code])
    assert codes(chunk, content, "png") == []
    picture, _ = decode(pictures.with_png_chunk(png(), chunk, content), "source", max_pixels=10_000)
    for strip in (False, True):
        assert pictures.png_chunk(chunk, content) in encode(picture, "png", PictureOptions(strip=strip))[0]


def test_tiff_keeps_what_exif_leads_to() -> None:
    """EXIF's interoperability directory tells Adobe RGB from sRGB."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    picture, _ = decode(jpeg(exif=exif), "source", max_pixels=10_000)
    for _ in range(2):
        data = encode(picture, "tiff")[0]
        found = opened(data).getexif()
        assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
        assert found.get_ifd(0xA005)[1] == "R03"
        picture = again(data)


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "avif", "tiff", "jp2"])
def test_exiftool_agrees(format: PictureFormat, tmp_path: Path) -> None:
    import json

    source = pictures.saved(
        pictures.image(32, 48, 3),
        "JPEG",
        exif=b"Exif\0\0" + pictures.exif(orientation=6),
        icc_profile=ICC,
        xmp=pictures.XMP % 6,
        dpi=(300, 300),
    )
    picture, _ = decode(source, "source", max_pixels=10_000)
    file = tmp_path / f"result.{format}"
    file.write_bytes(encode(picture, format)[0])
    said = subprocess.run(
        ["exiftool", "-j", "-G1", "-n", "-a", str(file)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    found = json.loads(said.stdout)[0]
    assert not [value for key, value in found.items() if "Warning" in key and "MakerNotes" not in value]
    assert found["IFD0:Make"] == "xlsr"
    assert found.get("IFD0:Orientation", 1) == 1
    assert found["XMP-tiff:Orientation"] == 1
    assert (found["ExifIFD:ExifImageWidth"], found["ExifIFD:ExifImageHeight"]) == (32, 48)
    assert (found["XMP-exif:ExifImageWidth"], found["XMP-exif:ExifImageHeight"]) == (32, 48)
    assert found["GPS:GPSLatitudeRef"] == "N"
    assert found["XMP-dc:Creator"] == "Jiří"
    assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"
    assert not any("IFD1" in key for key in found)
    assert found["IFD0:XResolution"] == 300
    icc = subprocess.run(
        ["exiftool", "-b", "-ICC_Profile", str(file)], capture_output=True, check=True, timeout=60
    )
    assert icc.stdout == ICC
