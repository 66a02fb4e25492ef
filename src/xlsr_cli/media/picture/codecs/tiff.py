"""TIFF: tifffile reads directories and writes; Pillow decodes up to 8 bits, tifffile or libtiff the rest.

Tags: TIFF 6.0; ICC.1:2022, annex B.3; XMP specification part 3, section 1.1.4; EXIF 2.32, section 4.6.
"""

from __future__ import annotations

import io
import logging
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format, format_named
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture import photoshop, xmp
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.codecs.ends import tiff as ends
from xlsr_cli.media.picture.codecs.tiff_strips import colors_of_subsampled, samples_by_libtiff
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, reason_in, reason_of, refusal_of
from xlsr_cli.media.picture.exif import EXIF_IFD, GPS_IFD, ExifBlock, packed, packed_with_linked, pointer
from xlsr_cli.media.picture.in_order import in_order
from xlsr_cli.media.picture.metadata import GAMMA, Metadata, behind_the_end
from xlsr_cli.media.picture.pixels import (
    FLOAT_CONVERTED,
    bgr_of,
    from_floats,
    full_range,
    without_premultiplication,
)
from xlsr_cli.media.picture.source import Decoded, Encoding, Source, further_pages
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.engine.pixels import Pixels


#: PhotometricInterpretation.
_MIN_IS_WHITE, _MIN_IS_BLACK, _PALETTE, _SEPARATED, _YCBCR, _CIELAB, _CFA = 0, 1, 3, 5, 6, 8, 32803
_LINEAR_RAW = 34892

#: SampleFormat.
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3

#: ExtraSamples.
_UNSPECIFIED, _ASSOCIATED, _UNASSOCIATED = 0, 1, 2

_ORIENTATION, _XMP, _IPTC, _ICC, _DNG_VERSION, _LAYERS = 274, 700, 33723, 34675, 50706, 37724
_PHOTOSHOP = 34377
_TRANSFER, _WHITE_POINT, _PRIMARIES = 301, 318, 319
_GEO = {33550, 33922, 34264, 34735}

#: Fields of the first directory that describe the picture and not the layout of its bytes: name of the
#: document, description, make, model, orientation, resolution, software, date, artist, computer,
#: copyright, rating, Windows' title, comment, author, keywords and subject.
_DESCRIPTIVE = {
    0x010D, 0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298,
    0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F,
}  # fmt: skip

#: How bytes are laid out, and what is only about the old pixels or their sheet of paper: kinds of pages,
#: strips, tiles, thresholds, inks, predictors, old JPEG, Y'CbCr, page numbers, and a viewer's hints.
_LAYOUT = {
    *range(254, 267), 273, *range(277, 282), 284, *range(285, 294), 296, 297, *range(317, 348),
    *range(512, 522), *range(529, 533), 559, 433, 434, 435, 32781, 32995, 32996, 32997, 34908, 34909, 34910,
    37439, 42113,
}  # fmt: skip

#: What stands elsewhere in what is read.
_READ = {
    _XMP, _IPTC, _ICC, _DNG_VERSION, _LAYERS, _PHOTOSHOP, _TRANSFER, _WHITE_POINT, _PRIMARIES, EXIF_IFD,
    GPS_IFD, *_GEO, 34736, 34737,
}  # fmt: skip

#: Those of them that are written from other values.
_OWN = {0x0112, 0x011A, 0x011B, 0x0128}

#: Rows are compressed in strips of about this size; larger ones hardly compress better.
_STRIP_BYTES = 256 << 10


#: One for all files: a logger keeps every handler that it is given.
_SILENT = logging.NullHandler()


