"""Encode a picture: its pixels, what the encoder cannot carry put around them, notices for the rest."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from xlsr_cli.errors import OutputError
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture import boxes, jpeg, pillow
from xlsr_cli.media.picture.exif import ExifBlock, exif_with_dpi
from xlsr_cli.media.picture.metadata import Metadata, meters_from_dpi
from xlsr_cli.media.picture.samples import as_color, over_white, reduced
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureFormat

if TYPE_CHECKING:
    from xlsr_cli.media.picture.samples import Pixels


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a format has room for; ``bits`` per sample, ``text`` the wrapping of comments that it takes."""

    shown: str
    bits: int = 8
    alpha: bool = True
    gray: bool = True
    gray_alpha: bool = False
    icc: bool = True
    cicp: bool = False
    exif: bool = True
    xmp: bool = True
    iptc: bool = False
    dpi: bool = True
    text: bytes | None = None


ROOM: dict[PictureFormat, Room] = {
    "png": Room(shown="PNG", bits=16, gray_alpha=True, cicp=True, text=b"PNG"),
    "jpeg": Room(shown="JPEG", alpha=False, iptc=True, text=b"COM"),
    "webp": Room(shown="WebP", gray=False),
    "avif": Room(shown="AVIF", bits=12, cicp=True),
    "tiff": Room(shown="TIFF", bits=16, gray_alpha=True, iptc=True),
    "jp2": Room(shown="JPEG 2000", bits=16),
    "bmp": Room(shown="BMP", icc=False, exif=False, xmp=False),
    "pnm": Room(shown="PNM", bits=16, alpha=False, icc=False, exif=False, xmp=False, dpi=False),
}

#: Visually lossless for the lossy formats: enlarging magnifies what a codec did.
DEFAULT_QUALITY = 95

#: From this quality on JPEG keeps colours at full resolution, as ImageMagick does.
_FULL_COLOR_QUALITY = 90


def write_pixels(
    file: BinaryIO,
    pixels: Pixels,
    metadata: Metadata,
    format: PictureFormat,
    *,
    bits: int,
    quality: int | None,
    lossless: bool,
    threads: int,
) -> list[Notice]:
    """Encode into ``file``; ``bits`` are those that the source had.

    ``file`` is empty, seekable and readable. Raises :class:`OutputError` when an encoder fails.
    """
    notices: list[Notice] = []
    room = ROOM[format]
    if format == "jp2" and min(pixels.shape[:2]) < _SMALLEST_JP2 and pixels.ndim == 3:
        room = replace(room, shown="So small a JPEG 2000", bits=8)
    pixels = _fitted(pixels, room, bits, notices)
    metadata = _kept(metadata, format, pixels, notices)
    if format == "png":
        from xlsr_cli.media.picture.png_writing import write_png

        write_png(file, pixels, metadata, threads=threads)
        return notices
    if format == "tiff":
        from xlsr_cli.media.picture.tiff import write_tiff

        return notices + write_tiff(file, pixels, metadata, threads=threads)
    data, further = _encoded(pixels, metadata, format, quality, lossless)
    file.write(data)
    return notices + further


def _encoded(
    pixels: Pixels, metadata: Metadata, format: PictureFormat, quality: int | None, lossless: bool
) -> tuple[bytes | memoryview, list[Notice]]:
    """The whole file, of formats whose encoders are OpenCV's; what it has no place for is a notice."""
    if format == "jpeg":
        return jpeg.with_metadata(_jpeg(pixels, quality), metadata)
    if format == "webp":
        return _webp(pixels, metadata, quality, lossless), []
    if format == "avif":
        return _avif(pixels, metadata, quality, lossless), []
    if format == "jp2":
        return boxes.jp2_with_metadata(_jp2(pixels, quality, lossless), metadata), []
    if format == "bmp":
        return _bmp(pixels, metadata.dpi), []
    return _imencode(".pgm" if pixels.ndim == 2 else ".ppm", pixels, []), []


