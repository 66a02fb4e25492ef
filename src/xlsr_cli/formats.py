"""Every picture format: one row each, from which everything that depends on a format is derived.

A row tells how a file of the format is recognised, what the format is called, what it can hold and what
writing it costs. The module in ``media/picture/codecs`` that the row names reads and writes it. How to add a
format stands in ``docs/architecture.md``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import PurePath
from types import MappingProxyType
from typing import Literal, NamedTuple

#: The ``name`` of a row whose format can be written.
PictureFormat = str


#: How many bytes of a file are enough to tell what it is. A GIF is a picture or an animation depending on
#: whether a second frame follows, which only the whole file tells: give all of it where you have it.
HEAD_BYTES = 1 << 16

#: What a file may hold beside pixels; fields of :class:`~xlsr_cli.media.picture.metadata.Metadata`, ``gamma``
#: standing for PNG's own chunks about colours.
Held = Literal["icc", "cicp", "gamma", "exif", "xmp", "iptc", "dpi", "motion"]


class FormatCapabilities(NamedTuple):
    """What a format can hold, as still picture or as animation, and what writing it costs.

    ``shown``: its name in sentences. ``extensions``: those of its files, without dot, the usual one first.
    ``bits``: the most per sample. ``keeps``: what it holds beside pixels. ``text``: the kinds of comments
    that it holds, named as :class:`~xlsr_cli.media.picture.metadata.Metadata` has them. ``longest_side`` and
    ``most_pixels``: limits of the format, or of the library that writes it. ``lossless``: whether pixels
    are kept exactly: always, with ``--lossless`` (optional), or never.

    ``encoder_memory``: bytes that the encoder takes beside the picture for each byte of the picture, measured
    with photographs; ``lossless_memory``: the same with ``--lossless``, where it differs. ``stored``: bytes
    of the file per pixel, for a photograph. ``trusted``: this package writes the header itself, from the size
    of the pixels, so that the written file need not be read again to check the size.

    ``longest``: the most bytes of each thing in ``keeps`` that has a limit; ``text`` stands for one comment.
    ``dpi_range``: the least and the most pixels per inch. ``dpi_in_exif``: it has no other place for them.
    ``takes_exif_apart``: EXIF of which nothing can be read cannot be copied as it is.

    ``ticks``: delays of an animation are multiples of this part of a second; 0 for any fraction.
    ``longest_delay``, ``longest_round``: of a frame and of all together, in ticks, or in seconds where ticks
    are any fraction. ``most_plays``: the largest number of plays. ``colors``: the most colours of a frame.
    """

    shown: str
    extensions: tuple[str, ...]
    bits: int = 8
    alpha: bool = True
    gray: bool = True
    gray_alpha: bool = False
    keeps: tuple[Held, ...] = ()
    text: tuple[bytes, ...] = ()
    longest_side: int = 0x7FFFFFFF
    most_pixels: int | None = None
    lossless: Literal["always", "optional", "never"] = "always"
    encoder_memory: float = 0.1
    lossless_memory: float | None = None
    stored: float = 3.0
    trusted: bool = False
    longest: Mapping[str, int] = MappingProxyType({})
    dpi_range: tuple[float, float] = (0.0254, 50_000_000)  # from one pixel a metre to what 31 bits count
    dpi_in_exif: bool = False
    takes_exif_apart: bool = False
    ticks: int = 0
    longest_delay: int = 0xFFFF
    longest_round: int | None = None
    most_plays: int = 0x7FFFFFFF
    colors: int | None = None

    def holds(self, size: tuple[int, int]) -> bool:
        """Whether a picture of ``size`` (width, height) is within the limits."""
        within = self.most_pixels is None or size[0] * size[1] <= self.most_pixels
        return within and max(size) <= self.longest_side

    def memory(self, *, lossless: bool) -> float:
        """Bytes that the encoder takes beside the picture for each byte of the picture."""
        if lossless and self.lossless_memory is not None:
            return self.lossless_memory
        return self.encoder_memory


#: Pixels of one bit in a byte where it was compressed as far as deflate goes (RFC 1951, 1032 to 1); no other
#: bytewise compression of pictures goes further.
_DEFLATED = 8 * 1032


class Format(NamedTuple):
    """A picture format.

    ``name``: its name in ``--format``, in messages and in JSON. ``module``: in ``media/picture/codecs``,
    reads and writes it. ``begins``: signatures; a file of the format begins with one of them. ``is_one``: for
    formats without a simple signature, a function of the first :data:`HEAD_BYTES` of a file. ``pillow``:
    names of the Pillow plugins that may open it. ``compression``: the module in ``media/compression`` that
    tells how strongly a file of it was compressed. ``mime``: its MIME type where every current browser shows
    it.

    ``still``, ``animation``: what it can hold as a still picture and as an animation; None: xlsr does not
    write that. ``header_in_head``: its module needs no more than the first :data:`HEAD_BYTES` of a file to
    read size, channels and depth. ``pixels_per_byte``: a byte of a file holds no more; None where compression
    knows no bound. ``icon``: Pillow decodes it while it opens it, so its size is limited before it is known.

    ``refused``: why it cannot be read, as the end of the sentence "FILE is …". ``document``: not a picture
    but a document or a drawing, which a batch skips.

    ``extra``: of this package, installs the ``library`` (a module) without which it cannot be read.
    ``title``: what people call a format that is only read.
    """

    name: str
    module: str = "other"
    begins: tuple[bytes, ...] = ()
    is_one: Callable[[bytes], bool] | None = None
    pillow: tuple[str, ...] = ()
    compression: str = ""
    mime: str | None = None
    still: FormatCapabilities | None = None
    animation: FormatCapabilities | None = None
    pixels_per_byte: int | None = _DEFLATED
    icon: bool = False
    header_in_head: bool = False
    refused: str = ""
    document: bool = False
    extra: str = ""
    library: str = ""
    title: str = ""

    @property
    def shown(self) -> str:
        """Its name in sentences."""
        return self.title or (self.name.upper() if self.still is None else self.still.shown)

    @property
    def lacks_library(self) -> bool:
        """Whether the library that it takes is not installed."""
        return self.library != "" and find_spec(self.library) is None

    def begins_like(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` is one."""
        return head.startswith(self.begins) or (self.is_one is not None and self.is_one(head))