@dataclass(frozen=True)
class _Facts:
    """What the directory of the first page says about its samples."""

    bits: int
    samples: int
    photometric: int
    format: int
    extra: tuple[int, ...] | None
    camera_raw: bool
    orientation: int | None
    gray_palette: bool
    tile: Size | None
    complete: bool
    subsampling: tuple[int, int]
    planar: bool

    @property
    def mode(self) -> str:
        """Pillow's name of colours that have to be converted; empty for all others."""
        return {_SEPARATED: "CMYK", _CIELAB: "LAB"}.get(self.photometric, "")

    @property
    def channels(self) -> int:
        """Of the decoded picture: 1 gray, 2 gray and alpha, 3 colour, 4 colour and alpha."""
        if self.photometric == _PALETTE:
            return (1 if self.gray_palette else 3) + self.alpha
        gray = self.photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK)
        return (1 if gray else 3) + self.alpha

    @property
    def colors(self) -> int:
        """Samples of a pixel that are colours."""
        return {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _PALETTE: 1, _SEPARATED: 4}.get(self.photometric, 3)

    @property
    def alpha(self) -> bool:
        """Whether the first sample after the colours is alpha; also if unnamed, as OpenCV writes it."""
        if self.samples <= self.colors or self.photometric == _CIELAB:
            return False
        if self.photometric == _SEPARATED and not self.extra:  # most likely a further ink
            return False
        return not self.extra or self.extra[0] != _UNSPECIFIED

    @property
    def premultiplied(self) -> bool:
        """Whether the colours were multiplied by alpha."""
        return self.alpha and bool(self.extra) and self.extra is not None and self.extra[0] == _ASSOCIATED


#: The most samples of a pixel: a file of a few bytes must not claim all memory.
_MOST_SAMPLES = 8

#: A tile may be larger than the picture; of so many pixels it may be in any.
_LEAST_TILE = 1 << 20

