"""The chunks of a PNG, read and written (Portable Network Graphics, third edition, W3C, 2025, section 5)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from xlsr_cli.media.picture.metadata import Metadata, meters_from_dpi

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: The keyword of the text that is an XMP packet, and the chunks with texts.
XMP, TEXTS = b"XML:com.adobe.xmp", (b"tEXt", b"zTXt", b"iTXt")

#: No PNG has so many chunks.
MOST_CHUNKS = 500_000


class Chunk(NamedTuple):
    """``begin``: where in the file. ``whole``: all of it is there, with its checksum."""

    name: bytes
    content: memoryview
    begin: int
    whole: bool

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.begin + 12 + len(self.content)


def chunks_of(data: bytes, *, cut_off: bool = False) -> Iterator[Chunk]:
    """Every whole chunk up to :data:`MOST_CHUNKS`, and the last one also if it is ``cut_off``."""
    view = memoryview(data)
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        length = int.from_bytes(view[at : at + 4], "big")
        whole = at + 12 + length <= len(data)
        if not whole and (not cut_off or at + 8 > len(data)):
            return
        chunk = Chunk(bytes(view[at + 4 : at + 8]), view[at + 8 : at + 8 + length], at, whole)
        yield chunk
        at = chunk.end


def make_chunk(name: bytes, content: bytes) -> bytes:
    """One chunk: its length, name, content and checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def metadata_chunks(metadata: Metadata) -> list[bytes]:
    """The chunks that hold ``metadata``, in an order in which they may stand between IHDR and the pixels."""
    parts: list[bytes] = []
    if metadata.cicp is not None:
        primaries, transfer, _, full_range = metadata.cicp
        rgb = bytes((primaries, transfer, 0, full_range))  # matrix 0
        parts.append(make_chunk(b"cICP", rgb))
    if metadata.icc is not None:
        parts.append(make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)))
    parts += [make_chunk(chunk, content) for chunk, content in metadata.color_chunks]
    if metadata.dpi is not None:
        per_meter = [round(meters_from_dpi(value)) for value in metadata.dpi]
        parts.append(make_chunk(b"pHYs", struct.pack(">IIB", *per_meter, 1)))
    if metadata.exif is not None:
        parts.append(make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        parts.append(make_chunk(b"iTXt", XMP + b"\0\0\0\0\0" + metadata.xmp))
    texts = [
        (b"tEXt", b"Comment\0" + text) if kind == b"PNM" else (kind, text) for kind, text in metadata.text
    ]
    return parts + [make_chunk(chunk, content) for chunk, content in texts if chunk in TEXTS]
