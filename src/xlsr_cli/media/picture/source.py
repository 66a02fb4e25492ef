"""Values that are passed between modules: an opened file, decoded pixels, a picture, encoder settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from fractions import Fraction

    from xlsr_cli.engine.pixels import Pixels


@dataclass(kw_only=True, eq=False)
class Source:
    """A picture file whose header and metadata have been read, and whose pixels have not been decoded.

    ``format``: the name of its row in :data:`~xlsr_cli.formats.FORMATS`. ``stored_size``: in pixels, not yet
    turned. ``channels``: of the decoded picture: 1 gray, 2 gray and alpha, 3 colour, 4 colour and alpha.
    ``bits``: significant bits of a sample. ``maximum``: the largest value of a sample as decoders give it.
    ``mode``: Pillow's name for the layout, empty if Pillow did not read the file. ``pages``: how many
    pictures the file holds; ``animated``: they are frames of an animation. ``orientation``: EXIF's 1 to 8,
    still to be applied. ``lossless``: coded without loss, in a format that can also be lossy. ``detail``:
    what the format's module read in the header and needs to decode.
    """

    data: bytes
    name: str
    format: str
    stored_size: Size
    channels: int
    bits: int = 8
    maximum: int = 255
    mode: str = ""
    pages: int = 1
    animated: bool = False
    lossless: bool = False
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata)
    notices: tuple[Notice, ...] = ()
    detail: Any = None

    @property
    def size(self) -> Size:
        """The size in pixels as displayed, orientation applied."""
        if self.orientation < 5:
            return self.stored_size
        return Size(width=self.stored_size.height, height=self.stored_size.width)

    @property
    def depth(self) -> int:
        """Bits of a decoded sample: 8 or 16."""
        return 8 if self.bits <= 8 else 16

    def oriented(self) -> Source:
        """The same, turned as its metadata says."""
        return replace(self, orientation=self.metadata.orientation)

    def close(self) -> None:
        """Release the bytes of the file, after decoding; it cannot be decoded again."""
        self.data = b""


class Decoded(NamedTuple):
    """Pixels as a decoder gives them: uint8 or uint16; gray, gray + alpha, BGR or BGRA.

    ``notices``: what of the pixels is lost. ``upright``: the orientation has been applied.
    """

    pixels: Pixels
    notices: Sequence[Notice] = ()
    upright: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture.

    ``pixels``: uint8 or uint16, upright; (H, W) gray, (H, W, 2) gray + alpha, (H, W, 3) BGR,
    (H, W, 4) BGRA; alpha is not premultiplied. ``metadata``: what goes into the output beside the
    pixels. ``format``: as in :class:`Source`. ``bits``: how many of a sample's bits the source had, None
    for all. ``lossless``: the source was losslessly coded in a format that can also be lossy.
    """

    pixels: Pixels
    metadata: Metadata
    format: str
    bits: int | None = None
    lossless: bool = False

    @property
    def channels(self) -> int:
        """1 gray, 2 gray and alpha, 3 colour, 4 colour and alpha."""
        return 1 if self.pixels.ndim == 2 else int(self.pixels.shape[2])

    @property
    def depth(self) -> int:
        """Bits per sample: 8 or 16."""
        return 8 * int(self.pixels.itemsize)

    @property
    def size(self) -> Size:
        """The size in pixels."""
        return Size(width=int(self.pixels.shape[1]), height=int(self.pixels.shape[0]))


class Encoding(NamedTuple):
    """Settings for an encoder.

    ``quality``: 1 to 100, None for the format's default. ``lossless``: for formats that can be lossy.
    ``bits``: of a sample of the source. ``threads``: may be used; they do not change the bytes.
    """

    quality: int | None = None
    lossless: bool = False
    bits: int = 8
    threads: int = 1


class Film(NamedTuple):
    """An animation without its pixels; see :class:`~xlsr_cli.media.picture.animation.Animation`."""

    size: Size
    delays: Sequence[Fraction]
    plays: int
    metadata: Metadata

    def ticks(self, per_second: int) -> list[int]:
        """The delays in whole ticks. The start of each frame is rounded, so that errors do not add up."""
        # Halves are rounded up: to the even number, a delay of whole ticks could become one tick longer.
        ends = [(2 * end * per_second + 1) // 2 for end in accumulate(self.delays)]
        return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
