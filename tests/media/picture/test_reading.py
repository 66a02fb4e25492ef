"""Pictures of every kind come in upright, at their own depth, with their own channels."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, ImageOps

from tests.media.picture import pictures
from tests.media.picture.pictures import decode
from xlsr_cli.errors import InputError
from xlsr_cli.media.picture.codecs.png import reading as png_chunks
from xlsr_cli.media.picture.source import Picture, Source
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.notices import Notice

EXIF = b"Exif\0\0"


def read(data: bytes) -> tuple[Picture, list[Notice]]:
    """Decode, and hold the header against what came."""
    header = open_picture(data, "it")
    picture, notices = decode(data, "it", max_pixels=2_000_000)
    channels = 1 if picture.pixels.ndim == 2 else picture.pixels.shape[2]
    expected = (header.format, header.size, header.channels, header.depth)
    assert (picture.format, picture.size, channels, picture.depth) == expected
    assert picture.pixels.flags.c_contiguous
    return picture, notices


def codes(notices: list[Notice]) -> list[str]:
    return [notice.code for notice in notices]


def bgr(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))[:, :, ::-1]


def tiff(samples: np.ndarray, **options: Any) -> bytes:
    target = io.BytesIO()
    tifffile.imwrite(target, samples, metadata=None, software=False, **options)
    return target.getvalue()


# Orientation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG", "TIFF", "AVIF"])
def test_orientation_is_applied_exactly_once(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format != "PNG" else {}
    stored = pictures.image(32, 48, 3)
    data = pictures.saved(stored, format, exif=exif, **options)
    picture, notices = read(data)
    assert notices == []
    turned = Image.new("RGB", (1, 1))
    expected = Image.open(io.BytesIO(data))
    if format != "TIFF":  # Pillow turns a TIFF itself
        ImageOps.exif_transpose(expected, in_place=True)
    assert picture.pixels.shape == (*np.asarray(expected).shape[:2], 3), turned
    assert np.abs(picture.pixels.astype(int) - bgr(expected)).max() <= 4
    assert picture.metadata.orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reader", ["tifffile", "opencv", "pillow"])
def test_every_reader_of_tiff_turns_once(reader: str, orientation: int) -> None:
    samples = pictures.pixels(32, 48, 3, dtype=np.uint16 if reader != "pillow" else np.uint8)
    if reader == "opencv":  # LZW in 16 bits, which tifffile reads only with a further package
        data = cv2.imencode(".tif", samples[:, :, ::-1].copy())[1].tobytes()
        block = bytearray(data)
        at = struct.unpack_from("<I", data, 4)[0]
        for index in range(struct.unpack_from("<H", data, at)[0]):
            entry = at + 2 + 12 * index
            if struct.unpack_from("<H", data, entry)[0] == 339:  # SampleFormat, which may as well be missing
                struct.pack_into("<HHIHH", block, entry, 274, 3, 1, orientation, 0)
        data = bytes(block)
    else:
        data = tiff(samples, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    picture, _ = read(data)
    upright = Image.fromarray((samples >> 8).astype(np.uint8) if samples.itemsize == 2 else samples)
    upright.getexif()[0x0112] = orientation
    expected = bgr(ImageOps.exif_transpose(upright))
    result = picture.pixels >> 8 if samples.itemsize == 2 else picture.pixels
    assert np.array_equal(result, expected)


def test_orientation_in_xmp_alone_counts() -> None:
    data = pictures.saved(pictures.image(32, 48, 3), "PNG", pnginfo=pictures.xmp_chunk(pictures.XMP % 6))
    picture, _ = read(data)
    assert picture.pixels.shape == (48, 32, 3)
    assert picture.metadata.xmp == pictures.XMP % 1


def test_orientation_in_exif_overrules_xmp() -> None:
    chunk = pictures.xmp_chunk(pictures.XMP % 6)
    data = pictures.saved(
        pictures.image(32, 48, 3), "PNG", pnginfo=chunk, exif=EXIF + pictures.exif(orientation=1)
    )
    picture, _ = read(data)
    assert picture.pixels.shape == (32, 48, 3)


@pytest.mark.parametrize(("kind", "count"), [(3, 1), (3, 2), (4, 1), (1, 1)])
def test_orientation_of_any_type_is_reset(kind: int, count: int) -> None:
    value = {1: b"\6\0\0\0", 3: b"\6\0\6\0", 4: b"\6\0\0\0"}[kind]
    block = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", 0x0112, kind, count) + value + bytes(4)
    picture, _ = read(pictures.saved(pictures.image(32, 48, 3), "JPEG", exif=EXIF + block))
    assert picture.pixels.shape == (48, 32, 3)
    assert picture.metadata.exif is not None
    exif = Image.Exif()
    exif.load(EXIF + picture.metadata.exif)
    assert exif[0x0112] == 1


# Palettes, gray, transparency -------------------------------------------------------------------------


def test_palette_becomes_color() -> None:
    palette = pictures.image(32, 48, 3).quantize(16)
    picture, notices = read(pictures.saved(palette, "PNG"))
    assert notices == []
    assert np.array_equal(picture.pixels, bgr(palette))


def test_palette_with_transparency_becomes_bgra() -> None:
    palette = pictures.image(32, 48, 3).quantize(4)
    picture, _ = read(pictures.saved(palette, "PNG", transparency=bytes((0, 128))))
    assert set(np.unique(picture.pixels[:, :, 3])) == {0, 128, 255}


def test_palette_of_grays_is_gray() -> None:
    picture, _ = read(pictures.saved(pictures.image(32, 48).convert("P"), "PNG"))
    assert np.array_equal(picture.pixels, pictures.pixels(32, 48))


def test_palette_of_grays_with_a_color_profile_stays_color() -> None:
    data = pictures.saved(pictures.image(32, 48).convert("P"), "PNG", icc_profile=pictures.icc())
    assert read(data)[0].pixels.shape == (32, 48, 3)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_bits_of_gray_become_eight(bits: int) -> None:
    """tRNS names a sample of the stored depth."""
    top = (1 << bits) - 1
    row = bytes(range(8)) if bits == 8 else {1: b"\x5a", 2: b"\x1b\xe4", 4: b"\x01\x23\xcd\xef"}[bits]
    header = struct.pack(">IIBBBBB", 8, 1, bits, 0, 0, 0, 0)
    body = pictures.png_chunk(b"IDAT", zlib.compress(b"\0" + row)) + pictures.png_chunk(b"IEND", b"")
    plain = b"\x89PNG\r\n\x1a\n" + pictures.png_chunk(b"IHDR", header)
    picture, _ = read(plain + body)
    expected = np.asarray(Image.open(io.BytesIO(plain + body)).convert("L"))
    assert np.array_equal(picture.pixels, expected)
    picture, _ = read(plain + pictures.png_chunk(b"tRNS", struct.pack(">H", 1)) + body)
    assert np.array_equal(picture.pixels[:, :, 0], expected)
    assert np.array_equal(picture.pixels[:, :, 1] == 0, expected == 255 // top)


def test_transparent_gray_of_16_bits() -> None:
    samples = pictures.pixels(8, 8, dtype=np.uint16)
    data = cv2.imencode(".png", samples)[1].tobytes()
    key = int(samples[3, 3])
    picture, _ = read(pictures.with_png_chunk(data, b"tRNS", struct.pack(">H", key)))
    assert np.array_equal(picture.pixels[:, :, 0], samples)
    assert np.array_equal(picture.pixels[:, :, 1] == 0, samples == key)


def test_transparent_color_of_16_bits() -> None:
    samples = pictures.pixels(8, 8, 3, dtype=np.uint16)
    data = cv2.imencode(".png", samples)[1].tobytes()
    blue, green, red = (int(value) for value in samples[3, 3])
    picture, _ = read(pictures.with_png_chunk(data, b"tRNS", struct.pack(">HHH", red, green, blue)))
    assert picture.pixels.shape == (8, 8, 4)
    assert picture.pixels[3, 3, 3] == 0
    assert picture.pixels[0, 0, 3] == 0xFFFF


@pytest.mark.parametrize("format", ["GIF", "ICO", "TGA", "PCX", "QOI", "SGI", "DDS"])
def test_what_ordinary_programs_open_opens(format: str) -> None:
    source = pictures.image(32, 32, 3)
    picture, notices = read(pictures.saved(source, format))
    assert picture.format == format.lower()
    result = picture.pixels[:, :, :3]
    assert np.abs(result.astype(int) - bgr(source)).max() <= (16 if format in ("GIF", "DDS") else 0)
    assert notices == []


def test_bmp_of_32_bits_without_alpha_is_opaque() -> None:
    """OpenCV hands the unused fourth byte, zero here, as alpha: the picture would be invisible."""
    samples = np.dstack([pictures.pixels(4, 4, 3), np.zeros((4, 4), np.uint8)])
    head = struct.pack("<2sIII", b"BM", 54 + samples.nbytes, 0, 54)
    head += struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 32, 0, samples.nbytes, 0, 0, 0, 0)
    picture, _ = read(head + samples[::-1].tobytes())
    assert np.array_equal(picture.pixels, samples[:, :, :3])


# Depth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maximum", [1, 15, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_netpbm_samples_fill_the_range(maximum: int, channels: int) -> None:
    samples = np.arange(48 * channels).reshape(6, 8, channels) * maximum // (48 * channels - 1)
    kind = np.uint8 if maximum < 256 else ">u2"
    magic = "P5" if channels == 1 else "P6"
    data = f"{magic}\n# made by hand\n8 6\n{maximum}\n".encode() + samples.astype(kind).tobytes()
    picture, notices = read(data)
    top = 255 if maximum < 256 else 65535
    expected = np.rint(samples * (top / maximum)).astype(int)[:, :, ::-1].squeeze()
    assert np.abs(picture.pixels - expected).max() <= (0 if maximum in (255, 65535) else 1)
    assert (picture.pixels.min(), picture.pixels.max()) == (0, top)
    assert notices == []


def test_plain_netpbm() -> None:
    picture, _ = read(b"P2 3 2 10\n0 5 10\n10 5 0\n")
    assert np.array_equal(picture.pixels, [[0, 128, 255], [255, 128, 0]])
    picture, _ = read(b"P1\n3 2\n0 1 0\n1 0 1\n")
    assert np.array_equal(picture.pixels, [[255, 0, 255], [0, 255, 0]])


@pytest.mark.parametrize(("channels", "maximum"), [(1, 255), (2, 255), (3, 1023), (4, 65535), (2, 65535)])
def test_pam(channels: int, maximum: int) -> None:
    samples = pictures.pixels(6, 8, channels, dtype=np.uint16) // (65535 // maximum)
    picture, _ = read(pictures.pam(np.minimum(samples, maximum), maximum))
    order = {1: [0], 2: [0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    top = 255 if maximum < 256 else 65535
    expected = np.rint(np.minimum(samples, maximum) * (top / maximum))[:, :, order].squeeze()
    assert np.abs(picture.pixels - expected).max() <= 1


def test_pam_of_cmyk_is_named() -> None:
    data = pictures.pam(pictures.pixels(6, 8, 4), 255).replace(b"TUPLTYPE X", b"TUPLTYPE CMYK")
    with pytest.raises(InputError, match="PAM of CMYK, which is not supported"):
        read(data)


def test_pam_that_ends_early_is_damaged() -> None:
    with pytest.raises(InputError, match="ends before its last pixel"):
        read(pictures.pam(pictures.pixels(6, 8, 2), 255)[:-1])


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("shape", [(32, 48, 3), (32, 48), (32, 48, 4)])
def test_avif_of_more_than_8_bits_fills_the_range(bits: int, shape: tuple[int, ...]) -> None:
    samples = pictures.pixels(*shape, dtype=np.uint16) >> (16 - bits)
    options = [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 100]
    data = cv2.imencode(".avif", samples, options)[1].tobytes()
    picture, notices = read(data)
    assert notices == []
    expected = np.rint(samples * (65535 / ((1 << bits) - 1)))
    assert np.abs(picture.pixels - expected).max() <= 1
    assert picture.bits == bits


def test_tiff_of_12_bits() -> None:
    """Two samples in three bytes, as scanners pack them."""
    samples = np.arange(4 * 6).reshape(4, 6) * (4095 // 23)
    packed = b"".join(struct.pack(">I", int(a) << 12 | int(b))[1:] for a, b in samples.reshape(-1, 2))
    entries = [(256, 3, 6), (257, 3, 4), (258, 3, 12), (259, 3, 1), (262, 3, 1), (277, 3, 1), (278, 3, 4)]
    entries += [(273, 4, 8 + 2 + 12 * 9 + 4), (279, 4, len(packed))]
    data = b"MM\0*" + struct.pack(">IH", 8, len(entries))
    for tag, kind, value in sorted(entries):
        data += struct.pack(">HHI", tag, kind, 1)
        data += struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value)
    picture, _ = read(data + struct.pack(">I", 0) + packed)
    assert np.abs(picture.pixels.astype(int) - samples * 65535 / 4095).max() <= 16


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "zlib", "predictor": 2},
        {"bigtiff": True},
        {"tile": (16, 16), "compression": "zlib"},
        {"planarconfig": "separate"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_layouts(options: dict[str, Any], dtype: Any, channels: int) -> None:
    samples = pictures.pixels(32, 48, channels, dtype=dtype)
    options = {**options, "photometric": "minisblack" if channels < 3 else "rgb"}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    if channels == 1:
        samples = samples[:, :, 0]
        options.pop("planarconfig", None)
    elif options.get("planarconfig") == "separate":
        samples = np.moveaxis(samples, -1, 0)
    else:
        options["planarconfig"] = "contig"
    picture, notices = read(tiff(samples, **options))
    assert notices == []
    if options.get("planarconfig") == "separate":
        samples = np.moveaxis(samples, 0, -1)
    expected = samples if channels < 3 else samples[:, :, [2, 1, 0, 3][:channels]]
    assert np.array_equal(picture.pixels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_zero_is_white(dtype: Any) -> None:
    samples = pictures.pixels(32, 48, dtype=dtype)
    picture, _ = read(tiff(samples, photometric="miniswhite"))
    assert np.array_equal(picture.pixels, ~samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_tiff_becomes_plain(dtype: Any) -> None:
    plain = pictures.pixels(32, 48, 4, dtype=dtype)
    top = np.iinfo(dtype).max
    stored = plain.copy()
    stored[:, :, :3] = np.rint(plain[:, :, :3] / top * (plain[:, :, 3:] / top) * top)
    picture, _ = read(tiff(stored, photometric="rgb", extrasamples=["assocalpha"]))
    solid = plain[:, :, 3] > top // 4
    difference = picture.pixels[:, :, [2, 1, 0, 3]].astype(int) - plain
    assert np.abs(difference[solid]).max() <= 3


def test_float_tiff_of_0_to_1_becomes_16_bits() -> None:
    samples = pictures.pixels(32, 48, 3, dtype=np.uint16)
    picture, notices = read(tiff((samples / 65535).astype(np.float32), photometric="rgb"))
    assert codes(notices) == ["float-converted"]
    assert np.array_equal(picture.pixels, samples[:, :, ::-1])


@pytest.mark.parametrize("value", [255.0, -3.0, float("nan"), float("inf")])
def test_float_tiff_of_another_range_is_refused(value: float) -> None:
    samples = np.zeros((4, 4), np.float32)
    samples[1, 2] = value
    with pytest.raises(InputError, match=r"floating point from|not finite"):
        read(tiff(samples))


def test_numbers_that_are_no_picture_are_refused() -> None:
    with pytest.raises(InputError, match="signed numbers"):
        read(tiff(np.full((4, 4), -5, np.int16)))


def test_integers_of_32_bits_are_reduced_with_a_notice() -> None:
    picture, notices = read(tiff(pictures.pixels(32, 48, dtype=np.uint32)))
    assert codes(notices) == ["depth-reduced"]
    assert picture.pixels.dtype == np.uint16
    assert int(picture.pixels.max()) == 0xFFFF


# Kinds that a library reads wrong, or not at all ------------------------------------------------------


def test_bmp_of_os2() -> None:
    """OpenCV takes its rows for shorter than they are."""
    samples = pictures.pixels(5, 7, 3)
    rows = b"".join(row.tobytes().ljust(24, b"\0") for row in samples[::-1])
    head = struct.pack("<2sIII", b"BM", 26 + len(rows), 0, 26) + struct.pack("<IHHHH", 12, 7, 5, 1, 24)
    assert np.array_equal(read(head + rows)[0].pixels, samples)


def test_bmp_of_run_lengths() -> None:
    palette = bytes(range(16)) * 4
    rows = b"\x03\x01\x00\x03\x02\x05\x06\x00\0\0" + b"\x06\x0f\0\0" + b"\0\1"
    picture, _ = read(pictures.bmp(rows, 6, 2, 8, compression=1, palette=palette))
    colors = np.frombuffer(palette, np.uint8).reshape(-1, 4)[:, :3]
    indexes = np.array([[15] * 6, [1, 1, 1, 2, 5, 6]])
    assert np.array_equal(picture.pixels, colors[indexes])


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0xF00, 0xF0, 0xF)),
        (16, (0xF000, 0xF00, 0xF0, 0xF)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF)),
        (32, (0xFF, 0xFF00, 0xFF0000)),
    ],
)
@pytest.mark.parametrize("top_down", [False, True])
def test_bmp_of_unusual_masks(bits: int, masks: tuple[int, ...], top_down: bool) -> None:
    samples = pictures.pixels(4, 6, len(masks)).astype(np.uint32)
    words = np.zeros((4, 6), np.uint32)
    shown = []
    for channel, mask in enumerate(masks):
        low = mask & -mask
        top = mask // low
        level = samples[:, :, channel] * top // 255
        words |= level * low
        shown.append((level * 255 + top // 2) // top)
    stored = words if top_down else words[::-1]
    rows = stored.astype(f"<u{bits // 8}").tobytes()
    compression = 6 if len(masks) == 4 else 3
    data = pictures.bmp(rows, 6, -4 if top_down else 4, bits, compression=compression, masks=masks)
    picture, notices = read(data)
    assert notices == []
    expected = np.stack(shown, axis=-1)[:, :, [2, 1, 0, 3][: len(masks)]]
    assert np.array_equal(picture.pixels, expected)


def test_bmp_with_a_profile() -> None:
    profile, samples = pictures.icc(), pictures.pixels(4, 8, 3)
    head = struct.pack("<IiiHHIIiiII", 124, 8, 4, 1, 24, 0, samples.nbytes, 3780, 3780, 0, 0)
    head += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + samples.nbytes, len(profile), 0)
    whole = struct.pack("<2sIII", b"BM", 138 + samples.nbytes + len(profile), 0, 138)
    picture, _ = read(whole + head + samples[::-1].tobytes() + profile)
    assert picture.metadata.icc == profile
    assert np.array_equal(picture.pixels, samples)


def test_bmp_of_unusual_masks_with_a_profile() -> None:
    profile, words = pictures.icc(), np.full((2, 4), 0x3FF, "<u4")
    head = struct.pack("<IiiHHIIiiII", 124, 4, 2, 1, 32, 3, words.nbytes, 3780, 3780, 0, 0)
    head += struct.pack("<IIII", 0x3FF, 0xFFC00, 0x3FF00000, 0)
    head += b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + words.nbytes, len(profile), 0)
    whole = struct.pack("<2sIII", b"BM", 138 + words.nbytes + len(profile), 0, 138)
    picture, notices = read(whole + head + words.tobytes() + profile)
    assert notices == []
    assert picture.metadata.icc == profile
    assert np.array_equal(picture.pixels, np.broadcast_to([0, 0, 255], (2, 4, 3)))


def test_set_bits_of_an_xbm_are_ink() -> None:
    data = b"#define x_width 8\n#define x_height 1\nstatic char x_bits[] = {\n0x0f };\n"
    assert np.array_equal(read(data)[0].pixels, [[0, 0, 0, 0, 255, 255, 255, 255]])


def test_jpeg_2000_with_a_palette() -> None:
    indexes = np.arange(64, dtype=np.uint8).reshape(8, 8)
    colors = pictures.pixels(8, 8, 3).reshape(64, 3)
    codestream = pictures.saved(Image.fromarray(indexes), "JPEG2000", no_jp2=True, num_resolutions=1)

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", len(content) + 8, kind) + content

    header = box(b"ihdr", struct.pack(">IIHBBBB", 8, 8, 1, 7, 7, 0, 0))
    header += box(b"colr", b"\1\0\0" + struct.pack(">I", 16))
    header += box(b"pclr", struct.pack(">HB", 64, 3) + b"\7\7\7" + colors.tobytes())
    header += box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, channel) for channel in range(3)))
    data = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    data += box(b"jp2h", header) + box(b"jp2c", codestream)
    assert np.array_equal(read(data)[0].pixels, colors[indexes][:, :, ::-1])


#: An AVIF of 8 x 8 pixels of gray and alpha of 10 bits, which neither OpenCV nor Pillow writes.
GRAY_ALPHA_AVIF = base64.b64decode(
    "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAXFtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGli"
    "YXZpZgAAAAAOcGl0bQAAAAAAAQAAACxpbG9jAAAAAEQAAAIAAQAAAAEAAAG4AAAAKQACAAAAAQAAAZUAAAAjAAAAQmlpbmYAAAAA"
    "AAIAAAAaaW5mZQIAAAAAAQAAYXYwMUNvbG9yAAAAABppbmZlAgAAAAACAABhdjAxQWxwaGEAAAAAGmlyZWYAAAAAAAAADmF1eGwA"
    "AgABAAEAAACnaXBycAAAAIFpcGNvAAAAFGlzcGUAAAAAAAAACAAAAAgAAAAOcGl4aQAAAAABCgAAAAxhdjFDgQBcAAAAABNjb2xy"
    "bmNseAABAA0ABoAAAAA4YXV4QwAAAAB1cm46bXBlZzptcGVnQjpjaWNwOnN5c3RlbXM6YXV4aWxpYXJ5OmFscGhhAAAAAB5pcG1h"
    "AAAAAAAAAAIAAQQBAoMEAAIEAQKDBQAAAFRtZGF0EgAKBRgIv2NQMhgQAIbShCgpHL9TJqE98YsDhmU8vPKia4ASAAoIGAi/Y4CG"
    "g1AyGxFABBEAAsvKTl9WmW5HWNmcNDwDv5maGj6D8A=="
)


def test_gray_avif_with_alpha_of_10_bits_opens_with_fewer() -> None:
    picture, notices = decode(GRAY_ALPHA_AVIF, "it", max_pixels=64)
    assert codes(notices) == ["depth-reduced"]
    assert picture.pixels.shape == (8, 8, 2)
    expected = 255 - np.arange(8) * (4000 / 257)
    assert np.abs(picture.pixels[:, :, 1] - expected).max() < 4


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pfm(order: str, channels: int) -> None:
    samples = pictures.pixels(5, 7, channels, dtype=np.uint16)
    letter, scale = "f" if channels == 1 else "F", "-1.0" if order == "<" else "1.0"
    rows = (samples[::-1] / 65535).astype(f"{order}f4").tobytes()
    picture, notices = read(f"P{letter}\n7 5\n{scale}\n".encode() + rows)
    assert codes(notices) == ["float-converted"]
    expected = samples[:, :, 0] if channels == 1 else samples[:, :, ::-1]
    assert np.array_equal(picture.pixels, expected)


def planes(samples: np.ndarray, differences: bool) -> list[bytes]:
    """One LZW strip for each channel of (H, W, C)."""
    if differences:
        samples = np.concatenate([samples[:, :1], np.diff(samples, axis=1)], axis=1)
    channels = (np.ascontiguousarray(samples[:, :, channel]) for channel in range(samples.shape[2]))
    return [pictures.lzw(channel.view(np.uint8)) for channel in channels]


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_tiff_of_planes_in_lzw(channels: int, dtype: Any, differences: bool) -> None:
    samples = pictures.pixels(32, 48, channels, dtype=dtype)
    bits = 8 * samples.itemsize
    tags: dict[int, Any] = {256: 48, 257: 32, 258: (bits,) * channels, 259: 5, 262: 2, 277: channels}
    tags |= {278: 32, 284: 2, 317: 2 if differences else 1}
    if channels == 4:
        tags[338] = 2
    picture, notices = read(pictures.hand_made_tiff(planes(samples, differences), tags))
    assert notices == []
    assert np.array_equal(picture.pixels, samples[:, :, [2, 1, 0, 3][:channels]])


@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_packed_bits(bits: int, channels: int) -> None:
    top = (1 << bits) - 1
    samples = pictures.pixels(8, 7, channels, dtype=np.uint16) // (65535 // top)
    samples = np.minimum(samples, top)
    digits = (samples.reshape(8, -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(digits.astype(np.uint8).reshape(8, -1), axis=1)
    tags: dict[int, Any] = {256: 7, 257: 8, 258: (bits,) * channels, 259: 5, 277: channels, 278: 8}
    tags[262] = 1 if channels == 1 else 2
    picture, _ = read(pictures.hand_made_tiff([pictures.lzw(rows)], tags))
    full = 255 if bits <= 8 else 65535
    expected = np.rint(samples / top * full)[:, :, ::-1].squeeze()
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_tiff_of_float_differences(dtype: Any) -> None:
    """Adobe's predictor 3: bytes of one significance together, each less the one before."""
    samples = (pictures.pixels(6, 8, 3) / 255).astype(dtype)
    size = samples.itemsize
    apart = samples.astype(samples.dtype.newbyteorder(">")).view(np.uint8).reshape(6, 24, size)
    rows = np.ascontiguousarray(apart.swapaxes(1, 2)).reshape(6, -1, 3)
    rows = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1).reshape(6, -1)
    tags: dict[int, Any] = {256: 8, 257: 6, 258: (8 * size,) * 3, 259: 5, 262: 2, 277: 3, 278: 6}
    data = pictures.hand_made_tiff([pictures.lzw(rows)], {**tags, 317: 3, 339: (3, 3, 3)})
    picture, notices = read(data)
    assert codes(notices) == ["float-converted"]
    assert np.array_equal(picture.pixels, np.rint(samples.astype(float) * 65535)[:, :, ::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_where_zero_is_white_keeps_its_alpha(dtype: Any) -> None:
    samples = pictures.pixels(8, 9, 2, dtype=dtype)
    picture, _ = read(
        tiff(samples, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"])
    )
    assert np.array_equal(picture.pixels, np.dstack([~samples[:, :, 0], samples[:, :, 1]]))


def test_premultiplied_planes_become_plain() -> None:
    stored = np.zeros((4, 4, 4), np.uint8)
    stored[:, :] = (50, 100, 0, 128)
    data = tiff(
        np.moveaxis(stored, -1, 0), photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"]
    )
    assert read(data)[0].pixels[1, 1].tolist() == [0, 199, 100, 128]


def test_palette_of_16_bits() -> None:
    colors = pictures.pixels(256, 256, 3, dtype=np.uint16).reshape(-1, 3)
    indexes = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    picture, _ = read(tiff(indexes, photometric="palette", colormap=np.ascontiguousarray(colors.T)))
    assert np.array_equal(picture.pixels, colors[indexes][:, :, ::-1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_with_a_further_channel(dtype: Any) -> None:
    cmyk = np.asarray(pictures.image(32, 48, 3).convert("CMYK"))
    samples = np.dstack([cmyk, pictures.pixels(32, 48)]).astype(dtype)
    if dtype == np.uint16:
        samples *= 257
    data = tiff(samples, photometric="separated", planarconfig="contig", extrasamples=["unassalpha"])
    picture, notices = read(data)
    reduced = ["depth-reduced"] if dtype == np.uint16 else []
    assert codes(notices) == [*reduced, "cmyk-converted"]
    assert np.array_equal(picture.pixels[..., :3], bgr(Image.fromarray(cmyk, "CMYK")))
    assert np.array_equal(picture.pixels[..., 3], pictures.pixels(32, 48))


def test_cmyk_with_a_fifth_ink() -> None:
    cmyk = np.asarray(pictures.image(32, 48, 3).convert("CMYK"))
    samples = np.dstack([cmyk, pictures.pixels(32, 48)])
    data = tiff(samples, photometric="separated", planarconfig="contig", extrasamples=["unspecified"])
    picture, notices = read(data)
    assert codes(notices) == ["extra-channels-dropped", "cmyk-converted"]
    assert np.array_equal(picture.pixels, bgr(Image.fromarray(cmyk, "CMYK")))


def test_lab_of_16_bits_is_read_as_8() -> None:
    samples = np.zeros((4, 4, 3), np.uint16)
    samples[:, :, 0] = 0x8000  # a* and b* are signed, and 0
    picture, notices = read(tiff(samples, photometric="cielab", planarconfig="contig"))
    assert codes(notices) == ["depth-reduced", "lab-converted"]
    assert np.ptp(picture.pixels[1, 1].astype(int)) <= 2
    assert 110 < int(picture.pixels[1, 1, 0]) < 130


def test_a_compression_without_a_codec_is_named() -> None:
    tags: dict[int, Any] = {256: 8, 257: 8, 258: 8, 259: 34887, 262: 1, 277: 1, 278: 8}
    with pytest.raises(InputError, match=r"kind of TIFF that is not supported.*LERC"):
        read(pictures.hand_made_tiff([bytes(64)], tags))


@pytest.mark.parametrize("first", [8, 100_000_000])
def test_a_tiff_that_tells_its_height_twice(first: int) -> None:
    """What is checked before decoding must be what the decoder will believe."""
    tags: dict[int, Any] = {255: 8, 256: 8, 257: first, 258: 16, 259: 1, 262: 1, 277: 1, 278: 8}
    data = bytearray(pictures.hand_made_tiff([bytes(128)], tags))
    (directory,) = struct.unpack_from("<I", data, 4)
    entries = bytes(data[directory + 2 : directory + 2 + 12 * 10])
    assert entries[:2] == struct.pack("<H", 255)
    second = struct.pack("<HHII", 257, 4, 1, 8 if first > 8 else 100_000_000)
    data[directory + 2 : directory + 2 + 12 * 10] = entries[12:36] + second + entries[36:]
    if first > 8:
        with pytest.raises(InputError, match="claims 8x100000000 pixels"):
            decode(bytes(data), "it", max_pixels=1000)
    else:
        assert decode(bytes(data), "it", max_pixels=1000)[0].pixels.shape == (8, 8)


def test_a_palette_that_is_missing_is_damage() -> None:
    tags: dict[int, Any] = {256: 8, 257: 8, 258: 8, 259: 5, 262: 3, 277: 1, 278: 8}
    with pytest.raises(InputError, match=r"^it is damaged: "):
        read(pictures.hand_made_tiff([pictures.lzw(pictures.pixels(8, 8))], tags))


def test_a_tiff_may_not_claim_thousands_of_samples() -> None:
    tags: dict[int, Any] = {256: 1000, 257: 1000, 258: 16, 259: 5, 262: 1, 277: 65535, 278: 1000}
    with pytest.raises(InputError, match="claims 65535 samples"):
        read(pictures.hand_made_tiff([bytes(64)], tags))


# Foreign colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb(format: str) -> None:
    cmyk = pictures.image(32, 48, 3).convert("CMYK")
    picture, notices = read(pictures.saved(cmyk, format, **({"quality": 100} if format == "JPEG" else {})))
    assert codes(notices) == ["cmyk-converted"]
    assert np.abs(picture.pixels.astype(int) - bgr(cmyk)).mean() < 2
    assert picture.metadata.icc is None


def test_cmyk_with_a_damaged_profile_still_opens() -> None:
    cmyk = pictures.image(32, 48, 3).convert("CMYK")
    picture, notices = read(pictures.saved(cmyk, "JPEG", icc_profile=b"no profile at all" * 20))
    assert codes(notices) == ["cmyk-converted"]
    assert "plain formula" in notices[0].message
    assert picture.metadata.icc is None


def test_lab_becomes_srgb() -> None:
    lab = Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (128, 128, 128)])
    picture, notices = read(pictures.saved(lab, "TIFF"))
    assert codes(notices) == ["lab-converted"]
    middle = picture.pixels[4, 4].astype(int)
    assert np.ptp(middle) <= 3, "no hue"
    assert 110 < middle[0] < 130


# More than one picture --------------------------------------------------------------------------------


def test_further_pages_are_told() -> None:
    pages = [Image.new("L", (8, 8), value) for value in (10, 20, 30)]
    data = pictures.saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert open_picture(data, "it").pages == 3
    picture, notices = read(data)
    assert codes(notices) == ["pages-dropped"]
    assert int(picture.pixels.max()) == 10


def test_directories_in_a_circle_end() -> None:
    data = bytearray(tiff(pictures.pixels(8, 8)))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    assert open_picture(bytes(data), "it").pages == 1


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_are_counted_in_every_kind_of_tiff(order: Any, big: bool) -> None:
    target = io.BytesIO()
    with tifffile.TiffWriter(target, byteorder=order, bigtiff=big) as writer:
        for kind in (0, 1, 0, 1, 0):
            writer.write(pictures.pixels(8, 8), subfiletype=kind, metadata=None)
    assert open_picture(target.getvalue(), "it").pages == 3


def test_a_picture_behind_its_preview_is_told() -> None:
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        writer.write(pictures.pixels(8, 12), subfiletype=1, metadata=None)
        writer.write(pictures.pixels(32, 48), metadata=None)
    assert codes(read(target.getvalue())[1]) == ["pages-dropped"]


def test_a_preview_is_no_page() -> None:
    target = io.BytesIO()
    with tifffile.TiffWriter(target) as writer:
        writer.write(pictures.pixels(32, 48), metadata=None)
        writer.write(pictures.pixels(8, 12), subfiletype=1, metadata=None)
    assert codes(read(target.getvalue())[1]) == []


def test_further_pictures_of_netpbm_are_told() -> None:
    one = b"P5\n3 2\n255\n" + bytes(range(6))
    assert open_picture(one * 3, "it").pages == 3
    picture, notices = read(one * 3)
    assert codes(notices) == ["pages-dropped"]
    assert picture.pixels.shape == (2, 3)
    assert codes(read(one + b"\n")[1]) == []


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_further_frames_are_told_where_a_picture_is_wanted(format: str) -> None:
    """An animation becomes one elsewhere; from a pipe, or as AVIF, it is read as a picture."""
    frames = [pictures.image(32, 48, 3), Image.new("RGB", (48, 32), "red")]
    data = pictures.saved(frames[0], format, save_all=True, append_images=frames[1:])
    assert codes(read(data)[1]) == ["frames-dropped"]
    assert open_picture(data, "it").notices == ()


def test_mpo_takes_the_first_picture() -> None:
    pages = [pictures.image(32, 48, 3), Image.new("RGB", (48, 32), "red")]
    data = pictures.saved(pages[0], "MPO", save_all=True, append_images=pages[1:])
    picture, notices = read(data)
    assert picture.format == "jpeg"
    assert codes(notices) == ["pages-dropped"]
    assert np.abs(picture.pixels.astype(int) - bgr(pages[0])).mean() < 4


def test_gain_map_is_told_and_no_longer_promised() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0">'
        b'<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Semantic="GainMap"/></rdf:li></rdf:Seq>'
        b"</Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    picture, notices = read(pictures.saved(pictures.image(32, 48, 3), "JPEG", xmp=packet))
    assert codes(notices) == ["gain-map-dropped"]
    assert picture.metadata.xmp is not None
    assert b"Version" not in picture.metadata.xmp
    assert b"GainMap" not in picture.metadata.xmp


def test_gain_map_of_iso_21496_is_told() -> None:
    pages = [pictures.image(32, 48, 3), pictures.image(16, 24)]
    data = pictures.saved(pages[0], "MPO", save_all=True, append_images=pages[1:])
    data = pictures.with_jpeg_segment(data, 0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")
    assert codes(read(data)[1]) == ["gain-map-dropped"]


def test_segments_that_are_not_understood_are_told() -> None:
    data = pictures.saved(pictures.image(32, 48, 3), "JPEG")
    _, notices = read(pictures.with_jpeg_segment(data, 0xEB, b"JP\0\1 content credentials"))
    assert codes(notices) == ["segments-dropped"]
    assert "APP11" in notices[0].message


def test_chunks_that_are_not_understood_are_told() -> None:
    data = pictures.saved(pictures.image(32, 48, 3), "PNG")
    _, notices = read(pictures.with_png_chunk(data, b"caBX", b"content credentials"))
    assert codes(notices) == ["chunks-dropped"]
    assert "caBX" in notices[0].message
    assert codes(read(pictures.with_png_chunk(data, b"tIME", bytes(7)))[1]) == []


def test_a_damaged_profile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_chunks, "_MOST_INFLATED", 1 << 20)
    png = pictures.saved(pictures.image(8, 8, 3), "PNG")
    whole = zlib.compress(pictures.icc())
    for content in (whole[:-40], b"no zlib", zlib.compress(bytes(2 << 20))):
        picture, notices = read(pictures.with_png_chunk(png, b"iCCP", b"x\0\0" + content))
        assert codes(notices) == ["icc-dropped"]
        assert picture.metadata.icc is None
    jpeg = pictures.saved(pictures.image(8, 8, 3), "JPEG")
    half = b"ICC_PROFILE\0\1\2" + pictures.icc()
    assert codes(read(pictures.with_jpeg_segment(jpeg, 0xE2, half))[1]) == ["icc-dropped"]


@pytest.mark.parametrize(("red", "told"), [(0.64, []), (0.68, ["gamma-dropped"])])
def test_primaries_of_a_tiff_are_told(red: float, told: list[str]) -> None:
    numbers = (red, 0.33, 0.3, 0.6, 0.15, 0.06)
    fractions = tuple(part for number in numbers for part in (round(number * 1000), 1000))
    data = tiff(
        pictures.pixels(8, 8, 3),
        photometric="rgb",
        extratags=[(319, "2I", 6, fractions, True), (318, "2I", 2, (3127, 10000, 3290, 10000), True)],
    )
    assert codes(read(data)[1]) == told


def test_pixels_that_are_not_square_are_told() -> None:
    png = pictures.with_png_chunk(
        pictures.saved(pictures.image(8, 8, 3), "PNG"), b"pHYs", struct.pack(">IIB", 2, 1, 0)
    )
    jpeg = bytearray(pictures.saved(pictures.image(8, 8, 3), "JPEG"))
    jpeg[13:18] = b"\0\0\2\0\1"
    for data in (png, bytes(jpeg)):
        assert codes(read(data)[1]) == ["aspect-dropped"]


def test_extended_xmp_is_told() -> None:
    data = pictures.saved(pictures.image(32, 48, 3), "JPEG")
    segment = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 5, 0) + b"hello"
    assert codes(read(pictures.with_jpeg_segment(data, 0xE1, segment))[1]) == ["xmp-extended-dropped"]


def test_a_profile_in_several_segments_is_put_together() -> None:
    profile = pictures.icc() + bytes(range(256)) * 700
    picture, _ = read(pictures.saved(pictures.image(32, 48, 3), "JPEG", icc_profile=profile))
    assert picture.metadata.icc == profile


def test_imagemagicks_profiles_in_png_text() -> None:
    block = pictures.exif(orientation=6)
    digits = (EXIF + block).hex()
    text = f"\nexif\n{len(EXIF + block):8}\n" + "\n".join(
        digits[n : n + 72] for n in range(0, len(digits), 72)
    )
    chunk = pictures.text_chunks(**{"Raw profile type exif": text + "\n"})
    picture, _ = read(pictures.saved(pictures.image(32, 48, 3), "PNG", pnginfo=chunk))
    assert picture.pixels.shape == (48, 32, 3)
    assert picture.metadata.exif is not None
    assert b"xlsr" in picture.metadata.exif


# Before decoding --------------------------------------------------------------------------------------


def test_probe_knows_the_size_as_displayed() -> None:
    data = pictures.saved(pictures.image(32, 48, 3), "JPEG", exif=EXIF + pictures.exif(orientation=6))
    header = open_picture(data, "it")
    assert (header.size.width, header.size.height, header.orientation) == (32, 48, 6)
    assert isinstance(header, Source)


@pytest.mark.parametrize("format", ["BMP", "TGA", "PCX", "GIF", "PNG", "JPEG", "WEBP", "TIFF"])
def test_probe_decodes_nothing(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to look into a palette: the header may claim more than there is memory."""
    picture = pictures.image(32, 48, 3)
    data = pictures.saved(picture if format in ("JPEG", "WEBP") else picture.quantize(9), format)

    def load(image: ImageFile.ImageFile) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    header = open_picture(data, "it")
    assert (header.size.width, header.size.height, header.channels) == (48, 32, 3)


@pytest.mark.parametrize("format", ["png", "tiff", "bmp", "pnm"])
def test_too_many_pixels_are_refused_before_decoding(format: str) -> None:
    side = 60000
    fields = [(256, 4, 1, side), (257, 4, 1, side), (262, 3, 1, 1), (273, 4, 1, 8)]
    directory = struct.pack("<H", 4) + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bmp = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    big = {
        "png": b"\x89PNG\r\n\x1a\n" + pictures.png_chunk(b"IHDR", header),
        "tiff": b"II*\0\x08\0\0\0" + directory,
        "bmp": struct.pack("<2sIII", b"BM", 54, 0, 54) + bmp,
        "pnm": b"P6 60000 60000 255\n",
    }[format]
    with pytest.raises(InputError, match=r"60000x60000.*max_pixels"):
        decode(big, "bomb", max_pixels=250_000_000)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "vector"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(40), "raw"),
        (b"hello world, this is text", "not a picture"),
        (b"", "empty"),
    ],
)
def test_refusals_say_what_it_is(data: bytes, word: str) -> None:
    for function in (open_picture, lambda data, name: decode(data, name, max_pixels=1000)):
        with pytest.raises(InputError, match=word):
            function(data, "it")


@pytest.mark.parametrize(
    ("at", "value", "word"),
    [
        (1, 0xF7, "JPEG-LS"),
        (4, 12, "JPEG of 12 bits"),
        (9, 2, "JPEG of 2 colours"),
        (6, 0, "tells its height behind"),
    ],
)
def test_what_libjpeg_does_not_read_is_named(at: int, value: int, word: str) -> None:
    data = bytearray(pictures.saved(pictures.image(32, 48, 3), "JPEG"))
    data[data.index(b"\xff\xc0") + at] = value
    with pytest.raises(InputError, match=f"{word}.*, which is not supported; convert it"):
        read(bytes(data))


@pytest.mark.parametrize(("kind", "word"), [(4, "BMP made of a JPEG"), (5, "BMP made of a PNG")])
def test_what_a_bmp_may_wrap_is_named(kind: int, word: str) -> None:
    with pytest.raises(InputError, match=f"is a {word} file, which is not supported"):
        read(pictures.bmp(bytes(64), 4, 4, 0, compression=kind))