_EXTRA_CHANNELS = Notice(
    code="extra-channels-dropped", message="channels that are neither colour nor alpha are not kept"
)


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` is what the directory says of samples."""
    try:
        tags = _tags(data)
        facts = _facts(tags, len(data))
        metadata, notices = _metadata(tags, data)
        size, pages = Size(width=int(tags[256]), height=int(tags[257])), _count_pages(data)
    except Exception as error:  # on a hostile file tifffile raises nearly everything
        raise damaged(name, "its TIFF directory makes no sense") from error
    if facts.camera_raw:
        raise InputError(refusal_of(format_named("raw"), name))
    if pages > 1:
        notices.append(further_pages(pages))
    notices += behind_the_end(data[ends.end(data) :])
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=size,
        channels=facts.channels,
        bits=8 if facts.mode else min(16, max(8, facts.bits)),
        mode=facts.mode,
        pages=pages,
        orientation=facts.orientation or (xmp.orientation(metadata.xmp) if metadata.xmp else 1),
        metadata=metadata,
        notices=tuple(notices),
        detail=facts,
    )


def _tags(data: bytes) -> dict[int, Any]:
    """The first directory. Raises what tifffile raises."""
    import tifffile

    logging.getLogger("tifffile").addHandler(_SILENT)  # or it would print its warnings
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        tags: dict[int, Any] = {}
        for tag in page.tags:
            tags.setdefault(tag.code, tag.value)  # of two with one number every reader takes the first
    return tags


#: The number of directories that are examined to tell previews from pictures.
_MOST_PAGES = 2000

#: NewSubfileType: bits that say "a smaller version" and "a mask".
_SUBFILE_TYPE, _NO_PICTURE = 254, 0b101


def _count_pages(data: bytes) -> int:
    """How many pictures the chain of directories holds, without previews; the first one always counts.

    Directories in a circle or outside of the file, as in damaged files, end the chain.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    number, count_of, entry_size = ("Q", "Q", 20) if big else ("I", "H", 12)
    seen: set[int] = set()
    pages = 0
    try:
        (at,) = struct.unpack_from(order + number, data, 8 if big else 4)
        while at and at not in seen and len(seen) < _MOST_PAGES:
            seen.add(at)
            (count,) = struct.unpack_from(order + count_of, data, at)
            first = at + struct.calcsize(order + count_of)
            kind = 0
            for entry in range(first, first + entry_size * min(count, _MOST_TAGS), entry_size):
                if struct.unpack_from(order + "H", data, entry) == (_SUBFILE_TYPE,):
                    (kind,) = struct.unpack_from(
                        order + "I", data, entry + entry_size - struct.calcsize(number)
                    )
            pages += not pages or not kind & _NO_PICTURE
            (at,) = struct.unpack_from(order + number, data, first + entry_size * count)
    except struct.error:
        pass
    return max(1, pages)


#: More tags than any directory has.
_MOST_TAGS = 1000


def _facts(tags: dict[int, Any], length: int) -> _Facts:
    photometric = int(tags.get(262, _MIN_IS_BLACK))
    extra = tags.get(338)
    return _Facts(
        bits=max(int(bits) for bits in _tuple(tags.get(258, 1))),
        samples=int(tags.get(277, 1)),
        photometric=photometric,
        format=int(_tuple(tags.get(339, _UNSIGNED))[0]),
        extra=None if extra is None else tuple(int(value) for value in _tuple(extra)),
        camera_raw=_DNG_VERSION in tags or photometric in (_CFA, _LINEAR_RAW),
        orientation=int(tags[_ORIENTATION]) if tags.get(_ORIENTATION) in range(1, 9) else None,
        gray_palette=_gray_palette(tags.get(320)),
        subsampling=_subsampling(tags) if photometric == _YCBCR else (1, 1),
        complete=_is_complete(tags, length),
        planar=tags.get(284) == 2,
        tile=Size(width=int(tags[322]), height=int(tags[323])) if {322, 323} <= tags.keys() else None,
    )


#: Bytes that one compressed byte becomes at most: LZW's longest string behind a code of 12 bits.
_MOST_COMPRESSED = {1: 1, 5: 2731, 8: 1032, 32946: 1032, 32773: 64}


def _is_complete(tags: dict[int, Any], length: int) -> bool:
    """Whether a file of ``length`` bytes can hold the picture's strips or tiles, and names each of them."""
    offsets = tags.get(324, tags.get(273))
    if offsets is None:  # JPEG's old kind stands elsewhere
        return True
    width, height, samples = int(tags[256]), int(tags[257]), int(tags.get(277, 1))
    planes = samples if tags.get(284) == 2 else 1
    if 324 in tags:
        needed = -(-width // max(1, int(tags[322]))) * -(-height // max(1, int(tags[323])))
    else:
        needed = -(-height // min(max(1, int(tags.get(278, height))), max(1, height)))
    bits = sum(int(one) for one in _tuple(tags.get(258, 1))) if planes == 1 else 0
    most = _MOST_COMPRESSED.get(int(tags.get(259, 1)))
    is_shared = tags.get(262) == _YCBCR  # chroma may be subsampled
    if most is not None and not is_shared and width * height * bits // 8 > length * most:
        return False
    return len(_tuple(offsets)) >= needed * planes


def _subsampling(tags: dict[int, Any]) -> tuple[int, int]:
    """How many pixels share one chroma sample, across and down."""
    found = tags.get(530)
    if isinstance(found, tuple) and len(found) == 2 and all(one in (1, 2, 4) for one in found):
        return int(found[0]), int(found[1])
    return 1, 1


def _metadata(tags: dict[int, Any], data: bytes) -> tuple[Metadata, list[Notice]]:
    """The metadata in the directory, with EXIF as a block as in other formats."""
    notices = []
    if _GEO & set(tags):
        notices.append(Notice(code="geo-dropped", message="its place on the map (GeoTIFF) no longer fits"))
    if _LAYERS in tags:
        notices.append(Notice(code="layers-dropped", message="its layers are not kept, only their sum"))
    if _ICC not in tags and (_TRANSFER in tags or not _usual_primaries(tags)):
        notices.append(GAMMA)
    if others := sorted(set(tags) - _DESCRIPTIVE - _LAYOUT - _READ):
        names = ", ".join(str(tag) for tag in others[:8])
        notices.append(Notice(code="tags-dropped", message=f"its tags {names} are not kept"))
    exif = _exif(data)
    if exif is None and (EXIF_IFD in tags or GPS_IFD in tags):
        notices.append(Notice(code="exif-dropped", message="its EXIF cannot be read"))
    packet = _bytes(tags.get(_XMP))
    metadata = Metadata(
        icc=_bytes(tags.get(_ICC)),
        exif=exif,
        xmp=packet.rstrip(b"\0") if packet else None,
        iptc=_bytes(tags.get(_IPTC))
        or photoshop.resource(_bytes(tags.get(_PHOTOSHOP)) or b"", photoshop.IPTC),
        dpi=_dpi(tags),
    )
    return metadata, notices


#: WhitePoint and PrimaryChromaticities of sRGB, and how far a rounded value may be off.
_SRGB_PRIMARIES, _NEAR = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), 0.01


def _usual_primaries(tags: dict[int, Any]) -> bool:
    """Whether the directory gives the primaries of sRGB, or none."""
    rationals = (*_tuple(tags.get(_WHITE_POINT, ())), *_tuple(tags.get(_PRIMARIES, ())))
    if len(rationals) != 16:
        return True
    pairs = zip(rationals[0::2], rationals[1::2], _SRGB_PRIMARIES, strict=True)
    return all(abs(above / max(1, below) - usual) <= _NEAR for above, below, usual in pairs)


def _dpi(tags: dict[int, Any]) -> tuple[float, float] | None:
    x, y, unit = tags.get(282), tags.get(283), int(tags.get(296, 2))
    if unit not in (2, 3) or not isinstance(x, tuple) or not isinstance(y, tuple):
        return None
    if len(x) != 2 or len(y) != 2 or not all((*x, *y)):
        return None
    factor = 2.54 if unit == 3 else 1.0
    return x[0] / x[1] * factor, y[0] / y[1] * factor


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; Pillow turns a TIFF, tifffile does not."""
    facts = source.detail
    assert isinstance(facts, _Facts)
    if facts.format not in (_UNSIGNED, _FLOAT):
        raise InputError(f"{source.name} holds signed numbers and not a picture; convert it to 16 bits first")
    if source.stored_size.pixels * facts.samples > _MOST_SAMPLES * max_pixels:
        raise damaged(
            source.name, f"it claims {facts.samples} samples for each of {source.stored_size} pixels"
        )
    if not facts.complete:
        raise damaged(source.name, TRUNCATED)
    if facts.tile is not None and facts.tile.pixels > max(_LEAST_TILE, max_pixels):
        raise InputError(
            f"{source.name} claims tiles of {facts.tile} pixels and --max-pixels allows {max_pixels}; "
            "raise it if you trust the file"
        )
    notices: list[Notice] = []
    if facts.samples > facts.colors + facts.alpha:
        notices.append(_EXTRA_CHANNELS)
    failure = None
    if facts.subsampling != (1, 1) and (colors := _subsampled_colors(source)) is not None:
        return Decoded(pixels=bgr_of(colors), notices=notices)
    if (facts.bits <= 8 or facts.mode) and not _is_beyond_pillow(facts):
        try:  # Pillow knows every compression and most layouts of up to 8 bits
            decoded = pillow.read_pixels(source, max_pixels)
        except InputError as error:
            failure = error
        else:
            if facts.bits > 8:
                notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 8"))
            return decoded._replace(notices=[*notices, *decoded.notices], upright=True)
    samples = _samples_of(source, failure)
    finish = _from_foreign if facts.mode else _finished
    return Decoded(pixels=finish(samples, source, notices), notices=notices)


def _is_beyond_pillow(facts: _Facts) -> bool:
    """Whether Pillow takes the samples for others: it knows no CMYK with alpha, and takes all planes of gray
    with alpha, or of a palette with it, for the first one."""
    return facts.alpha and (bool(facts.mode) or (facts.planar and facts.colors == 1))


def _samples_of(source: Source, before: InputError | None) -> NDArray[Any]:
    """Samples as stored: (H, W) or (H, W, S) in RGB order; ``before`` is the error of Pillow."""
    failure: Exception | None = None
    with native_messages() as messages:
        try:  # tifffile, too, raises nearly everything on a hostile file
            samples = _samples(source.data)
            compression, known = ("", True) if samples is not None else _compression_of(source.data)
        except MemoryError:
            raise
        except Exception as error:
            failure = error
    if failure is not None:
        raise before or damaged(source.name, reason_in(messages, reason_of(failure))) from failure
    if samples is None:
        if before is not None and known:
            raise before
        raise InputError(
            f"{source.name} is a kind of TIFF that is not supported ({source.detail.bits} bits, compression "
            f"{compression}); convert it to PNG first"
        )
    if not _agree(samples, source):
        raise damaged(source.name, "its TIFF directory contradicts itself")
    return samples


def _agree(samples: NDArray[Any], source: Source) -> bool:
    """Whether the samples have the shape and type that the directory says."""
    facts = source.detail
    assert isinstance(facts, _Facts)
    size = (source.stored_size.height, source.stored_size.width)
    shape = size if facts.samples == 1 else (*size, facts.samples)
    return samples.shape == shape and facts.samples >= facts.colors and facts.bits <= 8 * samples.itemsize


def _finished(samples: NDArray[Any], source: Source, notices: list[Notice]) -> Pixels:
    """``samples`` as pixels: colours looked up or put upright, at 8 or 16 bits, alpha divided out."""
    facts = source.detail
    assert isinstance(facts, _Facts)
    if facts.photometric == _PALETTE:
        import numpy as np

        colors = _colors_of_palette(source.data)
        if colors is None:
            raise damaged(source.name, "its palette is missing")
        numbers = samples if samples.ndim == 2 else samples[:, :, 0]
        looked_up = np.take(colors, numbers, axis=0, mode="clip")
        if facts.bits <= 8:
            looked_up = (looked_up >> 8).astype("uint8")
        if facts.alpha:
            alpha = full_range(samples[:, :, 1], (1 << facts.bits) - 1)
            looked_up = np.dstack([looked_up, alpha.astype(looked_up.dtype)])
        return bgr_of(looked_up)
    if samples.ndim == 3:
        samples = samples[:, :, : facts.colors + facts.alpha]
    if facts.format == _FLOAT:
        pixels = from_floats(samples, source.name)
        notices.append(FLOAT_CONVERTED)
    elif samples.dtype.itemsize > 2:
        notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 16"))
        pixels = (samples >> (8 * samples.dtype.itemsize - 16)).astype("uint16")
    else:
        pixels = full_range(
            samples.astype("uint8") if samples.dtype == bool else samples, (1 << facts.bits) - 1
        )
    if facts.photometric == _MIN_IS_WHITE:
        pixels = pixels.copy()
        tones = pixels[:, :, 0] if pixels.ndim == 3 else pixels
        tones[...] = ~tones
    if facts.premultiplied:
        pixels = without_premultiplication(pixels)
    return bgr_of(pixels)


def _from_foreign(samples: NDArray[Any], source: Source, notices: list[Notice]) -> Pixels:
    """CMYK, or Lab, with further channels or of more bits than Pillow reads, as sRGB of 8 bits."""
    import numpy as np

    facts = source.detail
    assert isinstance(facts, _Facts)
    if samples.dtype.itemsize > 1:
        notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 8"))
        samples = samples >> (8 * samples.dtype.itemsize - 8)
    if facts.premultiplied:
        samples = without_premultiplication(samples[:, :, : facts.colors + 1])
    image = pillow.from_samples(samples[:, :, : facts.colors].astype("uint8"), source.mode)
    converted, notice = pillow.to_srgb(image, source.metadata.icc)
    notices.append(notice)
    pixels = pillow.to_pixels(converted)
    return np.dstack([pixels, samples[:, :, facts.colors].astype("uint8")]) if facts.alpha else pixels


def _subsampled_colors(source: Source) -> NDArray[Any] | None:
    """(H, W, 3) uint8 RGB of Y′CbCr whose chroma is subsampled, where it is compressed as bytes.

    None for all else, which libtiff decodes through Pillow: JPEG's own chroma.
    """
    import tifffile

    facts = source.detail
    assert isinstance(facts, _Facts)
    failure: Exception | None = None
    with native_messages():
        try:  # raises nearly everything on a hostile file
            with tifffile.TiffFile(io.BytesIO(source.data)) as file:
                return colors_of_subsampled(source.data, file.pages[0], facts.subsampling)
        except MemoryError:
            raise
        except Exception as error:
            failure = error
    raise damaged(source.name, reason_of(failure)) from failure


def _samples(data: bytes) -> NDArray[Any] | None:
    """The samples of the first page as stored, (H, W) or (H, W, S); None without a codec for them.

    Not turned, not inverted, alpha not divided out, in RGB order. Raises what tifffile and Pillow raise.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        samples = _by_tifffile(page)
        if samples is None:
            samples = samples_by_libtiff(data, page)
        if samples is None:
            return None
        return samples.reshape(shape[:2] if page.samplesperpixel == 1 else shape)


def _by_tifffile(page: Any) -> NDArray[Any] | None:
    """The samples by tifffile; None if it needs another package for the compression or the bits."""
    import numpy as np

    if page.bitspersample not in (1, 8, 16, 32, 64):
        return None
    try:
        samples: NDArray[Any] = page.asarray(maxworkers=1)
    except (ValueError, ImportError) as error:
        if "imagecodecs" in str(error) or isinstance(error, ImportError):
            return None
        raise
    return np.moveaxis(samples, 0, -1) if page.planarconfig == 2 and page.samplesperpixel > 1 else samples


#: Compressions of pictures, not of bytes, that Pillow's libtiff knows: CCITT's, both of JPEG, ThunderScan.
_BY_LIBTIFF = {2, 3, 4, 32771, 6, 7, 32809}


def _compression_of(data: bytes) -> tuple[str, bool]:
    """The name of the compression of the first page, and whether Pillow should have read it.

    Raises what tifffile raises.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        compression: Any = getattr(file.pages[0], "compression", "?")
        name = str(getattr(compression, "name", compression)).replace("_", " ")
        return name, compression in _BY_LIBTIFF


def _colors_of_palette(data: bytes) -> NDArray[Any] | None:
    """The palette of the first page, (N, 3) uint16 in RGB order; None without a whole one.

    Raises what tifffile raises.
    """
    import numpy as np
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        colors = np.atleast_2d(np.asarray(0 if page.colormap is None else page.colormap))
    if colors.shape[0] != 3 or colors.dtype != np.uint16:
        return None
    return np.ascontiguousarray(colors.T)


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; the encoded picture is never whole in memory."""
    import tifffile

    size = Size(width=pixels.shape[1], height=pixels.shape[0])
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    block = None if metadata.exif is None else ExifBlock(metadata.exif)
    order: Literal["<", ">"] = "<" if block is None else block.order
    extra: list[tuple[int, int, int, bytes, bool]] = []
    if metadata.xmp is not None:
        extra.append((_XMP, 1, len(metadata.xmp), metadata.xmp, True))
    if metadata.iptc is not None:
        extra.append((_IPTC, 7, len(metadata.iptc), metadata.iptc, True))
    rows = _rows_per_strip(pixels)
    strips = in_order(partial(_strip, pixels, rows, order), range(0, pixels.shape[0], rows), encoding.threads)
    with tifffile.TiffWriter(file, byteorder=order, bigtiff=_needs_bigtiff(pixels)) as writer:
        writer.write(
            strips,
            shape=pixels.shape,
            dtype=pixels.dtype,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig=None if channels == 1 else "contig",
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="zlib",
            predictor=2,
            rowsperstrip=rows,
            iccprofile=metadata.icc,
            resolution=metadata.dpi,
            resolutionunit="INCH" if metadata.dpi else None,
            software=False,
            metadata=None,
            extratags=extra,
        )
    if block is None:
        return []
    if _needs_bigtiff(pixels):
        message = f"a TIFF of {size} pixels is too large to hold EXIF"
        return [Notice(code="exif-dropped", message=message)]
    _add_exif(file, block)
    return []


def _linked(block: ExifBlock) -> list[int]:
    """The tags of the first directory that point to further directories."""
    return [tag for tag in (EXIF_IFD, GPS_IFD) if block.fields(tag)]


def _add_exif(file: BinaryIO, block: ExifBlock) -> None:
    """Append EXIF's directories, and a new first directory: the old one plus pointers to them.

    tifffile writes no such pointers. The old directory stays in the file, unused: a few hundred bytes.
    """
    order = block.order
    with _content(file) as view:
        fields = ExifBlock(view).fields()
    written = {field.tag for field in fields}
    fields += [f for f in block.fields() if f.tag in _DESCRIPTIVE - _OWN and f.tag not in written]
    for tag in _linked(block):
        at = _at_even_end(file)
        file.write(packed_with_linked(block, tag, order, at))
        fields.append(pointer(tag, at, order))
    at = _at_even_end(file)
    file.write(packed(fields, order, at))
    file.seek(4)
    file.write(struct.pack(order + "I", at))
    file.seek(0, io.SEEK_END)


@contextmanager
def _content(file: BinaryIO) -> Iterator[memoryview]:
    """The content of ``file``, mapped: only the parts that are used are read into memory."""
    if isinstance(file, io.BytesIO):
        with file.getbuffer() as view:
            yield view
        return
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        yield view


def _at_even_end(file: BinaryIO) -> int:
    """Go to the end, which directories want to be an even offset, and return it."""
    at = file.seek(0, io.SEEK_END)
    return at + file.write(b"\0") if at % 2 else at


def _exif(data: bytes) -> bytes | None:
    """An EXIF block with the descriptive fields of a TIFF and the directories that it points to."""
    source = ExifBlock(data)
    order = source.order
    fields = [field for field in source.fields() if field.tag in _DESCRIPTIVE]
    linked = _linked(source)
    if not linked and not {field.tag for field in fields} - _OWN:
        return None
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    pointers = [pointer(tag, 0, order) for tag in linked]
    at = 8 + len(packed(fields + pointers, order, 8))
    behind = b""
    for index, tag in enumerate(linked):
        behind += b"\0" * ((at + len(behind)) % 2)
        pointers[index] = pointer(tag, at + len(behind), order)
        behind += packed_with_linked(source, tag, order, at + len(behind))
    return head + packed(fields + pointers, order, 8) + behind


def _strip(pixels: Pixels, rows: int, order: Literal["<", ">"], top: int) -> bytes:
    """The ``rows`` from ``top`` on as a compressed strip: RGB order, each sample less the one to its left."""
    import numpy as np

    channels = [2, 1, 0, 3][: pixels.shape[2]] if pixels.ndim == 3 and pixels.shape[2] >= 3 else slice(None)
    strip = pixels[top : top + rows]
    strip = strip[:, :, channels] if pixels.ndim == 3 else strip
    differences = np.array(strip)
    differences[:, 1:] -= strip[:, :-1]
    return zlib.compress(differences.astype(differences.dtype.newbyteorder(order)).tobytes(), 3)


def _rows_per_strip(pixels: Pixels) -> int:
    return max(1, min(int(pixels.shape[0]), _STRIP_BYTES // max(1, int(pixels[0].nbytes))))


def _needs_bigtiff(pixels: Pixels) -> bool:
    """Whether offsets may exceed the 4 GiB of a plain TIFF; compression may make pixels slightly longer."""
    return int(pixels.nbytes) > (1 << 32) - (1 << 26)


def _gray_palette(colormap: Any) -> bool:
    """Whether all of a palette's (3, N) colours are grays."""
    return colormap is not None and bool(
        (colormap[0] == colormap[1]).all() and (colormap[1] == colormap[2]).all()
    )


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _bytes(value: Any) -> bytes | None:
    """A tag's content; some writers give it the type of numbers."""
    value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    return value if isinstance(value, bytes) and value else None
