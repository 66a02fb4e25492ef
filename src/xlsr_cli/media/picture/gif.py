"""What a GIF holds beside frames, in the blocks that Pillow leaves to us."""

from __future__ import annotations

_XMP = b"\x21\xff\x0bXMP DataXMP"
#: XMP specification, part 3, section 1.1.2: the packet stands there as it is, not in blocks; whatever byte
#: of it a reader takes for a block's length, these behind it lead to the end.
_XMP_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"


def gif_xmp(data: bytes) -> bytes | None:
    """The XMP packet of a GIF, None without one."""
    begin = data.find(_XMP)
    end = data.find(_XMP_TRAILER, begin)
    return data[begin + len(_XMP) : end] or None if 0 <= begin < end else None


def xmp_extension(packet: bytes) -> bytes:
    """The packet as a GIF holds it."""
    return _XMP + packet + _XMP_TRAILER


def netscape_extension(repeats: int) -> bytes:
    """How often a GIF is played again, 0 for ever; without it, it is played once."""
    return b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + min(0xFFFF, repeats).to_bytes(2, "little") + b"\0"


def comment_extension(comment: bytes) -> bytes:
    """A comment, in blocks of at most 255 bytes."""
    pieces = [comment[at : at + 255] for at in range(0, len(comment), 255)]
    return b"\x21\xfe" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


#: More blocks than any GIF has before its first picture, and more bytes that are none.
_MOST_BLOCKS = 100_000


def reaches_pixels(data: bytes) -> bool:
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
