"""What can be learned of a picture before any of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import InputError
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture import bmp, jpeg, pillow, xmp
from xlsr_cli.media.picture.boxes import Jp2Facts, avif_facts, has_too_many, jp2_facts
from xlsr_cli.media.picture.gif import gif_xmp, reaches_pixels
from xlsr_cli.media.picture.metadata import (
    ASPECT,
    DAMAGED_PROFILE,
    Metadata,
    dpi_from_meters,
    meters_from_dpi,
)
from xlsr_cli.media.picture.png import read_png
from xlsr_cli.media.sniff import HEAD_BYTES, picture_format
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from PIL import Image

    from xlsr_cli.media.picture.tiff import TiffFacts

#: Why some formats are refused, and what to do about it.
REFUSED = {
    "heic": "a HEIC picture, whose codec is patented and not included",
    "jxl": "a JPEG XL picture, which is not supported",
    "raw": "a camera's raw file, which has to be developed",
    "exr": "an OpenEXR picture, whose light has no upper bound",
    "hdr": "a Radiance HDR picture, whose light has no upper bound",
    "svg": "a vector drawing, which any program can render at any size",
    "pdf": "a PDF document",
    "eps": "a PostScript document",
    "xcf": "a GIMP project",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture file and what its header says.

    ``size``: of the stored pixels, not yet turned. ``channels``: of the decoded picture. ``maximum``:
    the largest value of a sample as decoders give it. ``bits``: significant ones. ``mode``: Pillow's.
    """

    data: bytes
    name: str
    format: str
    size: Size
    channels: int
    bits: int = 8
    maximum: int = 255
    mode: str = ""
    pages: int = 1
    animated: bool = False
    lossless: bool = False
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata)
    notices: tuple[Notice, ...] = ()
    tiff: TiffFacts | None = None
    key: int | None = None

    @property
    def displayed_size(self) -> Size:
        """The size once the picture is upright."""
        if self.orientation < 5:
            return self.size
        return Size(width=self.size.height, height=self.size.width)

    @property
    def depth(self) -> int:
        """Bits of a decoded sample: 8 or 16."""
        return 8 if self.bits <= 8 else 16


def open_source(data: bytes, name: str) -> Source:
    """Read the header of ``data``. Raises :class:`InputError` where it is damaged or not supported."""
    format = picture_format(data[:HEAD_BYTES])
    if not data:
        raise InputError(f"{name} is empty; get an intact copy")
    if format is None:
        raise InputError(f"{name} is not a picture or film that xlsr knows; convert it to PNG or MP4 first")
    if format == "png":
        source = _png(data, name)
    elif format == "pnm":
        source = _pnm(data, name)
    elif format == "tiff":
        source = _tiff(data, name)
    else:
        source = _by_pillow(data, name, format)
    if source.size.width < 1 or source.size.height < 1:
        raise damaged(name, "its header gives a size without pixels")
    return source


def damaged(name: str, reason: str) -> InputError:
    """The error for a file that is broken; ``reason`` is a part of a sentence."""
    return InputError(f"{name} is damaged: {reason}; get an intact copy")


def _png(data: bytes, name: str) -> Source:
    header = read_png(data, name)
    return Source(
        data=data,
        name=name,
        format="png",
        size=Size(width=header.width, height=header.height),
        channels=header.channels,
        bits=max(8, header.bits),
        maximum=0xFFFF if header.bits == 16 else 0xFF,
        pages=header.frames,
        animated=header.frames > 1,
        orientation=header.metadata.orientation,
        metadata=header.metadata,
        notices=header.notices,
        key=None if header.key is None else _expanded(header.key, header.bits),
    )


