"""PNG and APNG: chunks are read here, OpenCV decodes pixels; written in bands of rows and frame by frame.

Chunks and filters: Portable Network Graphics, third edition (W3C, 2025), sections 11 and 9. No library
writes a PNG piece by piece: the whole encoded picture would be in memory, and a single thread would compress
it. A zlib stream (RFC 1950) may consist of parts that were compressed separately, as long as each ends on a
byte and only the last is marked as the last.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from xlsr_cli.formats import Format, format_named
from xlsr_cli.media.picture import photoshop
from xlsr_cli.media.picture.codecs import opencv
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, notices_of, reason_in
from xlsr_cli.media.picture.in_order import in_order
from xlsr_cli.media.picture.losses import ASPECT, DAMAGED_PROFILE, behind_the_end, unknown
from xlsr_cli.media.picture.metadata import Metadata, dpi_from_meters, meters_from_dpi
from xlsr_cli.media.picture.pixels import changed, with_channels
from xlsr_cli.media.picture.source import Decoded, Encoding, Film, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import NDArray

    from xlsr_cli.engine.pixels import Pixels
    from xlsr_cli.media.picture.composing import Disposal, FramePart, Frames

_SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: Gray, colour, palette, gray + alpha, colour + alpha: IHDR's colour types.
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}
#: By channels of a decoded picture.
_COLOUR_TYPES = {1: _GRAY, 2: _GRAY_ALPHA, 3: _RGB, 4: _RGB_ALPHA}

_XMP = b"XML:com.adobe.xmp"
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
#: Chunks that decide how colours look, besides the profile; mDCV and cLLI describe the mastering of HDR.
_COLOR = (b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")

#: Chunks without a meaning for the enlarged picture: the pixels and their order, facts about the old samples
#: or the time of their last change, a background colour for viewers, a position on a canvas of the old size,
#: and hints for decoders.
_SPENT = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT", b"hIST", b"sPLT", b"tIME", b"dSIG", b"acTL",
    b"fcTL", b"fdAT", b"bKGD", b"oFFs", b"caNv", b"vpAg", b"iDOT", b"CgBI",
}  # fmt: skip

#: What :func:`read_header` understands.
_KNOWN = {b"iCCP", b"cICP", b"eXIf", b"pHYs", *_TEXT, *_COLOR}

#: No PNG has so many chunks, without and with those of its pixels.
_MOST_CHUNKS, _MOST_WITH_PIXELS = 50_000, 500_000

#: PNG's largest number; players ignore more.
_MOST_FRAMES = 0x7FFFFFFF

#: Profiles and texts are compressed; a small chunk must not decompress without limit.
_MOST_INFLATED = 32 << 20

#: ImageMagick writes at most one of each kind.
_MOST_RAW_PROFILES = 16


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` is the transparent gray of a picture
    without alpha, as a sample of the decoded picture."""
    chunks: list[tuple[bytes, memoryview]] = []
    at = end = len(_SIGNATURE)
    for number, whole in enumerate(_chunks_of(data), start=1):
        at += 12 + len(whole[1])
        end = at if whole[0] == b"IEND" else end
        if whole[0] not in (b"IDAT", b"fdAT"):
            chunks.append(whole)
        if len(chunks) == _MOST_CHUNKS or number == _MOST_WITH_PIXELS:
            raise damaged(name, "it has more chunks than any picture")
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise damaged(name, "its PNG header is missing")
    width, height, bits, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    if bits not in _DEPTHS.get(kind, ()) or not 0 < width <= 0x7FFFFFFF or not 0 < height <= 0x7FFFFFFF:
        raise damaged(name, "its PNG header makes no sense")
    found: dict[bytes, bytes] = {}
    for chunk, content in chunks:
        found.setdefault(chunk, bytes(content))
    metadata = _metadata(found, chunks)
    colored = kind in (_RGB, _RGB_ALPHA) or (kind == _PALETTE and _has_colors(found, metadata.icc))
    alpha = kind in (_GRAY_ALPHA, _RGB_ALPHA) or b"tRNS" in found
    key = None
    if kind == _GRAY and len(found.get(b"tRNS", b"")) >= 2:
        key = _expanded(struct.unpack(">H", _within(found[b"tRNS"][:2], bits))[0], bits)
    frames = struct.unpack(">I", found[b"acTL"][:4])[0] if len(found.get(b"acTL", b"")) == 8 else 1
    frames = frames if 1 <= frames <= _MOST_FRAMES else 1
    hidden = _hides_its_still(name for name, _ in _chunks_of(data))
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=Size(width=width, height=height),
        channels=(3 if colored else 1) + alpha,
        bits=max(8, bits),
        maximum=0xFFFF if bits == 16 else 0xFF,
        pages=frames,
        animated=frames > 1 or hidden,
        metadata=metadata,
        notices=(*_notices(found, metadata), *behind_the_end(data[end:] if b"IEND" in found else b"")),
        detail=key,
    ).oriented()


