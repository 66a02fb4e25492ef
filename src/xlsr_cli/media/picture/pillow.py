"""Pillow: headers of everything but PNG, and the pixels of what OpenCV does not read."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from xlsr_cli.media.picture.samples import Pixels


#: Pillow's names of the formats that we let it open; others (EPS runs a PostScript interpreter) we do not.
_NAMES: dict[str, tuple[str, ...]] = {
    "jpeg": ("JPEG", "MPO"),
    "webp": ("WEBP",),
    "avif": ("AVIF",),
    "tiff": ("TIFF",),
    "jp2": ("JPEG2000",),
    "bmp": ("BMP",),
    "pnm": ("PPM",),
    "png": ("PNG",),
    "gif": ("GIF",),
    "ico": ("ICO",),
    "cur": ("CUR",),
    "icns": ("ICNS",),
    "psd": ("PSD",),
    "tga": ("TGA",),
    "pcx": ("PCX",),
    "qoi": ("QOI",),
    "dds": ("DDS",),
    "sgi": ("SGI",),
    "sun": ("SUN",),
    "xbm": ("XBM",),
    "xpm": ("XPM",),
    # Only there when a plugin (pillow-heif, pillow-jxl-plugin) has been installed and imported.
    "heic": ("HEIF",),
    "jxl": ("JXL",),
}

#: Pillow's limit on pixels and Python's filter of warnings belong to the process.
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


def open_image(data: bytes, format: str) -> Image.Image:
    """Open the picture lazily: its header is read, its pixels are not. Raises what Pillow raises."""
    from PIL import Image

    names = [name for name in _NAMES.get(format, ()) if name in _registered()]
    if not names:
        raise ValueError("there is no decoder for it")
    return Image.open(io.BytesIO(data), formats=names)


def _registered() -> set[str]:
    from PIL import Image

    Image.preinit()
    wanted = {name for names in _NAMES.values() for name in names}
    if not wanted - {"HEIF", "JXL"} <= set(Image.OPEN):
        Image.init()
    return set(Image.OPEN)


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
    converted = image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels])
    pixels: Any = np.asarray(converted)
    if channels == 3:
        pixels = pixels[:, :, ::-1]
    elif channels == 4:
        pixels = pixels[:, :, [2, 1, 0, 3]]
    return np.ascontiguousarray(pixels)


def from_samples(samples: NDArray[Any], mode: str) -> Image.Image:
    """(H, W, C) uint8 as an image in CMYK or LAB, as a TIFF has them: a* and b* are signed there."""
    from PIL import Image

    if mode == "LAB":
        samples = samples ^ [0, 0x80, 0x80]
    bands = [Image.fromarray(samples[:, :, band].astype("uint8")) for band in range(samples.shape[2])]
    return Image.merge(mode, bands)


def to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, str]:
    """``image`` in CMYK or Lab converted to RGB as sRGB, and by what: its profile, or a plain formula."""
    from PIL import ImageCms

    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _converted(
            ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        ), "the definition of Lab"
    if icc is not None:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            return (
                _converted(
                    ImageCms.profileToProfile(
                        image,
                        profile,
                        srgb,
                        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                        outputMode="RGB",
                        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
                    )
                ),
                "its colour profile",
            )
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile is as good as none
    return image.convert("RGB"), "a plain formula, for want of a colour profile"


def small_jp2(pixels: Pixels) -> bytes:
    """A lossless JPEG 2000 of a picture too small for OpenCV's encoder: gray, or colour of 8 bits."""
    import numpy as np
    from PIL import Image

    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]])
    target = io.BytesIO()
    resolutions = max(1, min(pixels.shape[:2]).bit_length())
    Image.fromarray(pixels).save(target, "JPEG2000", num_resolutions=resolutions, no_jp2=False)
    return target.getvalue()


def _converted(image: Image.Image | None) -> Image.Image:
    assert image is not None  # it is None only for a conversion in place
    return image


def _gray_palette(image: Image.Image) -> bool:
    """Whether all of a palette's colours are grays, where possible without decoding the picture."""
    palette: Any = image.palette
    order = "" if palette is None else palette.rawmode or palette.mode
    if order[:3] in ("RGB", "BGR") and isinstance(palette.palette, (bytes, bytearray)):
        step, colors = len(order), bytes(palette.palette)
    else:
        step, colors = 3, bytes(image.getpalette("RGB") or [])
    return colors[0::step] == colors[1::step] == colors[2::step]
