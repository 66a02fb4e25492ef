"""What the header of a JPEG XL codestream states (ISO/IEC 18181-1, annex D).

pillow-jxl-plugin tells the size only after it has decoded the pixels, and neither depth nor colours.
"""

from __future__ import annotations

from dataclasses import dataclass

from xlsr_cli.options import Size

CODESTREAM = b"\xff\x0a"
#: Width over height, where the header gives a ratio instead of a width.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_GRAY, _ALPHA, _SPOT, _CFA = 1, 0, 2, 5


@dataclass(frozen=True, kw_only=True)
class Header:
    """``size`` as shown. ``bits`` of a sample. ``others``: channels that are neither colour nor alpha."""

    size: Size
    bits: int = 8
    floating: bool = False
    gray: bool = False
    alpha: bool = False
    others: bool = False
    animated: bool = False


class _Bits:
    """Reads a codestream bit by bit, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(CODESTREAM):
            raise ValueError("no codestream")
        self._data, self._at = data, 16

    def take(self, count: int) -> int:
        """The next ``count`` bits. Raises :class:`IndexError` behind the end."""
        value = 0
        for place in range(count):
            byte = self._data[(self._at + place) >> 3]
            value |= (byte >> ((self._at + place) & 7) & 1) << place
        self._at += count
        return value

    def flag(self) -> bool:
        """One bit."""
        return bool(self.take(1))

    def choice(self, *ways: tuple[int, int]) -> int:
        """The standard's ``U32``: two bits choose how many follow, and what is added to them."""
        base, count = ways[self.take(2)]
        return base + self.take(count)

    def enum(self) -> int:
        """The standard's ``Enum``."""
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


def read(codestream: bytes) -> Header:
    """The header at the beginning of ``codestream``.

    Raises :class:`IndexError` where it breaks off, and :class:`ValueError` where it is none.
    """
    bits = _Bits(codestream)
    size = _size(bits)
    if bits.flag():  # all is as usual
        return Header(size=size)
    if bits.flag():
        swapped = bits.take(3) + 1 > 4
        if bits.flag():
            _size(bits)  # the size that it is meant to be shown in
        if bits.flag():
            raise ValueError("a preview")  # in use nowhere, and its length cannot be skipped
        if bits.flag():
            return Header(size=size, animated=True)
        if swapped:
            size = Size(width=size.height, height=size.width)
    depth, floating = _depth(bits)
    bits.flag()  # whether 16 bits are enough to decode it
    kinds = [_extra_channel(bits) for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12)))]
    bits.flag()  # whether it is coded as XYB
    gray = False
    if not bits.flag():
        bits.flag()  # whether it has an ICC profile
        gray = bits.enum() == _GRAY
    alphas = kinds.count(_ALPHA)
    return Header(
        size=size,
        bits=depth,
        floating=floating,
        gray=gray,
        alpha=alphas > 0,
        others=len(kinds) > min(1, alphas),
    )


def _size(bits: _Bits) -> Size:
    small = bits.flag()

    def side() -> int:
        if small:
            return (bits.take(5) + 1) * 8
        return bits.choice((1, 9), (1, 13), (1, 18), (1, 30))

    height = side()
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        return Size(width=height * across // down, height=height)
    return Size(width=side(), height=height)


def _depth(bits: _Bits) -> tuple[int, bool]:
    """Bits of a sample, and whether they are floating point."""
    if bits.flag():
        depth = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
        return depth, True
    return bits.choice((8, 0), (10, 0), (12, 0), (1, 6)), False


def _extra_channel(bits: _Bits) -> int:
    """Its kind."""
    if bits.flag():
        return _ALPHA
    kind = bits.enum()
    _depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    bits.take(8 * bits.choice((0, 0), (0, 4), (16, 5), (48, 10)))
    if kind == _ALPHA:
        bits.flag()  # whether the colours are multiplied by it
    elif kind == _SPOT:
        bits.take(4 * 16)
    elif kind == _CFA:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))
    return kind