def _pnm(data: bytes, name: str) -> Source:
    from xlsr_cli.media.picture.netpbm import count_pages, holds_cmyk, read_pnm_header

    header = read_pnm_header(data)
    if header is None and holds_cmyk(data):
        raise InputError(f"{name} is a PAM of CMYK, which is not supported; convert it to PNG first")
    if header is None:
        raise damaged(name, "its PNM header makes no sense")
    pages = count_pages(data, header)
    return Source(
        data=data,
        name=name,
        format="pnm",
        size=header.size,
        channels=header.channels,
        bits=header.maximum.bit_length(),
        maximum=header.maximum,
        pages=pages,
        notices=(further_pages(pages),) if pages > 1 else (),
    )


def _expanded(key: int, bits: int) -> int:
    """A gray sample of 1, 2 or 4 bits as it becomes in 8."""
    return key if bits >= 8 else key * 0xFF // ((1 << bits) - 1)


#: Pillow makes room for a GIF's first frame when it opens one; for more than this it shall not.
_MOST_IN_GIF = 1 << 29


def _refuse_flood(data: bytes, name: str, format: str) -> None:
    """Raise for files in which Pillow would look for the picture for minutes, and not find it."""
    if format == "jpeg" and not jpeg.reaches_pixels(data) and jpeg.unusual_kind(data) is None:
        raise damaged(name, "it has no pixels")
    if format == "gif" and not reaches_pixels(data):
        raise damaged(name, "it has no pixels")
    if format in ("jp2", "avif", "heic") and has_too_many(data):
        raise damaged(name, "it has more boxes than any picture")


def _by_pillow(data: bytes, name: str, format: str) -> Source:
    _refuse_flood(data, name, format)
    failure: Exception | None = None
    source = None
    with native_messages() as messages, pillow.quiet(_MOST_IN_GIF if format == "gif" else None):
        # On a hostile file Pillow raises nearly everything: OSError, SyntaxError, struct.error, KeyError,
        # TypeError, ZeroDivisionError, RecursionError … each means the same.
        try:
            with pillow.open_image(data, format) as image:
                source = _described(image, data, name, format)
        except InputError:
            raise
        except Exception as error:
            failure = error
    if source is None:
        source = _without_pillow(data, name, format)
    if source is None and format in REFUSED:
        raise InputError(f"{name} is {REFUSED[format]}; convert it to PNG or TIFF first") from failure
    if source is None:
        if type(failure).__name__ == "DecompressionBombError":
            raise InputError(f"{name} claims more pixels than xlsr opens; get an intact copy") from failure
        if (kind := _unsupported_kind(data, format)) is not None:
            raise InputError(
                f"{name} is {kind}, which is not supported; convert it to PNG first"
            ) from failure
        reason = messages[-1] if messages else f"its {format.upper()} header makes no sense"
        raise damaged(name, reason) from failure
    return source


def _unsupported_kind(data: bytes, format: str) -> str | None:
    """What a file is that is sound as far as one can see, and yet opens nowhere here."""
    if format == "jpeg" and (kind := jpeg.unusual_kind(data)) is not None:
        return kind
    if format == "bmp" and (wrapped := bmp.wrapped_format(data)) is not None:
        return f"a BMP made of a {wrapped} file"
    if format == "psd" and len(data) >= 26:
        version, bits = data[5], int.from_bytes(data[22:24], "big")
        if version == 2:
            return "a large Photoshop document (PSB)"
        return f"a Photoshop document of {bits} bits" if bits in (16, 32) else None
    return None


def _without_pillow(data: bytes, name: str, format: str) -> Source | None:
    """A source from the boxes alone, for files that only OpenCV opens, and for those too large for it."""
    if format == "avif" and (avif := avif_facts(data)).width:
        size = Size(width=avif.width, height=avif.height)
        channels = 1 if avif.monochrome else 3
        found = Source(data=data, name=name, format=format, size=size, channels=channels)
        return _avif(found, data)
    if format == "jp2" and (jp2 := jp2_facts(data)) is not None:
        size = Size(width=jp2.width, height=jp2.height)
        return _jp2(
            Source(data=data, name=name, format=format, size=size, channels=min(4, jp2.components)), jp2
        )
    if format == "bmp" and (masks := bmp.read_masks(data)) is not None:
        return Source(data=data, name=name, format=format, size=masks.size, channels=masks.channels)
    return None


