"""Read a PNG: chunks here, OpenCV decodes pixels (PNG, section 11)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np

from xlsr_cli.formats import Format
from xlsr_cli.media.picture import photoshop
from xlsr_cli.media.picture.codecs import opencv
from xlsr_cli.media.picture.codecs.png.chunks import (
    MOST_CHUNKS,
    SIGNATURE,
    TEXTS,
    XMP,
    Chunk,
    chunks_of,
    make_chunk,
)
from xlsr_cli.media.picture.damage import TRUNCATED, damaged, notices_of, reason_in
from xlsr_cli.media.picture.losses import ASPECT, DAMAGED_PROFILE, behind_the_end, unknown
from xlsr_cli.media.picture.metadata import Metadata, dpi_from_meters
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: IHDR's types of colours: gray, colour, palette, gray + alpha, colour + alpha; the bits that each has.
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}

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
_KNOWN = {b"iCCP", b"cICP", b"eXIf", b"pHYs", *TEXTS, *_COLOR}

#: No PNG has so many chunks beside those of its pixels.
_MOST_BESIDE_PIXELS = 50_000

#: PNG's largest number; players ignore more.
_MOST_FRAMES = 0x7FFFFFFF

#: Profiles and texts are compressed; a small chunk must not decompress without limit.
_MOST_INFLATED = 32 << 20

#: ImageMagick writes at most one of each kind.
_MOST_RAW_PROFILES = 16


def read_header(data: bytes, name: str, format: Format) -> Source:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`; ``detail`` is the transparent gray of a picture
    without alpha, as a sample of the decoded picture."""
    chunks: list[Chunk] = []
    end = len(data)
    for number, chunk in enumerate(chunks_of(data), start=1):
        end = chunk.end if chunk.name == b"IEND" else end
        if chunk.name not in (b"IDAT", b"fdAT"):
            chunks.append(chunk)
        if len(chunks) == _MOST_BESIDE_PIXELS or number == MOST_CHUNKS:
            raise damaged(name, "it has more chunks than any picture")
    if not chunks or chunks[0].name != b"IHDR" or len(chunks[0].content) != 13:
        raise damaged(name, "its PNG header is missing")
    width, height, bits, kind = struct.unpack(">IIBB", chunks[0].content[:10])
    if bits not in _DEPTHS.get(kind, ()) or not 0 < width <= 0x7FFFFFFF or not 0 < height <= 0x7FFFFFFF:
        raise damaged(name, "its PNG header makes no sense")
    found: dict[bytes, bytes] = {}
    for chunk in chunks:
        found.setdefault(chunk.name, bytes(chunk.content))
    metadata = _metadata(found, chunks)
    colored = kind in (_RGB, _RGB_ALPHA) or (kind == _PALETTE and _has_colors(found, metadata.icc))
    alpha = kind in (_GRAY_ALPHA, _RGB_ALPHA) or b"tRNS" in found
    key = None
    if kind == _GRAY and len(found.get(b"tRNS", b"")) >= 2:
        (key,) = struct.unpack(">H", _within(found[b"tRNS"][:2], bits))
        key = key if bits >= 8 else key * 0xFF // ((1 << bits) - 1)
    frames, hides_its_still = _frames_told(chunks_of(data))
    return Source(
        data=data,
        name=name,
        format=format.name,
        stored_size=Size(width=width, height=height),
        channels=(3 if colored else 1) + alpha,
        bits=max(8, bits),
        maximum=0xFFFF if bits == 16 else 0xFF,
        pages=max(1, frames),
        animated=frames > 1 or hides_its_still,
        metadata=metadata,
        notices=(*_notices(found, metadata), *behind_the_end(data[end:])),
        detail=key,
    ).oriented()


def _within(samples: bytes, bits: int) -> bytes:
    """Samples of tRNS without the bits above the depth, which mean nothing (PNG, section 11.3.1.1)."""
    count = len(samples) // 2
    mask = (1 << bits) - 1
    return struct.pack(
        f">{count}H", *(value & mask for value in struct.unpack(f">{count}H", samples[: 2 * count]))
    )


def is_animated(head: bytes) -> bool:
    """See :class:`~xlsr_cli.media.picture.codecs.Codec`: the ``acTL`` chunk stands before the pixels."""
    frames, hides_its_still = _frames_told(chunks_of(head, cut_off=True))
    return frames > 1 or (frames == 1 and hides_its_still)


def _frames_told(chunks: Iterable[Chunk]) -> tuple[int, bool]:
    """How many frames acTL tells of, 1 without it and 0 where that makes no sense; and whether the first
    picture is not one of them: there is no fcTL before its pixels."""
    frames, seen = 1, set()
    for name, content, _, _ in chunks:
        if name in (b"IDAT", b"IEND"):
            return frames, name == b"IDAT" and b"acTL" in seen and b"fcTL" not in seen
        seen.add(name)
        if name == b"acTL" and len(content) >= 4:
            frames = int.from_bytes(content[:4], "big")
            frames = frames if frames <= _MOST_FRAMES else 0
    return frames, False


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


#: The chunks that a decoder needs.
_DECODED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")


def _for_decoding(data: bytes) -> bytes | None:
    """The file without ancillary chunks, about whose faults libpng would complain, and with an end.

    A missing IEND is added. None if a chunk claims more than the file holds: libpng would first allocate the
    claimed size, up to 4 GiB.
    """
    parts: list[bytes | memoryview] = [SIGNATURE]
    for chunk in chunks_of(data, cut_off=True):
        if chunk.name == b"IEND":
            break
        if chunk.name not in _DECODED:
            continue
        if not chunk.whole:
            return None
        if chunk.name == b"tRNS" and data[25] in (_GRAY, _RGB):  # not of a palette
            parts.append(make_chunk(chunk.name, _within(bytes(chunk.content), data[24])))
        else:
            parts.append(memoryview(data)[chunk.begin : chunk.end])
    return b"".join([*parts, make_chunk(b"IEND", b"")])


def _has_colors(found: dict[bytes, bytes], icc: bytes | None) -> bool:
    """Whether a palette holds anything but grays; a profile for colours is only of use with colours."""
    palette = found.get(b"PLTE", b"")
    gray = palette[0::3] == palette[1::3] == palette[2::3]
    return not gray or (icc is not None and icc[16:20] != b"GRAY")


def _metadata(found: dict[bytes, bytes], chunks: list[Chunk]) -> Metadata:
    exif, xmp, iptc, text = found.get(b"eXIf"), None, None, []
    icc, profiles = _inflate(found.get(b"iCCP", b"").partition(b"\0")[2][1:]), 0
    for chunk, content, _, _ in chunks:
        if chunk not in TEXTS:
            continue
        keyword, _, rest = bytes(content).partition(b"\0")
        if keyword == XMP:
            xmp = xmp or _international_text(chunk, rest)
        elif keyword.startswith(b"Raw profile type "):  # ImageMagick's way before PNG had a chunk for it
            profiles += 1
            kind, raw = keyword[17:].lower(), b""
            if profiles <= _MOST_RAW_PROFILES:
                raw = _raw_profile(_international_text(chunk, rest)) or b""
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
