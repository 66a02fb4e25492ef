"""Right pixels from layouts that few programs write."""

from __future__ import annotations

import hashlib
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.cases import CASES
from tests.media.picture import pictures
from tests.media.picture.heif import Item, box, coded, full, heif
from xlsr_cli.errors import InputError
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.opening import open_picture

RAMP = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))


def read(data: bytes) -> np.ndarray:
    """Pixels of a file without any loss, in RGB order."""
    picture, notices = decode(open_picture(data, "it"), max_pixels=1_000_000)
    assert notices == []
    pixels = picture.pixels
    return (
        pixels if pixels.ndim == 2 or pixels.shape[2] == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    )


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("extent", ["full", "limited"])
def test_gray_of_an_avif(mode: str, extent: str) -> None:
    alpha = np.ascontiguousarray(RAMP[:, ::-1])
    planes = [Image.fromarray(plane) for plane in (RAMP, alpha)][: len(mode)]
    image = Image.merge(mode, planes) if mode == "LA" else planes[0]
    pixels = read(pictures.saved(image, "AVIF", quality=100, subsampling="4:0:0", range=extent))
    assert np.abs((pixels if mode == "L" else pixels[..., 0]).astype(int) - RAMP).max() <= 1
    assert mode == "L" or np.abs(pixels[..., 1].astype(int) - alpha).max() <= 1


@pytest.mark.parametrize("angle", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_turns_and_mirrors_of_an_avif(angle: int, axis: int | None) -> None:
    image = pictures.image(64, 96, 3)
    plain = read(heif([coded(image)]))
    turns = [box(b"irot", bytes([angle]))] + ([] if axis is None else [box(b"imir", bytes([axis]))])
    expected = np.rot90(plain, angle)
    if axis is not None:
        expected = expected[::-1] if axis == 0 else expected[:, ::-1]
    np.testing.assert_allclose(read(heif([coded(image, *turns)])).astype(int), expected, atol=3)


def test_a_grid_whose_last_tile_reaches_beyond_the_picture() -> None:
    tile = coded(pictures.image(64, 64, 3), hidden=True)
    size = full(b"ispe", struct.pack(">II", 64, 100))
    grid = Item(
        kind=b"grid",
        content=bytes((0, 0, 1, 0)) + struct.pack(">HH", 64, 100),
        properties=(size, *tile.properties[1:]),
        to={b"dimg": [2, 3]},
    )
    one = read(heif([coded(pictures.image(64, 64, 3))]))
    found, expected = read(heif([grid, tile, tile])), np.concatenate([one, one])[:100]
    rows = np.r_[0:62, 66:100]  # chroma is smooth across the seam
    np.testing.assert_allclose(found[rows].astype(int), expected[rows], atol=3)


def test_premultiplied_alpha_of_an_avif() -> None:
    image = pictures.image(64, 96, 3)
    half = Image.fromarray(np.full((64, 96), 128, np.uint8))
    dark = coded(Image.fromarray(np.asarray(image) // 2), to={b"prem": [2]})
    name = full(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
    pixels = read(heif([dark, coded(half, name, to={b"auxl": [1]})]))
    assert np.median(np.abs(pixels[..., :3].astype(int) - np.asarray(image))) <= 2


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("samples", [2, 4])
def test_planes_of_a_tiff(compression: str | None, tile: tuple[int, int] | None, samples: int) -> None:
    pixels = pictures.pixels(37, 45, 4)[..., :samples]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(
            np.ascontiguousarray(np.moveaxis(pixels, -1, 0)),
            photometric="rgb" if samples == 4 else "minisblack",
            planarconfig="separate",
            compression=compression,
            tile=tile,
            extrasamples=["unassalpha"],
            metadata=None,
        )
    np.testing.assert_array_equal(read(file.getvalue()), pixels)


def test_subsampled_colours_are_as_libtiff_has_them() -> None:
    """The digest is that of TIFFReadRGBAImage of libtiff 4.7.2: full range, chroma repeated. FFmpeg, which
    takes the numbers for those of films, differs by up to 15."""
    pixels = read((CASES / "tiff_ycbcr_sub22_raw.tif").read_bytes())
    digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    assert digest == "af93ad2fc723cc90a4ae8c9a219e24683bf9bbf6a741cb743743726e7c1d004b"


def test_subsampled_colours_that_are_cut_off_are_refused() -> None:
    with pytest.raises(InputError, match="is damaged"):
        read((CASES / "tiff_ycbcr_sub22_raw.tif").read_bytes()[:-3])


def test_a_palette_in_a_jpeg_2000() -> None:
    numbers = np.random.default_rng(1).integers(0, 4, (40, 56)).astype(np.uint8)
    data = pictures.saved(Image.fromarray(numbers), "JPEG2000", no_jp2=False)
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    at = data.index(b"jp2h") - 4
    end = at + int.from_bytes(data[at : at + 4], "big")
    header = data[at + 8 : data.index(b"colr") - 4]
    header += box(b"pclr", struct.pack(">HB", 4, 3) + b"\7\7\7" + colors.tobytes())
    header += box(b"cmap", *(struct.pack(">HBB", 0, 1, column) for column in range(3)))
    header += box(b"colr", b"\1\0\0" + struct.pack(">I", 16))
    pixels = read(data[:at] + box(b"jp2h", header) + data[end:])
    np.testing.assert_array_equal(pixels, colors[numbers])


@pytest.mark.parametrize("halves", [False, True])
def test_runs_of_a_bmp_that_leave_pixels_out(halves: bool) -> None:
    palette = np.arange(64, dtype=np.uint8).reshape(16, 4) * 3 + 1
    if halves:
        runs = b"\3\x55\0\2\2\1\2\x67\0\3\x12\x30\0\0\4\x89\0\1"
        rows = [[8, 9, 8, 9, 0, 0, 0, 0, 0, 0], [0] * 5 + [6, 7, 1, 2, 3], [5, 5, 5] + [0] * 7]
    else:
        runs = b"\3\5\0\2\2\1\2\6\0\3\1\2\3\0\0\0\4\x08\0\1"
        rows = [[8] * 4 + [0] * 6, [0] * 5 + [6, 6, 1, 2, 3], [5, 5, 5] + [0] * 7]
    bits = 4 if halves else 8
    data = struct.pack(
        "<2sIIIIiiHHIIiiII", b"BM", 0, 0, 118, 40, 10, 3, 1, bits, 3 - bits // 4, len(runs), 0, 0, 16, 0
    )
    data += palette.tobytes() + runs
    np.testing.assert_array_equal(read(data), palette[np.array(rows)][..., [2, 1, 0]])
    with pytest.raises(InputError, match="damaged"):
        read(data[:-2])
