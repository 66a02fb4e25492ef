"""Read animations frame by frame, as browsers show them, and write them frame by frame.

Frames are decoded one at a time and never kept, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import BinaryIO

import numpy as np

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.errors import InputError, OutputError
from xlsr_cli.formats import FormatCapabilities, format_named
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture.codecs import codec_of
from xlsr_cli.media.picture.composing import Frames, composed
from xlsr_cli.media.picture.damage import TRUNCATED, damaged
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Encoding, Film, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: The ``name`` of a row of :data:`~xlsr_cli.formats.FORMATS` that has an ``animation``.
AnimationFormat = str


@dataclass(frozen=True, kw_only=True)
class Animation:
    """An animation: everything but its frames.

    ``size``: of the canvas. ``channels``: of every frame: 1 gray, 3 BGR, 4 BGRA. ``delays``: seconds
    that each frame is shown, exactly as stored. ``plays``: how often it is played, 0 for ever.
    ``notices``: what of the file will not be there.
    """

    source: Source
    size: Size
    channels: int
    delays: tuple[Fraction, ...]
    plays: int
    metadata: Metadata
    #: Pixels that a frame of the file may have.
    max_pixels: int
    notices: tuple[Notice, ...] = ()

    @property
    def seconds(self) -> Fraction:
        """The length of one round."""
        return sum(self.delays, Fraction())

    def frames(self) -> Iterator[Pixels]:
        """The frames as a viewer sees them, one after the other: uint8 (H, W), (H, W, 3) or (H, W, 4)."""
        frames = _frames_of(self.source, self.max_pixels)
        for _, canvas in islice(composed(frames.parts, self.size), len(self.delays)):
            yield _with_channels(canvas, self.channels)


def open_animation(source: Source, *, max_pixels: int) -> Animation:
    """Read an animation from beginning to end once, without keeping its frames.

    Where a frame is damaged, the animation ends before it, as browsers do, and a notice says so. Raises
    :class:`InputError` where not even the first one is whole, or the canvas has more than ``max_pixels``.
    """
    name, size = source.name, source.stored_size
    if size.pixels > max_pixels:
        raise InputError(
            f"{name} claims {size.pixels / 1e6:.0f} megapixels; --max-pixels {size.pixels} allows that"
        )
    most = format_named(source.format).pixels_per_byte
    if most is not None and size.pixels > len(source.data) * most:
        raise damaged(name, TRUNCATED)
    if format_named(source.format).animation is None:
        raise InputError(f"{name} is a {source.format.upper()} file, which is no animation that xlsr knows")
    with native_messages():
        survey = _survey(source, max_pixels)
    if not survey.delays:
        raise damaged(name, "its first frame cannot be decoded") from survey.failure
    notices = list(source.notices)
    if survey.failure is not None:
        count = len(survey.delays)
        message = f"frame {count + 1} is damaged; the animation ends with the {count} before it"
        notices.append(Notice(code="frames-damaged", message=message))
    if survey.still:
        message = "its still picture for programs that know no animation is replaced by the first frame"
        notices.append(Notice(code="still-dropped", message=message, loss=False))
    if source.bits > 8:
        message = f"animations are enlarged in 8 of its {source.bits} bits per sample"
        notices.append(Notice(code="depth-reduced", message=message))
    return Animation(
        source=source,
        size=size,
        channels=4 if survey.alpha else 3 if survey.colour else 1,
        delays=tuple(survey.delays),
        plays=survey.plays,
        metadata=source.metadata,
        notices=tuple(notices),
        max_pixels=max_pixels,
    )


@dataclass(kw_only=True)
class _Survey:
    """What reading every frame once has found; ``failure`` is the error that ended it early."""

    delays: list[Fraction]
    plays: int = 1
    alpha: bool = False
    colour: bool = False
    still: bool = False
    failure: Exception | None = None


def _survey(source: Source, max_pixels: int) -> _Survey:
    found = _Survey(delays=[])
    # On a hostile file decoders raise nearly everything; each means that this frame is damaged.
    try:
        frames = _frames_of(source, max_pixels)
        found.plays, found.still = frames.plays, frames.still
        for part, canvas in composed(frames.parts, source.stored_size):
            found.delays.append(part.delay)
            found.alpha |= bool((canvas[..., 3] < 255).any())
            found.colour |= bool(np.ptp(canvas[..., :3], axis=2).any())
    except InputError:
        raise
    except Exception as error:
        found.failure = error
    return found


def _frames_of(source: Source, max_pixels: int) -> Frames:
    return codec_of(format_named(source.format)).read_frames(source, max_pixels)


def _with_channels(canvas: Pixels, channels: int) -> Pixels:
    """BGRA as gray (H, W), BGR or BGRA; all frames of an animation have the same."""
    pixels: Pixels = canvas[..., 0] if channels == 1 else canvas[..., :channels]
    return np.ascontiguousarray(pixels)


def capabilities_of(format: AnimationFormat) -> FormatCapabilities:
    """What an animation of ``format`` can hold."""
    capabilities = format_named(format).animation
    assert capabilities is not None  # an AnimationFormat
    return capabilities


def check_animation_limits(format: AnimationFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a canvas of ``size`` does not fit into ``format``."""
    longest = capabilities_of(format).longest_side
    if max(size.width, size.height) > longest:
        raise OutputError(
            f"an animation of this format holds at most {longest} pixels a side and the result "
            f"would be {size}; choose a smaller --scale, or another format"
        )


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