def _fitted(pixels: Pixels, room: Room, bits: int, notices: list[Notice]) -> Pixels:
    """The pixels with the channels and the depth that the format has room for."""
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if has_alpha and not room.alpha:
        pixels = over_white(pixels)
        message = f"{room.shown} has no transparency: the picture was laid over white"
        notices.append(Notice(code="alpha-dropped", message=message))
    is_gray = pixels.ndim == 2 or pixels.shape[2] == 2
    if is_gray and not (room.gray_alpha if pixels.ndim == 3 else room.gray):
        pixels = as_color(pixels)
        message = f"{room.shown} stores {'gray with transparency' if has_alpha else 'gray'} as colour"
        notices.append(Notice(code="gray-expanded", message=message, loss=False))
    if pixels.dtype.itemsize == 2 and room.bits < 16:
        if bits > room.bits:
            message = f"{room.shown} holds {room.bits} of its {bits} bits per sample"
            notices.append(Notice(code="depth-reduced", message=message))
        pixels = reduced(pixels, room.bits)
    return pixels


def _kept(metadata: Metadata, format: PictureFormat, pixels: Pixels, notices: list[Notice]) -> Metadata:
    """What of ``metadata`` the format has room for; a notice for everything else."""
    room = ROOM[format]

    def drop(code: str, what: str) -> None:
        notices.append(Notice(code=f"{code}-dropped", message=f"{room.shown} has no place for {what}"))

    if metadata.icc is not None and not room.icc:
        drop("icc", "its colour profile, and its colours may look different")
        metadata = replace(metadata, icc=None)
    elif metadata.icc is not None and metadata.icc[16:20] == b"GRAY" and _in_color(pixels):
        drop("icc", "its colour profile, which is for gray, and its tones may look different")
        metadata = replace(metadata, icc=None)
    if metadata.cicp is not None and not room.cicp:
        if not _is_srgb(metadata.cicp) and metadata.icc is None:
            drop("cicp", "its kind of colours (CICP), and they may look different")
        metadata = replace(metadata, cicp=None)
    if metadata.color_chunks and format != "png":
        if metadata.icc is None and not _looks_like_srgb(metadata.color_chunks):
            drop("gamma", "its gamma and primaries, and it may look different")
        if any(name in (b"mDCV", b"cLLI") for name, _ in metadata.color_chunks):
            drop("mastering", "how bright its HDR was mastered")
        metadata = replace(metadata, color_chunks=())
    if metadata.exif is not None and not room.exif:
        drop("exif", "its EXIF")
        metadata = replace(metadata, exif=None)
    if metadata.xmp is not None and not room.xmp:
        drop("xmp", "its XMP")
        metadata = replace(metadata, xmp=None)
    if metadata.iptc is not None and not room.iptc:
        drop("iptc", "its IPTC caption")
        metadata = replace(metadata, iptc=None)
    if metadata.dpi is not None and not room.dpi:
        drop("dpi", "its resolution")
        metadata = replace(metadata, dpi=None)
    if metadata.text and _wrapping(metadata.text) != room.text:
        drop("text", "its comments")
        metadata = replace(metadata, text=())
    return metadata


def _in_color(pixels: Pixels) -> bool:
    return pixels.ndim == 3 and pixels.shape[2] >= 3


def _is_srgb(cicp: tuple[int, int, int, int]) -> bool:
    """Primaries and transfer of sRGB, or of video so near to it that programs take it for that."""
    return cicp[0] in (1, 2) and cicp[1] in (1, 2, 6, 13)


#: White point and primaries of sRGB as cHRM has them, and how far a rounded value may be off.
_SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_NEAR_PRIMARIES = 1000
_SRGB_GAMMA, _NEAR_GAMMA = 45455, 500


