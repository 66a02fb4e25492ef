"""Decode a picture whose header has been read: OpenCV where it can, tifffile and Pillow where it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import InputError
from xlsr_cli.media import jpeg, pillow, png
from xlsr_cli.media.metadata import Metadata
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.netpbm import read_pnm_header, read_samples
from xlsr_cli.media.samples import (
    full_range,
    turned,
    with_channels,
    without_premultiplication,
)
from xlsr_cli.media.source import Source, damaged
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.media.samples import Pixels

#: What libjpeg and libtiff print about a file whose pixels are nevertheless all there.
_HARMLESS = ("extraneous bytes before marker", "Warning: unknown JFIF revision")

#: Modes of Pillow's whose colours have to be converted before anything can be done with them.
_FOREIGN_COLORS = {"CMYK": "cmyk-converted", "LAB": "lab-converted"}


def read_pixels(source: Source, max_pixels: int) -> tuple[Pixels, Metadata, list[Notice]]:
    """Upright pixels as :class:`Picture` holds them, the metadata that fits them, and the notices.

    Raises :class:`InputError` for what is damaged, not supported, or above ``max_pixels``.
    """
    if source.size.pixels > max_pixels:
        raise InputError(
            f"{source.name} claims {source.size} pixels and --max-pixels allows {max_pixels}; "
            "raise it if you trust the file"
        )
    notices = list(source.notices)
    metadata = source.metadata
    if source.format == "tiff":
        pixels, is_turned = _tiff(source, notices)
    elif source.mode in _FOREIGN_COLORS:
        pixels, is_turned = _by_pillow(source, notices, max_pixels), False
    elif source.format == "png":
        pixels, is_turned = _png(source, notices), False
    elif source.format == "pnm" and source.data[1:2] in b"23567":
        pixels, is_turned = _netpbm(source), False
    elif source.format in ("jpeg", "webp", "avif", "jp2", "bmp", "pnm") and source.mode != "F":
        pixels, is_turned = _by_opencv(source, notices, max_pixels), False
    else:
        pixels, is_turned = _by_pillow(source, notices, max_pixels), False
    if source.mode in _FOREIGN_COLORS:
        metadata = replace(metadata, icc=None)  # it described the colours as they were
    if not is_turned and source.orientation != 1:
        pixels = turned(pixels, source.orientation)
    return with_channels(pixels, source.channels), metadata.upright(), notices


def _png(source: Source, notices: list[Notice]) -> Pixels:
    pixels: Pixels | None
    data = png.for_decoding(source.data)
    if data is None:
        raise damaged(source.name, TRUNCATED)
    pixels, messages = _imdecode(data)
    if pixels is None:
        raise damaged(source.name, _reason(messages, "its pixels cannot be decoded"))
    _tell_damage(messages, notices)
    if source.key is not None and pixels.ndim == 2:  # OpenCV leaves out the transparent gray
        import numpy as np

        top = np.iinfo(pixels.dtype).max
        alpha = np.where(pixels == source.key, 0, top).astype(pixels.dtype)
        pixels = np.dstack([pixels, alpha])
    return pixels


def _netpbm(source: Source) -> Pixels:
    """OpenCV leaves out the scaling of binary samples, Pillow reads no colour of 16 bits, neither a PAM."""
    header = read_pnm_header(source.data)
    assert header is not None  # the source was made from it
    samples = read_samples(source.data, header)
    if samples is None:
        raise damaged(source.name, TRUNCATED)
    return _bgr(full_range(samples, header.maximum))


def _by_opencv(source: Source, notices: list[Notice], max_pixels: int) -> Pixels:
    data = jpeg.with_end(source.data) if source.format == "jpeg" else source.data
    pixels, messages = _imdecode(data)
    if data is not source.data and any("remature end" in line for line in messages):
        raise damaged(source.name, TRUNCATED)
    if pixels is None and source.bits <= 8:
        return _by_pillow(source, notices, max_pixels)
    if pixels is None:
        raise damaged(source.name, _reason(messages, "its pixels cannot be decoded"))
    _tell_damage(messages, notices)
    return full_range(pixels, source.maximum)


def _by_pillow(source: Source, notices: list[Notice], max_pixels: int) -> Pixels:
    failure: Exception | None = None
    pixels: Pixels | None = None
    with native_messages() as messages, pillow.quiet(max_pixels):
        try:  # raises nearly everything on a hostile file, see source.py
            with pillow.open_image(source.data, source.format) as image:
                if image.mode in _FOREIGN_COLORS:
                    image, by = pillow.to_srgb(image, source.metadata.icc)
                    notices.append(_converted(source.mode, by))
                if image.mode == "F":
                    import numpy as np

                    pixels = _from_floats(np.asarray(image), source.name, notices)
                else:
                    pixels = pillow.to_pixels(image)
        except (InputError, MemoryError):
            raise
        except Exception as error:
            failure = error
    if pixels is None:
        raise damaged(source.name, _reason(messages, _plain_words(failure))) from failure
    _tell_damage(messages, notices)
    return pixels


def _tiff(source: Source, notices: list[Notice]) -> tuple[Pixels, bool]:
    """The pixels, and whether they are upright already: Pillow and OpenCV turn a TIFF, tifffile does not."""
    from xlsr_cli.media.tiff import FLOAT, UNSIGNED

    facts = source.tiff
    assert facts is not None
    if source.mode == "LAB" and facts.bits > 8:
        raise InputError(f"{source.name} is a Lab picture of {facts.bits} bits; convert it to RGB first")
    if source.mode in _FOREIGN_COLORS and facts.bits > 8:
        notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 8"))
    plain = facts.bits <= 8 and facts.format == UNSIGNED
    if plain or source.mode in _FOREIGN_COLORS:
        if facts.samples > facts.colors + 1 or (facts.samples > facts.colors and not facts.alpha):
            notices.append(EXTRA_CHANNELS)
        return _tiff_by_pillow(source, notices)
    if facts.samples > facts.colors + facts.alpha:
        notices.append(EXTRA_CHANNELS)
    samples, is_turned = _tiff_samples(source, notices)
    if facts.format == FLOAT:
        pixels = _from_floats(samples, source.name, notices)
    elif facts.format != UNSIGNED:
        raise InputError(f"{source.name} holds signed numbers and not a picture; convert it to 16 bits first")
    elif samples.dtype.itemsize > 2:
        notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 16"))
        pixels = (samples >> (8 * samples.dtype.itemsize - 16)).astype("uint16")
    else:
        pixels = samples
    if facts.photometric == 0:  # min is white
        pixels = ~pixels
    if facts.premultiplied:
        pixels = without_premultiplication(pixels)
    return pixels, is_turned


def _tiff_by_pillow(source: Source, notices: list[Notice]) -> tuple[Pixels, bool]:
    """Pillow knows every compression and layout of up to 8 bits but the rarest, which tifffile may."""
    try:
        return _by_pillow(source, notices, source.size.pixels), True
    except InputError:
        if source.mode in _FOREIGN_COLORS:
            raise
        try:
            return _tiff_samples(source, notices)
        except InputError:
            pass
        raise


def _tiff_samples(source: Source, notices: list[Notice]) -> tuple[NDArray[Any], bool]:
    """Samples in BGR order with their alpha, further ones cut off, and whether they are upright."""
    from xlsr_cli.media.tiff import tiff_samples

    facts = source.tiff
    assert facts is not None
    failure: Exception | None = None
    samples = None
    try:  # tifffile, too, raises nearly everything on a hostile file
        samples = tiff_samples(source.data)
    except MemoryError:
        raise
    except Exception as error:
        failure = error
    if samples is not None and samples.dtype.kind == "u" and facts.bits not in (8, 16, 32):
        samples = None  # 10 to 14 bits, packed: OpenCV spreads them over the full range
    if samples is not None:
        if samples.ndim == 3:
            samples = _bgr(samples[:, :, : facts.colors + facts.alpha])
        return samples, False
    pixels, messages = _imdecode(source.data)
    if failure is None and (pixels is None or pixels.dtype.itemsize < 2) and not messages:
        raise InputError(f"{source.name} is a kind of TIFF that is not supported; convert it to PNG first")
    if pixels is None or pixels.dtype.itemsize < 2:
        raise damaged(source.name, _reason(messages, _plain_words(failure))) from failure
    _tell_damage(messages, notices)
    return pixels, True


def _from_floats(samples: NDArray[Any], name: str, notices: list[Notice]) -> Pixels:
    """Floating point of 0 to 1 as 16 bits; other ranges have no agreed meaning and are refused."""
    import numpy as np

    low, high = float(np.min(samples)), float(np.max(samples))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{name} holds numbers that are not finite; convert it to 16 bits first")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(
            f"{name} holds floating point from {low:g} to {high:g} where 0 to 1 is a picture; "
            "scale it or convert it to 16 bits first"
        )
    notices.append(Notice(code="float-converted", message="floating point is read as 16 bits"))
    pixels: Pixels = np.rint(np.clip(samples, 0, 1) * np.float64(0xFFFF)).astype(np.uint16)
    return pixels


#: How far resampling may have thrown a value over the edge: 1/255 of the range.
_ROUNDING = 1 / 255

TRUNCATED = "it ends before its last pixel"

EXTRA_CHANNELS = Notice(
    code="extra-channels-dropped", message="channels that are neither colour nor alpha are not kept"
)


def _converted(mode: str, by: str) -> Notice:
    colors = {"CMYK": "CMYK", "LAB": "Lab"}[mode]
    return Notice(code=_FOREIGN_COLORS[mode], message=f"its {colors} colours were converted to sRGB by {by}")


def _imdecode(data: bytes) -> tuple[Any, list[str]]:
    """What OpenCV makes of ``data``, None where it cannot, and what it and its libraries printed."""
    import cv2
    import numpy as np

    pixels: Any = None
    with native_messages() as messages:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            if "nsufficient memory" in str(error):
                raise MemoryError from error
        finally:
            cv2.utils.logging.setLogLevel(level)
    return pixels, messages


def _bgr(pixels: Pixels) -> Pixels:
    """RGB and RGBA in OpenCV's order, gray and gray + alpha as they are, in memory of their own."""
    import numpy as np

    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    result: Pixels = np.ascontiguousarray(pixels)
    return result


def _tell_damage(messages: list[str], notices: list[Notice]) -> None:
    told = [line for line in messages if not any(harmless in line for harmless in _HARMLESS)]
    if told:
        notices.append(
            Notice(
                code="damaged", message=f"parts of it are damaged and may look wrong ({told[0].rstrip('.')})"
            )
        )


def _reason(messages: list[str], otherwise: str) -> str:
    """The last thing that a library printed is nearest to the fault."""
    told = [line for line in messages if not any(harmless in line for harmless in _HARMLESS)]
    return told[-1].rstrip(".") if told else otherwise


def _plain_words(failure: Exception | None) -> str:
    """Pillow's and tifffile's own words where they are a sentence for people."""
    text = str(failure or "").splitlines()[:1]
    if isinstance(failure, OSError) and text and "truncated" in text[0]:
        return TRUNCATED
    return "its pixels cannot be decoded"