def _within(samples: bytes, bits: int) -> bytes:
    """Samples of tRNS without the bits above the depth, which mean nothing (PNG, section 11.3.1.1)."""
    count = len(samples) // 2
    mask = (1 << bits) - 1
    return struct.pack(
        f">{count}H", *(value & mask for value in struct.unpack(f">{count}H", samples[: 2 * count]))
    )


def _expanded(key: int, bits: int) -> int:
    """A gray sample of 1, 2 or 4 bits, scaled to 8."""
    return key if bits >= 8 else key * 0xFF // ((1 << bits) - 1)


def is_animated(head: bytes) -> bool:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`: the ``acTL`` chunk stands before the pixels."""
    names, at = [], len(_SIGNATURE)
    while at + 8 <= len(head):
        length, name = struct.unpack(">I4s", head[at : at + 8])
        if name == b"acTL" and length >= 4 and at + 12 <= len(head):
            frames = int(struct.unpack(">I", head[at + 8 : at + 12])[0])
            if not 1 <= frames <= _MOST_FRAMES:
                return False
            if frames > 1:
                return True
        names.append(name)
        if name in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    return _hides_its_still(names)


def _hides_its_still(names: Iterable[bytes]) -> bool:
    """Whether the first picture is not a frame of the animation: there is no fcTL before its pixels."""
    seen = set()
    for name in names:
        if name in (b"IDAT", b"IEND"):
            return name == b"IDAT" and b"acTL" in seen and b"fcTL" not in seen
        seen.add(name)
    return False


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    data = _for_decoding(source.data)
    if data is None:
        raise damaged(source.name, TRUNCATED)
    pixels, messages = opencv.imdecode(data)
    if pixels is None:
        raise damaged(source.name, reason_in(messages, "its pixels cannot be decoded"))
    if source.detail is not None and pixels.ndim == 2:  # OpenCV leaves out the transparent gray
        top = np.iinfo(pixels.dtype).max
        alpha = np.where(pixels == source.detail, 0, top).astype(pixels.dtype)
        pixels = np.dstack([pixels, alpha])
    return Decoded(pixels=pixels, notices=notices_of(messages))


def _for_decoding(data: bytes) -> bytes | None:
    """The file without ancillary chunks, about whose faults libpng would complain, and with an end.

    A missing IEND is added. None if a chunk claims more than the file holds: libpng would first allocate the
    claimed size, up to 4 GiB.
    """
    kept = [b"IHDR", b"PLTE", b"tRNS", b"IDAT"]
    parts: list[bytes | memoryview] = [_SIGNATURE]
    view = memoryview(data)
    at = len(_SIGNATURE)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        if name == b"IEND":
            break
        if name in kept and at + 12 + length > len(data):
            return None
        if name == b"tRNS" and data[25:26] in (b"\0", b"\2"):  # of gray and colour, not of a palette
            parts.append(_make_chunk(name, _within(data[at + 8 : at + 8 + length], data[24])))
        elif name in kept:
            parts.append(view[at : at + 12 + length])
        at += 12 + length
    return b"".join([*parts, _make_chunk(b"IEND", b"")])


def _metadata_chunks(metadata: Metadata) -> list[bytes]:
    """The chunks that hold ``metadata``, in an order in which they may stand between IHDR and the pixels."""
    parts: list[bytes] = []
    if metadata.cicp is not None:
        primaries, transfer, _, full_range = metadata.cicp
        parts.append(
            _make_chunk(b"cICP", bytes((primaries, transfer, 0, full_range)))
        )  # matrix 0: pixels are RGB
    if metadata.icc is not None:
        parts.append(_make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    parts += [_make_chunk(chunk, content) for chunk, content in metadata.color_chunks]
    if metadata.dpi is not None:
        per_meter = [round(meters_from_dpi(value)) for value in metadata.dpi]
        parts.append(_make_chunk(b"pHYs", struct.pack(">IIB", *per_meter, 1)))
    if metadata.exif is not None:
        parts.append(_make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        parts.append(_make_chunk(b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    texts = [
        (b"tEXt", b"Comment\0" + text) if kind == b"PNM" else (kind, text) for kind, text in metadata.text
    ]
    return parts + [_make_chunk(chunk, content) for chunk, content in texts if chunk in _TEXT]


def _make_chunk(name: bytes, content: bytes) -> bytes:
    """One chunk: its length, name, content and checksum (PNG specification, section 5.3)."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _chunks_of(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of every whole chunk, up to :data:`_MOST_WITH_PIXELS`."""
    view = memoryview(data)
    at = len(_SIGNATURE)
    for _ in range(_MOST_WITH_PIXELS):
        if at + 12 > len(data):
            return
        length = int.from_bytes(view[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        yield bytes(view[at + 4 : at + 8]), view[at + 8 : at + 8 + length]
        at += 12 + length


def _has_colors(found: dict[bytes, bytes], icc: bytes | None) -> bool:
    """Whether a palette holds anything but grays; a profile for colours is only of use with colours."""
    palette = found.get(b"PLTE", b"")
    gray = palette[0::3] == palette[1::3] == palette[2::3]
    return not gray or (icc is not None and icc[16:20] != b"GRAY")


def _metadata(found: dict[bytes, bytes], chunks: list[tuple[bytes, memoryview]]) -> Metadata:
    exif, xmp, iptc, text = found.get(b"eXIf"), None, None, []
    icc, profiles = _profile(found.get(b"iCCP")), 0
    for chunk, content in chunks:
        if chunk not in _TEXT:
            continue
        keyword, _, rest = bytes(content).partition(b"\0")
        if keyword == _XMP:
            xmp = xmp or _international_text(chunk, rest)
        elif keyword.startswith(b"Raw profile type "):  # ImageMagick's way before PNG had a chunk for it
            profiles += 1
            raw = (
                b""
                if profiles > _MOST_RAW_PROFILES
                else _raw_profile(_international_text(chunk, rest)) or b""
            )
            kind = keyword[17:].lower()
            if kind in (b"exif", b"app1") and raw.startswith(b"Exif\0\0"):
                exif = exif or raw[6:]
            elif kind == b"xmp" and raw:
                xmp = xmp or raw
            elif kind == b"iptc" and raw:
                iptc = iptc or (photoshop.resource(raw, photoshop.IPTC) if raw[:4] == b"8BIM" else raw)
            elif kind in (b"icc", b"icm") and raw:
                icc = icc or raw
            else:
                text.append((chunk, bytes(content)))
        else:
            text.append((chunk, bytes(content)))
    cicp = found.get(b"cICP", b"")
    return Metadata(
        icc=icc,
        cicp=(cicp[0], cicp[1], cicp[2], cicp[3]) if len(cicp) == 4 else None,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
        xmp=xmp.rstrip(b"\0") if xmp else None,
        iptc=iptc,
        dpi=_dpi(found.get(b"pHYs", b"")),
        color_chunks=tuple((chunk, found[chunk]) for chunk in _COLOR if chunk in found),
        text=tuple(text),
    )


def _notices(found: dict[bytes, bytes], metadata: Metadata) -> tuple[Notice, ...]:
    notices = []
    if b"iCCP" in found and metadata.icc is None:
        notices.append(DAMAGED_PROFILE)
    notices += unknown("chunks", sorted(set(found) - _SPENT - _KNOWN), between=" ")
    density = found.get(b"pHYs", b"")
    if len(density) == 9 and density[8] == 0 and density[:4] != density[4:8]:
        notices.append(ASPECT)
    return tuple(notices)


def _dpi(content: bytes) -> tuple[float, float] | None:
    if len(content) != 9 or content[8] != 1:  # other units give only an aspect ratio
        return None
    x, y = struct.unpack(">II", content[:8])
    return (dpi_from_meters(x), dpi_from_meters(y)) if x and y else None


def _profile(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    _, _, rest = content.partition(b"\0")
    return _inflate(rest[1:])


def _international_text(chunk: bytes, rest: bytes) -> bytes | None:
    """The content of a text chunk behind its keyword."""
    if chunk == b"tEXt":
        return rest
    if chunk == b"zTXt":
        return _inflate(rest[1:])
    compressed, tail = rest[:1] == b"\1", rest[2:]
    _, _, tail = tail.partition(b"\0")  # language
    _, _, tail = tail.partition(b"\0")  # translated keyword
    return _inflate(tail) if compressed else tail


def _raw_profile(text: bytes | None) -> bytes | None:
    """Lines of: a name, the length, hexadecimal digits."""
    try:
        _, length, *digits = (text or b"").strip().split(b"\n", 2)
        return bytes.fromhex(b"".join(digits).decode("ascii"))[: int(length)]
    except ValueError:
        return None


def _inflate(data: bytes) -> bytes | None:
    """Decompress ``data``; None if it is damaged or too large: a part of a profile or packet is useless."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, _MOST_INFLATED)
    except zlib.error:
        return None
    return content if stream.eof and content else None


# Writing.

#: Bytes of pixels that are compressed separately, and that are filtered at a time. Each of the former costs a
#: new start of the compressor; the latter should stay in a core's cache.
_BAND_BYTES, _FILTERED_BYTES = 1 << 20, 1 << 16

_PAETH = 4

#: Measured on enlarged photographs, drawings and text: with Paeth's filter this is as fast as libpng's own
#: default and gives the smallest files of all strategies up to level 3, which takes more than twice as long.
_LEVEL, _STRATEGY, _MEMORY_LEVEL = 1, zlib.Z_RLE, 9

#: Deflate with a window of 32 KiB, fastest (RFC 1950, section 2.2).
_ZLIB_HEADER = b"\x78\x01"


class _Compressed(NamedTuple):
    """The part of the zlib stream for a band, with ``checksum`` and ``length`` of the filtered bytes."""

    data: bytes
    checksum: int
    length: int


def write(file: BinaryIO, pixels: Pixels, metadata: Metadata, encoding: Encoding) -> list[Notice]:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; the encoded picture is never complete in memory."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else int(pixels.shape[2])
    kind = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
    file.write(_SIGNATURE + _make_chunk(b"IHDR", kind))
    for chunk in _metadata_chunks(metadata):
        file.write(chunk)
    rows = max(1, _BAND_BYTES // max(1, int(pixels[0].nbytes)))
    bands = range(0, height, rows)
    checksum, prefix = zlib.adler32(b""), _ZLIB_HEADER
    for band in in_order(partial(_compressed, pixels, rows), bands, encoding.threads):
        checksum = _joined(checksum, band.checksum, band.length)
        file.write(_make_chunk(b"IDAT", prefix + band.data))
        prefix = b""
    file.write(_make_chunk(b"IDAT", struct.pack(">I", checksum)) + _make_chunk(b"IEND", b""))
    return []


def _compressed(pixels: Pixels, rows: int, top: int) -> _Compressed:
    """The ``rows`` from ``top`` on, each with its filter in front."""
    filtered = _filtered(pixels, top, min(top + rows, pixels.shape[0])).data
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, _MEMORY_LEVEL, _STRATEGY)
    last = top + rows >= pixels.shape[0]
    data = stream.compress(filtered) + stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
    return _Compressed(data, zlib.adler32(filtered), filtered.nbytes)


def _filtered(pixels: Pixels, top: int, bottom: int) -> NDArray[np.uint8]:
    """Rows ``top`` to ``bottom`` as PNG has them before compression, (rows, 1 + bytes of a row) uint8."""
    stored = _as_stored(pixels[max(0, top - 1) : bottom])
    if top == 0:  # above the first row everything is zero
        stored = np.concatenate([np.zeros_like(stored[:1]), stored])
    filtered = np.empty((bottom - top, 1 + stored.shape[1]), np.uint8)
    filtered[:, 0] = _PAETH
    step = int(pixels[0, 0].nbytes)
    at_once = max(1, _FILTERED_BYTES // stored.shape[1])
    for first in range(0, bottom - top, at_once):
        rows = stored[first : first + at_once + 1]
        np.subtract(rows[1:], _predicted(rows, step), out=filtered[first : first + at_once, 1:])
    return filtered


def _as_stored(pixels: Pixels) -> NDArray[np.uint8]:
    """(rows, bytes of a row) uint8: RGB order, the more significant byte first."""
    import cv2

    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        pixels = np.asarray(cv2.cvtColor(pixels, order))
    stored = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
    return stored.view(np.uint8).reshape(stored.shape[0], -1)


def _predicted(rows: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """What Paeth's filter expects of all rows but the first.

    Of the bytes to the left (``step`` before), above, and above to the left it is the one nearest to
    left + above - corner, in a tie the one named first.
    """
    above = rows[:-1]
    left, corner = np.zeros_like(above), np.zeros_like(above)
    left[:, step:] = rows[1:, :-step]
    corner[:, step:] = above[:, :-step]
    from_left = np.subtract(above, corner, dtype=np.int16)
    from_above = np.subtract(left, corner, dtype=np.int16)
    from_corner = np.abs(from_left + from_above)
    np.abs(from_left, out=from_left)
    np.abs(from_above, out=from_above)
    # Masks of 0 and 255 choose four times as fast as numpy.where.
    chosen: NDArray[np.uint8] = corner ^ ((corner ^ above) & _mask(from_above <= from_corner))
    is_left = (from_left <= from_above) & (from_left <= from_corner)
    return chosen ^ ((chosen ^ left) & _mask(is_left))


def _mask(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """255 where ``chosen``, else 0."""
    return np.negative(chosen.view(np.uint8))


#: The modulus of Adler's checksum.
_ADLER = 65521


def _joined(first: int, second: int, length: int) -> int:
    """Adler's checksum of two pieces from those of each; ``length`` is the second's."""
    # The low halves are sums plus one, the high halves sums of those.
    low = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _ADLER
    high = ((first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)) % _ADLER
    return high << 16 | low


# Animations.


#: fcTL's numbers for what happens to a frame afterwards.
_DISPOSALS: dict[int, Disposal] = {0: "stay", 1: "clear", 2: "restore"}


class _Frame(NamedTuple):
    """An fcTL chunk (PNG, section 11.3.6.2) and the pixel data behind it, which is that of a PNG."""

    control: bytes
    data: list[memoryview]


def read_frames(source: Source, max_pixels: int) -> Frames:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`."""
    from xlsr_cli.media.picture.composing import Frames

    before: dict[bytes, memoryview] = {}
    for name, content in _chunks_of(source.data):
        if name in (b"IDAT", b"IEND"):
            break
        before.setdefault(name, content)
    count, plays = struct.unpack(">II", before[b"acTL"][:8])
    return Frames(plays=plays, still=b"fcTL" not in before, parts=_parts(source, before, count, max_pixels))


def _parts(
    source: Source, before: dict[bytes, memoryview], count: int, max_pixels: int
) -> Iterator[FramePart]:
    """The frames, decoded one by one. Raises :class:`ValueError` where one is damaged or missing."""
    from fractions import Fraction

    from xlsr_cli.media.picture.composing import FramePart

    found = 0
    for found, frame in enumerate(_frames(source.data), start=1):
        width, height, left, top, number, denominator, disposal, blend = struct.unpack(
            ">IIIIHHBB", frame.control[4:]
        )
        if left + width > source.stored_size.width or top + height > source.stored_size.height:
            raise ValueError("a frame lies outside of the canvas")
        yield FramePart(
            pixels=_decoded(frame, width, height, before, source.name, max_pixels),
            left=left,
            top=top,
            delay=Fraction(number, denominator or 100),
            over=blend == 1,
            disposal=_DISPOSALS[disposal],
        )
        if found == count:
            return
    raise ValueError(f"{found} frames of {count} are there")


def _frames(data: bytes) -> Iterator[_Frame]:
    """Each fcTL with its data. Raises :class:`ValueError` where their numbers are not in order."""
    frame: _Frame | None = None
    expected = 0
    for name, content in _chunks_of(data):
        if name in (b"fcTL", b"fdAT"):
            if int.from_bytes(content[:4], "big") != expected:
                raise ValueError("its frames are not in order")
            expected += 1
        if name in (b"fcTL", b"IEND") and frame is not None and frame.data:
            yield frame
            frame = None
        if name == b"fcTL":
            frame = _Frame(control=bytes(content), data=[])
        elif name == b"fdAT" and frame is not None:
            frame.data.append(content[4:])
        elif name == b"IDAT" and frame is not None:
            frame.data.append(content)
    if frame is not None and frame.data:
        yield frame


def _decoded(
    frame: _Frame, width: int, height: int, before: dict[bytes, memoryview], name: str, max_pixels: int
) -> Pixels:
    """The pixels of a frame, uint8 BGRA: a PNG is made of it and decoded."""
    header = struct.pack(">II", width, height) + bytes(before[b"IHDR"][8:])
    parts = [_SIGNATURE, _make_chunk(b"IHDR", header)]
    parts += [_make_chunk(kind, bytes(before[kind])) for kind in (b"PLTE", b"tRNS") if kind in before]
    parts += [_make_chunk(b"IDAT", bytes(content)) for content in frame.data]
    still = read_header(b"".join([*parts, _make_chunk(b"IEND", b"")]), name, format_named("png"))
    decoded = read_pixels(still, max_pixels)
    if decoded.notices:
        raise ValueError(decoded.notices[0].message)
    pixels = with_channels(with_channels(decoded.pixels, still.channels), 4)
    return pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)


def write_animation(file: BinaryIO, film: Film, frames: Iterator[Pixels], encoding: Encoding) -> None:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`.

    Every frame after the first is the rectangle that changed, which replaces the old one. Pillow's writer
    would collect all frames before it writes the first.
    """
    import cv2

    before: Pixels | None = None
    sequence = 0
    for frame, delay in zip(frames, film.delays, strict=True):
        rows, columns = (
            (slice(0, frame.shape[0]), slice(0, frame.shape[1])) if before is None else changed(before, frame)
        )
        part = np.ascontiguousarray(frame[rows, columns])
        encoded = bytes(cv2.imencode(".png", part)[1])
        if before is None:
            _write_head(file, encoded, film)
        height, width = part.shape[:2]
        place = (columns.start, rows.start)
        control = struct.pack(">IIIII", sequence, width, height, *place) + _fraction(delay) + b"\0\0"
        file.write(_make_chunk(b"fcTL", control))
        sequence += 1
        for content in _pixel_data(encoded):
            if before is None:
                file.write(_make_chunk(b"IDAT", content))
            else:
                file.write(_make_chunk(b"fdAT", struct.pack(">I", sequence) + content))
                sequence += 1
        before = frame
    file.write(_make_chunk(b"IEND", b""))


