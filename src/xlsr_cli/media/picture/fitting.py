"""Bring a picture to what a format has room for, with a notice for everything else."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from xlsr_cli.formats import FormatCapabilities
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import as_color, over_white, reduced
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels


def fit_pixels(pixels: Pixels, room: FormatCapabilities, bits: int) -> tuple[Pixels, list[Notice]]:
    """The pixels with the channels and the depth that the format has room for; ``bits`` the source had."""
    notices = []
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
            notices.append(depth_reduced(room.shown, room.bits, bits))
        pixels = reduced(pixels, room.bits)
    return pixels, notices


def depth_reduced(shown: str, held: int, bits: int) -> Notice:
    """The notice that a format holds only some of a sample's ``bits``."""
    return Notice(code="depth-reduced", message=f"{shown} holds {held} of its {bits} bits per sample")


def fit_metadata(
    metadata: Metadata, room: FormatCapabilities, *, in_color: bool
) -> tuple[Metadata, list[Notice]]:
    """What of ``metadata`` the format has room for; a notice for everything else.

    ``in_color``: the picture is written with colours, which a profile for gray does not fit.
    """
    notices: list[Notice] = []

    def drop(code: str, what: str) -> None:
        notices.append(Notice(code=f"{code}-dropped", message=f"{room.shown} has no place for {what}"))

    if metadata.icc is not None and "icc" not in room.keeps:
        drop("icc", "its colour profile, and its colours may look different")
        metadata = replace(metadata, icc=None)
    elif metadata.icc is not None and metadata.icc[16:20] == b"GRAY" and in_color:
        drop("icc", "its colour profile, which is for gray, and its tones may look different")
        metadata = replace(metadata, icc=None)
    if metadata.cicp is not None and "cicp" not in room.keeps:
        if not _is_srgb(metadata.cicp) and metadata.icc is None:
            drop("cicp", "its kind of colours (CICP), and they may look different")
        metadata = replace(metadata, cicp=None)
    if metadata.color_chunks and "gamma" not in room.keeps:
        if metadata.icc is None and not _looks_like_srgb(metadata.color_chunks):
            drop("gamma", "its gamma and primaries, and it may look different")
        if any(name in (b"mDCV", b"cLLI") for name, _ in metadata.color_chunks):
            drop("mastering", "how bright its HDR was mastered")
        metadata = replace(metadata, color_chunks=())
    if metadata.exif is not None and "exif" not in room.keeps:
        drop("exif", "its EXIF")
        metadata = replace(metadata, exif=None)
    if metadata.xmp is not None and "xmp" not in room.keeps:
        drop("xmp", "its XMP")
        metadata = replace(metadata, xmp=None)
    if metadata.iptc is not None and "iptc" not in room.keeps:
        drop("iptc", "its IPTC caption")
        metadata = replace(metadata, iptc=None)
    if metadata.dpi is not None and "dpi" not in room.keeps:
        drop("dpi", "its resolution")
        metadata = replace(metadata, dpi=None)
    if metadata.text and metadata.text[0][0] not in room.text:
        drop("text", "its comments")
        metadata = replace(metadata, text=())
    return metadata, notices


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
