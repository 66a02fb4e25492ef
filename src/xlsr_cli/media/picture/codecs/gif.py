"""GIF: Pillow decodes and compresses pixels; the blocks around them that it leaves out stand here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from xlsr_cli.formats import HEAD_BYTES, Format
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.damage import damaged
from xlsr_cli.media.picture.pixels import bounds, changed
from xlsr_cli.media.picture.source import Encoding, Film, Source

if TYPE_CHECKING:
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

#: Pillow makes room for the first frame when it opens a file; for more than this it shall not.
_MOST_PIXELS = 1 << 29

_XMP = b"\x21\xff\x0bXMP DataXMP"
#: XMP specification, part 3, section 1.1.2: the packet stands there as it is, not in blocks; whatever byte
#: of it a reader takes for a block's length, these behind it lead to the end.
_XMP_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"


#: What is less opaque becomes transparent.
_OPAQUE = 128
#: One entry of the palette stands for transparency.
_COLOURS = 255

read_pixels = pillow.read_pixels


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    if not _reaches_pixels(data):
        raise damaged(name, "it has no pixels")
    return pillow.read_header(data, name, format, describe=_described, max_pixels=_MOST_PIXELS)


def _described(source: Source, image: Image.Image) -> Source:
    comment = image.info.get("comment")
    text = ((b"GIF", comment),) if isinstance(comment, bytes) else ()
    metadata = replace(source.metadata, xmp=_xmp_of(source.data), text=text)
    return replace(source, metadata=metadata, animated=source.pages > 1).oriented()


def is_animated(head: bytes) -> bool:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    frames = _count_frames(head)
    return frames > 1 or (frames == 0 and len(head) >= HEAD_BYTES)


def _xmp_of(data: bytes) -> bytes | None:
    """The XMP packet of a GIF, None without one."""
    begin = data.find(_XMP)
    end = data.find(_XMP_TRAILER, begin)
    return data[begin + len(_XMP) : end] or None if 0 <= begin < end else None


def _xmp_extension(packet: bytes) -> bytes:
    """The packet as a GIF holds it."""
    return _XMP + packet + _XMP_TRAILER


def _netscape_extension(repeats: int) -> bytes:
    """How often a GIF is played again, 0 for ever; without it, it is played once."""
    return b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + min(0xFFFF, repeats).to_bytes(2, "little") + b"\0"


def _comment_extension(comment: bytes) -> bytes:
    """A comment, in blocks of at most 255 bytes."""
    pieces = [comment[at : at + 255] for at in range(0, len(comment), 255)]
    return b"\x21\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


#: More blocks than any GIF has before its first picture, and more bytes that are none.
_MOST_BLOCKS = 100_000


def _reaches_pixels(data: bytes) -> bool:
    """Whether a picture follows; decoders look for one in all of the file, byte by byte."""
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    for _ in range(_MOST_BLOCKS):
        if at >= len(data) or data[at] == _END:
            return False
        if data[at] == _PICTURE:
            return True
        if data[at] != _EXTENSION:
            at += 1
            continue
        at += 2
        for _ in range(_MOST_BLOCKS):
            if at >= len(data) or not data[at]:
                break
            at += 1 + data[at]
        at += 1
    return False


_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B


def _count_frames(head: bytes) -> int:
    """1 or 2 (for two or more) frames; 0 where ``head`` ends before that can be told."""
    if len(head) < 13:
        return 0
    at = 13 + _color_table(head[10])
    frames = 0
    while at < len(head):
        block = head[at]
        if block == 0x3B:
            return min(frames, 2) or 1
        if block == 0x2C:
            frames += 1
            if frames == 2:
                return 2
            if at + 10 > len(head):
                return 0
            at += 11 + _color_table(head[at + 9])  # the byte after the table is LZW's code size
        elif block == 0x21:
            at += 2
        else:
            return 1  # not GIF any more: decoders stop here too
        while at < len(head) and head[at]:
            at += 1 + head[at]
        at += 1
    return 0


def _color_table(flags: int) -> int:
    """How many bytes a GIF's colour table takes, by its packed flags."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def plays_of(loop: int | None) -> int:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; the block counts repetitions, without it is none."""
    return 1 if loop is None else 0 if loop == 0 else int(loop) + 1


def write_animation(file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding) -> None:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`.

    A palette for every frame, the rectangle that changed, and hard edges. Pillow's writer collects every
    frame before it writes the first: it compresses the pixels here, and the blocks around them are ours.
    """
    from PIL import GifImagePlugin

    file.write(b"GIF89a" + struct.pack("<HH", film.size.width, film.size.height) + b"\x70\0\0")
    if film.plays != 1:
        file.write(_netscape_extension(max(0, film.plays - 1)))
    for name, comment in film.metadata.text:
        if name == b"GIF":
            file.write(_comment_extension(comment))
    if film.metadata.xmp is not None:
        file.write(_xmp_extension(film.metadata.xmp))
    first = next(frames)
    # Said of every frame, or decoders clear to the background's colour instead of to nothing.
    transparency = {"transparency": _COLOURS} if first.ndim == 3 and first.shape[2] == 4 else {}
    canvas = np.zeros((film.size.height, film.size.width, 4), np.uint8)
    delays = film.ticks(100)
    for (frame, following), delay in zip(
        _with_next(map(_hard_edged, chain([first], frames))), delays, strict=True
    ):
        # A pixel that becomes transparent can only be cleared by clearing this whole frame.
        cleared = following is not None and bool(np.any(frame[..., 3] > following[..., 3]))
        rows, columns = bounds(frame[..., 3] > 0) if cleared else changed(canvas, frame)
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
    from PIL import Image

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
