"""What the first directory of a TIFF says about its samples (TIFF 6.0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xlsr_cli.options import Size

#: PhotometricInterpretation.
MIN_IS_WHITE, MIN_IS_BLACK, PALETTE, SEPARATED, YCBCR, CIELAB, CFA = 0, 1, 3, 5, 6, 8, 32803
LINEAR_RAW = 34892

#: SampleFormat.
UNSIGNED, FLOAT = 1, 3

#: ExtraSamples.
_UNSPECIFIED, _ASSOCIATED = 0, 1

#: Bytes that one compressed byte becomes at most: LZW's longest string behind a code of 12 bits.
_MOST_COMPRESSED = {1: 1, 5: 2731, 8: 1032, 32946: 1032, 32773: 64}


@dataclass(frozen=True)
class Facts:
    """``colormap``: (3, N) as tifffile reads it. ``complete``: the file can hold all strips or tiles, and
    names each. ``subsampled``: pixels share a sample of chroma."""

    bits: int
    samples: int
    photometric: int
    format: int
    extra: tuple[int, ...]
    colormap: Any
    tile: Size | None
    complete: bool
    subsampled: bool
    planar: bool

    @property
    def mode(self) -> str:
        """Pillow's name of colours that have to be converted; empty for all others."""
        return {SEPARATED: "CMYK", CIELAB: "LAB"}.get(self.photometric, "")

    @property
    def channels(self) -> int:
        """Of the decoded picture: 1 gray, 2 gray and alpha, 3 colour, 4 colour and alpha."""
        gray = self.photometric in (MIN_IS_WHITE, MIN_IS_BLACK)
        if self.photometric == PALETTE and self.colormap is not None:
            red, green, blue = self.colormap
            gray = bool((red == green).all() and (green == blue).all())
        return (1 if gray else 3) + self.alpha

    @property
    def colors(self) -> int:
        """Samples of a pixel that are colours."""
        return {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, PALETTE: 1, SEPARATED: 4}.get(self.photometric, 3)

    @property
    def alpha(self) -> bool:
        """Whether the first sample after the colours is alpha; also if unnamed, as OpenCV writes it."""
        if self.samples <= self.colors or self.photometric == CIELAB:
            return False
        if self.photometric == SEPARATED and not self.extra:  # most likely a further ink
            return False
        return not self.extra or self.extra[0] != _UNSPECIFIED

    @property
    def premultiplied(self) -> bool:
        """Whether the colours were multiplied by alpha."""
        return self.alpha and self.extra[:1] == (_ASSOCIATED,)

    @property
    def is_beyond_pillow(self) -> bool:
        """Whether Pillow takes the samples for others: it knows no CMYK with alpha, and takes all planes of
        gray with alpha, or of a palette with it, for the first one."""
        return self.alpha and (bool(self.mode) or (self.planar and self.colors == 1))


def facts_in(tags: dict[int, Any], length: int) -> Facts:
    """The facts of a directory in a file of ``length`` bytes. Raises nearly everything on a hostile file."""
    photometric = int(tags.get(262, MIN_IS_BLACK))
    return Facts(
        bits=max(int(bits) for bits in as_tuple(tags.get(258, 1))),
        samples=int(tags.get(277, 1)),
        photometric=photometric,
        format=int(as_tuple(tags.get(339, UNSIGNED))[0]),
        extra=tuple(int(value) for value in as_tuple(tags.get(338, ()))),
        colormap=tags.get(320),
        subsampled=photometric == YCBCR and tags.get(530, (1, 1)) != (1, 1),
        complete=_is_complete(tags, length),
        planar=tags.get(284) == 2,
        tile=Size(width=int(tags[322]), height=int(tags[323])) if {322, 323} <= tags.keys() else None,
    )


def _is_complete(tags: dict[int, Any], length: int) -> bool:
    """Whether a file of ``length`` bytes can hold the picture's strips or tiles, and names each of them."""
    offsets = tags.get(324, tags.get(273))
    if offsets is None:  # JPEG's old kind stands elsewhere
        return True
    width, height, samples = int(tags[256]), int(tags[257]), int(tags.get(277, 1))
    planes = samples if tags.get(284) == 2 else 1
    if 324 in tags:
        needed = -(-width // max(1, int(tags[322]))) * -(-height // max(1, int(tags[323])))
    else:
        needed = -(-height // min(max(1, int(tags.get(278, height))), max(1, height)))
    bits = sum(int(one) for one in as_tuple(tags.get(258, 1))) if planes == 1 else 0
    most = _MOST_COMPRESSED.get(int(tags.get(259, 1)))
    is_shared = tags.get(262) == YCBCR  # chroma may be subsampled
    if most is not None and not is_shared and width * height * bits // 8 > length * most:
        return False
    return len(as_tuple(offsets)) >= needed * planes


def as_tuple(value: Any) -> tuple[Any, ...]:
    """The values of a tag, of which tifffile gives a single one as it is."""
    return value if isinstance(value, tuple) else (value,)
