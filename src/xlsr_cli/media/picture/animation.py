"""Animations: read composed frame by frame, as browsers show them, and written frame by frame.

Pillow composes: it applies offsets, disposal and blending. Frames are decoded one at a time and never
kept, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.errors import InputError, OutputError
from xlsr_cli.formats import FORMATS, FormatCapabilities, format_named
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture.codecs import codec_of, pillow
from xlsr_cli.media.picture.damage import damaged
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Encoding, Film, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: The ``name`` of a row of :data:`~xlsr_cli.formats.FORMATS` that has an ``animation``.
AnimationFormat = str

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: An APNG counts its delays in fractions of 16-bit numbers.
_LARGEST_DENOMINATOR = 0xFFFF


@dataclass(frozen=True, kw_only=True)
class Animation:
    """An animation and what is known of it before any of its frames is enlarged.

    ``size``: of the canvas. ``channels``: of every frame: 1 gray, 3 BGR, 4 BGRA. ``delays``: seconds
    that each frame is shown, exactly as stored. ``plays``: how often it is played, 0 for ever.
    ``notices``: what of the file will not be there.
    """

    data: bytes
    name: str
    format: AnimationFormat
    size: Size
    channels: int
    delays: tuple[Fraction, ...]
    plays: int
    metadata: Metadata
    notices: tuple[Notice, ...] = ()
    #: The number of Pillow's first frame: an APNG's still picture may stand before the animation.
    first: int = 0

    @property
    def seconds(self) -> Fraction:
        """How long one round takes."""
        return sum(self.delays, Fraction())

    def frames(self) -> Iterator[Pixels]:
        """The frames as they are seen, one after the other: uint8 (H, W), (H, W, 3) or (H, W, 4)."""
        with pillow.quiet(), pillow.open_image(self.data, format_named(self.format)) as image:
            for number in range(self.first, self.first + len(self.delays)):
                image.seek(number)
                yield _composed(image, self.size, self.channels)


def open_animation(source: Source, *, max_pixels: int) -> Animation:
    """Look at an animation from beginning to end, keeping nothing of its frames.

    Where a frame is damaged, the animation ends before it, as browsers do, and a notice says so. Raises
    :class:`InputError` where not even the first one is whole, or the canvas has more than ``max_pixels``.
    """
    name, size = source.name, source.stored_size
    if size.pixels > max_pixels:
        raise InputError(
            f"{name} claims {size.pixels / 1e6:.0f} megapixels; --max-pixels {size.pixels} allows that"
        )
    if format_named(source.format).animation is None:
        raise InputError(f"{name} is a {source.format.upper()} file, which is no animation that xlsr knows")
    with native_messages(), pillow.quiet():
        survey = _survey(source.data, source.format, size)
    if not survey.delays:
        raise damaged(name, "its first frame cannot be decoded") from survey.failure
    notices = list(source.notices)
    if survey.failure is not None:
        count = len(survey.delays)
        message = f"frame {count + 1} is damaged; the animation ends with the {count} before it"
        notices.append(Notice(code="frames-damaged", message=message))
    if survey.first:
        message = "its still picture for programs that know no APNG is replaced by the first frame"
        notices.append(Notice(code="still-dropped", message=message, loss=False))
    if source.bits > 8:
        message = f"animations are enlarged in 8 of its {source.bits} bits per sample"
        notices.append(Notice(code="depth-reduced", message=message))
    return Animation(
        data=source.data,
        name=name,
        format=source.format,
        size=size,
        channels=4 if survey.alpha else 3 if survey.colour else 1,
        delays=tuple(survey.delays),
        plays=survey.plays,
        metadata=source.metadata,
        notices=tuple(notices),
        first=survey.first,
    )


@dataclass(kw_only=True)
class _Survey:
    """What one look at every frame found; ``failure`` is what ended it before the last one."""

    delays: list[Fraction]
    plays: int = 1
    alpha: bool = False
    colour: bool = False
    first: int = 0
    failure: Exception | None = None


def _survey(data: bytes, format: str, size: Size) -> _Survey:
    found = _Survey(delays=[])
    # On a hostile file Pillow raises nearly everything; each means that this frame is damaged.
    try:
        with pillow.open_image(data, format_named(format)) as image:
            found.plays = codec_of(format_named(format)).plays_of(image.info.get("loop"))
            found.first = 1 if image.info.get("default_image") else 0
            for number in range(found.first, getattr(image, "n_frames", 1)):
                image.seek(number)
                pixels = _composed(image, size, 4)
                found.delays.append(_delay(image))
                found.alpha |= bool((pixels[..., 3] < 255).any())
                found.colour |= bool(np.ptp(pixels[..., :3], axis=2).any())
    except Exception as error:
        found.failure = error
    return found


def _delay(image: Image.Image) -> Fraction:
    """Seconds; Pillow counts milliseconds, an APNG's fraction of 16-bit numbers in floating point."""
    return (Fraction(image.info.get("duration", 0)) / 1000).limit_denominator(_LARGEST_DENOMINATOR)


def _composed(image: Image.Image, size: Size, channels: int) -> Pixels:
    """The frame as it is seen, on a canvas of ``size``."""
    frame: Any = image
    if frame.mode.startswith("I"):
        frame = Image.fromarray((np.asarray(frame).astype(np.uint16) >> 8).astype(np.uint8))
    frame = frame.convert(_MODES[channels])
    if frame.size != (size.width, size.height):
        frame = frame.crop((0, 0, size.width, size.height))
    pixels: Pixels = np.array(frame)
    return pixels if channels == 1 else np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:channels]])


def animation_format(extension: str) -> AnimationFormat | None:
    """The format of animations whose files end in ``extension`` (without dot, in small letters)."""
    found = (f.name for f in FORMATS if f.animation is not None and extension in f.animation.extensions)
    return next(found, None)


def capabilities_of(format: AnimationFormat) -> FormatCapabilities:
    """What an animation of ``format`` has room for."""
    room = format_named(format).animation
    assert room is not None  # an AnimationFormat
    return room


def check_animation_limits(format: AnimationFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a canvas of ``size`` does not fit into ``format``."""
    longest = capabilities_of(format).longest_side
    if max(size.width, size.height) > longest:
        raise OutputError(
            f"an animation of this format holds at most {longest} pixels a side and the result "
            f"would be {size}; choose a smaller --scale, or another format"
        )


def delays_fit(format: AnimationFormat, delays: Iterable[Fraction]) -> bool:
    """Whether ``format`` can hold every delay exactly."""
    ticks = capabilities_of(format).ticks
    return not ticks or all((delay * ticks).denominator == 1 for delay in delays)


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

    ``quality`` and ``lossless`` are for formats where that is optional. Delays that the format cannot hold
    are rounded so that no frame begins more than half a tick late or early.
    """
    encoding = Encoding(quality=quality, lossless=lossless)
    codec_of(format_named(format)).write_animation(file, film, frames, encoding)
