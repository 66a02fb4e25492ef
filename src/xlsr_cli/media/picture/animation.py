"""Read animations: GIF, APNG and animated WebP, composed frame by frame as browsers show them.

Pillow composes: it applies offsets, disposal and blending. Frames are decoded one at a time and never
kept, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xlsr_cli.errors import InputError
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture import pillow
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import damaged, open_source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

AnimationFormat = Literal["gif", "png", "webp"]
Pixels = NDArray[np.uint8]

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
        with pillow.quiet(), pillow.open_image(self.data, self.format) as image:
            for number in range(self.first, self.first + len(self.delays)):
                image.seek(number)
                yield _composed(image, self.size, self.channels)


def open_animation(data: bytes, name: str, *, max_pixels: int) -> Animation:
    """Look at an animation from beginning to end, keeping nothing of its frames.

    Where a frame is damaged, the animation ends before it, as browsers do, and a notice says so. Raises
    :class:`InputError` where not even the first one is whole, or the canvas has more than ``max_pixels``.
    """
    source = open_source(data, name)
    if source.size.pixels > max_pixels:
        raise InputError(
            f"{name} claims {source.size.pixels / 1e6:.0f} megapixels; "
            f"--max-pixels {source.size.pixels} allows that"
        )
    if source.format not in ("gif", "png", "webp"):
        raise InputError(f"{name} is a {source.format.upper()} file, which is no animation that xlsr knows")
    with native_messages(), pillow.quiet():
        survey = _survey(data, source.format, source.size)
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
        data=data,
        name=name,
        format=source.format,  # type: ignore[arg-type]  # one of the three, see above
        size=source.size,
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
        with pillow.open_image(data, format) as image:
            found.plays = _plays(image, format)
            found.first = 1 if format == "png" and image.info.get("default_image") else 0
            for number in range(found.first, getattr(image, "n_frames", 1)):
                image.seek(number)
                pixels = _composed(image, size, 4)
                found.delays.append(_delay(image))
                found.alpha |= bool((pixels[..., 3] < 255).any())
                found.colour |= bool(np.ptp(pixels[..., :3], axis=2).any())
    except Exception as error:
        found.failure = error
    return found


def _plays(image: Image.Image, format: str) -> int:
    """How often, 0 for ever. GIF counts repetitions, and plays once without its extension."""
    loop = image.info.get("loop")
    if format == "gif":
        return 1 if loop is None else 0 if loop == 0 else int(loop) + 1
    return int(loop or 0)


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


def without(metadata: Metadata, format: AnimationFormat) -> tuple[Metadata, list[Notice]]:
    """What of ``metadata`` an animation of ``format`` has room for, and a notice for everything else."""
    kept = {
        "gif": {"xmp", "text"},
        "png": {"icc", "cicp", "exif", "xmp", "dpi", "color_chunks", "text"},
        "webp": {"icc", "exif", "xmp"},
    }[format]
    if metadata.text and (metadata.text[0][0] == b"GIF") != (format == "gif"):
        kept.discard("text")
    shown = {"gif": "GIF", "png": "APNG", "webp": "animated WebP"}[format]
    lost = {
        "icc": "its colour profile, and its colours may look different",
        "cicp": "its kind of colours (CICP), and they may look different",
        "exif": "its EXIF",
        "xmp": "its XMP",
        "iptc": "its IPTC caption",
        "dpi": "its resolution",
        "color_chunks": "its gamma, and its tones may look different",
        "text": "its comments",
    }
    notices = []
    changes: dict[str, Any] = {}
    for field, what in lost.items():
        if getattr(metadata, field) and field not in kept:
            code = "gamma" if field == "color_chunks" else field
            notices.append(Notice(code=f"{code}-dropped", message=f"{shown} has no place for {what}"))
            changes[field] = () if field in ("color_chunks", "text") else None
    return replace(metadata, **changes), notices
