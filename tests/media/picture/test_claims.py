"""What a file claims is checked before room is made for it: small files must not take much memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cases import CASES

#: Of a picture of 225 megapixels, which the default of --max-pixels allows.
SIDE = 15_000
FLAT = np.full((64, 64, 3), 90, np.uint8)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(side: int) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif(side: int) -> bytes:
    picture = b"," + struct.pack("<HHHH", 0, 0, side, side) + b"\0\x02\x02\x4c\x01\0"
    return b"GIF89a" + struct.pack("<HH", side, side) + b"\0\0\0" + picture + b";"


def tiff(bits: int, compression: int, tile: int) -> bytes:
    data = zlib.compress(bytes(3000))
    tags = {
        256: 10, 257: 10, 258: bits, 259: compression, 262: 1, 277: 1, 284: 1, 322: tile, 323: tile,
        324: 8 + 2 + 12 * 12 + 4, 325: len(data), 339: 1,
    }  # fmt: skip
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4) + data


def striped(side: int, compression: int, strips: int) -> bytes:
    """Four inks, and fewer strips than the picture takes or less in them."""
    tags = {
        256: 24,
        257: side,
        258: 8,
        259: compression,
        262: 5,
        273: 8,
        277: 4,
        278: side // strips,
        279: 90,
    }
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4 + 90)


def jpeg(side: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", FLAT)[1])
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    return bytes(data)


def avif(side: int) -> bytes:
    """Its boxes say that it is small, and its frame is not."""
    flat = np.full((side, side), 90, np.uint8)
    data = bytearray(cv2.imencode(".avif", flat, [cv2.IMWRITE_AVIF_SPEED, 10])[1])
    struct.pack_into(">II", data, data.index(b"ispe") + 8, 64, 64)
    return bytes(data)


def jp2(side: int) -> bytes:
    """The same, and the codestream alone."""
    data = bytearray(cv2.imencode(".jp2", FLAT)[1])
    start = data.index(b"\xff\x4f\xff\x51")
    for offset in (8, 24):  # of the picture, and of its tiles
        struct.pack_into(">II", data, start + offset, side, side)
    return bytes(data)


def bombs() -> dict[str, bytes]:
    inner = png(SIDE)
    psd_head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, SIDE, SIDE, 8, 3)
    icon = (CASES / "ico_2gb.ico").read_bytes()
    return {
        "plan_4gb.gif": (CASES / "plan_4gb.gif").read_bytes(),
        "a.ico": icon,
        "a.cur": icon[:2] + b"\2\0" + icon[4:],
        "a.icns": struct.pack(">4sI4sI", b"icns", 16 + len(inner), b"ic10", 8 + len(inner)) + inner,
        "a.png": png(SIDE),
        "a.gif": gif(SIDE),
        "a.jpg": jpeg(SIDE),
        "a.jp2": jp2(40_000),
        "plain.ppm": b"P3 15000 15000 255\n1 2 3\n",
        "comments.pgm": b"P2 15000 15000 255\n" + b"#x\n" * 1000,
        "bits.pbm": b"P4 15000 15000\n1234",
        "floats.pfm": b"PF\n15000 15000\n-1.0\n1234",
        "a.qoi": b"qoif" + struct.pack(">II", SIDE, SIDE) + b"\4\0" + bytes(20),
        "a.tga": bytes([0, 0, 10]) + bytes(9) + struct.pack("<HH", SIDE, SIDE) + b" \0" + bytes(20),
        "a.psd": psd_head + bytes(13) + b"\1" + bytes(9),
        **{f"strip{how}.tif": striped(9_000_000, how, 1) for how in (1, 5, 8)},
        **{f"strips{how}.tif": striped(9_000_000, how, 450_000) for how in (1, 5, 8)},
        **{f"tiles{bits}_{how}.tif": tiff(bits, how, 60_000) for bits in (8, 16) for how in (1, 5, 8)},
    }  # fmt: skip


#: Opens and decodes every file that it is given, and looks at it as the planner of a batch does; prints what
#: was not refused, and how many megabytes it took at most.
PROBE = """
import sys
from pathlib import Path
from xlsr_cli.errors import InputError
from xlsr_cli.formats import HEAD_BYTES, format_of
from xlsr_cli.media.picture.animation import open_animation
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.opening import open_picture
from xlsr_cli.media.picture.quick_header import glance

limit = int(sys.argv[1])
for name in sys.argv[2:]:
    data = Path(name).read_bytes()
    glance(Path(name), format_of(data), data[:HEAD_BYTES])
    for use in (decode, open_animation):
        try:
            use(open_picture(data, name), max_pixels=limit)
        except InputError:
            continue
        print("opened:", name, use.__name__)
status = Path("/proc/self/status").read_text()  # the resource module counts the parent in
print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most that a process took")
def test_small_files_that_claim_much_are_refused_in_little_memory(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    names = [str(tmp_path / name) for name in bombs()]
    run = subprocess.run([sys.executable, "-c", PROBE, "250000000", *names], capture_output=True, text=True)
    *opened, megabytes = run.stdout.splitlines()
    assert opened == [], run.stderr
    assert int(megabytes) < 250


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the most that a process took")
def test_frames_larger_than_their_boxes_say(tmp_path: Path) -> None:
    (tmp_path / "a.avif").write_bytes(avif(8000))
    run = subprocess.run(
        [sys.executable, "-c", PROBE, "1000000", str(tmp_path / "a.avif")], capture_output=True, text=True
    )
    *opened, megabytes = run.stdout.splitlines()
    assert opened == [], run.stderr
    assert int(megabytes) < 400