# How to recognise formats without a simple signature.


def _is_webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


#: Brands of ISO base media files (ISO/IEC 14496-12) that hold a still picture.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"heif"}


def _brands(head: bytes) -> list[bytes]:
    """The major brand and the compatible ones; none where it is no ISO base media file."""
    if head[4:8] != b"ftyp":
        return []
    size = min(struct.unpack(">I", head[:4])[0], len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]


def _is_avif(head: bytes) -> bool:
    brands = _brands(head)
    if not brands:
        return False
    return brands[0] in _AVIF_BRANDS or (brands[0] in _HEIF_BRANDS and bool(_AVIF_BRANDS & set(brands)))


def _is_heic(head: bytes) -> bool:
    return _brands(head)[:1] != [] and _brands(head)[0] in _HEIF_BRANDS


def _is_canon_raw(head: bytes) -> bool:
    return _brands(head)[:1] == [b"crx "]


#: Sizes of the information header of a BMP, which stands at byte 14: OS/2 1 and 2, Windows 3, V2 to V5.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}


def _is_bmp(head: bytes) -> bool:
    return head[:2] == b"BM" and len(head) >= 18 and struct.unpack("<I", head[14:18])[0] in _BMP_HEADERS


def _is_netpbm(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"1234567fF" and head[2:3] in b" \t\r\n#"


def _is_pcx(head: bytes) -> bool:
    return head[:1] == b"\x0a" and head[1:2] in b"\x00\x02\x03\x04\x05" and head[2:3] in b"\x00\x01"


def _is_cur(head: bytes) -> bool:
    # A TGA may begin with the same bytes, but then the number of cursors would be zero.
    return head[:4] == b"\x00\x00\x02\x00" and head[4:6] != b"\x00\x00"


def _text(head: bytes) -> bytes:
    return head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")


def _is_svg(head: bytes) -> bool:
    return _text(head).startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) and b"<svg" in head


