"""Convert a picture to what a format can hold, with a notice for everything that is lost."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xlsr_cli.formats import FormatCapabilities
from xlsr_cli.media.picture import xmp
from xlsr_cli.media.picture.exif import ExifBlock, exif_with_dpi
from xlsr_cli.media.picture.losses import are_srgb
from xlsr_cli.media.picture.metadata import Metadata, Part
from xlsr_cli.media.picture.pixels import as_color, over_white, reduced
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from fractions import Fraction

    from xlsr_cli.engine.pixels import Pixels


def fit_pixels(pixels: Pixels, capabilities: FormatCapabilities, bits: int) -> tuple[Pixels, list[Notice]]:
    """The pixels with the channels and the depth that the format can hold; ``bits``: of the source."""
    notices = []
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if has_alpha and not capabilities.alpha:
        pixels = over_white(pixels)
        message = f"{capabilities.shown} has no transparency: the picture was laid over white"
        notices.append(Notice(code="alpha-dropped", message=message))
    is_gray = pixels.ndim == 2 or pixels.shape[2] == 2
    if is_gray and not (capabilities.gray_alpha if pixels.ndim == 3 else capabilities.gray):
        pixels = as_color(pixels)
        message = f"{capabilities.shown} stores {'gray with transparency' if has_alpha else 'gray'} as colour"
        notices.append(Notice(code="gray-expanded", message=message, loss=False))
    if pixels.dtype.itemsize == 2 and capabilities.bits < 16:
        if bits > capabilities.bits:
            notices.append(depth_reduced(capabilities.shown, capabilities.bits, bits))
        pixels = reduced(pixels, capabilities.bits)
    return pixels, notices


def depth_reduced(shown: str, held: int, bits: int) -> Notice:
    """The notice that a format holds only some of a sample's ``bits``."""
    return Notice(code="depth-reduced", message=f"{shown} holds {held} of its {bits} bits per sample")


def fit_metadata(
    metadata: Metadata, capabilities: FormatCapabilities, *, in_color: bool
) -> tuple[Metadata, list[Notice]]:
    """The part of ``metadata`` that the format can hold, with a notice for everything else.

    ``in_color``: the picture is written in colour, for which a profile for gray is wrong.
    """
    notices: list[Notice] = []

    def drop(code: str, what: str) -> None:
        notices.append(
            Notice(code=f"{code}-dropped", message=f"{capabilities.shown} has no place for {what}")
        )

    if metadata.icc is not None and "icc" not in capabilities.keeps:
        drop("icc", "its colour profile, and its colours may look different")
        metadata = metadata.without("icc")
    elif metadata.icc is not None and metadata.icc[16:20] == b"GRAY" and in_color:
        drop("icc", "its colour profile, which is for gray, and its tones may look different")
        metadata = metadata.without("icc")
    if metadata.cicp is not None and "cicp" not in capabilities.keeps:
        if not _is_srgb(metadata.cicp) and metadata.icc is None:
            drop("cicp", "its kind of colours (CICP), and they may look different")
        metadata = metadata.without("cicp")
    if metadata.color_chunks and "gamma" not in capabilities.keeps:
        if metadata.icc is None and not _looks_like_srgb(metadata.color_chunks):
            drop("gamma", "its gamma and primaries, and it may look different")
        if any(name in (b"mDCV", b"cLLI") for name, _ in metadata.color_chunks):
            drop("mastering", "how bright its HDR was mastered")
        metadata = replace(metadata, color_chunks=())
    if metadata.motion is not None and "motion" not in capabilities.keeps:
        drop("motion", "the video of a motion photo")
        announced = None if metadata.xmp is None else xmp.without_motion(metadata.xmp)
        metadata = replace(metadata, motion=None, xmp=announced)
    for part, what in _SIMPLE_PARTS.items():
        if getattr(metadata, part) is not None and part not in capabilities.keeps:
            drop(part, what)
            metadata = metadata.without(part)
    if metadata.text and metadata.text[0][0] not in capabilities.text:
        drop("text", "its comments")
        metadata = replace(metadata, text=())
    metadata, beyond = _within_range(metadata, capabilities)
    return metadata, [*notices, *beyond]


#: Parts whose loss changes nothing else.
_SIMPLE_PARTS: dict[Part, str] = {
    "exif": "its EXIF", "xmp": "its XMP", "iptc": "its IPTC caption", "dpi": "its resolution",
}  # fmt: skip

#: ITU-T H.273 counts in a byte.
_MOST_CODE = 0xFF

#: The length of the content of PNG's own chunks (PNG, sections 11.3.2 and 11.3.3).
_COLOR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"mDCV": 24, b"cLLI": 8}


