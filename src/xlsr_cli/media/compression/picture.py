"""Find out from its header how strongly a picture file was compressed, and compress another one alike."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression
from xlsr_cli.formats import JPEG, Format, format_named

#: What was found, and a sentence if the file contradicts itself.
Told = tuple[Compression | None, str]


class Teller(Protocol):
    """The functions of the module of a format. If the strength is always given as a JPEG quality, there is no
    ``compressed_alike``."""

    def compression_of(self, data: bytes, scale: int) -> Told:
        """What the file ``data`` says of itself, and which network of ``scale`` it needs. Never raises for a
        damaged file."""

    def compressed_alike(self, pixels: Pixels, value: float) -> Pixels:
        """``pixels`` (uint8; gray or BGR) written and read again by the quality or quantizer ``value``."""


def compression_of(data: bytes, format: str, scale: int) -> Told:
    """What the picture file ``data`` says; None if it says nothing, with a sentence if it makes no sense.

    ``format`` is the name of its row in :data:`~xlsr_cli.formats.FORMATS`; ``scale`` that of the network, 2
    to 4. Never raises for a damaged file.
    """
    row = format_named(format)
    return _teller(row).compression_of(data, scale) if row.compression else (None, "")


def compressed_as(pixels: Pixels, compression: Compression, format: str) -> Pixels:
    """``pixels`` compressed as strongly as a source in ``format`` was, and read again.

    uint8 or uint16, gray or BGR. Unchanged in 16 bits, and where nothing is known of the source.
    """
    if pixels.dtype != np.uint8 or not compression.measure:
        return pixels
    # A former JPEG in another format: its quality is known, and not a measure of that format.
    row = JPEG if compression.measure == "quality" else format_named(format)
    return _teller(row).compressed_alike(pixels, compression.value)


def _teller(row: Format) -> Teller:
    return cast("Teller", importlib.import_module(f"xlsr_cli.media.compression.{row.compression}"))
