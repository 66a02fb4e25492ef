"""Every segment of every file is pixels, or kept, or of no use to the result, or named in a notice."""

from __future__ import annotations

import contextlib
import re
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cases import CASES
from tests.conftest import SHARED_DATA
from tests.media.picture import pictures
from tests.media.picture.rich_files import rich_files
from tests.media.picture.segments import segments
from xlsr_cli.errors import InputError
from xlsr_cli.formats import writable_format
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture

RICH = rich_files()
#: Odd pictures stand beside some checkouts.
FILES = sorted(
    path
    for folder in (CASES, SHARED_DATA / "odd")
    for path in folder.rglob("*")
    if path.is_file() and path.suffix != ".onnx" and path.parent.name != "video"
)

#: What a segment may be: ``pixels`` and what tells where they are; ``spent``, of which the page says that it
#: has no meaning for the new pixels; a field of the metadata; the code of a notice.
PIXELS, SPENT = "pixels", "spent"
FIELDS = set(Metadata.__dataclass_fields__)

ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "jpeg": {
        r"SOI|EOI|pixels|padding|APP14 Adobe.*|APP2 MPF": (PIXELS,),
        r"APP0 JFIF": (PIXELS, "dpi"),
        r"APP0 JFXX|APP12 Ducky": (SPENT,),
        r"APP1 Exif": ("exif", "exif-dropped"),
        r"APP1 http://ns.adobe.com/xap/1.0/": ("xmp", "xmp-dropped"),
        r"APP1 http://ns.adobe.com/xmp/extension/.*": ("xmp-extended-dropped",),
        r"APP2 ICC_PROFILE": ("icc", "icc-dropped", "cmyk-converted"),
        r"APP2 urn:iso:std:iso:ts:21496:-1": ("gain-map-dropped",),
        r"APP13 Photoshop 3.0": ("iptc", SPENT),
        r"COM": ("text",),
        r"picture": ("pages-dropped", "gain-map-dropped"),
        r"behind": ("motion", "motion-dropped", "trailer-dropped"),
        r"APP\d.*": ("segments-dropped",),
    },
    "png": {
        r"signature|IHDR|PLTE|IDAT|IEND|tRNS": (PIXELS,),
        r"acTL|fcTL|fdAT": ("frames-dropped", PIXELS),
        r"tIME|hIST|sBIT|sPLT|bKGD|oFFs|iDOT|CgBI|dSIG": (SPENT,),
        r"iCCP": ("icc", "icc-dropped"),
        r"gAMA|cHRM|sRGB|mDCV|cLLI": ("color_chunks",),
        r"cICP": ("cicp",),
        r"eXIf": ("exif",),
        r"pHYs": ("dpi", "aspect-dropped", SPENT),
        r"iTXt XML:com.adobe.xmp": ("xmp",),
        r"(tEXt|zTXt|iTXt) Raw profile type (exif|app1|xmp|iptc|icc|icm)": ("exif", "xmp", "iptc", "icc"),
        r"(tEXt|zTXt|iTXt) .*": ("text",),
    },
    "gif": {
        r"screen|pixels|end|extension f9|extension ff (NETSCAPE2.0|ANIMEXTS1.0)": (PIXELS,),
        r"extension fe": ("text",),
        r"extension ff XMP DataXMP": ("xmp",),
        r"extension ff ICCRGBG1012": ("icc",),
        r"extension .*": ("blocks-dropped",),
    },
    "webp": {
        r"RIFF|VP8 |VP8L|VP8X|ALPH|ANIM|ANMF": (PIXELS,),
        r"ICCP": ("icc",),
        r"EXIF": ("exif", "chunks-dropped"),
        r"XMP ": ("xmp", "chunks-dropped"),
    },
    "tiff": {
        r"gap": (SPENT,),  # programs leave it when they change a file, and no directory refers to it
        r"header|\d+ directory|\d+ kind \d+ pixels": (PIXELS,),
        r"0/(34665|34853|34665/40965).*": ("exif", "exif-dropped"),
        r"\d+/.*": (SPENT, "pages-dropped"),
        r"0 tag 34675": ("icc", "icc-dropped", "cmyk-converted", "lab-converted"),
        r"0 tag 700": ("xmp",),
        r"0 tag 33723": ("iptc",),
        r"0 tag 34377": ("iptc", SPENT),
        r"0 tag (282|283|296)": ("dpi", SPENT),
        r"0 tag (34665|34853)": ("exif", "exif-dropped"),
        r"0 tag (33550|33922|34264|34735|34736|34737)": ("geo-dropped",),
        r"0 tag 37724": ("layers-dropped",),
        r"0 tag (301|318|319)": ("gamma-dropped", "icc", SPENT),
        # What describes the picture goes into EXIF.
        r"0 tag (269|270|271|272|274|305|306|315|316|33432)": ("exif", PIXELS),
        # How samples are laid out (TIFF 6.0 and its supplements), and hints about the old sheet of paper.
        r"0 tag (25[4-9]|26[0-68]|27[37-9]|28\d|29[0-37]|317|3[23]\d|34\d|5[12]\d|53[0-2]|42113)": (PIXELS,),
        r"0 tag \d+": ("tags-dropped",),
        r"[1-9]\d* tag \d+": ("pages-dropped", SPENT),
    },
    "jp2": {
        r"jP  |ftyp|jp2c|rreq|jp2h.*": (PIXELS,),
        r"uuid be7acfcb97a942e89c71999491e3afac|xml ": ("xmp", "boxes-dropped"),
        r"uuid 4a706754696666457869662d3e4a5032": ("exif",),
        r"uuid 33c7a4d2b81d4723a0baf1a3e097ad38": ("iptc",),
        r"uuid b14bf8bd083d4b43a5ae8cd7d5a6ce03": ("geo-dropped",),
    },
    "jxl": {
        r"JXL |ftyp|jxl[cpil]|jbrd": (PIXELS,),
        r"Exif": ("exif",),
        r"xml ": ("xmp",),
        r"jhgm|brob jhgm": ("gain-map-dropped",),
        r"brob Exif": ("exif-dropped",),
        r"brob xml ": ("xmp-dropped",),
    },
    "avif": {
        r"ftyp|moov|mdat|meta|meta (hdlr|pitm|iloc|iinf|iref|iprp|idat|dinf|grpl)|item primary": (PIXELS,),
        r"item part": (PIXELS,),
        r"item auxiliary": ("alpha", "gain-map-dropped", "extra-channels-dropped"),
        r"item preview": (SPENT,),
        r"item (av01|hvc1|grid|iovl|iden)": ("pages-dropped", "gain-map-dropped"),
        r"item tmap": ("gain-map-dropped",),
        r"item Exif": ("exif", "boxes-dropped"),
        r"item mime application/rdf\+xml": ("xmp", "boxes-dropped"),
        r"mpvd": ("motion", "motion-dropped"),
    },
    "bmp": {r"header|pixels": (PIXELS,), r"profile": ("icc", "icc-dropped")},
    "pnm": {
        r"header|pixels": (PIXELS,),
        r"comment": ("text",),
        r"behind": ("pages-dropped", "trailer-dropped"),
    },
    "ico": {r"directory|pixels": (PIXELS,)},
}  # fmt: skip
ROLES["heic"] = ROLES["avif"]
ROLES["cur"] = ROLES["ico"]

