"""Tags of a video: colours, HDR metadata and rotation."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import av
from av.sidedata.sidedata import Type as SideDataType

from xlsr_cli.media.video.pyav import side_data
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: ``AVCOL_*_UNSPECIFIED`` of FFmpeg; for the range it is 0.
_UNSPECIFIED = 2
RANGE_UNSPECIFIED, RANGE_LIMITED, RANGE_FULL = 0, 1, 2
_RGB, _BT709, _BT601 = 0, 1, 6
#: For a video without tags, players assume BT.601 up to this many lines and BT.709 above; some of them also
#: assume BT.709 from this many columns on.
_SMALL_LINES, _SMALL_COLUMNS = 576, 1279


@dataclass(frozen=True, kw_only=True)
class ColorTags:
    """The four colour tags, by the numbers of ITU-T H.273 (2 is unspecified); ``range`` is FFmpeg's:
    0 unspecified, 1 limited, 2 full."""

    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    matrix: int = _UNSPECIFIED
    range: int = RANGE_UNSPECIFIED

    def matrix_for(self, size: Size) -> int:
        """The matrix of frames of ``size`` in Y′CbCr: what is said, or what players assume."""
        if self.matrix not in (_RGB, _UNSPECIFIED):
            return self.matrix
        return _BT601 if size.height <= _SMALL_LINES else _BT709

    def enlarged(self, source: Size, target: Size, *, family: str, becomes: str) -> ColorTags:
        """The tags of the result: frames of ``source`` become ``target``, and their colours, gray, yuv or
        rgb as ``family`` says, those of ``becomes``.

        A small film without tags becomes one that is large enough to be read by another matrix: it says then
        which one was meant.
        """
        if family == "rgb" and becomes != "rgb":
            return replace(self, matrix=self.matrix_for(target), range=RANGE_LIMITED)
        if becomes == "rgb":
            return self if family == "rgb" else replace(self, matrix=_RGB, range=RANGE_FULL)
        large = target.height > _SMALL_LINES or target.width > _SMALL_COLUMNS
        if self.matrix == _UNSPECIFIED and family == "yuv" and source.height <= _SMALL_LINES and large:
            return replace(self, matrix=_BT601)
        return self


SILENT = ColorTags()


def color_tags(context: av.VideoCodecContext, frame: av.VideoFrame) -> ColorTags:
    """The tags of the container; those that it lacks are taken from the first frame."""

    def first(*values: int, silent: int = _UNSPECIFIED) -> int:
        return next((value for value in values if value not in (silent, 0)), silent)

    full = RANGE_FULL if frame.format.name.startswith("yuvj") else RANGE_UNSPECIFIED
    return ColorTags(
        primaries=first(context.color_primaries, frame.color_primaries),
        transfer=first(context.color_trc, frame.color_trc),
        matrix=_matrix(context, frame),
        range=first(context.color_range, frame.color_range, full, silent=RANGE_UNSPECIFIED),
    )


def _matrix(context: av.VideoCodecContext, frame: av.VideoFrame) -> int:
    """The matrix; 0 is a real one (RGB), which is why it is not treated as silence for RGB frames."""
    if frame.format.is_rgb:
        return 0
    said = (context.colorspace, frame.colorspace)
    return next((matrix for matrix in said if matrix not in (_UNSPECIFIED, 0)), _UNSPECIFIED)


# HDR10


@dataclass(frozen=True, kw_only=True)
class Hdr:
    """HDR10 metadata in the notation of each encoder; empty if there are none."""

    x26x: str = ""
    svtav1: str = ""

    def __bool__(self) -> bool:
        return bool(self.x26x)


def hdr_of(frame: av.VideoFrame) -> Hdr:
    """Mastering display and content light level (SMPTE ST 2086, CTA-861.3) of a decoded frame."""
    data = {side.type: bytes(side) for side in side_data(frame)}
    x26x, svtav1 = [], []
    mastering = _mastering(data.get(SideDataType.MASTERING_DISPLAY_METADATA, b""))
    if mastering is not None:
        (red, green, blue, white), (low, high) = mastering
        # x264 and x265 count chromaticity in 1/50000 and luminance in 1/10000 cd/m².
        points = {"G": green, "B": blue, "R": red, "WP": white}
        x26x.append(
            "master-display="
            + "".join(f"{name}({round(x * 50000)},{round(y * 50000)})" for name, (x, y) in points.items())
            + f"L({round(high * 10000)},{round(low * 10000)})"
        )
        svtav1.append(
            "mastering-display="
            + "".join(f"{name}({float(x):.5f},{float(y):.5f})" for name, (x, y) in points.items())
            + f"L({float(high):.4f},{float(low):.4f})"
        )
    light = data.get(SideDataType.CONTENT_LIGHT_LEVEL, b"")
    if len(light) >= 8:
        most, average = struct.unpack("=II", light[:8])
        x26x.append(f"max-cll={most},{average}")
        svtav1.append(f"content-light={most},{average}")
    return Hdr(x26x=":".join(x26x), svtav1=":".join(svtav1))


_Point = tuple[Fraction, Fraction]


def _mastering(data: bytes) -> tuple[tuple[_Point, _Point, _Point, _Point], tuple[Fraction, Fraction]] | None:
    """(R, G, B, white), (darkest, brightest) from ``AVMasteringDisplayMetadata``, or None if incomplete.

    The struct is ten AVRational (R, G, B and white point as x, y; then min and max luminance) and two
    int flags: has_primaries, has_luminance.
    """
    if len(data) < 88:
        return None
    numbers = struct.unpack("=22i", data[:88])
    pairs = list(zip(numbers[0:20:2], numbers[1:20:2], strict=True))
    if not (numbers[20] and numbers[21]) or any(below == 0 for _, below in pairs):
        return None
    ratios = [Fraction(above, below) for above, below in pairs]
    red, green, blue, white = ((ratios[i], ratios[i + 1]) for i in range(0, 8, 2))
    return (red, green, blue, white), (ratios[8], ratios[9])


#: Side data of frames that cannot be written again, and what to call them.
_LOST = {
    "DYNAMIC_HDR_PLUS": ("hdr10plus-dropped", "the HDR10+ dynamic metadata"),
    "DOVI_RPU_BUFFER": ("dolby-vision-dropped", "the Dolby Vision metadata"),
    "DOVI_METADATA": ("dolby-vision-dropped", "the Dolby Vision metadata"),
    "DYNAMIC_HDR_VIVID": ("hdr-vivid-dropped", "the HDR Vivid metadata"),
    "AMBIENT_VIEWING_ENVIRONMENT": ("ambient-light-dropped", "the light of the room it was graded in"),
    "AFD": ("afd-dropped", "the active format description"),
    "S12M_TIMECODE": ("timecode-dropped", "the time code of each frame"),
    "SPHERICAL": ("spherical-dropped", "the 360° projection"),
    "STEREO3D": ("stereo3d-dropped", "the 3D layout"),
    "ICC_PROFILE": ("video-icc-dropped", "the ICC profile of the video stream"),
}


def lost_side_data(frame: av.VideoFrame) -> list[Notice]:
    """Notices about side data of ``frame`` that cannot be written."""
    notices = {}
    for side in side_data(frame):
        if side.type.name in _LOST:
            code, what = _LOST[side.type.name]
            notices[code] = Notice(code=code, message=f"{what} cannot be written and is left out")
    return list(notices.values())


def carries_captions(frame: av.VideoFrame) -> bool:
    """Whether CEA-608/708 captions sit in this frame's bitstream."""
    return any(side.type is SideDataType.A53_CC for side in side_data(frame))


