"""How strongly a source was compressed, and which networks are trained for that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.models import Restore
from xlsr_cli.engine.traces.drawn import is_drawn
from xlsr_cli.engine.traces.jpeg import traces_in
from xlsr_cli.engine.traces.samples import Sample
from xlsr_cli.formats import JPEG

#: What was looked at: the file's own word, or the pixels since it has none.
Seen = Literal["file", "pixels"]


class Limits(NamedTuple):
    """The quantizers from which on a source counts as lightly or strongly compressed, at one bit a pixel.

    A smooth picture shows more of its compression than one full of detail, whose file has more bits a pixel:
    each doubling of these counts as ``doubling`` quantizers less.
    """

    light_from: float
    strong_from: float
    doubling: float = 0

    def level(self, quantizer: float, bits: float = 1) -> Restore:
        """The network for a picture of ``quantizer`` and as many ``bits`` a pixel."""
        detail = math.log2(min(max(bits, _LEAST_BITS), _MOST_BITS))
        strength = quantizer - self.doubling * detail
        return "off" if strength < self.light_from else "light" if strength < self.strong_from else "strong"


#: By the scale of the network.
ByScale = Mapping[int, Limits]


def by_scale(x2: tuple[float, ...], x3: tuple[float, ...], x4: tuple[float, ...]) -> ByScale:
    """:class:`Limits` of the networks for ×2, ×3 and ×4."""
    return {2: Limits(*x2), 3: Limits(*x3), 4: Limits(*x4)}


@dataclass(frozen=True)
class Quantizers:
    """A codec's name, its largest quantizer, and the limits of the levels for each scale."""

    name: str
    largest: int
    limits: ByScale

    def level(self, scale: int, quantizer: float, bits: float = 1) -> Restore:
        """The network of ``scale`` for a picture of ``quantizer`` and as many ``bits`` a pixel.

        Scales that only foreign models have count as the nearest one.
        """
        nearest = min(self.limits, key=lambda known: abs(known - scale))
        return self.limits[nearest].level(quantizer, bits)


#: Fewer or more bits a pixel tell no more about detail.
_LEAST_BITS, _MOST_BITS = 0.25, 8
# All limits are measured (``docs/restore.md``).

#: JPEG, by what its quality lacks of 100: where the bits a pixel are known, and where they are not.
_JPEG_FILES = Quantizers(JPEG.shown, 99, by_scale((-1.25, 17, 2.5), (-2, 16.5, 2.5), (-3.5, 13.5, 3)))
_JPEG_ALONE = Quantizers(JPEG.shown, 99, by_scale((2.5, 19), (1.5, 17.5), (1.5, 16)))

