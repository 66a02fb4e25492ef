"""The metadata of a picture file, independent of its format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from xlsr_cli.media.picture import xmp as xmp_packet
from xlsr_cli.media.picture.exif import ExifBlock
from xlsr_cli.options import Size

#: Notices of metadata that ``--strip`` would have removed anyway.
STRIPPED = {
    "exif-dropped", "xmp-extended-dropped", "geo-dropped", "chunks-dropped", "segments-dropped",
    "trailer-dropped", "boxes-dropped", "blocks-dropped", "tags-dropped", "text-dropped",
}  # fmt: skip

#: What a picture has one of or none.
Part = Literal["icc", "cicp", "exif", "xmp", "iptc", "dpi"]

_METERS_PER_INCH = 0.0254


def dpi_from_meters(per_meter: float) -> float:
    """Pixels per inch: the whole number, if there is one, that was rounded to pixels per metre."""
    dpi = per_meter * _METERS_PER_INCH
    return float(round(dpi)) if round(round(dpi) / _METERS_PER_INCH) == round(per_meter) else dpi


def meters_from_dpi(dpi: float) -> float:
    """Pixels per metre."""
    return dpi / _METERS_PER_INCH


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of a picture file, independent of its format.

    ``icc``: the colour profile, byte for byte. ``cicp``: colour primaries, transfer, matrix and range as
    ITU-T H.273 numbers them. ``exif``: a TIFF stream without the ``Exif\\0\\0`` prefix. ``xmp``: a packet
    in UTF-8. ``iptc``: IPTC-IIM records. ``motion``: the video of a motion photo
    and all that stands behind it. ``dpi``: horizontal and vertical resolution in pixels per inch.
    ``color_chunks``: PNG's gAMA, cHRM, sRGB, mDCV and cLLI as (name, content). ``text``: comments in the
    source's own wrapping: PNG's text chunks, JPEG's COM segments, as (name, content).
    """

    icc: bytes | None = None
    cicp: tuple[int, int, int, int] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    motion: bytes | None = None
    dpi: tuple[float, float] | None = None
    color_chunks: tuple[tuple[bytes, bytes], ...] = ()
    text: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def orientation(self) -> int:
        """How the pixels have to be turned, 1 to 8: as EXIF says, or XMP if EXIF does not."""
        turn = ExifBlock(self.exif).orientation if self.exif else None
        if turn is None and self.xmp is not None:
            turn = xmp_packet.orientation(self.xmp)
        return turn or 1

    @property
    def dpi_of_exif(self) -> tuple[float, float] | None:
        """The resolution that EXIF gives, in pixels per inch."""
        return ExifBlock(self.exif).dpi if self.exif else None

    def upright(self) -> Metadata:
        """The same for pixels that are upright: orientation reset, thumbnails removed."""
        return replace(
            self,
            exif=None if self.exif is None else ExifBlock(self.exif).upright(),
            xmp=None if self.xmp is None else xmp_packet.upright(self.xmp),
        )

    def for_size(self, size: Size) -> Metadata:
        """The same for a picture of ``size``: tags with its size in pixels are corrected."""
        return replace(
            self,
            exif=None if self.exif is None else ExifBlock(self.exif).for_size(size),
            xmp=None if self.xmp is None else xmp_packet.for_size(self.xmp, size),
        )

    def without(self, part: Part) -> Metadata:
        """The same without one of its parts."""
        without: dict[str, Any] = {part: None}
        return replace(self, **without)

    def stripped(self) -> Metadata:
        """Only what decides how the colours look, such as the profile."""
        return Metadata(icc=self.icc, cicp=self.cicp, color_chunks=self.color_chunks)