def _described(image: Image.Image, data: bytes, name: str, format: str) -> Source:
    source = Source(
        data=data,
        name=name,
        format=format,
        size=Size(width=image.width, height=image.height),
        channels=pillow.channels_of(image),
        mode=image.mode,
        pages=_pages(image),
        metadata=_metadata(image),
    )
    if format == "jpeg":
        source = _jpeg(source, image, data)
    elif format == "avif":
        source = _avif(source, data)
    elif format == "jp2" and (facts := jp2_facts(data)) is not None:
        source = _jp2(source, facts)
    elif format == "gif":
        source = replace(source, metadata=replace(source.metadata, xmp=gif_xmp(data)))
    elif format == "webp":
        source = replace(source, lossless=b"VP8L" in data[:HEAD_BYTES])
    elif format == "bmp":
        source = replace(source, metadata=_bmp_metadata(source.metadata, data))
    elif format == "sgi" and data[3] == 2:
        source = replace(source, notices=(Notice(code="depth-reduced", message="16 bits are read as 8"),))
    elif format == "psd" and source.pages > 1:
        message = f"its {source.pages} layers are not kept, only their sum"
        source = replace(source, notices=(Notice(code="layers-dropped", message=message),))
    if format in ("gif", "webp", "avif"):
        source = replace(source, animated=source.pages > 1)
    orientation = source.metadata.orientation
    if format == "avif":
        # Only irot and imir count in an AVIF; Pillow tells them as EXIF's orientation.
        orientation = int(image.getexif().get(0x0112, 1))
    return replace(source, orientation=orientation if 1 <= orientation <= 8 else 1)


def _bmp_metadata(found: Metadata, data: bytes) -> Metadata:
    """Pillow rounds the resolution and leaves the profile out."""
    dpi = None
    if found.dpi is not None:
        x, y = (dpi_from_meters(meters_from_dpi(value)) for value in found.dpi)
        dpi = (x, y)
    return replace(found, dpi=dpi, icc=bmp.embedded_profile(data))


def _pages(image: Image.Image) -> int:
    pages = int(getattr(image, "n_frames", 1))
    if pages > 1 and image.format == "MPO":
        # Cameras put previews of the picture behind it; they are no pages.
        entries: Any = getattr(image, "mpinfo", {}).get(0xB002, [])
        kinds = [str(entry.get("Attribute", {}).get("MPType", "")) for entry in entries[1:]]
        pages -= sum("Thumbnail" in kind for kind in kinds)
    return max(1, pages)


def _metadata(image: Image.Image) -> Metadata:
    """What Pillow found, whatever the format."""
    info = image.info
    exif, xmp_packet, dpi = info.get("exif"), info.get("xmp"), info.get("dpi")
    comment = info.get("comment") if image.format == "GIF" else None
    exif = exif.removeprefix(jpeg.EXIF_PREFIX) if isinstance(exif, bytes) else None
    found = Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif or None,
        xmp=xmp_packet.rstrip(b"\0") or None if isinstance(xmp_packet, bytes) else None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 1 else None,
        text=((b"GIF", comment),) if isinstance(comment, bytes) else (),
    )
    return replace(found, dpi=found.dpi or found.dpi_of_exif)


