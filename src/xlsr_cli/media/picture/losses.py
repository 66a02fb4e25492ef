"""The notices that several formats share, about what they hold and no output keeps."""

from __future__ import annotations

from collections.abc import Sequence

from xlsr_cli.notices import Notice

#: A resolution without a unit is only an aspect ratio, which is not written.
ASPECT = Notice(code="aspect-dropped", message="its pixels are said not to be square, which is not kept")
#: For a file whose colour profile is incomplete.
DAMAGED_PROFILE = Notice(
    code="icc-dropped",
    message="its colour profile is damaged and not kept, and its colours may look different",
)
EXTRA_CHANNELS = Notice(
    code="extra-channels-dropped", message="channels that are neither colour nor alpha are not kept"
)
#: What :func:`~xlsr_cli.media.picture.pixels.from_floats` does.
FLOAT_CONVERTED = Notice(code="float-converted", message="floating point is read as 16 bits")
GAIN_MAP = Notice(code="gain-map-dropped", message="its gain map for HDR screens is not kept")
#: Colours that are neither sRGB's nor described by a profile.
GAMMA = Notice(
    code="gamma-dropped", message="its gamma and primaries are not kept, and it may look different"
)
MASTERING = Notice(code="mastering-dropped", message="how bright its HDR was mastered is not kept")


#: x and y of white, red, green and blue of sRGB (IEC 61966-2-1), and how far a rounded value may be off.
_SRGB, _NEAR = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06), 0.010001


def are_srgb(chromaticities: Sequence[float]) -> bool:
    """Whether x and y of white, red, green and blue, or without those of white, are sRGB's."""
    pairs = zip(chromaticities, _SRGB[-len(chromaticities) :], strict=True)
    return all(abs(value - usual) <= _NEAR for value, usual in pairs)


def behind_the_end(rest: bytes) -> list[Notice]:
    """The notice of bytes behind the end of a file's own format; none for padding: zeros and white space."""
    if not rest.strip(b"\0 \t\r\n"):
        return []
    return [Notice(code="trailer-dropped", message=f"{len(rest)} bytes behind the picture are not kept")]


def further_pages(pages: int) -> list[Notice]:
    """The notice that only the first of several pictures in a file is taken; none for one picture."""
    message = f"it holds {pages} pictures and only the first is taken"
    return [Notice(code="pages-dropped", message=message)] if pages > 1 else []


def further_frames(frames: int) -> Notice:
    """The notice that only the first frame of an animation is taken, or the still picture before it."""
    return Notice(code="frames-dropped", message=f"it holds {frames} frames and only the first is taken")


def unknown(what: str, names: Sequence[bytes | str], *, most: int = 8, between: str = ", ") -> list[Notice]:
    """The notice of parts of a file ("chunks", "boxes" …) that are not understood; none without any.

    At most so many ``names`` are shown, with ``between`` between them.
    """
    if not names:
        return []
    shown = (
        name if isinstance(name, str) else name.decode("ascii", "backslashreplace").strip()
        for name in names[:most]
    )
    return [Notice(code=f"{what}-dropped", message=f"its {what} {between.join(shown)} are not kept")]


def less_deep(bits: int, kept: int = 8) -> Notice:
    """The notice that samples of ``bits`` are read as ``kept`` bits."""
    return Notice(code="depth-reduced", message=f"{bits} bits are read as {kept}")
