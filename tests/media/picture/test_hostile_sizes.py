"""Small files whose parts claim gigabytes: nothing is allocated that ``--max-pixels`` does not allow."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.media.picture import pictures
from tests.media.picture.heif import Item, coded, full, heif
from tests.media.picture.test_telephones import heic

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory was used from /proc")

#: A side, and bytes that a file may take beside the libraries and what the ones before it took.
HUGE, MOST = 30_000, 100 << 20

#: Opens, decodes and plans each file, and prints how much memory the process has taken at most.
CHILD = """
import sys
from pathlib import Path
from xlsr_cli.errors import XlsrError
from xlsr_cli.formats import HEAD_BYTES, format_of
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.media.picture.animation import open_animation
from xlsr_cli.media.picture.quick_header import glance
for path in (Path(name) for name in sys.argv[1:]):
    data = path.read_bytes()
    for use in (
        lambda: glance(path, format_of(data[:HEAD_BYTES]), data[:HEAD_BYTES]),
        lambda: decode(open_picture(data, "it"), max_pixels=1_000_000),
        lambda: open_animation(open_picture(data, "it"), max_pixels=1_000_000),
    ):
        try:
            use()
        except XlsrError:
            pass
    print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10, flush=True)
"""

SMALL = pictures.image(16, 16, 3)


def huge_png() -> bytes:
    """30,000 pixels a side of one bit, of zeros."""
    header = struct.pack(">IIBBBBB", HUGE, HUGE, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(HUGE // 8 + 1) * 2000, 9)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pictures.png_chunk(*chunk) for chunk in chunks)


def files() -> Iterator[tuple[str, bytes]]:
    yield "sound.png", pictures.saved(SMALL, "PNG")
    png, big = huge_png(), struct.pack(">II", HUGE, HUGE)
    yield "bits.png", png
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22)
    yield "in.ico", icon + png
    yield "in.cur", icon[:2] + b"\2" + icon[3:] + png
    for kind in (b"ic10", b"ic07"):
        part = kind + struct.pack(">I", 8 + len(png)) + png
        yield f"{kind.decode()}.icns", b"icns" + struct.pack(">I", 8 + len(part)) + part
    yield from _jpeg_2000s(big)
    yield from _tiffs()
    yield from _webps()
    yield from _heifs(big)
    yield "a.psd", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 56, HUGE, HUGE, 8, 3) + bytes(14)
    yield from _inflated()
    sides = struct.pack("<II", 16, 16), struct.pack("<II", HUGE, HUGE)
    yield "a.dds", pictures.saved(SMALL, "DDS").replace(*sides, 1)
    yield "a.qoi", b"qoif" + big + b"\4\0" + b"\xfd" * 2000 + bytes(7) + b"\1"
    tga = struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, HUGE, HUGE, 32, 0)
    yield "a.tga", tga + b"\xff\1\2\3\4" * 900
    yield "a.sgi", b"\x01\xda\1\1\0\3" + struct.pack(">HHH", HUGE, HUGE, 4) + bytes(5000)
    yield "a.sun", struct.pack(">8I", 0x59A66A95, HUGE, HUGE, 32, 500, 2, 0, 0) + b"\x80\xff\0" * 500
    yield "a.pcx", b"\x0a\5\1\x08" + struct.pack("<HHHH", 0, 0, HUGE, HUGE) + bytes(53) + b"\3" + bytes(700)
    yield "a.xbm", b"#define a_width %d\n#define a_height %d\nstatic char a_bits[] = { 0 };" % (HUGE, HUGE)
    yield "a.xpm", b'/* XPM */\nstatic char *a[] = {\n"%d %d 1 1",\n"a c #000000",\n"a"};' % (HUGE, HUGE)
    yield "a.ppm", b"P3 %d %d 255 1 2 3" % (HUGE, HUGE)
    rle = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 90, 0, 54, 40, HUGE, HUGE, 1, 8, 1, 0, 0, 0, 256, 0)
    yield "a.bmp", rle + bytes(1024) + b"\xff\1" * 800


def _inflated() -> Iterator[tuple[str, bytes]]:
    """Text and profiles of a PNG that are compressed as far as deflate goes."""
    bomb = zlib.compress(bytes(150 << 20), 9)
    kinds = {
        b"zTXt": b"Raw profile type exif\0\0",
        b"iCCP": b"a\0\0",
        b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0",
    }
    for name, head in kinds.items():
        png = pictures.with_png_chunk(pictures.saved(SMALL, "PNG"), name, head + bomb)
        yield f"{name.decode()}.png", png


def _jpeg_2000s(big: bytes) -> Iterator[tuple[str, bytes]]:
    whole = pictures.saved(SMALL, "JPEG2000", no_jp2=False)
    size, at = struct.pack(">II", 16, 16), whole.index(b"\xff\x4f\xff\x51")
    yield "boxes.jp2", whole[:at].replace(size, big) + whole[at:]
    yield "stream.jp2", whole[:at] + whole[at:].replace(size, big)
    yield "both.jp2", whole.replace(size, big)
    yield "tiles.j2k", whole[at:].replace(size, struct.pack(">II", 900, 900), 1).replace(size, big)
    stream = bytearray(whole[at:])
    stream[40:42] = struct.pack(">H", 16_000)
    yield "components.j2k", bytes(stream)


def _tiffs() -> Iterator[tuple[str, bytes]]:
    layout = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 277: 1, 278: 16}
    strips = [bytes(256)]
    inner = bytearray(pictures.saved(SMALL.convert("L"), "JPEG"))
    at = inner.index(b"\xff\xc0") + 5
    inner[at : at + 4] = struct.pack(">HH", HUGE, HUGE)
    changes: dict[str, dict[int, int]] = {
        "samples": {277: 60_000}, "bits": {258: 64, 339: 1}, "rows": {278: 0x7FFFFFFF},
        "sides": {256: HUGE, 257: HUGE},
        "long": {257: 0x7FFFFFFF}, "lzw": {259: 5, 256: HUGE, 257: HUGE}, "lzma": {259: 34925, 256: 900},
        "zstd": {259: 50000, 256: HUGE, 257: HUGE}, "group4": {258: 1, 259: 4, 256: HUGE, 257: HUGE},
    }  # fmt: skip
    for name, change in changes.items():
        yield f"{name}.tif", pictures.hand_made_tiff(strips, {**layout, **change})
    yield "jpeg.tif", pictures.hand_made_tiff([bytes(inner)], {**layout, 259: 7})
    tiles = {key: layout[key] for key in layout if key != 278}
    for side in (1 << 15, 1 << 20, 0x7FFFFFF0):
        data = pictures.hand_made_tiff(strips, {**tiles, 322: side, 323: side})
        yield (
            f"tile of {side}.tif",
            data.replace(struct.pack("<H", 273), struct.pack("<H", 324)).replace(
                struct.pack("<H", 279), struct.pack("<H", 325)
            ),
        )


def _webps() -> Iterator[tuple[str, bytes]]:
    def riff(*chunks: tuple[bytes, bytes]) -> bytes:
        padded = (n + struct.pack("<I", len(c)) + c + b"\0" * (len(c) % 2) for n, c in chunks)
        content = b"WEBP" + b"".join(padded)
        return b"RIFF" + struct.pack("<I", len(content)) + content

    still = pictures.saved(SMALL, "WEBP", lossless=True)
    lossless = still[20 : 20 + int.from_bytes(still[16:20], "little")]
    most = (16383).to_bytes(3, "little")
    claims = lossless[:1] + struct.pack("<I", 16382 | 16382 << 14) + lossless[5:]
    yield "canvas.webp", riff((b"VP8X", bytes(4) + most + most), (b"VP8L", lossless))
    yield "frame.webp", riff((b"VP8X", bytes(4) + b"\x0f\0\0" * 2), (b"VP8L", claims))
    yield "plain.webp", riff((b"VP8L", claims))
    few = (15).to_bytes(3, "little")
    for name, canvas, frame, stream in (("small", few, most, claims), ("big", most, few, lossless)):
        part = bytes(6) + frame + frame + bytes(4) + b"VP8L" + struct.pack("<I", len(stream)) + stream
        header = (b"VP8X", b"\2\0\0\0" + canvas + canvas)
        yield f"{name} moving.webp", riff(header, (b"ANIM", bytes(6)), (b"ANMF", part), (b"ANMF", part))


def _heifs(big: bytes) -> Iterator[tuple[str, bytes]]:
    tile = coded(SMALL.resize((64, 64)), hidden=True)
    canvas = (full(b"ispe", big), *tile.properties[1:])
    grid = Item(kind=b"grid", content=b"\0\1\0\1" + big, properties=canvas, to={b"dimg": [2, 2]})
    many = b"\0\0\xff\xff" + struct.pack(">HH", 900, 900)
    wide = Item(kind=b"grid", content=many, properties=canvas, to={b"dimg": [2]})
    over = b"\0\1" + bytes(8) + big + bytes(8)
    overlay = Item(kind=b"iovl", content=over, properties=canvas, to={b"dimg": [2]})
    small = (full(b"ispe", struct.pack(">II", 16, 16)), *tile.properties[1:])
    hidden_grid = Item(kind=b"grid", content=b"\0\1\0\1" + big, properties=small, to={b"dimg": [2, 2]})
    for brand in (b"avif", b"heic"):
        for name, item in {"grid": grid, "wide": wide, "overlay": overlay, "hidden": hidden_grid}.items():
            yield f"{name}.{brand.decode()}", heif([item, tile], brand=brand)
        yield f"claims.{brand.decode()}", heif([Item(content=tile.content, properties=canvas)], brand=brand)
    try:
        made = heic(np.asarray(SMALL.resize((64, 64))), "RGB")
    except pytest.skip.Exception:
        return
    yield "stated.heic", made.replace(struct.pack(">II", 64, 64), big)


def test_no_more_is_allocated_than_pixels_are_allowed(tmp_path: Path) -> None:
    paths = []
    for name, data in files():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    taken = [int(line) for line in done.stdout.splitlines()]
    assert len(taken) == len(paths), (paths[min(len(taken), len(paths) - 1)].name, done.stderr[-2000:])
    before = [taken[0], *taken]
    grown = {path.name: after - first >> 20 for path, first, after in zip(paths, before, taken, strict=False)}
    assert {name: size for name, size in grown.items() if size << 20 > MOST} == {}
