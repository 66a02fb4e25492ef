"""JPEG XL, read by libjxl through pillow-jxl-plugin, which the extra ``jxl`` installs.

The decoder gives colour as 8 bits, and gray as 16 where it has more. It is called directly: as a plugin of
Pillow's it decodes a picture as soon as it is opened, whatever its size. So size, depth and channels are read
in :mod:`.jxl_header`, and the boxes around the codestream (ISO/IEC 18181-2) here. libjxl turns the pixels
itself, and EXIF's orientation does not count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format, format_named
from xlsr_cli.media.picture.codecs import boxes, ends, jpeg
from xlsr_cli.media.picture.codecs.optional import jxl_header, library_of
from xlsr_cli.media.picture.codecs.optional.jxl_header import CODESTREAM
from xlsr_cli.media.picture.damage import damaged, faults_as_damage, not_supported
from xlsr_cli.media.picture.losses import (
    EXTRA_CHANNELS,
    FLOAT_CONVERTED,
    GAIN_MAP,
    behind_the_end,
    less_deep,
    unknown,
)
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import bgr_of, from_floats
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from types import ModuleType

_TIFF = (b"II*\0", b"MM\0*")

#: Boxes that say what the file is and where frames stand, or hold nothing; those that are read are not here.
_UNDERSTOOD = {b"JXL ", b"ftyp", b"jxll", b"jxli", b"free", b"skip"}
#: ISO 21496-1, as ISO/IEC 18181-2 has it.
_GAIN_MAP_BOX = b"jhgm"


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    library = library_of(format, name)
    boxes.check_count(data, name)
    parts = _parts(data)
    try:
        header = jxl_header.read(parts.codestream)
    except (IndexError, ValueError) as error:
        raise damaged(name, "its header makes no sense") from error
    if header.animated:
        raise not_supported(name, "an animated JPEG XL")
    notices = [*parts.notices]
    if header.bits > 8 and not header.gray:
        notices.append(less_deep(header.bits))
    if header.others:
        notices.append(EXTRA_CHANNELS)
    inner = None
    if parts.is_jpeg:  # a JPEG that was made smaller without loss: it is read as what it is
        inner = _as_jpeg(library, data, name)
    found = Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=header.size,
        channels=(1 if header.gray else 3) + header.alpha,
        bits=header.bits if header.gray else 8,
        metadata=parts.metadata,
        notices=tuple(notices),
        detail=inner,
    )
    if inner is None:
        return found
    told = dict.fromkeys([*inner.notices, *notices])
    return replace(inner, format=format.name, data=data, detail=inner, notices=tuple(told))


def _as_jpeg(library: ModuleType, data: bytes, name: str) -> Source | None:
    """The JPEG file that is in there, opened; None where it cannot be made again from it."""
    is_jpeg, _, made, _, _ = _decoded(library, data, name)
    return jpeg.read_header(made, name, format_named("jpeg")) if is_jpeg else None


def _decoded(library: ModuleType, data: bytes, name: str) -> tuple[bool, Any, bytes, bytes, Any]:
    """Whether the bytes are a JPEG file or pixels, what is said of them, they, and the ICC profile."""
    with faults_as_damage(name):
        try:
            decoded: tuple[bool, Any, bytes, bytes, Any] = library.Decoder(num_threads=0)(data)
        except BaseException as error:  # a panic of Rust is no Exception
            if isinstance(error, Exception | KeyboardInterrupt | SystemExit):
                raise
            raise damaged(name, "its pixels cannot be decoded") from error
    return decoded


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`. The ICC profile comes with the pixels."""
    import numpy as np

    if source.detail is not None:
        return jpeg.read_pixels(source.detail, max_pixels)
    library = library_of(format_named(source.format), source.name)
    _, info, data, icc, _ = _decoded(library, source.data, source.name)
    size = source.stored_size
    if (info.width, info.height) != (size.width, size.height):
        raise damaged(source.name, "its picture is not of the size that it states")
    source.metadata = replace(source.metadata, icc=bytes(icc) or None)
    samples = len(data) // max(1, size.pixels)
    channels = info.num_channels + info.has_alpha_channel
    shape = (size.height, size.width, channels)[: 2 if channels == 1 else 3]
    if info.mode == "F":
        floats = np.frombuffer(data, np.float32 if samples == 4 else np.float16).reshape(shape)
        return Decoded(pixels=from_floats(floats, source.name), notices=[FLOAT_CONVERTED])
    pixels = np.frombuffer(data, np.uint8 if samples == channels else np.uint16).reshape(shape)
    return Decoded(pixels=bgr_of(pixels), notices=behind_the_end(_behind(library, source)))


def _behind(library: ModuleType, source: Source) -> bytes:
    """What stands behind a codestream without boxes, whose end only a decoder knows."""

    def decodes(part: bytes) -> bool:
        try:
            _decoded(library, part, source.name)
        except InputError:
            return False
        return True

    return ends.unneeded(source.data, decodes) if source.data.startswith(CODESTREAM) else b""


# The boxes


class _Parts(NamedTuple):
    """``codestream``: the beginning at least. ``is_jpeg``: it can be made a JPEG file again."""

    codestream: bytes
    metadata: Metadata
    is_jpeg: bool
    notices: list[Notice]


#: The notices of metadata that are compressed by Brotli.
_PACKED = {
    b"Exif": Notice(code="exif-dropped", message="its EXIF is compressed by Brotli and not kept"),
    b"xml ": Notice(code="xmp-dropped", message="its XMP is compressed by Brotli and not kept"),
}


def _parts(data: bytes) -> _Parts:
    if data.startswith(CODESTREAM):
        return _Parts(data, Metadata(), False, [])
    streams, packed, others, found, is_jpeg = [], [], set(), Metadata(), False
    for kind, begin, end in boxes.boxes(data):
        content = data[begin:end]
        if kind == b"jxlc":
            streams.append(content)
        elif kind == b"jxlp":
            streams.append(content[4:])  # behind the part's number
        elif kind == b"Exif" and found.exif is None:
            # A number says how far behind it TIFF's header is; some writers leave it out.
            skipped = 0 if content.startswith(_TIFF) else 4 + int.from_bytes(content[:4], "big")
            found = replace(found, exif=content[skipped:] or None)
        elif kind == b"xml " and found.xmp is None:
            found = replace(found, xmp=content.rstrip(b"\0") or None)
        elif kind == b"brob" and content[:4] in _PACKED:
            packed.append(_PACKED[content[:4]])
        elif kind == b"jbrd":
            is_jpeg = True
        elif kind not in _UNDERSTOOD:
            others.add(content[:4] if kind == b"brob" else kind)
    notices = [] if is_jpeg else packed
    notices += [GAIN_MAP] if _GAIN_MAP_BOX in others else []
    notices += unknown("boxes", sorted(others - {_GAIN_MAP_BOX}))
    notices += behind_the_end(data[boxes.end(data) :])
    return _Parts(b"".join(streams), replace(found, dpi=found.dpi_of_exif), is_jpeg, notices)
