"""Decode a picture whose header has been read: OpenCV where it can, tifffile and Pillow where it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import InputError
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture import bmp, jpeg, pillow, png
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.samples import (
    full_range,
    turned,
    with_channels,
    without_premultiplication,
)
from xlsr_cli.media.picture.source import Source, damaged, further_frames
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlsr_cli.media.picture.samples import Pixels

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
    if source.animated:
        notices.append(further_frames(source.pages))
    metadata = source.metadata
    if source.format == "tiff":
        pixels, is_turned = _tiff(source, notices, max_pixels)
    else:
        pixels, is_turned = _decoded(source, notices, max_pixels), False
    if source.mode in _FOREIGN_COLORS:
        metadata = replace(metadata, icc=None)  # it described the colours as they were
    if not is_turned and source.orientation != 1:
        pixels = turned(pixels, source.orientation)
    return with_channels(pixels, source.channels), metadata.upright(), notices


def _decoded(source: Source, notices: list[Notice], max_pixels: int) -> Pixels:
    """The pixels of anything but a TIFF, not yet turned."""
    if source.mode in _FOREIGN_COLORS:
        return _by_pillow(source, notices, max_pixels)
    if source.format == "png":
        return _png(source, notices)
    if source.format == "pnm" and source.data[1:2] in b"23567Ff":
        return _netpbm(source, notices)
    if source.format == "bmp" and not source.mode:
        return _masked_bmp(source)
    # OpenCV takes the colours of palettes and of old or compressed BMPs for others.
    if source.format in ("jpeg", "webp", "avif", "jp2", "pnm") and source.mode != "P":
        return _by_opencv(source, notices, max_pixels)
    return _by_pillow(source, notices, max_pixels)


def _masked_bmp(source: Source) -> Pixels:
    header = bmp.read_masks(source.data)
    assert header is not None  # the source was made from it
    pixels = bmp.masked_pixels(source.data, header)
    if pixels is None:
        raise damaged(source.name, TRUNCATED)
    return pixels


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


def _netpbm(source: Source, notices: list[Notice]) -> Pixels:
    """OpenCV leaves out the scaling of binary samples, Pillow reads no colour of 16 bits, neither a PAM."""
    from xlsr_cli.media.picture.netpbm import read_pnm_header, read_samples

    header = read_pnm_header(source.data)
    assert header is not None  # the source was made from it
    samples = read_samples(source.data, header)
    if samples is None:
        raise damaged(source.name, TRUNCATED)
    if header.floating:
        return _bgr(_from_floats(samples, source.name, notices))
    return _bgr(full_range(samples, header.maximum))


def _by_opencv(source: Source, notices: list[Notice], max_pixels: int) -> Pixels:
    data = jpeg.with_end(source.data) if source.format == "jpeg" else source.data
    pixels, messages = _imdecode(data)
    if data is not source.data and any("remature end" in line for line in messages):
        raise damaged(source.name, TRUNCATED)
    if pixels is None:
        try:
            pixels = _by_pillow(source, notices, max_pixels)
        except InputError as error:
            raise damaged(source.name, _reason(messages, "its pixels cannot be decoded")) from error
        if source.bits > 8:
            notices.append(Notice(code="depth-reduced", message=f"{source.bits} bits are read as 8"))
        return pixels
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
                if source.format == "xbm":  # a bit that is set is ink, for everybody but Pillow
                    pixels = ~pixels
        except (InputError, MemoryError):
            raise
        except Exception as error:
            failure = error
    if pixels is None:
        raise damaged(source.name, _reason(messages, _plain_words(failure))) from failure
    _tell_damage(messages, notices)
    return pixels


def _tiff(source: Source, notices: list[Notice], max_pixels: int) -> tuple[Pixels, bool]:
    """The pixels, and whether they are upright already: Pillow turns a TIFF, tifffile does not."""
    from xlsr_cli.media.picture.tiff import FLOAT, UNSIGNED

    facts = source.tiff
    assert facts is not None
    if facts.format not in (UNSIGNED, FLOAT):
        raise InputError(f"{source.name} holds signed numbers and not a picture; convert it to 16 bits first")
    if source.size.pixels * facts.samples > _MOST_SAMPLES * max_pixels:
        raise damaged(source.name, f"it claims {facts.samples} samples for each of {source.size} pixels")
    if facts.samples > facts.colors + facts.alpha:
        notices.append(EXTRA_CHANNELS)
    failure = None
    if facts.bits <= 8 or source.mode in _FOREIGN_COLORS:
        told: list[Notice] = []
        try:  # Pillow knows every compression and most layouts of up to 8 bits
            pixels = _by_pillow(source, told, max_pixels)
        except InputError as error:
            failure = error
        else:
            if facts.bits > 8:
                notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 8"))
            notices += told
            return pixels, True
    samples = _tiff_samples(source, failure)
    if source.mode in _FOREIGN_COLORS:
        return _from_foreign(samples, source, notices), False
    return _finished(samples, source, notices), False


#: Samples of a pixel beyond which a directory is not believed: a few bytes must not claim all memory.
_MOST_SAMPLES = 8


def _tiff_samples(source: Source, before: InputError | None) -> NDArray[Any]:
    """Samples as they stand: (H, W) or (H, W, S) in RGB order; ``before`` is why Pillow gave none."""
    from xlsr_cli.media.picture.tiff import compression_of, tiff_samples

    failure: Exception | None = None
    with native_messages() as messages:
        try:  # tifffile, too, raises nearly everything on a hostile file
            samples = tiff_samples(source.data)
            compression, known = ("", True) if samples is not None else compression_of(source.data)
        except MemoryError:
            raise
        except Exception as error:
            failure = error
    if failure is not None:
        raise before or damaged(source.name, _reason(messages, _plain_words(failure))) from failure
    if samples is None:
        if before is not None and known:
            raise before
        assert source.tiff is not None
        raise InputError(
            f"{source.name} is a kind of TIFF that is not supported ({source.tiff.bits} bits, compression "
            f"{compression}); convert it to PNG first"
        )
    if not _agree(samples, source):
        raise damaged(source.name, "its TIFF directory contradicts itself")
    return samples


def _agree(samples: NDArray[Any], source: Source) -> bool:
    """Whether the samples are what the directory's own words make one expect."""
    facts = source.tiff
    assert facts is not None
    size = (source.size.height, source.size.width)
    shape = size if facts.samples == 1 else (*size, facts.samples)
    return samples.shape == shape and facts.samples >= facts.colors and facts.bits <= 8 * samples.itemsize


