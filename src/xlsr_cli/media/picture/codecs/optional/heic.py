"""HEIC and other HEIF pictures, read by libheif through pillow-heif, which the extra ``heic`` installs.

libheif puts the tiles of a grid together, turns, mirrors and crops as the file says (``irot``, ``imir``,
``clap``), so that EXIF's orientation no longer counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format
from xlsr_cli.media.picture.codecs import boxes
from xlsr_cli.media.picture.codecs.boxes.items import read_items
from xlsr_cli.media.picture.codecs.optional import library_of
from xlsr_cli.media.picture.damage import faults_as_damage, notices_of
from xlsr_cli.media.picture.losses import ASPECT, MASTERING, further_frames
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import bgr_of, full_range, without_premultiplication
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: Channels by Pillow's name of the layout, without its depth.
_CHANNELS = {"L": 1, "I": 1, "LA": 2, "La": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
_EXIF_PREFIX = b"Exif\0\0"


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    library = library_of(format, name)
    boxes.check_count(data, name)
    with faults_as_damage(name, "its boxes make no sense"):
        opened = library.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        image = opened[opened.primary_index]
        pages = len(opened)
    mode, info, items = image.mode.partition(";")[0], image.info, read_items(data)
    bits = int(info["bit_depth"])
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=Size(width=image.size[0], height=image.size[1]),
        channels=_CHANNELS[mode],
        bits=bits,
        maximum=(1 << bits) - 1,
        mode=mode if mode == "RGBa" else "",
        pages=pages,
        metadata=replace(_metadata(info), motion=items.film),
        notices=(*items.losses(pages), *_losses(info, items.frames)),
        detail=image,
    )


def _metadata(info: dict[str, Any]) -> Metadata:
    exif, xmp, nclx = info.get("exif"), info.get("xmp"), info.get("nclx_profile")
    cicp = None
    if nclx:
        primaries, transfer = int(nclx["color_primaries"]), int(nclx["transfer_characteristics"])
        cicp = (primaries, transfer, int(nclx["matrix_coefficients"]), int(nclx["full_range_flag"]))
    found = Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif.removeprefix(_EXIF_PREFIX) or None if exif else None,
        xmp=xmp.rstrip(b"\0") or None if xmp else None,
        cicp=cicp,
    )
    return replace(found, dpi=found.dpi_of_exif)


def _losses(info: dict[str, Any], frames: int) -> list[Notice]:
    bright = ("content_light_level", "mastering_display_colour_volume")
    aspect = info.get("pixel_aspect_ratio")
    lost = (
        (MASTERING, any(name in info for name in bright)),
        (ASPECT, aspect is not None and aspect[0] != aspect[1]),
        (further_frames(frames), frames > 1),
    )
    return [notice for notice, holds in lost if holds]


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    import numpy as np

    with faults_as_damage(source.name) as messages:
        samples: Any = np.asarray(source.detail)
    size = source.stored_size
    if samples.shape[:2] != (size.height, size.width):
        raise InputError(f"{source.name} is damaged: its picture is not of the size that it states")
    pixels = full_range(bgr_of(samples), source.maximum)
    if source.mode == "RGBa":
        pixels = without_premultiplication(pixels)
    return Decoded(pixels=pixels, notices=notices_of(messages))
