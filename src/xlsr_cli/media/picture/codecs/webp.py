"""WebP: Pillow reads the header, OpenCV the pixels; Pillow writes animations frame by frame."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from xlsr_cli.formats import HEAD_BYTES, Format, format_named
from xlsr_cli.media.picture.codecs import opencv, pillow
from xlsr_cli.media.picture.composing import FramePart, Frames
from xlsr_cli.media.picture.losses import behind_the_end, unknown
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Encoding, Film, Source
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

read_pixels = opencv.read_pixels


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    source = pillow.read_header(data, name, format)
    behind = behind_the_end(data[8 + int.from_bytes(data[4:8], "little") :])
    others = unknown("chunks", _unknown_chunks(data, source.metadata), between=" ")
    lossless = b"VP8L" in data[:HEAD_BYTES]
    return replace(source, lossless=lossless, animated=source.pages > 1, notices=(*behind, *others))


#: What is about the pixels (WebP container specification, RFC 9649).
_KNOWN = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
_MOST_CHUNKS = 10_000


def _unknown_chunks(data: bytes, metadata: Metadata) -> list[bytes]:
    """The names of chunks that are not understood, such as those with content credentials, and of those
    that the flags of the file deny, so that no decoder takes them."""
    found = set()
    for name, begin, end in _chunks(data, 12, 8 + int.from_bytes(data[4:8], "little")):
        found.add(name)
        if name == b"ANMF":
            found |= {inner for inner, _, _ in _chunks(data, begin + _FRAME_HEADER, end)}
    read = {b"ICCP": metadata.icc, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
    return sorted(found - _KNOWN - {name for name, content in read.items() if content})


#: What stands before the chunks in one of a frame.
_FRAME_HEADER = 16


def _chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of the chunks from ``at`` to ``end``."""
    for _ in range(_MOST_CHUNKS):
        if at + 8 > min(end, len(data)):
            return
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], at + 8, at + 8 + size
        at += 8 + size + size % 2


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    import cv2

    if encoding.lossless:
        # This mode also keeps the colours of transparent pixels.
        parameters = [cv2.IMWRITE_WEBP_LOSSLESS_MODE, cv2.IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR]
    else:
        parameters = [cv2.IMWRITE_WEBP_QUALITY, encoding.quality or opencv.DEFAULT_QUALITY]
    file.write(opencv.imencode(".webp", pixels, parameters, metadata))
    return []


def is_animated(head: bytes) -> bool:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`: a flag of the extended header says so."""
    return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)


def read_frames(source: Source, max_pixels: int) -> Frames:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; libwebp composes the frames."""
    image = pillow.open_image(source.data, format_named(source.format))
    return Frames(plays=int(image.info.get("loop") or 0), parts=_parts(image))


def _parts(image: Image.Image) -> Iterator[FramePart]:
    from fractions import Fraction

    import numpy as np

    with image:
        for number in range(int(getattr(image, "n_frames", 1))):
            image.seek(number)
            pixels = np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]]
            delay = Fraction(int(image.info.get("duration", 0)), 1000)
            yield FramePart(pixels=pixels, left=0, top=0, delay=delay, over=False, disposal="stay")


def write_animation(file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding) -> None:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`.

    Pillow's writer asks for one frame at a time and passes it to libwebp, which keeps only the encoded
    frames.
    """
    quality = opencv.DEFAULT_QUALITY if encoding.quality is None else encoding.quality
    buffer = io.BytesIO()
    _sequence(map(_to_image, frames), len(film.delays)).save(
        buffer,
        "WEBP",
        save_all=True,
        duration=film.ticks(1000),
        loop=film.plays,
        lossless=encoding.lossless,
        quality=100 if encoding.lossless else quality,
        method=4,
        icc_profile=film.metadata.icc or "",
        exif=film.metadata.exif or b"",
        xmp=film.metadata.xmp or "",
    )
    file.write(buffer.getbuffer())


def _sequence(frames: Iterator[Image.Image], count: int) -> Image.Image:
    """``frames`` as a multi-frame image of Pillow; each frame is made when it is asked for.

    It sets attributes that are Pillow's own: ``append_images`` would hold all frames in memory at once.
    """
    from PIL import Image

    class Sequence(Image.Image):
        def __init__(self) -> None:
            super().__init__()
            self.n_frames = count
            self._at = -1
            self._advance()

        def _advance(self) -> None:
            frame = next(frames)
            self._mode, self._size, self.im = frame.mode, frame.size, frame.im
            self._at += 1

        def tell(self) -> int:
            return self._at

        def seek(self, frame: int) -> None:
            if frame == self._at + 1:
                self._advance()

    return Sequence()


def _to_image(frame: Pixels) -> Image.Image:
    """RGB or RGBA for Pillow."""
    import cv2
    from PIL import Image

    channels = 1 if frame.ndim == 2 else frame.shape[2]
    to_rgb = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[channels]
    return Image.fromarray(cv2.cvtColor(frame, to_rgb))