#: Whatever a format does not name.
OTHERS = ("trailer-dropped", "boxes-dropped", "chunks-dropped", "blocks-dropped", "segments-dropped")


def untold(data: bytes) -> list[str]:
    """The segments that are neither pixels nor kept nor spent nor named in a notice of the actual run.

    Raises :class:`InputError` for a file that is refused.
    """
    picture, notices = decode(open_picture(data, "it"), max_pixels=300_000_000)
    _, more = encode(picture, writable_format(picture.format))
    codes = {notice.code for notice in [*notices, *more]}
    kept = {field for field in FIELDS if getattr(picture.metadata, field)}
    if picture.pixels.ndim == 3 and picture.pixels.shape[2] in (2, 4):
        kept.add("alpha")
    cut = segments(data)
    assert cut[0][1] == 0
    assert max(end for _, _, end in cut) >= len(data)
    roles = ROLES[picture.format]
    missing = []
    for name, begin, end in cut:
        if name in ("gap", "behind") and not data[begin:end].strip(b"\0 \t\r\n"):
            continue
        allowed = next((roles[role] for role in roles if re.fullmatch(role, name)), OTHERS)
        if not {PIXELS, SPENT, *kept, *codes} & set(allowed):
            missing.append(f"{name} ({begin} to {end})")
    return missing


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_byte_of_a_file(path: Path) -> None:
    with contextlib.suppress(InputError):  # refusing it tells of all its bytes
        assert untold(path.read_bytes()) == []


