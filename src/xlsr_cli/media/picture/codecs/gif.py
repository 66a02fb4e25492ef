"""GIF: blocks are read and written here; Pillow decompresses and compresses pixels.

GIF89a (CompuServe, 1990). Pillow's reader allocates whatever size a picture claims, and composes frames
differently from browsers; its writer collects all frames before it writes the first.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from xlsr_cli.errors import InputError
from xlsr_cli.formats import HEAD_BYTES, Format
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.composing import Disposal, FramePart, Frames, composed
from xlsr_cli.media.picture.damage import damaged, faults_as_damage
from xlsr_cli.media.picture.losses import behind_the_end, unknown
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import bounds, changed, with_channels
from xlsr_cli.media.picture.source import Decoded, Encoding, Film, Source
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

_XMP = b"\x21\xff\x0bXMP DataXMP"
#: XMP specification, part 3, section 1.1.2: the packet is not divided into blocks. A reader that takes any
#: byte of it for a block's length is led to the end by these bytes behind it.
_XMP_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"

#: Pixels that are less opaque become transparent.
_OPAQUE = 128
#: One entry of the palette means transparency.
_COLOURS = 255

_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B
#: Kinds of extensions: how a picture is shown, a comment, text that viewers draw, something of a program.
_CONTROL, _COMMENT, _PLAIN_TEXT, _APPLICATION = 0xF9, 0xFE, 0x01, 0xFF
#: Both of these blocks tell how often it is played.
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
#: The colour profile.
_ICC = b"ICCRGBG1012"
#: No GIF has so many blocks, or so many stray bytes between two of them.
_MOST_BLOCKS, _MOST_JUNK = 500_000, 100_000

#: What happens to a picture afterwards. Browsers treat 4 as 3: an early description of GIF mixed them up.
_DISPOSALS: dict[int, Disposal] = {2: "clear", 3: "restore", 4: "restore"}

#: A palette of different grays: decoding with it gives the palette numbers back.
_NUMBERS = bytes(value for number in range(256) for value in (number, 255 - number, number // 2))


class _Block(NamedTuple):
    """A picture or an extension. ``kind``: :data:`_PICTURE`, or the extension's. ``head``: of a picture, its
    place, size and flags; of an extension, its first sub-block. ``palette``: a picture's own. ``data``: the
    rest, of a picture with LZW's code size in front, sub-blocks with their lengths. ``begin``: where in the
    file. ``whole``: it ends, and so at ``end``."""

    kind: int
    head: bytes
    palette: memoryview
    data: memoryview
    begin: int
    whole: bool
    end: int


class _Picture(NamedTuple):
    """A picture with the fields of the extensions before it. ``delay``: hundredths of a second."""

    left: int
    top: int
    size: Size
    interlaced: bool
    palette: bytes
    data: bytes
    delay: int
    disposal: Disposal
    transparent: int | None


class _Beside(NamedTuple):
    """What a file holds beside its pictures. ``plays``: how often it is played, 0 for ever. ``others``: the
    names of blocks that are not understood. ``end``: of the last block."""

    plays: int
    icc: bytes | None
    comments: list[bytes]
    others: list[bytes]
    end: int


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; no pixels are decoded or allocated."""
    count, first = 0, None
    for picture in _pictures(data):
        first = first or picture
        count += 1
    if first is None:
        raise damaged(name, "it has no pixels")
    size = size_in(data)
    assert size is not None  # a picture follows
    covered = first.left == first.top == 0 and first.size == size
    alpha = first.transparent is not None or not covered
    grays = first.palette[0::3] == first.palette[1::3] == first.palette[2::3]
    beside = _beside(data)
    behind = behind_the_end(data[beside.end :].removeprefix(b";"))
    text = tuple((b"GIF", comment) for comment in beside.comments)
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=size,
        channels=(1 if grays else 3) + alpha,
        pages=count,
        animated=count > 1,
        metadata=Metadata(icc=beside.icc, xmp=_xmp_of(data), text=text),
        notices=(*behind, *unknown("blocks", beside.others, most=4)),
    ).oriented()