def _write_head(file: BinaryIO, encoded: bytes, film: Film) -> None:
    """Everything in front of the pixels: the header of ``encoded``, metadata, how many frames there are."""
    begin = len(_SIGNATURE) + 12 + 13
    file.write(encoded[:begin])
    for chunk in _metadata_chunks(film.metadata):
        file.write(chunk)
    for name, content in _chunks_of(encoded):
        if name == b"IDAT":
            break
        if name != b"IHDR":
            file.write(_make_chunk(name, bytes(content)))
    file.write(_make_chunk(b"acTL", struct.pack(">II", len(film.delays), film.plays)))


def _pixel_data(encoded: bytes) -> Iterator[bytes]:
    return (bytes(content) for name, content in _chunks_of(encoded) if name == b"IDAT")


def _fraction(delay: Fraction) -> bytes:
    """Numerator and denominator in 16 bits each; the nearest that fits for delays beyond minutes."""
    from fractions import Fraction  # loads decimal arithmetic, which still pictures do not need

    most = 0xFFFF
    fitting = min(delay, Fraction(most))
    denominator = most
    while fitting.numerator > most or fitting.denominator > most:
        fitting = delay.limit_denominator(denominator)
        denominator //= 2
    return struct.pack(">HH", fitting.numerator, fitting.denominator)