@pytest.mark.parametrize("name", RICH)
def test_every_byte_of_what_holds_more(name: str) -> None:
    assert untold(RICH[name]) == []


def codes(data: bytes) -> set[str]:
    return {notice.code for notice in decode(open_picture(data, "it"), max_pixels=2_000_000)[1]}


ENDLESS: dict[str, dict[str, Any]] = {
    **{plugin.lower(): {} for plugin in ("DDS", "ICNS", "PCX", "QOI", "SGI", "TGA")},
    "tga, compressed": {"compression": "tga_rle"},
}


if find_spec("pillow_jxl") is not None:
    ENDLESS["jxl"] = {"lossless": True}


@pytest.mark.parametrize("name", ENDLESS)
def test_bytes_behind_formats_that_have_no_mark_for_their_end(name: str) -> None:
    data = pictures.saved(pictures.image(40, 48, 3), name.split(",")[0].upper(), **ENDLESS[name])
    assert codes(data) == codes(data + bytes(9)) == set()
    assert codes(data + b"behind") == {"trailer-dropped"}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("xbm", b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {\n0x0f };\n"),
        ("xpm", b'/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"} c #000000",\n"a c #ffffff",\n"}a"\n};\n'),
    ],
)
def test_sources_of_c(kind: str, data: bytes) -> None:
    assert codes(data) == set()
    assert codes(data + b"int more = 1;") == {"trailer-dropped"}
    assert codes(data.replace(b"static", b"/* by somebody */\nstatic")) == {"text-dropped"}


def test_what_a_tga_says_beside_its_pixels() -> None:
    pixels = bytes((10, 20, 30, 128)) * 6
    head = struct.pack("<BBBHHBHHHHBB", 5, 0, 2, 0, 0, 0, 0, 0, 3, 2, 32, 0x28)
    area = struct.pack("<H", 495) + b"somebody".ljust(41, b"\0") + bytes(451) + b"\4"
    assert codes(head.replace(b"\5", b"\0", 1) + pixels) == set()
    assert codes(head + b"named" + pixels) == {"text-dropped"}
    begin = len(head) + 5 + len(pixels)
    footer = struct.pack("<II", begin, begin) + b"TRUEVISION-XFILE.\0"
    data = head + bytes(5) + pixels + area + footer
    assert codes(data) == {"text-dropped", "tags-dropped"}
    picture, _ = decode(open_picture(data, "it"), max_pixels=100)
    assert picture.pixels[0, 0].tolist() == [20, 40, 60, 128]  # it says that alpha was multiplied in


def test_channels_and_end_of_a_photoshop_document() -> None:
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 5, 4, 6, 8, 3) + bytes(12)
    raw = head + bytes(2) + bytes(range(120))
    assert codes(raw) == {"extra-channels-dropped"}
    assert codes(raw + b"behind") == {"extra-channels-dropped", "trailer-dropped"}