_MPEG = by_scale((-3.5, 4.5, 3), (-7.5, 3, 5), (-4.5, 2.5, 3))
#: Of films, by FFmpeg's names of codecs.
FILM_QUANTIZERS = {
    "h264": Quantizers("H.264", 51, by_scale((8, 26.5, 7), (6.5, 23.5, 7), (0, 20, 7))),
    "hevc": Quantizers("HEVC", 51, by_scale((18.5, 38.5, 5), (21, 38.5, 3), (17.5, 36.5, 3))),
    "vp8": Quantizers("VP8", 127, by_scale((4.5, 49, 7), (-2, 55, 7), (-5.5, 57, 7))),
    "vp9": Quantizers("VP9", 255, by_scale((32, 150, 30), (10, 148, 30), (50, 156, 10))),
    "av1": Quantizers("AV1", 255, by_scale((48, 176, 30), (24, 202, 25), (14, 174, 30))),
    "mpeg1video": Quantizers("MPEG-1", 31, _MPEG),
    "mpeg2video": Quantizers("MPEG-2", 56, _MPEG),
    **{
        codec: Quantizers(name, 31, _MPEG)
        for codec, name in (
            ("mpeg4", "MPEG-4"), ("h263", "H.263"), ("flv1", "Sorenson H.263"), ("msmpeg4v2", "MS MPEG-4 v2"),
            ("msmpeg4v3", "MS MPEG-4 v3"), ("wmv1", "WMV 7"), ("wmv2", "WMV 8"),
        )
    },
}  # fmt: skip
#: Of codecs that tell no quantizer: names, and the bits a pixel below which a film, or one of key frames
#: alone, is lightly and strongly compressed.
_NAMES = {"prores": "ProRes", "dnxhd": "DNxHD", "mjpeg": "Motion JPEG", "theora": "Theora", "vvc": "VVC"}
_BITS, _KEY_FRAME_BITS = (0.6, 0.12), (2.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How strongly a source was compressed.

    ``level`` is the network that it needs at the scale that was asked about. ``codec`` is a name for people,
    empty where nothing is known. ``measure`` tells how strong: ``quality`` (JPEG's by libjpeg, 1 to 100,
    falling), ``quantizer`` (the codec's own) or ``bits`` (a pixel), and ``value`` how much of it. ``note``:
    why the file's own word did not count, or empty.
    """

    level: Restore
    codec: str = ""
    measure: Literal["", "quality", "quantizer", "bits"] = ""
    value: float = 0
    seen: Seen = "file"
    note: str = ""

    def __str__(self) -> str:
        """``JPEG, about quality 72: strong``; ``H.264, quantizer 29: strong`` …"""
        note = f" ({self.note})" if self.note else ""
        return f"{self.what}: {self.level}{note}"

    @property
    def what(self) -> str:
        """What was found, without what follows from it."""
        if self.level == "drawing":
            return "flat areas, clear edges"
        if not self.codec:
            return "no traces of compression"
        name = self.codec if self.seen == "file" else f"traces of {self.codec}"
        if self.measure == "quality":
            return f"{name}, about quality {self.value:g}"
        if self.measure == "quantizer":
            return f"{name}, quantizer {self.value:g}"
        if self.measure == "bits":
            return f"{name}, {self.value:.2f} bits a pixel"
        return name


def jpeg(
    quality: int, scale: int, bits: float | None = None, *, codec: str = JPEG.shown, seen: Seen = "file"
) -> Compression:
    """A JPEG of libjpeg's ``quality`` and ``bits`` a pixel, a film of such, or pixels that were one.

    ``scale``: of the network, 2 to 4.
    """
    lacks = 100 - quality
    level = _JPEG_ALONE.level(scale, lacks) if bits is None else _JPEG_FILES.level(scale, lacks, bits)
    return Compression(level=level, codec=codec, measure="quality", value=quality, seen=seen)


def by_quantizer(known: Quantizers, scale: int, quantizer: float, bits: float = 1) -> Compression | None:
    """A picture or film by the mean of its quantizers; None for a value that its codec does not have.

    ``scale``: of the network, 2 to 4. ``bits``: how many the picture's file, or the film's key frames have a
    pixel.
    """
    if not 0 <= quantizer <= known.largest:
        return None
    level = known.level(scale, quantizer, bits)
    return Compression(level=level, codec=known.name, measure="quantizer", value=round(quantizer))


def by_bits(codec: str, bits: float, *, key_frames_alone: bool) -> Compression:
    """A film of which only its bits a pixel are known."""
    light, strong = _KEY_FRAME_BITS if key_frames_alone else _BITS
    level: Restore = "off" if bits >= light else "light" if bits >= strong else "strong"
    return Compression(level=level, codec=codec_name(codec), measure="bits", value=bits)


def codec_name(codec: str) -> str:
    """The name for people of FFmpeg's ``codec``."""
    return FILM_QUANTIZERS[codec].name if codec in FILM_QUANTIZERS else _NAMES.get(codec, codec)


def look(pixels: NDArray[Any], scale: int, note: str = "") -> Compression:
    """What pixels tell: uint8 or uint16, (H, W) or (H, W, C) as the upscaler takes them.

    16-bit pixels never were compressed. ``scale``: of the network, 2 to 4. ``note`` says why nobody else
    knew.
    """
    sample = Sample(pixels)
    traces = traces_in(sample) if pixels.dtype == np.uint8 else None
    if traces is None:
        return Compression(level="drawing" if is_drawn(sample) else "off", seen="pixels", note=note)
    found = jpeg(traces.quality, scale, seen="pixels")
    return replace(found, note=note)
