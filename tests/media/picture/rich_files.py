"""Files that hold something beside their picture, of every format, made from their specifications."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.media.picture import pictures
from tests.media.picture.heif import Item, box, coded, full, heif

COLOR = pictures.image(40, 48, 3)
SMALL = COLOR.resize((24, 20))
GRAY = Image.fromarray(pictures.pixels(40, 48))
PACKET = pictures.XMP % 1
CAPTION = b"\x1c\x02\x78\0\x05hello"
MOVIE = struct.pack(">I4s", 24, b"ftyp") + b"mp42" + bytes(12)
TAIL = b"behind"

Made = Iterator[tuple[str, bytes]]


def rich_files() -> dict[str, bytes]:
    """By a name of what they hold."""
    found: dict[str, bytes] = {}
    for make in (_jpegs, _pngs, _gifs, _webps, _tiffs, _avifs, _jp2s, _jxls, _simple):
        found |= dict(make())
    plain = {name: data for name, data in found.items() if name.endswith("plain")}
    found |= {f"{name}, zeros behind": data + bytes(9) for name, data in plain.items()}
    return found | {f"{name}, behind": data + TAIL for name, data in plain.items()}


def _jpegs() -> Made:
    plain = pictures.saved(COLOR, "JPEG")
    yield "jpeg plain", plain
    yield "jpeg in a jpeg", plain + pictures.saved(SMALL, "JPEG")
    yield "jpeg, three", plain + bytes(3) + plain + plain + TAIL
    yield "jpeg, rubbish between segments", plain[:20] + b"\0rubbish" + plain[20:]
    segments = {
        "extended xmp": (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(60)),
        "jfxx": (0xE0, b"JFXX\0\x13" + bytes((1, 1, 1, 2, 3))),
        "credentials": (0xEB, b"JP\0\1\0\0\0\1jumb"),
        "an own app0": (0xE0, b"OCAD\0"),
        "flashpix": (0xE2, b"FPXR\0" + bytes(10)),
        "a maker's": (0xE5, b"RMETA\0" + bytes(10)),
        "half a profile": (0xE2, b"ICC_PROFILE\0\1\2" + bytes(200)),
        "iso gain map": (0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)),
        "comment": (0xFE, b"hello"),
        "iptc": (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(CAPTION)) + CAPTION),
        "exif": (0xE1, b"Exif\0\0" + pictures.exif(orientation=6, dpi=None)),
        "exif of nonsense": (0xE1, b"Exif\0\0" + bytes(20)),
        "xmp": (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + PACKET),
        "another app1": (0xE1, b"QVCI\0" + bytes(20)),
    }
    for name, (marker, content) in segments.items():
        yield f"jpeg, {name}", pictures.with_jpeg_segment(plain, marker, content)
    yield "jpeg, mpo", pictures.saved(COLOR, "MPO", save_all=True, append_images=[SMALL])


def _pngs() -> Made:
    plain = pictures.saved(COLOR, "PNG")
    yield "png plain", plain
    chunks: dict[bytes, bytes] = {
        b"tIME": bytes((7, 210, 1, 1, 1, 1, 1)), b"bKGD": bytes(6), b"sBIT": b"\5\6\5", b"hIST": bytes(2),
        b"oFFs": bytes(9), b"sPLT": b"a\0\x08" + bytes(6), b"gAMA": struct.pack(">I", 45455), b"sRGB": b"\0",
        b"cHRM": bytes(32), b"cICP": bytes((9, 16, 0, 1)), b"mDCV": bytes(24), b"cLLI": bytes(8),
        b"eXIf": pictures.exif(orientation=6, dpi=None), b"pHYs": struct.pack(">IIB", 1, 2, 0),
        b"iCCP": b"a\0\0nonsense", b"tEXt": b"Comment\0hello", b"zTXt": b"Comment\0\0nonsense",
        b"iTXt": b"Comment\0\0\0\0\0hello", b"caBX": bytes(20), b"sCAL": b"\1" b"1\0" b"1", b"pCAL": bytes(9),
        b"gIFg": bytes(4), b"gIFx": bytes(12), b"sTER": b"\0", b"eXif": bytes(9), b"zzZz": bytes(3),
    }  # fmt: skip
    for name, content in chunks.items():
        yield f"png, {name.decode()}", pictures.with_png_chunk(plain, name, content)
        behind_pixels = plain[:-12] + pictures.png_chunk(name, content) + plain[-12:]
        yield f"png, {name.decode()} behind the pixels", behind_pixels
    yield "png, text behind the end", plain + pictures.png_chunk(b"tEXt", b"Comment\0hello")
    profile = b"Raw profile type icc\0\nicc\n  3\n616263"
    with_profile = pictures.saved(COLOR, "PNG", icc_profile=pictures.icc())
    yield "png, two profiles", pictures.with_png_chunk(with_profile, b"tEXt", profile)


def _gifs() -> Made:
    plain = pictures.saved(COLOR.convert("P"), "GIF")
    yield "gif plain", plain
    head = plain.index(b"\x2c\0\0\0\0")
    extensions = {
        "comment": b"\x21\xfe\5hello\0",
        "profile": b"\x21\xff\x0bICCRGBG1012"
        + b"".join(bytes([len(part)]) + part for part in _pieces(pictures.icc()))
        + b"\0",
        "text": b"\x21\x01\x0c" + bytes(12) + b"\5hello\0",
        "program": b"\x21\xff\x0bMGKIPTC0000\5hello\0",
        "xmp": b"\x21\xff\x0bXMP DataXMP" + PACKET + b"\1" + bytes(range(255, -1, -1)) + b"\0",
        "unknown": b"\x21\x77\x02ab\0",
        "rubbish": b"rubbish",
    }
    for name, extension in extensions.items():
        yield f"gif, {name}", plain[:head] + extension + plain[head:]
        yield f"gif, {name} behind the picture", plain[:-1] + extension + plain[-1:]


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 255] for at in range(0, len(data), 255)]


def _webps() -> Made:
    plain = pictures.saved(COLOR, "WEBP", exif=pictures.exif(orientation=1, dpi=None), xmp=PACKET)
    yield "webp plain", plain
    for name in (b"C2PA", b"abcd"):
        data = bytearray(plain + name + struct.pack("<I", 6) + b"hello\0")
        data[4:8] = struct.pack("<I", len(data) - 8)
        yield f"webp, {name.decode()}", bytes(data)
    turned = COLOR.rotate(90)
    moving = pictures.saved(COLOR, "WEBP", save_all=True, append_images=[turned], duration=100)
    yield "webp, moving", moving
    at = moving.index(b"ANMF")
    length = int.from_bytes(moving[at + 4 : at + 8], "little")
    inner = moving[: at + 8 + length] + b"abcd\6\0\0\0hello\0" + moving[at + 8 + length :]
    grown = bytearray(inner)
    grown[at + 4 : at + 8] = struct.pack("<I", length + 14)
    grown[4:8] = struct.pack("<I", len(grown) - 8)
    yield "webp, chunk of a frame", bytes(grown)
    flags = bytearray(plain)
    flags[20] = 0  # says that there is neither EXIF nor XMP
    yield "webp, flags unset", bytes(flags)


def _tiffs() -> Made:
    for name, options in {"plain": {}, "deflate": {"compression": "tiff_adobe_deflate"}}.items():
        yield f"tiff {name}", pictures.saved(COLOR, "TIFF", **options)
    yield "tiff, big, plain", pictures.saved(COLOR, "TIFF", big_tiff=True)
    yield (
        "tiff, pages",
        pictures.saved(COLOR, "TIFF", save_all=True, append_images=[SMALL.copy(), GRAY.copy()]),
    )
    exif = Image.Exif()
    exif[0x010E] = "description"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    yield "tiff, exif", pictures.saved(COLOR, "TIFF", exif=exif)
    layout: dict[int, int | tuple[int, ...]] = {
        256: 48, 257: 40, 258: 8, 259: 1, 262: 1, 277: 1, 278: 40
    }  # fmt: skip
    strips = [pictures.pixels(40, 48).tobytes()]
    for tag in (700, 33723, 34377, 34675, 37724, 42112, 50838, 65000, 34264):
        yield f"tiff, tag {tag}", pictures.hand_made_tiff(strips, {**layout, tag: tuple(b"hello you!")})


def _avifs() -> Made:
    aux = b"urn:mpeg:mpegB:cicp:systems:auxiliary:"
    first, second = coded(COLOR), coded(SMALL)
    exif = Item(kind=b"Exif", content=bytes(4) + pictures.exif(orientation=1, dpi=None), to={b"cdsc": [1]})
    xmp = Item(kind=b"mime", type=b"application/rdf+xml", content=PACKET, to={b"cdsc": [1]})
    tile = coded(COLOR.resize((64, 64)), hidden=True)
    grid = Item(
        kind=b"grid",
        content=bytes((0, 0, 0, 1)) + struct.pack(">HH", 128, 64),
        properties=(full(b"ispe", struct.pack(">II", 128, 64)), *tile.properties[1:]),
        to={b"dimg": [2, 3]},
    )
    gain = coded(SMALL, full(b"auxC", b"urn:com:apple:photo:2020:aux:hdrgainmap\0"), to={b"auxl": [1]})
    files: dict[str, Any] = {
        "plain": [first],
        "alpha": [first, coded(GRAY, full(b"auxC", aux + b"alpha\0"), to={b"auxl": [1]})],
        "depth": [first, coded(GRAY, full(b"auxC", aux + b"depth\0"), to={b"auxl": [1]})],
        "gain map of Apple's": [first, gain],
        "gain map": [first, second, Item(kind=b"tmap", content=bytes(20), to={b"dimg": [1, 2]})],
        "preview": [first, coded(SMALL, to={b"thmb": [1]})],
        "another picture": [first, second],
        "grid": [grid, tile, tile],
        "exif": [first, exif],
        "two exifs": [first, exif, exif],
        "xmp": [first, xmp],
        "a text": [first, Item(kind=b"mime", type=b"text/plain", content=b"hello", to={b"cdsc": [1]})],
        "a uri": [first, Item(kind=b"uri ", content=b"hello", to={b"cdsc": [1]})],
        "an own item": [first, Item(kind=b"zzzz", content=b"hello")],
        "everything": [first, exif, xmp, coded(SMALL, to={b"thmb": [1]}), gain],
    }
    for name, items in files.items():
        yield f"avif {name}", heif(items)
    for kind in (b"uuid", b"jumb", b"zzzz"):
        yield f"avif, box {kind.decode()}", heif([first], top=box(kind, bytes(16), b"hello"))
        yield f"avif, box {kind.decode()} in meta", heif([first], meta=box(kind, bytes(16), b"hello"))
    yield "avif, motion", heif([first], top=box(b"mpvd", MOVIE))
    yield "avif, unclaimed", heif([first], unclaimed=b"hello")
    yield "avif, description", heif([coded(COLOR, full(b"udes", b"en\0a\0b\0c\0"))])


def _jp2s() -> Made:
    plain = pictures.saved(COLOR, "JPEG2000", no_jp2=False)
    yield "jp2 plain", plain
    identities = (
        "be7acfcb97a942e89c71999491e3afac", "4a706754696666457869662d3e4a5032",
        "33c7a4d2b81d4723a0baf1a3e097ad38",
        "b14bf8bd083d4b43a5ae8cd7d5a6ce03", "00000000000000000000000000000001",
    )  # fmt: skip
    for identity in identities:
        yield f"jp2, uuid {identity[:4]}", plain + box(b"uuid", bytes.fromhex(identity), PACKET)
    for kind in (b"xml ", b"jp2i", b"uinf", b"asoc", b"zzzz"):
        yield f"jp2, {kind.decode()}", plain + box(kind, b"<gml/>")
    yield "jp2, xmp as xml", plain + box(b"xml ", PACKET)


def _jxls() -> Made:
    try:
        import pillow_jxl
    except ImportError:
        return
    assert pillow_jxl
    stream = pictures.saved(COLOR, "JXL", lossless=True)
    head = bytes.fromhex("0000000c4a584c200d0a870a") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    plain = head + box(b"jxlc", stream)
    yield "jxl plain", plain
    for kind in (b"jumb", b"jhgm", b"zzzz", b"jxll"):
        yield f"jxl, {kind.decode()}", plain + box(kind, b"hello")
    for kind in (b"Exif", b"xml ", b"jumb", b"jhgm"):
        yield f"jxl, brob {kind.decode()}", plain + box(b"brob", kind, b"hello")
    yield "jxl, exif", plain + box(b"Exif", bytes(4), pictures.exif(orientation=1, dpi=None))
    yield "jxl, xmp", plain + box(b"xml ", PACKET)


def _simple() -> Made:
    """BMP, PNM and icons."""
    for mode in ("RGB", "P", "1"):
        yield f"bmp {mode} plain", pictures.saved(COLOR.convert(mode), "BMP")
        if mode != "P":
            yield f"pnm {mode} plain", pictures.saved(COLOR.convert(mode), "PPM")
    whole = pictures.saved(COLOR, "BMP")
    moved = bytearray(whole[:54] + b"hello!" + whole[54:])
    moved[10:14] = struct.pack("<I", 60)
    yield "bmp, before the pixels", bytes(moved)
    pixels = pictures.pixels(4, 4, 3)
    for code, behind in ((b"DEBM", pictures.icc()), (b"KNIL", b"C:\\profile.icc\0")):
        head = struct.pack("<2sIII", b"BM", 138 + 48 + len(behind), 0, 138)
        head += (
            struct.pack("<IiiHHIIiiII", 124, 4, 4, 1, 24, 0, 48, 0, 0, 0, 0) + bytes(16) + code + bytes(48)
        )
        head += struct.pack("<IIII", 4, 124 + 48, len(behind), 0)
        yield f"bmp, profile {code.decode()}", head + pixels.tobytes() + behind
    raw = np.asarray(COLOR).tobytes()
    yield "pnm, comments", b"P6\n# one\n48\n#two\n40 255\n" + raw
    yield "pnm, two", b"P6 48 40 255\n" + raw + b"P6 48 40 255\n" + raw
    yield "pnm, two, then", b"P6 48 40 255\n" + raw + b"P6 48 40 255\n" + raw + TAIL
    yield "pnm of 16 bits, plain", b"P5 48 20 1023\n" + raw[:1920]
    yield "ico plain", pictures.saved(COLOR.convert("RGBA"), "ICO")
