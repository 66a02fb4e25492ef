"""One module per picture format, each with the same functions; a row of :mod:`xlsr_cli.formats` names it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels
    from xlsr_cli.formats import Format
    from xlsr_cli.media.picture.composing import Frames
    from xlsr_cli.media.picture.metadata import Metadata
    from xlsr_cli.media.picture.source import Decoded, Encoding, Film, Source
    from xlsr_cli.notices import Notice


class Codec(Protocol):
    """The functions of a format's module. There is no ``write`` for a format that is only read, and the last
    three functions are for formats with animations."""

    def read_header(self, data: bytes, name: str, format: Format) -> Source:
        """Read header and metadata. Raises :class:`InputError` for what is damaged or not supported."""

    def read_pixels(self, source: Source, max_pixels: int) -> Decoded:
        """Decode the first picture. Raises :class:`InputError` for what is damaged or not supported."""

    def write(self, file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
        """Encode into ``file`` (empty, seekable, readable) what the format's row says that it can hold.

        The notices name what could not be written nevertheless. Raises :class:`OutputError`.
        """

    def is_animated(self, head: bytes) -> bool:
        """Whether the file that begins with ``head`` has more than one frame, as far as that can be told."""

    def read_frames(self, source: Source, max_pixels: int) -> Frames:
        """The frames of an animation. Raises :class:`InputError` for one of more than ``max_pixels``."""

    def write_animation(
        self, file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding
    ) -> None:
        """Encode ``frames`` (uint8; gray, BGR or BGRA, all alike) one after the other into ``file``."""


def codec_of(format: Format) -> Codec:
    """The module that reads and writes ``format``, imported when it is first asked for."""
    return cast("Codec", importlib.import_module(f"{__name__}.{format.module}"))