# Rotation

#: What to do to the pixels: quarter turns counter-clockwise, and mirroring left to right before them.
Matrix = tuple[int, ...]
_ONE = 1 << 16
#: (a, b, c, d) of a display matrix in units of 1 → (quarter turns counter-clockwise, mirrored first).
_TURNS: dict[tuple[int, int, int, int], tuple[Literal[0, 1, 2, 3], bool]] = {
    (1, 0, 0, 1): (0, False),
    (0, -1, 1, 0): (1, False),
    (-1, 0, 0, -1): (2, False),
    (0, 1, -1, 0): (3, False),
    (-1, 0, 0, 1): (0, True),
    (0, 1, 1, 0): (1, True),
    (1, 0, 0, -1): (2, True),
    (0, -1, -1, 0): (3, True),
}


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """How the frames must be turned to be seen upright; ``matrix`` is FFmpeg's display matrix."""

    matrix: Matrix
    turns: int
    mirrored: bool

    @property
    def swaps(self) -> bool:
        """Whether width and height change places."""
        return self.turns % 2 == 1

    def scaled(self, x: Fraction, y: Fraction) -> Matrix:
        """The matrix for frames enlarged by ``x`` and ``y``: its shift is in pixels."""
        matrix = list(self.matrix)
        across, down = (y, x) if self.swaps else (x, y)
        matrix[6], matrix[7] = _int32(matrix[6] * across), _int32(matrix[7] * down)
        return tuple(matrix)


def turned_size(size: Size, rotation: Rotation | None) -> Size:
    """The ``size`` of a frame after ``rotation``."""
    if rotation is not None and rotation.swaps:
        return Size(width=size.height, height=size.width)
    return size


def _int32(number: Fraction) -> int:
    return max(-1 << 31, min(round(number), (1 << 31) - 1))


def rotation_of(frame: av.VideoFrame) -> tuple[Rotation | None, list[Notice]]:
    """The rotation that a decoded frame carries; one that is no quarter turn is a notice and ignored."""
    data = next((bytes(s) for s in side_data(frame) if s.type is SideDataType.DISPLAYMATRIX), b"")
    if len(data) < 36:
        return None, []
    matrix = struct.unpack("=9i", data[:36])
    entries = tuple(matrix[i] / _ONE for i in (0, 1, 3, 4))
    if all(entry in (-1.0, 0.0, 1.0) for entry in entries):
        a, b, c, d = (int(entry) for entry in entries)
        if (a, b, c, d) == (1, 0, 0, 1):
            return None, []
        if (a, b, c, d) in _TURNS:
            turns, mirrored = _TURNS[a, b, c, d]
            return Rotation(matrix=matrix, turns=turns, mirrored=mirrored), []
    message = "the rotation in the file is no quarter turn and is left out"
    return None, [Notice(code="rotation-invalid", message=message)]
