"""The quantizer of a lossy WebP. FFmpeg's ``trace_headers`` reads no WebP, and no other library tells it.

It is near the beginning of the first partition of a VP8 frame, which is coded arithmetically: RFC 6386,
sections 7 (the decoder), 9.2 to 9.6 and 19.2 (the fields before it).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.restore import Compression, Quantizers, by_quantizer, by_scale
from xlsr_cli.media.compression import again

_LIMITS = Quantizers("WebP", 127, by_scale((-12, 36, 16), (-26, 27, 18), (-21, 26, 14)))
_FRAME_TAG, _KEY_FRAME_START = 3, b"\x9d\x01\x2a"
#: Where the frame's width and height stand; the two highest bits are scales for a player.
_SIZE_AT, _SIZE_BITS = (6, 8), 0x3FFF
_ANIMATION_HEAD, _MOST_CHUNKS = 16, 100


def compression_of(data: bytes, scale: int) -> tuple[Compression | None, str]:
    """By VP8's quantizer and the bits a pixel; None where the picture is lossless."""
    frame = _frame(data)
    quantizer = _quantizer(frame)
    if quantizer is None:
        return None, ""
    width, height = (int.from_bytes(frame[at : at + 2], "little") & _SIZE_BITS for at in _SIZE_AT)
    return by_quantizer(_LIMITS, scale, quantizer, 8 * len(frame) / max(1, width * height)), ""


def compressed_alike(pixels: Pixels, value: float) -> Pixels:
    """By VP8's quantizer ``value``."""
    return again.by_quantizer(".webp", cv2.IMWRITE_WEBP_QUALITY, pixels, value, quantizer_of)


def quantizer_of(data: bytes) -> int | None:
    """VP8's quantizer index, 0 to 127, of the WebP ``data`` (of an animation's first frame).

    It is the mean over the segments if they have their own. None if the picture is lossless or damaged.
    """
    return _quantizer(_frame(data))


def _frame(data: bytes) -> bytes:
    """The first VP8 frame of the WebP ``data``; empty if there is none."""
    for kind, content in _chunks(data, 12):
        if kind == b"ANMF":
            return next((frame for name, frame in _chunks(content, _ANIMATION_HEAD) if name == b"VP8 "), b"")
        if kind == b"VP8 ":
            return content
    return b""


def _chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _quantizer(frame: bytes) -> int | None:
    start = _FRAME_TAG + len(_KEY_FRAME_START) + 4
    if frame[3:6] != _KEY_FRAME_START or len(frame) < start + 16:
        return None
    bits = _Bits(frame[start : start + 64])
    bits.read(2)  # colour space, clamping
    own: list[int] = []
    absolute = False
    if bits.read(1):  # segments
        update_map, update_data = bits.read(1), bits.read(1)
        if update_data:
            absolute = bool(bits.read(1))
            own = [bits.signed(7) if bits.read(1) else 0 for _ in range(4)]
            for _ in range(4):
                if bits.read(1):
                    bits.signed(6)
        if update_map:
            for _ in range(3):
                if bits.read(1):
                    bits.read(8)
    bits.read(1 + 6 + 3)  # the loop filter's kind, level and sharpness
    if bits.read(1) and bits.read(1):
        for _ in range(8):
            if bits.read(1):
                bits.signed(6)
    bits.read(2)  # how many partitions
    base = bits.read(7)
    if not own:
        return base
    mean = sum(own) / len(own) + (0 if absolute else base)
    return round(min(127, max(0, mean)))


class _Bits:
    """VP8's arithmetic decoder, for bits with equal probabilities of 0 and 1."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at, self._value, self._range, self._shifted = 2, int.from_bytes(data[:2], "big"), 255, 0

    def read(self, count: int) -> int:
        """The next ``count`` bits, the highest first."""
        value = 0
        for _ in range(count):
            value = 2 * value + self._bit()
        return value

    def signed(self, count: int) -> int:
        """A number of ``count`` bits with its sign behind it."""
        value = self.read(count)
        return -value if self._bit() else value

    def _bit(self) -> int:
        split = 1 + ((self._range - 1) * 128 >> 8)
        large = split << 8
        bit = self._value >= large
        if bit:
            self._range -= split
            self._value -= large
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                self._value |= self._data[self._at] if self._at < len(self._data) else 0
                self._at += 1
        return int(bit)