def _finished(samples: NDArray[Any], source: Source, notices: list[Notice]) -> Pixels:
    """``samples`` as pixels: colours looked up or put upright, at 8 or 16 bits, alpha divided out."""
    from xlsr_cli.media.picture.tiff import FLOAT, MIN_IS_WHITE, PALETTE, colors_of_palette

    facts = source.tiff
    assert facts is not None
    if facts.photometric == PALETTE:
        import numpy as np

        colors = colors_of_palette(source.data)
        if colors is None:
            raise damaged(source.name, "its palette is missing")
        return _bgr(np.take(colors, samples, axis=0, mode="clip"))
    if samples.ndim == 3:
        samples = samples[:, :, : facts.colors + facts.alpha]
    if facts.format == FLOAT:
        pixels = _from_floats(samples, source.name, notices)
    elif samples.dtype.itemsize > 2:
        notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 16"))
        pixels = (samples >> (8 * samples.dtype.itemsize - 16)).astype("uint16")
    else:
        pixels = full_range(
            samples.astype("uint8") if samples.dtype == bool else samples, (1 << facts.bits) - 1
        )
    if facts.photometric == MIN_IS_WHITE:
        pixels = pixels.copy()
        tones = pixels[:, :, 0] if pixels.ndim == 3 else pixels
        tones[...] = ~tones
    if facts.premultiplied:
        pixels = without_premultiplication(pixels)
    return _bgr(pixels)


def _from_foreign(samples: NDArray[Any], source: Source, notices: list[Notice]) -> Pixels:
    """CMYK, or Lab, with further channels or of more bits than Pillow reads, as sRGB of 8 bits."""
    facts = source.tiff
    assert facts is not None
    if samples.dtype.itemsize > 1:
        notices.append(Notice(code="depth-reduced", message=f"{facts.bits} bits are read as 8"))
        samples = samples >> (8 * samples.dtype.itemsize - 8)
    image = pillow.from_samples(samples[:, :, : facts.colors].astype("uint8"), source.mode)
    converted, by = pillow.to_srgb(image, source.metadata.icc)
    notices.append(_converted(source.mode, by))
    return pillow.to_pixels(converted)


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