def _is_xbm(head: bytes) -> bool:
    text = _text(head)
    return text.startswith(b"#define ") and b"_width" in text


def _is_tga(head: bytes) -> bool:
    """A TGA has no signature: every field of its 18-byte header has to make sense."""
    if len(head) < 18:
        return False
    has_map, kind = head[1], head[2]
    map_depth, depth, flags = head[7], head[16], head[17]
    width, height = struct.unpack("<HH", head[12:16])
    fits = {1: (8, 16), 9: (8, 16), 2: (15, 16, 24, 32), 10: (15, 16, 24, 32), 3: (8, 16), 11: (8, 16)}
    return bool(
        kind in fits
        and depth in fits[kind]
        and has_map == (1 if kind in (1, 9) else 0)
        and (map_depth in (15, 16, 24, 32) if has_map else head[3:8] == bytes(5))
        and width > 0
        and height > 0
        and flags & 0xC0 == 0
    )


#: Bytes of content of a JPEG's segment at most.
_SEGMENT = 0xFFFF - 2


#: The table. A file is compared with the rows from the top; TGA, which has no signature, is the last one.
FORMATS: tuple[Format, ...] = (
    Format(
        name="png",
        module="png",
        begins=(b"\x89PNG\r\n\x1a\n",),
        pillow=("PNG",),
        mime="image/png",
        still=FormatCapabilities(
            shown="PNG", extensions=("png",), bits=16, gray_alpha=True,
            keeps=("icc", "cicp", "gamma", "exif", "xmp", "dpi"), text=(b"tEXt", b"zTXt", b"iTXt", b"PNM"),
            longest_side=1_000_000,  # libpng's own limit, which nearly every reader has
            encoder_memory=0.1, stored=2.5, trusted=True,
        ),
        animation=FormatCapabilities(
            shown="APNG", extensions=("png", "apng"), longest_side=1_000_000,
            keeps=("icc", "cicp", "gamma", "exif", "xmp", "dpi"), text=(b"tEXt", b"zTXt", b"iTXt"),
        ),
        header_in_head=True,
    ),
    Format(
        name="jpeg",
        module="jpeg",
        begins=(b"\xff\xd8\xff",),
        pillow=("JPEG", "MPO"),
        compression="jpeg",
        mime="image/jpeg",
        still=FormatCapabilities(
            shown="JPEG", extensions=("jpg", "jpeg", "jpe", "jfif"), alpha=False, lossless="never",
            keeps=("icc", "exif", "xmp", "iptc", "dpi", "motion"), text=(b"COM",),
            longest_side=65_500, encoder_memory=0.4, stored=0.6, dpi_range=(1, 0xFFFF),
            longest={
                # What a segment, which counts its own length in 16 bits, holds behind its name.
                "exif": _SEGMENT - 6, "xmp": _SEGMENT - 29, "iptc": _SEGMENT - 27, "text": _SEGMENT,
                "icc": 0xFF * (_SEGMENT - 14),
            },
        ),
    ),
    Format(
        name="webp",
        module="webp",
        pixels_per_byte=None,
        is_one=_is_webp,
        pillow=("WEBP",),
        compression="webp",
        mime="image/webp",
        still=FormatCapabilities(
            shown="WebP", extensions=("webp",), gray=False, lossless="optional",
            keeps=("icc", "exif", "xmp", "dpi"), longest_side=16_383, dpi_in_exif=True,
            # libwebp keeps tokens, more where there is more detail (2.4 to 5 bytes for photographs), and
            # OpenCV has no option that forbids it.
            encoder_memory=4.5, lossless_memory=12.0, stored=0.5,
        ),
        animation=FormatCapabilities(
            shown="animated WebP", extensions=("webp",), lossless="optional",
            keeps=("icc", "exif", "xmp"), longest_side=16_383, ticks=1000,
            longest_delay=0xFFFFFF, longest_round=0x7FFFFFFF, most_plays=0xFFFF,
        ),
    ),
    Format(
        name="avif",
        module="avif",
        pixels_per_byte=None,
        is_one=_is_avif,
        pillow=("AVIF",),
        compression="avif",
        mime="image/avif",
        still=FormatCapabilities(
            shown="AVIF", extensions=("avif",), bits=12, lossless="optional",
            keeps=("icc", "cicp", "exif", "xmp", "dpi"), longest_side=65_536, dpi_in_exif=True,
            takes_exif_apart=True,
            most_pixels=16_384 * 16_384,  # readers refuse more (libavif's default)
            encoder_memory=6.5, stored=0.4,
        ),
    ),
    Format(
        name="raw",
        begins=(b"II*\x00\x10\x00\x00\x00CR", b"IIRO", b"IIRS", b"IIU\x00", b"FUJIFILMCCD-RAW", b"FOVb"),
        is_one=_is_canon_raw,
        refused="a camera's raw file, which has to be developed",
    ),
    Format(
        name="tiff",
        module="tiff",
        pixels_per_byte=None,
        begins=(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
        pillow=("TIFF",),
        compression="tiff",
        still=FormatCapabilities(
            shown="TIFF", extensions=("tif", "tiff"), bits=16, gray_alpha=True,
            keeps=("icc", "exif", "xmp", "iptc", "dpi"), encoder_memory=0.1, stored=3.0, trusted=True,
            takes_exif_apart=True,
        ),
    ),
    Format(
        name="jp2",
        module="jp2",
        pixels_per_byte=None,
        begins=(b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
        pillow=("JPEG2000",),
        still=FormatCapabilities(
            shown="JPEG 2000", extensions=("jp2",), bits=16, lossless="optional",
            keeps=("icc", "exif", "xmp", "dpi"), encoder_memory=7.0, stored=1.0,
        ),
    ),
    Format(
        name="bmp",
        module="bmp",
        is_one=_is_bmp,
        pillow=("BMP",),
        mime="image/bmp",
        still=FormatCapabilities(
            shown="BMP", extensions=("bmp", "dib"), keeps=("dpi",),
            most_pixels=(1 << 30) - (1 << 20),  # it counts bytes in 32 bits
            encoder_memory=2.05, stored=3.0,
        ),
    ),
    Format(
        name="pnm",
        module="netpbm",
        is_one=_is_netpbm,
        pillow=("PPM",),
        still=FormatCapabilities(
            shown="PNM", extensions=("ppm", "pnm", "pgm"), bits=16, alpha=False, text=(b"PNM",),
            encoder_memory=2.05, stored=3.0,
        ),
        header_in_head=True,
    ),
    Format(
        name="gif",
        module="gif",
        begins=(b"GIF87a", b"GIF89a"),
        pillow=("GIF",),
        mime="image/gif",
        animation=FormatCapabilities(
            shown="GIF", extensions=("gif",), keeps=("xmp",), text=(b"GIF",),
            longest_side=65_535, ticks=100, colors=255,
            longest_delay=0xFFFF, most_plays=0x10000,
        ),
        header_in_head=True,
    ),
    Format(name="psd", begins=(b"8BPS",), pillow=("PSD",)),
    Format(name="qoi", begins=(b"qoif",), pillow=("QOI",)),
    Format(name="dds", begins=(b"DDS ",), pillow=("DDS",)),
    Format(name="icns", begins=(b"icns",), pillow=("ICNS",), icon=True),
    Format(name="ico", begins=(b"\x00\x00\x01\x00",), pillow=("ICO",), icon=True),
    Format(name="sun", begins=(b"\x59\xa6\x6a\x95",), pillow=("SUN",)),
    Format(name="sgi", begins=(b"\x01\xda",), pillow=("SGI",)),
    Format(name="xpm", begins=(b"/* XPM */",), pillow=("XPM",)),
    Format(
        name="heic",
        module="optional.heic",
        pixels_per_byte=None,
        is_one=_is_heic,
        extra="heic",
        library="pillow_heif",
    ),
    Format(
        name="jxl",
        module="optional.jxl",
        pixels_per_byte=None,
        title="JPEG XL",
        begins=(b"\x00\x00\x00\x0cJXL \r\n\x87\n", b"\xff\x0a"),
        extra="jxl",
        library="pillow_jxl",
    ),
    Format(
        name="exr",
        begins=(b"\x76\x2f\x31\x01",),
        refused="an OpenEXR picture, whose light has no upper bound",
    ),
    Format(
        name="hdr",
        begins=(b"#?RADIANCE", b"#?RGBE"),
        refused="a Radiance HDR picture, whose light has no upper bound",
    ),
    Format(name="xcf", begins=(b"gimp xcf",), refused="a GIMP project", document=True),
    Format(name="pdf", begins=(b"%PDF-",), refused="a PDF document", document=True),
    Format(
        name="eps", begins=(b"%!PS", b"\xc5\xd0\xd3\xc6"), refused="a PostScript document", document=True
    ),
    Format(name="pcx", is_one=_is_pcx, pillow=("PCX",)),
    Format(name="cur", is_one=_is_cur, pillow=("CUR",), icon=True),
    Format(
        name="svg",
        is_one=_is_svg,
        refused="a vector drawing, which any program can render at any size",
        document=True,
    ),
    Format(name="xbm", is_one=_is_xbm, pillow=("XBM",)),
    Format(name="tga", is_one=_is_tga, pillow=("TGA",)),
)  # fmt: skip

#: The formats that can be written, by name.
PICTURE_FORMATS: tuple[PictureFormat, ...] = tuple(f.name for f in FORMATS if f.still is not None)

#: The output format for a picture whose own format cannot be written.
FALLBACK = FORMATS[0]
#: What pages show small pictures in.
PREVIEW = FORMATS[1]

_BY_NAME = {format.name: format for format in FORMATS}

#: The format whose traces the engine finds in pixels; their strength is given as one of its qualities.
JPEG = _BY_NAME["jpeg"]


def either(words: Iterable[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def still_capabilities() -> list[FormatCapabilities]:
    """The capabilities of every format that can be written as a still picture."""
    return [format.still for format in FORMATS if format.still is not None]


def format_named(name: str) -> Format:
    """The row of the format ``name``. Raises :class:`KeyError` where there is none."""
    return _BY_NAME[name]


def still_of(name: PictureFormat) -> FormatCapabilities:
    """The capabilities of the format ``name``, which must be one that can be written."""
    still = _BY_NAME[name].still
    assert still is not None  # PictureOptions allows no other
    return still


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins with ``head``; None when unknown."""
    return next((format for format in FORMATS if format.begins_like(head)), None)


def format_for(name: str) -> PictureFormat | None:
    """The format that the extension of the file ``name`` stands for; None if xlsr writes no such format."""
    extension = PurePath(name).suffix[1:].lower()
    found = (f.name for f in FORMATS if f.still is not None and extension in f.still.extensions)
    return next(found, None)


def animation_format(extension: str) -> PictureFormat | None:
    """The format of animations whose files end in ``extension`` (without dot, in small letters)."""
    found = (f.name for f in FORMATS if f.animation is not None and extension in f.animation.extensions)
    return next(found, None)


def extension_for(format: PictureFormat) -> str:
    """The usual extension of ``format``, with its dot."""
    return f".{still_of(format).extensions[0]}"


def writable_format(format: str) -> PictureFormat:
    """The format to write by default for a picture read as ``format``: the same, or the fallback."""
    return format if format in PICTURE_FORMATS else FALLBACK.name
