"""What a picture file holds beside its pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a picture file holds beside its pixels, in no format's own wrapping.

    ``icc``: the colour profile, byte for byte. ``exif``: a TIFF stream without the ``Exif\\0\\0`` prefix,
    orientation already reset. ``xmp``: a packet in UTF-8. ``dpi``: horizontal and vertical resolution in
    pixels per inch.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
