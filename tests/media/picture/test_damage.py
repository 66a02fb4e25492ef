"""Damaged files: refused with a sentence, or opened with a notice; never a crash, a hang or a traceback."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest

from tests.fuzzing import mutated
from tests.media.picture import pictures
from tests.media.picture.pictures import decode
from xlsr_cli.errors import InputError, XlsrError
from xlsr_cli.media.picture.steps.opening import open_picture

RGB = pictures.pixels(64, 96, 3)


def encoded(extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, RGB, list(options))[1].tobytes()


FILES: dict[str, bytes] = {
    "png": encoded(".png"),
    "jpeg": encoded(".jpg"),
    "progressive jpeg": encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "webp": encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless webp": encoded(".webp"),
    "avif": encoded(".avif"),
    "jp2": encoded(".jp2"),
    "tiff": encoded(".tif"),
    "16-bit tiff": cv2.imencode(".tif", RGB.astype(np.uint16) * 257)[1].tobytes(),
    "bmp": encoded(".bmp"),
    "pnm": encoded(".ppm"),
    "gif": pictures.saved(pictures.image(64, 96, 3), "GIF"),
    "tga": pictures.saved(pictures.image(64, 96, 3), "TGA"),
    "ico": pictures.saved(pictures.image(64, 64, 3), "ICO"),
    "psd-like": b"8BPS\0\1" + bytes(60),
    "planar tiff": pictures.hand_made_tiff(
        [pictures.lzw(np.ascontiguousarray(RGB[:, :, channel])) for channel in range(3)],
        {256: 96, 257: 64, 258: (8, 8, 8), 259: 5, 262: 2, 277: 3, 278: 64, 284: 2},
    ),
    "masked bmp": pictures.bmp(
        pictures.pixels(16, 16, dtype=np.uint16).tobytes(),
        16,
        16,
        16,
        compression=3,
        masks=(0xF00, 0xF0, 0xF),
    ),
    "pfm": b"PF\n16 16\n-1.0\n" + (pictures.pixels(16, 16, 3) / 255).astype("<f4").tobytes(),
}

#: Formats with places and lengths of 64 bits.
WIDE = {
    "big tiff": pictures.saved(pictures.image(8, 8, 3), "TIFF", big_tiff=True),
    "avif": FILES["avif"],
    "jp2": FILES["jp2"],
}


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("place", [1 << 63, (1 << 64) - 1], ids=hex)
def test_places_of_64_bits(kind: str, place: int) -> None:
    """Python takes no place above 2^63 - 1 for one in a buffer."""
    data = WIDE[kind]
    heads = [at for at in range(len(data) - 7) if at < 300 or at > len(data) - 300]
    orders: tuple[Literal["little", "big"], ...] = ("little", "big") if kind == "big tiff" else ("big",)
    for order in orders:
        for at in heads:
            changed = data[:at] + place.to_bytes(8, order) + data[at + 8 :]
            with contextlib.suppress(InputError):
                decode(changed, "picture", max_pixels=1_000_000)


def read(data: bytes) -> Any:
    return decode(data, "it", max_pixels=1_000_000)


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("ico", "psd-like")])
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_refused(name: str, part: float) -> None:
    data = FILES[name]
    with pytest.raises(InputError, match=r"damaged|not a picture|claims"):
        read(data[: int(len(data) * part)])


def test_the_sentence_tells_a_truncated_file() -> None:
    for name in ("png", "jpeg", "bmp", "pnm"):
        with pytest.raises(InputError, match=r"^it is damaged: it ends before its last pixel; get an intact"):
            read(FILES[name][:-400])


def test_a_jpeg_without_its_end_marker_opens() -> None:
    whole, _ = read(FILES["jpeg"])
    picture, notices = read(FILES["jpeg"][:-2])
    assert notices == []
    assert np.array_equal(picture.pixels, whole.pixels)


def test_a_png_without_iend_opens() -> None:
    picture, notices = read(FILES["png"][:-12])
    assert notices == []
    assert np.array_equal(picture.pixels, RGB)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "bmp", "pnm", "gif", "jp2", "avif"])
def test_bytes_after_the_end_do_not_matter(name: str) -> None:
    whole, _ = read(FILES[name])
    picture, notices = read(FILES[name] + b"trailing rubbish\0" * 50)
    assert [notice.code for notice in notices] == ["trailer-dropped"]
    assert np.array_equal(picture.pixels, whole.pixels)


def test_a_wrong_checksum_beside_the_pixels_does_not_matter() -> None:
    data = bytearray(pictures.with_png_chunk(FILES["png"], b"gAMA", b"\0\0\xb1\x8f"))
    data[33 + 12] ^= 0xFF
    picture, _ = read(bytes(data))
    assert np.array_equal(picture.pixels, RGB)


def test_bytes_between_segments_are_told() -> None:
    """libjpeg skips them and says so: the picture is whole, which is no reason for a notice."""
    data = FILES["jpeg"]
    at = data.index(b"\xff\xda")
    picture, notices = read(data[:at] + b"\0" * 20 + data[at:])
    assert notices == []
    assert picture.pixels.shape == RGB.shape


def test_what_the_decoder_complains_about_is_told() -> None:
    """Zeros in the middle of the entropy-coded data: libjpeg goes on, and prints what is wrong."""
    data = bytearray(cv2.imencode(".jpg", RGB, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes())
    middle = data.index(b"\xff\xd3")
    data[middle : middle + 2] = b"\xff\xd6"
    picture, notices = read(bytes(data))
    assert [notice.code for notice in notices] == ["damaged"]
    assert "Corrupt JPEG data" in notices[0].message
    assert picture.pixels.shape == RGB.shape


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for data in FILES.values():
        for part in (0.4, 0.8, 1.0):
            with contextlib.suppress(XlsrError):
                read(data[: int(len(data) * part)])
    assert capfd.readouterr() == ("", "")


PNG_HEADER = b"\x89PNG\r\n\x1a\n" + pictures.png_chunk(b"IHDR", b"\0\0\0\x08\0\0\0\x08\x08\0\0\0\0")
BOX = b"\0\0\0\x08free"

#: Files that claim to be pictures and hold none; libraries would look for one in all of them, in Python.
FLOODS = {
    "jpeg of zeros": (b"\xff\xd8\xff\xe0\0\x04ab", b"\0"),
    "jpeg of fill bytes": (b"\xff\xd8\xff\xe0\0\x04ab", b"\xff"),
    "jpeg of segments": (b"\xff\xd8", b"\xff\xe5\0\2"),
    "png of chunks": (PNG_HEADER, pictures.png_chunk(b"abCd", b"")),
    "png of empty pixels": (PNG_HEADER, pictures.png_chunk(b"IDAT", b"")),
    "jp2 of boxes": (b"\0\0\0\x0cjP  \r\n\x87\n", BOX),
    "avif of boxes": (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", BOX),
    "gif of zeros": (b"GIF89a\x08\0\x08\0\0\0\0", b"\0"),
    "gif of comments": (b"GIF89a\x08\0\x08\0\0\0\0", b"\x21\xfe\x01a\0"),
    "tiff of zeros": (b"II*\0\x08\0\0\0\xff\xff", b"\0"),
    "zeros": (b"", b"\0"),
}


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.timeout(30)
def test_a_flood_is_refused_soon(name: str) -> None:
    """Of 16 MB each: without a limit, each takes minutes or gigabytes, by the size of the file."""
    begin, more = FLOODS[name]
    data = begin + more * ((16 << 20) // len(more))
    with pytest.raises(InputError, match=r"^it is (damaged|not a picture)"):
        read(data)


def test_pixels_behind_much_else_are_found() -> None:
    """Nothing that real files hold is taken for a flood."""
    jpeg = FILES["jpeg"]
    segments = b"".join(pictures.jpeg_segment(0xFE, bytes(60_000)) for _ in range(300))
    assert read(jpeg[:2] + segments + b"\0" * 5000 + jpeg[2:])[0].pixels.shape == RGB.shape
    gif = FILES["gif"]
    at = 13 + (3 << (gif[10] & 7) + 1 if gif[10] & 0x80 else 0)
    comments = (b"\x21\xfe" + b"\xff" + b"x" * 255 + b"\0") * 2000
    assert read(gif[:at] + comments + gif[at:])[0].pixels.shape == RGB.shape
    chunks = pictures.png_chunk(b"tEXt", b"Comment\0" + b"x" * 99) * 3000
    assert np.array_equal(read(FILES["png"][:33] + chunks + FILES["png"][33:])[0].pixels, RGB)


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes_never_crash(name: str) -> None:
    """Each of them either opens or is refused, by one sentence."""
    source = random.Random(name)
    for _ in range(40):
        data = mutated(FILES[name], source)
        for function in (open_picture, lambda data, name: decode(data, name, max_pixels=200_000)):
            try:
                function(data, "it")
            except XlsrError as error:
                assert "\n" not in str(error)
                assert len(str(error)) < 400


CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from pathlib import Path
from PIL import Image
from xlsr_cli.errors import XlsrError
from xlsr_cli.formats import writable_format
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture
import io
for path in map(Path, sys.argv[1:]):
    try:
        data = path.read_bytes()
        picture, notices = decode(open_picture(data, path.name), max_pixels=250_000_000)
        result, more = encode(picture, writable_format(picture.format))
        with Image.open(io.BytesIO(result)) as image:
            image.load()
            assert image.size == (picture.size.width, picture.size.height), path
    except XlsrError as error:
        assert str(error) and "\\n" not in str(error), path
print("done")
"""


@pytest.mark.shared
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_the_odd_pictures(shared_data: Path) -> None:
    """Every file of the collection of nasty ones, in a process that may use little memory and time."""
    files = [
        str(path)
        for path in sorted((shared_data / "odd").rglob("*"))
        if path.is_file() and "video" not in path.parts and path.suffix != ".csv"
    ]
    assert len(files) > 70
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, *files],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stderr == ""
    assert result.stdout == "done\n"