def size_in(head: bytes) -> Size | None:
    """The canvas, as far as ``head`` tells: the screen, enlarged if the first picture is larger.

    Browsers do the same, because there are GIFs whose screen has no size.
    """
    if len(head) < 13:
        return None
    width, height = struct.unpack("<HH", head[6:10])
    for block in _blocks(head):
        if block.kind == _PICTURE:
            left, top, wide, high = struct.unpack("<HHHH", block.head[:8])
            return Size(width=max(width, left + wide), height=max(height, top + high))
    return Size(width=width, height=height)


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`: the canvas with the first picture."""
    with faults_as_damage(source.name), pillow.quiet():
        _, canvas = next(composed(read_frames(source, max_pixels).parts, source.stored_size))
    return Decoded(pixels=with_channels(canvas, source.channels))


def read_frames(source: Source, max_pixels: int) -> Frames:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    return Frames(plays=_beside(source.data).plays, parts=_parts(source, max_pixels))


def _parts(source: Source, max_pixels: int) -> Iterator[FramePart]:
    from fractions import Fraction

    for number, picture in enumerate(_pictures(source.data), start=1):
        extent = Size(width=picture.left + picture.size.width, height=picture.top + picture.size.height)
        if extent.pixels > max_pixels:
            raise InputError(
                f"{source.name} claims a frame (number {number}) that reaches to {extent} pixels and "
                f"--max-pixels allows {max_pixels}; raise it if you trust the file"
            )
        yield FramePart(
            pixels=_colored(_numbers(picture), picture),
            left=picture.left,
            top=picture.top,
            delay=Fraction(picture.delay, 100),
            over=True,
            disposal=picture.disposal,
        )


def _numbers(picture: _Picture) -> NDArray[np.uint8]:
    """The palette number of each pixel, decoded by Pillow from a GIF that is made of this picture alone."""
    from PIL import Image

    size = struct.pack("<HH", picture.size.width, picture.size.height)
    flags = bytes([0x40 if picture.interlaced else 0])
    made = b"".join(
        [b"GIF89a", size, b"\xf7\0\0", _NUMBERS, b"\x2c\0\0\0\0", size, flags, picture.data, b"\0;"]
    )
    with pillow.quiet(), Image.open(io.BytesIO(made), formats=["GIF"]) as image:
        return np.asarray(image)


def _colored(numbers: NDArray[np.uint8], picture: _Picture) -> Pixels:
    """uint8 BGRA: colours beyond the palette's end are black, as in browsers."""
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    colors = np.frombuffer(picture.palette, np.uint8).reshape(-1, 3)
    table[: len(colors), :3] = colors[:, ::-1]
    if picture.transparent is not None:
        table[picture.transparent] = 0
    pixels: Pixels = table[numbers]
    return pixels


def _pictures(data: bytes) -> Iterator[_Picture]:
    """Every picture in order, with its palette and how it is shown; ends with one that is cut off."""
    common = data[13 : 13 + _color_table(data[10])] if len(data) > 10 else b""
    grays = bytes(value for number in range(256) for value in (number,) * 3)
    control = b"\0" * 4
    for block in _blocks(data):
        if block.kind == _CONTROL and len(block.head) >= 4:
            control = block.head[:4]
        elif block.kind == _PICTURE:
            left, top, width, height, flags = struct.unpack("<HHHHB", block.head)
            if width and height:
                yield _Picture(
                    left=left,
                    top=top,
                    size=Size(width=width, height=height),
                    interlaced=bool(flags & 0x40),
                    palette=bytes(block.palette) or common or grays,
                    data=bytes(block.data),
                    delay=int.from_bytes(control[1:3], "little"),
                    disposal=_DISPOSALS.get(control[0] >> 2 & 7, "stay"),
                    transparent=control[3] if control[0] & 1 else None,
                )
            control = b"\0" * 4


def _blocks(data: bytes) -> Iterator[_Block]:
    """Every block up to the end; stray bytes between blocks are skipped, as decoders do."""
    view = memoryview(data)
    at = 13 + _color_table(data[10]) if len(data) > 10 else len(data)
    junk = 0
    for _ in range(_MOST_BLOCKS + _MOST_JUNK):
        if at >= len(data) or data[at] == _END or junk > _MOST_JUNK:
            return
        if data[at] == _PICTURE and at + 10 <= len(data):
            kind, head = _PICTURE, data[at + 1 : at + 10]
            begin = at + 10 + _color_table(head[8])
            palette = view[at + 10 : begin]
            end, whole = _end_of(data, begin + 1)  # one byte for LZW's code size
        elif data[at] == _EXTENSION and at + 2 < len(data):
            kind, palette = data[at + 1], view[:0]
            begin = at + 3 + data[at + 2]
            head = data[at + 3 : begin]
            end, whole = _end_of(data, at + 2)
            begin = min(begin, end)
        elif data[at] == _PICTURE:
            return
        else:
            at, junk = at + 1, junk + 1
            continue
        yield _Block(kind, head, palette, view[begin:end], at, whole, end + 1)
        at = end + 1


def _end_of(data: bytes, at: int) -> tuple[int, bool]:
    """Where the sub-blocks that begin at ``at`` end, and whether an empty one ends them as it should."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return (at, True) if at < len(data) else (len(data), False)


def _joined(data: memoryview) -> bytes:
    """The content of sub-blocks."""
    parts, at = [], 0
    while at < len(data) and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts)


def is_animated(head: bytes) -> bool:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    pictures = [block.whole for block in _blocks(head) if block.kind == _PICTURE]
    if len(pictures) > 1:
        return True
    # The first picture, or extensions before it, may fill everything that was read.
    return len(head) >= HEAD_BYTES and (not pictures or not pictures[0])


def _beside(data: bytes) -> _Beside:
    """What blocks hold that are no pictures: of several that tell the same, the first counts."""
    plays, icc, comments, others = None, None, [], []
    end = 13 + (_color_table(data[10]) if len(data) > 10 else 0)
    for block in _blocks(data):
        if data[end : block.begin].strip(b"\0"):
            others.append(b"without a type")
        end = block.end
        content = _joined(block.data) if block.kind in (_COMMENT, _APPLICATION) else b""
        if block.kind == _COMMENT:
            comments.append(block.head + content)
        elif block.kind == _PLAIN_TEXT:
            others.append(b"plain text")
        elif block.kind == _APPLICATION and block.head == _ICC:
            icc = icc or content
        elif block.kind == _APPLICATION and block.head in _LOOPS:
            # It counts repetitions; without this block there are none.
            repeats = int.from_bytes(content[1:3], "little")
            if plays is None and len(content) >= 3 and content[0] == 1:
                plays = repeats + 1 if repeats else 0
        elif block.kind == _APPLICATION and not block.head.startswith((*_LOOPS, b"XMP Data", _ICC)):
            others.append(block.head)
        elif block.kind not in (_PICTURE, _CONTROL, _APPLICATION):
            others.append(b"of type %d" % block.kind)
    return _Beside(1 if plays is None else plays, icc or None, comments, list(dict.fromkeys(others)), end)


def _color_table(flags: int) -> int:
    """How many bytes a colour table takes, by the flags before it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _xmp_of(data: bytes) -> bytes | None:
    """The XMP packet of a GIF, None without one."""
    begin = data.find(_XMP)
    end = data.find(_XMP_TRAILER, begin)
    return data[begin + len(_XMP) : end] or None if 0 <= begin < end else None


def write_animation(file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding) -> None:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`.

    Every frame has its own palette, only the rectangle that changed, and hard edges. Pillow's writer would
    collect all frames before it writes the first; here it only compresses pixels.
    """
    from PIL import GifImagePlugin

    file.write(b"GIF89a" + struct.pack("<HH", film.size.width, film.size.height) + b"\x70\0\0")
    if film.plays != 1:
        repeats = max(0, film.plays - 1).to_bytes(2, "little")
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + repeats + b"\0")
    for name, comment in film.metadata.text:
        if name == b"GIF":
            pieces = [comment[at : at + 255] for at in range(0, len(comment), 255)]
            file.write(b"\x21\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0")
    if film.metadata.xmp is not None:
        file.write(_XMP + film.metadata.xmp + _XMP_TRAILER)
    first = next(frames)
    # Set for every frame, else decoders clear to the background colour instead of to transparency.
    transparency = {"transparency": _COLOURS} if first.ndim == 3 and first.shape[2] == 4 else {}
    canvas = np.zeros((film.size.height, film.size.width, 4), np.uint8)
    delays = film.ticks(100)
    shown = map(_hard_edged, chain([first], frames))
    for (frame, following), delay in zip(pairwise(chain(shown, [None])), delays, strict=True):
        assert frame is not None  # only what follows the last one is
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
    """BGRA whose alpha is 0 or 255; transparent pixels have no colour."""
    if frame.ndim == 2:
        frame = np.dstack([frame] * 3)
    if frame.shape[2] == 3:
        return np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
    hard = frame.copy()
    opaque = frame[..., 3] >= _OPAQUE
    hard[..., 3] = opaque * np.uint8(255)
    hard[~opaque] = 0
    return hard


def _indexed(part: Pixels) -> Image.Image:
    """A palette picture of BGRA, whose last entry means transparency.

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