def _jpeg(source: Source, image: Image.Image, data: bytes) -> Source:
    if (kind := jpeg.unusual_kind(data)) is not None:
        raise InputError(f"{source.name} is {kind}, which is not supported; convert it to PNG first")
    notices = []
    metadata = source.metadata
    if jpeg.holds_gain_map(data) or (metadata.xmp is not None and xmp.has_gain_map(metadata.xmp)):
        notices.append(GAIN_MAP)
        if metadata.xmp is not None:
            metadata = replace(metadata, xmp=xmp.without_gain_map(metadata.xmp))
    elif source.pages > 1:
        notices.append(further_pages(source.pages))
    if jpeg.holds_extended_xmp(data):
        message = "the part of its XMP that stands in further segments is not kept"
        notices.append(Notice(code="xmp-extended-dropped", message=message))
    if metadata.icc is None and jpeg.holds_profile(data):
        notices.append(DAMAGED_PROFILE)
    if others := jpeg.unknown_segments(data):
        message = f"its segments {', '.join(others)} are not kept"
        notices.append(Notice(code="segments-dropped", message=message))
    width, height = image.info.get("jfif_density", (1, 1))
    if image.info.get("jfif_unit") == 0 and width != height and width and height:
        notices.append(ASPECT)
    resources = image.info.get("photoshop")
    iptc = resources.get(0x0404) if isinstance(resources, dict) else None
    dpi = metadata.dpi
    if not image.info.get("jfif_unit"):  # without it Pillow's value is EXIF's, or invented
        dpi = metadata.dpi_of_exif
    metadata = replace(metadata, iptc=iptc or None, dpi=dpi, text=jpeg.comments(data))
    return replace(source, metadata=metadata, notices=tuple(notices))


def _avif(source: Source, data: bytes) -> Source:
    facts = avif_facts(data)
    channels = source.channels
    if facts.monochrome:
        channels = 1 if channels in (1, 3) else 2
    return replace(
        source,
        channels=channels,
        bits=facts.bits,
        maximum=(1 << facts.bits) - 1,
        lossless=facts.lossless,
        metadata=replace(source.metadata, cicp=facts.cicp),
        notices=tuple(
            notice
            for notice, holds in (
                (GAIN_MAP, facts.gain_map),
                (MASTERING, facts.mastering),
                (ASPECT, facts.aspect),
                (CROP, facts.crop),
            )
            if holds
        ),
    )


def _jp2(source: Source, facts: Jp2Facts) -> Source:
    return replace(
        source,
        bits=facts.bits,
        maximum=(1 << facts.bits) - 1,
        metadata=facts.metadata,
    )


def _tiff(data: bytes, name: str) -> Source:
    from xlsr_cli.media.picture.tiff import read_tiff

    try:
        header = read_tiff(data)
    except Exception as error:  # as with Pillow above: any of them means the same
        raise damaged(name, "its TIFF directory makes no sense") from error
    facts, metadata, notices = header.facts, header.metadata, header.notices
    if facts.camera_raw:
        raise InputError(f"{name} is {REFUSED['raw']}; convert it to PNG or TIFF first")
    if header.pages > 1:
        notices += (further_pages(header.pages),)
    return Source(
        data=data,
        name=name,
        format="tiff",
        size=header.size,
        channels=3 if facts.mode else facts.channels,
        bits=8 if facts.mode else min(16, max(8, facts.bits)),
        mode=facts.mode,
        pages=header.pages,
        orientation=facts.orientation or (xmp.orientation(metadata.xmp) if metadata.xmp else 1),
        metadata=metadata,
        notices=notices,
        tiff=facts,
    )


CROP = Notice(code="crop-dropped", message="it asks to be shown cropped, and all of it is taken")

MASTERING = Notice(code="mastering-dropped", message="how bright its HDR was mastered is not kept")

GAIN_MAP = Notice(code="gain-map-dropped", message="its gain map for HDR screens is not kept")


def further_pages(pages: int) -> Notice:
    """The notice that only the first of several pictures in a file is taken."""
    return Notice(code="pages-dropped", message=f"it holds {pages} pictures and only the first is taken")


def further_frames(frames: int) -> Notice:
    """The notice that only the first frame of an animation is taken."""
    return Notice(code="frames-dropped", message=f"it holds {frames} frames and only the first is taken")