def _within_range(metadata: Metadata, capabilities: FormatCapabilities) -> tuple[Metadata, list[Notice]]:
    """``metadata`` without values that are too large, too long or senseless for the format.

    A number from one format may not fit into the field of another. Writers do not check their fields; all of
    that is done here.
    """
    notices: list[Notice] = []

    def drop(code: str, message: str) -> None:
        notices.append(Notice(code=f"{code}-dropped", message=message))

    if metadata.cicp is not None and not all(0 <= code <= _MOST_CODE for code in metadata.cicp):
        drop("cicp", "its kind of colours (CICP) has undefined numbers and is left out")
        metadata = metadata.without("cicp")
    sound = tuple(chunk for chunk in metadata.color_chunks if _COLOR_CHUNKS.get(chunk[0]) == len(chunk[1]))
    if sound != metadata.color_chunks:
        drop("gamma", "what it says of its gamma and primaries makes no sense and is left out")
        metadata = replace(metadata, color_chunks=sound)
    if metadata.exif is not None and capabilities.takes_exif_apart and not ExifBlock(metadata.exif).fields():
        drop("exif", "its EXIF makes no sense and is left out")
        metadata = metadata.without("exif")
    if metadata.xmp is not None and b"\0" in metadata.xmp:
        drop("xmp", "its XMP is no text in UTF-8 and is left out")
        metadata = metadata.without("xmp")
    shown, longest = capabilities.shown, capabilities.longest
    parts: tuple[Part, ...] = ("exif", "xmp", "iptc", "icc")
    for part in parts:
        length = len(getattr(metadata, part) or b"")
        if part in longest and length > longest[part]:
            drop(part, f"its {part.upper()} takes {length} bytes, {shown} holds at most {longest[part]}")
            metadata = metadata.without(part)
    most = longest.get("text")
    if most is not None and any(len(content) > most for _, content in metadata.text):
        drop("text", f"a comment takes more than the {most} bytes that {shown} holds")
        metadata = replace(metadata, text=tuple(text for text in metadata.text if len(text[1]) <= most))
    if metadata.dpi is not None:
        metadata, told = _with_dpi(metadata, metadata.dpi, capabilities)
        notices += told
    return metadata, notices


def _with_dpi(
    metadata: Metadata, dpi: tuple[float, float], capabilities: FormatCapabilities
) -> tuple[Metadata, list[Notice]]:
    """``metadata`` with its resolution where the format has it, or without one that cannot be written."""
    least, most = capabilities.dpi_range
    shown = f"its resolution of {dpi[0]:g} by {dpi[1]:g} dpi"
    if not all(least <= value <= most for value in dpi):  # nor is anything within a range that is no number
        message = f"{capabilities.shown} cannot hold {shown}, which is left out"
        return metadata.without("dpi"), [Notice(code="dpi-dropped", message=message)]
    if not capabilities.dpi_in_exif:
        return metadata, []
    exif = exif_with_dpi(dpi) if metadata.exif is None else ExifBlock(metadata.exif).with_dpi(dpi)
    if exif is None:
        message = f"{shown} has no place in its EXIF, which makes no sense"
        return metadata.without("dpi"), [Notice(code="dpi-dropped", message=message)]
    return replace(metadata, exif=exif), []


def fit_times(
    delays: Sequence[Fraction], plays: int, capabilities: FormatCapabilities
) -> tuple[Sequence[Fraction], int, list[Notice]]:
    """Delays (seconds) and plays within the format's limits, with a notice for each reduction."""
    from fractions import Fraction

    notices = []
    second = capabilities.ticks or 1
    longest = Fraction(capabilities.longest_delay, second)
    if capabilities.longest_round is not None and sum(delays) * second > capabilities.longest_round:
        longest = min(longest, Fraction(capabilities.longest_round // len(delays), second))
    if (before := max(delays, default=longest)) > longest:
        message = f"a delay of {float(before):g} s becomes {float(longest):g} s, the longest of the format"
        notices.append(Notice(code="delays-shortened", message=message))
        delays = [min(delay, longest) for delay in delays]
    if plays > capabilities.most_plays:
        most = capabilities.most_plays
        message = f"it is played {most} times and not {plays}: {capabilities.shown} counts no further"
        notices.append(Notice(code="plays-reduced", message=message))
        plays = capabilities.most_plays
    if not delays_fit(delays, capabilities):
        message = "its delays are rounded to the format's steps"
        if capabilities.ticks:
            message = "its delays are rounded to the format's steps; the whole takes as long as before"
        # Rounding to steps as fine as these is invisible.
        notices.append(Notice(code="delays-rounded", message=message, loss=capabilities.ticks < _FINE_TICKS))
    return delays, plays, notices


_FINE_TICKS = 1000

#: What counts a fraction of a second: numerator and denominator of 16 bits (PNG, section 11.3.6.2).
_MOST_OF_FRACTION = 0xFFFF


def delays_fit(delays: Iterable[Fraction], capabilities: FormatCapabilities) -> bool:
    """Whether the format holds every delay exactly."""
    if capabilities.ticks:
        return all((delay * capabilities.ticks).denominator == 1 for delay in delays)
    return all(max(delay.as_integer_ratio()) <= _MOST_OF_FRACTION for delay in delays)


def _is_srgb(cicp: tuple[int, int, int, int]) -> bool:
    """Primaries and transfer of sRGB, or of video so near to it that programs take it for that."""
    return cicp[0] in (1, 2) and cicp[1] in (1, 2, 6, 13)


_SRGB_GAMMA, _NEAR_GAMMA = 45455, 500


def _looks_like_srgb(chunks: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether PNG's own chunks say sRGB, or its primaries and the gamma of 1/2.2 that stands for it."""
    found = dict(chunks)
    gamma, primaries = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if b"sRGB" in found:
        return True
    if len(gamma) == 4 and abs(int.from_bytes(gamma, "big") - _SRGB_GAMMA) >= _NEAR_GAMMA:
        return False
    return len(primaries) != 32 or are_srgb([value / 100_000 for value in struct.unpack(">8I", primaries)])
