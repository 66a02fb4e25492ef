"""Write animations frame by frame, holding two frames at most.

Pillow's own writers of GIF and APNG collect every frame before they write the first, so these two are
laid out here: pixels are compressed by Pillow and OpenCV, and only the blocks around them are ours.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from xlsr_cli.errors import OutputError
from xlsr_cli.media.picture import png
from xlsr_cli.media.picture.animation import AnimationFormat, Pixels
from xlsr_cli.media.picture.gif import comment_extension, netscape_extension, xmp_extension
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.options import Size

#: The longest side that a format can hold, in pixels.
LIMITS: dict[AnimationFormat, int] = {"gif": 65_535, "png": 1_000_000, "webp": 16_383}
#: The smallest step of a delay, in seconds; an APNG's are fractions.
_TICKS: dict[AnimationFormat, Fraction] = {"gif": Fraction(1, 100), "webp": Fraction(1, 1000)}

#: Visually lossless, as for still pictures.
_WEBP_QUALITY = 95
_OPAQUE = 128
#: One entry of a GIF's palette stands for transparency.
_COLOURS = 255


@dataclass(frozen=True, kw_only=True)
class Film:
    """Everything of an animation but its pixels; see :class:`~xlsr_cli.media.picture.animation.Animation`."""

    size: Size
    delays: Sequence[Fraction]
    plays: int
    metadata: Metadata


def check_animation_limits(format: AnimationFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a canvas of ``size`` does not fit into ``format``."""
    if max(size.width, size.height) > LIMITS[format]:
        raise OutputError(
            f"an animation of this format holds at most {LIMITS[format]} pixels a side and the result "
            f"would be {size}; choose a smaller --scale, or another format"
        )


def delays_fit(format: AnimationFormat, delays: Iterable[Fraction]) -> bool:
    """Whether ``format`` can hold every delay exactly."""
    tick = _TICKS.get(format)
    return tick is None or all((delay / tick).denominator == 1 for delay in delays)


def write_animation(
    file: BinaryIO,
    format: AnimationFormat,
    film: Film,
    frames: Iterator[Pixels],
    *,
    quality: int | None = None,
    lossless: bool = False,
) -> None:
    """Encode ``frames`` (uint8; gray, BGR or BGRA, all alike) one after the other into ``file``.

    ``quality`` and ``lossless`` are for WebP. Delays that the format cannot hold are rounded so that no
    frame begins more than half a tick late or early.
    """
    if format == "gif":
        _write_gif(file, film, frames)
    elif format == "png":
        _write_apng(file, film, frames)
    else:
        _write_webp(file, film, frames, quality=quality, lossless=lossless)