def _looks_like_srgb(chunks: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether PNG's own chunks say sRGB, or its primaries and the gamma of 1/2.2 that stands for it."""
    found = dict(chunks)
    gamma, primaries = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if b"sRGB" in found:
        return True
    if len(gamma) == 4 and abs(struct.unpack(">I", gamma)[0] - _SRGB_GAMMA) >= _NEAR_GAMMA:
        return False
    if len(primaries) != 32:
        return True
    pairs = zip(struct.unpack(">8I", primaries), _SRGB_PRIMARIES, strict=True)
    return all(abs(value - usual) <= _NEAR_PRIMARIES for value, usual in pairs)


def _wrapping(text: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"PNG" if text[0][0] in (b"tEXt", b"zTXt", b"iTXt") else text[0][0]


def _jpeg(pixels: Pixels, quality: int | None) -> memoryview:
    import cv2

    quality = quality or DEFAULT_QUALITY
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        if quality >= _FULL_COLOR_QUALITY
        else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    )
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return _imencode(".jpg", pixels, parameters)


def _webp(pixels: Pixels, metadata: Metadata, quality: int | None, lossless: bool) -> memoryview:
    import cv2

    if lossless:
        # The mode that keeps the colours under transparent pixels as well.
        parameters = [cv2.IMWRITE_WEBP_LOSSLESS_MODE, cv2.IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR]
    else:
        parameters = [cv2.IMWRITE_WEBP_QUALITY, quality or DEFAULT_QUALITY]
    return _imencode(".webp", pixels, parameters, _with_dpi_in_exif(metadata))


def _avif(pixels: Pixels, metadata: Metadata, quality: int | None, lossless: bool) -> bytes:
    import cv2

    # At quality 100 OpenCV leaves the pixels as RGB, and they come back bit for bit.
    parameters = [cv2.IMWRITE_AVIF_QUALITY, 100 if lossless else quality or DEFAULT_QUALITY]
    parameters += [cv2.IMWRITE_AVIF_DEPTH, 8 if pixels.dtype.itemsize == 1 else 12]
    encoded = bytes(_imencode(".avif", pixels, parameters, _with_dpi_in_exif(metadata)))
    return encoded if metadata.cicp is None else boxes.with_cicp(encoded, *metadata.cicp[:2])


#: OpenCV halves a picture five times and cannot do without.
_SMALLEST_JP2 = 32


def _jp2(pixels: Pixels, quality: int | None, lossless: bool) -> bytes | memoryview:
    import cv2

    if min(pixels.shape[:2]) < _SMALLEST_JP2:
        return pillow.small_jp2(pixels)
    rate = 1000
    if quality is not None and quality < 100 and not lossless:
        # Quality becomes a ratio of compression: 95 gives 8:1, 90 gives 19:1, 75 gives 57:1.
        rate = max(1, round(1000 / (1 + (100 - quality) ** 1.25)))
    return _imencode(".jp2", pixels, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, rate])


def _bmp(pixels: Pixels, dpi: tuple[float, float] | None) -> memoryview:
    encoded = _imencode(".bmp", pixels, [])
    if dpi is not None:
        # biXPelsPerMeter and biYPelsPerMeter of the information header, at the same place in all versions.
        struct.pack_into(
            "<ii", encoded, 38, *(min(0x7FFFFFFF, round(meters_from_dpi(value))) for value in dpi)
        )
    return encoded


def _with_dpi_in_exif(metadata: Metadata) -> Metadata:
    """For formats that tell the resolution in EXIF alone."""
    if metadata.dpi is None:
        return metadata
    exif = ExifBlock(metadata.exif).with_dpi(metadata.dpi) if metadata.exif else exif_with_dpi(metadata.dpi)
    return replace(metadata, exif=exif or metadata.exif)


def _imencode(
    extension: str, pixels: Pixels, parameters: list[int], metadata: Metadata | None = None
) -> memoryview:
    """What OpenCV makes of ``pixels``, without a copy: an encoded picture can be a hundred megabytes."""
    import cv2
    import numpy as np

    kinds: list[int] = []
    contents: list[Any] = []
    if metadata is not None:
        for kind, content in (
            (cv2.IMAGE_METADATA_EXIF, metadata.exif),
            (cv2.IMAGE_METADATA_XMP, metadata.xmp),
            (cv2.IMAGE_METADATA_ICCP, metadata.icc),
        ):
            if content is not None:
                kinds.append(kind)
                contents.append(np.frombuffer(content, np.uint8))
    failure = None
    encoded: Any = None
    with native_messages() as messages:
        try:
            done, encoded = cv2.imencodeWithMetadata(extension, pixels, kinds, contents, parameters)
        except cv2.error as error:
            if "nsufficient memory" in str(error):
                raise MemoryError from error
            done, failure = False, error
    if not done:
        reason = messages[-1] if messages else "the encoder gave no reason"
        raise OutputError(
            f"the picture cannot be encoded as {extension[1:].upper()} ({reason}); choose another --format"
        ) from failure
    return memoryview(encoded)
