"""Pillow: headers of most pictures, and the pixels of those that OpenCV does not read."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import InputError
from xlsr_cli.formats import Format, format_named
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture.damage import damaged, faults_as_damage, notices_of
from xlsr_cli.media.picture.losses import FLOAT_CONVERTED
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import bgr_of, from_floats
from xlsr_cli.media.picture.source import Decoded, Source
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from xlsr_cli.engine.pixels import Pixels

#: Layouts of Pillow whose colours have to be converted first: the code of the notice, and their name.
FOREIGN_COLORS = {"CMYK": ("cmyk-converted", "CMYK"), "LAB": ("lab-converted", "Lab")}

#: Pillow's limit of pixels and Python's filter of warnings belong to the whole process.
_LOCK = threading.RLock()

_SILENT = logging.NullHandler()


@contextmanager
def quiet(max_pixels: int | None = None) -> Iterator[None]:
    """Let Pillow not warn, and raise for more than ``max_pixels`` instead of its own limit.

    Ours is checked before decoding; Pillow's still guards pictures within pictures, as in an ICO.
    """
    from PIL import Image

    logging.getLogger("PIL").addHandler(_SILENT)  # or it would print its errors
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        # Pillow warns above its limit and raises above twice that.
        Image.MAX_IMAGE_PIXELS = None if max_pixels is None else (max_pixels + 1) // 2
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


#: Half of the pixels that an icon may have: they are at most 1024 wide. Pillow raises above twice that.
_MOST_OF_ICON = 1 << 20


def open_image(file: bytes | Path, format: Format, *, by_libtiff: bool = False) -> Image.Image:
    """Open the picture lazily: its header is read, its pixels are not. Raises what Pillow raises.

    Only the plugins that the format's row names may look at it: others run programs (EPS a PostScript
    interpreter). ``by_libtiff``: of a TIFF, also what is not compressed. To be called within :func:`quiet`.
    """
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    if format.icon:
        Image.MAX_IMAGE_PIXELS = min(before or _MOST_OF_ICON, _MOST_OF_ICON)
    try:
        with _all_by_libtiff() if by_libtiff else nullcontext():
            return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file, formats=format.pillow)
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _all_by_libtiff() -> Iterator[None]:
    from PIL import TiffImagePlugin

    TiffImagePlugin.READ_LIBTIFF = True
    try:
        yield
    finally:
        TiffImagePlugin.READ_LIBTIFF = False


def read_header(data: bytes, name: str, format: Format, *, otherwise: Source | None = None) -> Source:
    """Read header and metadata with Pillow; ``detail`` is Pillow's ``info``.

    ``otherwise`` is the result where Pillow does not open it. Raises :class:`InputError`.
    """
    from PIL import Image

    failure: Exception | None = None
    with native_messages() as messages, quiet():
        try:  # raises nearly everything on a hostile file
            with open_image(data, format) as image:
                return Source(
                    data=data,
                    name=name,
                    format=format.name,
                    stored_size=Size(width=image.width, height=image.height),
                    channels=channels_of(image),
                    mode=image.mode,
                    pages=max(1, int(getattr(image, "n_frames", 1))),
                    metadata=_metadata(image.info),
                    detail=image.info,
                ).oriented()
        except Exception as error:
            failure = error
    if otherwise is not None:
        return otherwise
    shown = format.name.upper()
    if isinstance(failure, Image.DecompressionBombError):
        raise InputError(f"{name} claims more pixels than any {shown} has; get an intact copy") from failure
    reason = messages[-1] if messages else f"its {shown} header makes no sense"
    raise damaged(name, reason) from failure


#: What stands before EXIF in formats that took it over from JPEG.
_EXIF_PREFIX = b"Exif\0\0"


def _metadata(info: dict[Any, Any]) -> Metadata:
    """The metadata that Pillow finds in any format."""
    exif, xmp_packet, dpi = info.get("exif"), info.get("xmp"), info.get("dpi")
    exif = exif.removeprefix(_EXIF_PREFIX) if isinstance(exif, bytes) else None
    found = Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif or None,
        xmp=xmp_packet.rstrip(b"\0") or None if isinstance(xmp_packet, bytes) else None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
    )
    return replace(found, dpi=found.dpi or found.dpi_of_exif)


def knows_colors_better(source: Source) -> bool:
    """Whether OpenCV would get the colours wrong: they have to be converted, or looked up in a palette."""
    return source.mode in FOREIGN_COLORS or source.mode == "P"


def read_pixels(source: Source, max_pixels: int, *, by_libtiff: bool = False) -> Decoded:
    """Decode by Pillow, see :func:`open_image`. Raises :class:`InputError`."""
    notices: list[Notice] = []
    with (
        faults_as_damage(source.name) as messages,
        quiet(max_pixels),
        open_image(source.data, format_named(source.format), by_libtiff=by_libtiff) as image,
    ):
        if image.mode in FOREIGN_COLORS:
            image, notice = to_srgb(image, source.metadata.icc)
            notices.append(notice)
        if image.mode == "F":
            import numpy as np

            pixels = from_floats(np.asarray(image), source.name)
            notices.append(FLOAT_CONVERTED)
        else:
            pixels = to_pixels(image)
    return Decoded(pixels=pixels, notices=[*notices, *notices_of(messages)])


def channels_of(image: Image.Image) -> int:
    """Channels of the decoded picture: 1 gray, 2 gray and alpha, 3 colour, 4 colour and alpha."""
    alpha = image.has_transparency_data
    if image.mode == "P":
        return (1 if _gray_palette(image) else 3) + alpha
    gray = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
    return (1 if gray else 3) + alpha


def to_pixels(image: Image.Image) -> Pixels:
    """Decode ``image`` to gray, gray + alpha, BGR or BGRA; uint16 where Pillow has 16 bits, else uint8.

    Colours in CMYK, Lab and the like have to be converted before. Raises what Pillow raises.
    """
    import numpy as np

    channels = channels_of(image)
    if image.mode.startswith("I"):
        samples: Pixels = np.clip(np.asarray(image), 0, 0xFFFF).astype(np.uint16)
        return samples
    return bgr_of(np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels])))


def from_samples(samples: NDArray[Any], mode: str) -> Image.Image:
    """(H, W, C) uint8 as an image in CMYK or LAB, as a TIFF has them: a* and b* are signed there."""
    from PIL import Image

    if mode == "LAB":
        samples = samples ^ [0, 0x80, 0x80]
    bands = [Image.fromarray(samples[:, :, band].astype("uint8")) for band in range(samples.shape[2])]
    return Image.merge(mode, bands)


def to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, Notice]:
    """``image`` in one of :data:`FOREIGN_COLORS` converted to sRGB, and a notice that tells by what."""
    from PIL import ImageCms

    code, colors = FOREIGN_COLORS[image.mode]
    srgb = ImageCms.createProfile("sRGB")
    converted, by = None, "a plain formula, for want of a colour profile"
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        by = "the definition of Lab"
    elif icc is not None:
        with suppress(ImageCms.PyCMSError, OSError):  # a damaged profile is treated like none
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                srgb,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            by = "its colour profile"
    notice = Notice(code=code, message=f"its {colors} colours were converted to sRGB by {by}")
    return converted or image.convert("RGB"), notice


def _gray_palette(image: Image.Image) -> bool:
    """Whether all of a palette's colours are grays, where possible without decoding the picture."""
    palette: Any = image.palette
    order = "" if palette is None else palette.rawmode or palette.mode
    if order[:3] in ("RGB", "BGR") and isinstance(palette.palette, (bytes, bytearray)):
        step, colors = len(order), bytes(palette.palette)
    else:
        step, colors = 3, bytes(image.getpalette("RGB") or [])
    return colors[0::step] == colors[1::step] == colors[2::step]