def _ticks(delays: Sequence[Fraction], tick: Fraction) -> list[int]:
    """Delays in whole ticks; the beginnings of frames are rounded, so that errors do not add up."""
    ends = [round(end / tick) for end in accumulate(delays)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _changed(before: NDArray[Any], after: NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds every difference; one pixel without any."""
    apart = before != after
    return _bounds(apart.any(axis=2) if apart.ndim == 3 else apart)


def _bounds(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


# APNG: every frame after the first is the rectangle that changed, replacing what was there.


def _write_apng(file: BinaryIO, film: Film, frames: Iterator[Pixels]) -> None:
    before: Pixels | None = None
    sequence = 0
    for frame, delay in zip(frames, film.delays, strict=True):
        rows, columns = (
            (slice(0, frame.shape[0]), slice(0, frame.shape[1]))
            if before is None
            else _changed(before, frame)
        )
        part = np.ascontiguousarray(frame[rows, columns])
        encoded = bytes(cv2.imencode(".png", part)[1])
        if before is None:
            _write_apng_head(file, png.with_metadata(encoded, film.metadata), film)
        height, width = part.shape[:2]
        place = (columns.start, rows.start)
        control = struct.pack(">IIIII", sequence, width, height, *place) + _fraction(delay) + b"\0\0"
        file.write(png.make_chunk(b"fcTL", control))
        sequence += 1
        for content in _pixel_data(encoded):
            if before is None:
                file.write(png.make_chunk(b"IDAT", content))
            else:
                file.write(png.make_chunk(b"fdAT", struct.pack(">I", sequence) + content))
                sequence += 1
        before = frame
    file.write(png.make_chunk(b"IEND", b""))


def _write_apng_head(file: BinaryIO, encoded: bytes, film: Film) -> None:
    """Everything in front of the pixels, and how many frames there are."""
    file.write(encoded[:8])
    for name, content in png.chunks_of(encoded):
        if name == b"IDAT":
            break
        file.write(png.make_chunk(name, bytes(content)))
    file.write(png.make_chunk(b"acTL", struct.pack(">II", len(film.delays), film.plays)))


def _pixel_data(encoded: bytes) -> Iterator[bytes]:
    return (bytes(content) for name, content in png.chunks_of(encoded) if name == b"IDAT")


def _fraction(delay: Fraction) -> bytes:
    """Numerator and denominator in 16 bits each; the nearest that fits for delays beyond minutes."""
    most = 0xFFFF
    fitting = min(delay, Fraction(most))
    denominator = most
    while fitting.numerator > most or fitting.denominator > most:
        fitting = delay.limit_denominator(denominator)
        denominator //= 2
    return struct.pack(">HH", fitting.numerator, fitting.denominator)


# GIF: a palette for every frame, the rectangle that changed, and hard edges.


def _write_gif(file: BinaryIO, film: Film, frames: Iterator[Pixels]) -> None:
    file.write(b"GIF89a" + struct.pack("<HH", film.size.width, film.size.height) + b"\x70\0\0")
    if film.plays != 1:
        file.write(netscape_extension(max(0, film.plays - 1)))
    for name, comment in film.metadata.text:
        if name == b"GIF":
            file.write(comment_extension(comment))
    if film.metadata.xmp is not None:
        file.write(xmp_extension(film.metadata.xmp))
    first = next(frames)
    # Said of every frame, or decoders clear to the background's colour instead of to nothing.
    transparency = {"transparency": _COLOURS} if first.ndim == 3 and first.shape[2] == 4 else {}
    canvas = np.zeros((film.size.height, film.size.width, 4), np.uint8)
    delays = _ticks(film.delays, _TICKS["gif"])
    for (frame, following), delay in zip(
        _with_next(map(_hard_edged, chain([first], frames))), delays, strict=True
    ):
        # A pixel that becomes transparent can only be cleared by clearing this whole frame.
        cleared = following is not None and bool(np.any(frame[..., 3] > following[..., 3]))
        rows, columns = _bounds(frame[..., 3] > 0) if cleared else _changed(canvas, frame)
        blocks = GifImagePlugin.getdata(
            _indexed(frame[rows, columns]),
            (columns.start, rows.start),
            duration=delay * 10,
            disposal=2 if cleared else 1,
            include_color_table=True,
            **transparency,
        )
        file.write(b"".join(blocks))
        canvas = np.zeros_like(frame) if cleared else frame
    file.write(b";")


def _hard_edged(frame: Pixels) -> Pixels:
    """BGRA whose alpha is 0 or 255; what is transparent has no colour."""
    if frame.ndim == 2:
        frame = np.dstack([frame] * 3)
    if frame.shape[2] == 3:
        return np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
    hard = frame.copy()
    opaque = frame[..., 3] >= _OPAQUE
    hard[..., 3] = opaque * np.uint8(255)
    hard[~opaque] = 0
    return hard


def _with_next(frames: Iterator[Pixels]) -> Iterator[tuple[Pixels, Pixels | None]]:
    """Every frame with the one after it; None after the last."""
    before = next(frames, None)
    while before is not None:
        following = next(frames, None)
        yield before, following
        before = following


def _indexed(part: Pixels) -> Image.Image:
    """A palette picture of BGRA, its last entry standing for what is transparent.

    Up to 255 colours are kept exactly. More are reduced by median cut without dithering, whose noise
    would flicker from frame to frame.
    """
    transparent = part[..., 3] == 0
    rgb = np.ascontiguousarray(part[..., 2::-1])
    packed = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, places = np.unique(packed, return_inverse=True)
    if len(colours) <= _COLOURS:
        indices = places.reshape(packed.shape).astype(np.uint8)
        palette = [int(colour) >> shift & 255 for colour in colours for shift in (16, 8, 0)]
    else:
        reduced = Image.fromarray(rgb).quantize(
            _COLOURS, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE
        )
        indices = np.array(reduced)
        palette = list(reduced.getpalette() or [])
    indices[transparent] = _COLOURS
    picture = Image.fromarray(indices)
    picture.putpalette(palette[: 3 * _COLOURS] + [0] * (3 * 256 - len(palette[: 3 * _COLOURS])))
    return picture


# WebP: Pillow's writer asks for frame after frame and hands each to libwebp, which keeps only what it made.


class _Sequence(Image.Image):
    """Frames as one of Pillow's multi-frame images, each made when it is asked for."""

    def __init__(self, frames: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self.n_frames = count
        self._frames = frames
        self._at = -1
        self._advance()

    def _advance(self) -> None:
        frame = next(self._frames)
        self._mode, self._size, self.im = frame.mode, frame.size, frame.im
        self._at += 1

    def tell(self) -> int:
        return self._at

    def seek(self, frame: int) -> None:
        if frame == self._at + 1:
            self._advance()


def _write_webp(
    file: BinaryIO, film: Film, frames: Iterator[Pixels], *, quality: int | None, lossless: bool
) -> None:
    more: dict[str, Any] = {}
    if film.metadata.icc is not None:
        more["icc_profile"] = film.metadata.icc
    if film.metadata.exif is not None:
        more["exif"] = film.metadata.exif
    if film.metadata.xmp is not None:
        more["xmp"] = film.metadata.xmp
    buffer = io.BytesIO()
    _Sequence(map(_to_image, frames), len(film.delays)).save(
        buffer,
        "WEBP",
        save_all=True,
        duration=_ticks(film.delays, _TICKS["webp"]),
        loop=film.plays,
        lossless=lossless,
        quality=100 if lossless else _WEBP_QUALITY if quality is None else quality,
        method=4,
        **more,
    )
    file.write(buffer.getbuffer())


def _to_image(frame: Pixels) -> Image.Image:
    """RGB or RGBA for Pillow."""
    if frame.ndim == 2:
        return Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB))
    to_rgb = cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return Image.fromarray(cv2.cvtColor(frame, to_rgb))
