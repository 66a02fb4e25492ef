"""OpenCV: pixels of most pictures, decoded and encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import InputError, OutputError, ResourceError
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture.codecs import pillow
from xlsr_cli.media.picture.damage import damaged, notices_of, reason_in
from xlsr_cli.media.picture.losses import less_deep
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.pixels import full_range
from xlsr_cli.media.picture.source import Decoded, Source

if TYPE_CHECKING:
    from xlsr_cli.engine.pixels import Pixels

#: Default quality of lossy formats, visually lossless: enlarging magnifies the artefacts of a codec.
DEFAULT_QUALITY = 95

_ERRORS = 2  # LOG_LEVEL_ERROR, the same number in OpenCV 4 and 5


def read_pixels(source: Source, max_pixels: int) -> Decoded:
    """Decode with OpenCV, or with Pillow if OpenCV cannot, or would get the colours wrong."""
    if pillow.knows_colors_better(source):
        return pillow.read_pixels(source, max_pixels)
    pixels, messages = imdecode(source.data)
    return decoded(source, pixels, messages, max_pixels)


def decoded(source: Source, pixels: Pixels | None, messages: list[str], max_pixels: int) -> Decoded:
    """The result of :func:`imdecode`, scaled to the full range of 8 or 16 bits; else Pillow's pixels."""
    if pixels is not None:
        return Decoded(pixels=full_range(pixels, source.maximum), notices=notices_of(messages))
    try:
        found = pillow.read_pixels(source, max_pixels)
    except InputError as error:
        raise damaged(source.name, reason_in(messages, "its pixels cannot be decoded")) from error
    if source.bits <= 8:
        return found
    return Decoded(pixels=found.pixels, notices=[*found.notices, less_deep(source.bits)])


def imdecode(data: bytes) -> tuple[Pixels | None, list[str]]:
    """The pixels that OpenCV decodes from ``data`` (None if it cannot), and the messages of its libraries."""
    import cv2
    import numpy as np

    pixels: Any = None
    with native_messages() as messages, _errors_only():
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            if "nsufficient memory" in str(error):
                raise MemoryError from error
    return pixels, messages


@contextmanager
def _errors_only() -> Iterator[None]:
    """Within, OpenCV prints no warnings. OpenCV 5 sets that in ``cv2.utils.logging``, OpenCV 4 in ``cv2``."""
    import cv2

    place: Any = getattr(cv2.utils, "logging", cv2)
    level = place.setLogLevel(_ERRORS)
    try:
        yield
    finally:
        place.setLogLevel(level)


@contextmanager
def of_this_age() -> Iterator[None]:
    """Within, a function that an older OpenCV lacks is a :class:`ResourceError`.

    An older one may be in use although a newer one is installed: OpenCV's distributions overwrite each other.
    """
    try:
        yield
    except AttributeError as error:
        if getattr(error.obj, "__name__", None) != "cv2":
            raise
        version = getattr(error.obj, "__version__", "of this environment")
        raise ResourceError(
            f"OpenCV {version} is too old for this ({error.name} is missing); 'xlsr doctor' says what to do"
        ) from error


def imencode(
    extension: str, pixels: Pixels, parameters: list[int], metadata: Metadata | None = None
) -> memoryview:
    """Encode ``pixels`` with OpenCV, without a copy: an encoded picture can be a hundred megabytes.

    EXIF, XMP and profile of ``metadata`` are handed to the encoder. Raises :class:`OutputError`.
    """
    import cv2

    kinds, contents = _parts_of(metadata)
    failure = None
    encoded: Any = None
    with native_messages() as messages:
        try:
            if kinds:
                done, encoded = cv2.imencodeWithMetadata(extension, pixels, kinds, contents, parameters)
            else:
                done, encoded = cv2.imencode(extension, pixels, parameters)
        except cv2.error as error:
            if "nsufficient memory" in str(error):
                raise MemoryError from error
            done, failure = False, error
    if not done:
        reason = messages[-1] if messages else "the encoder gave no reason"
        raise OutputError(
            f"the picture cannot be encoded as {extension[1:].upper()} ({reason}); choose another --format"
        ) from failure
    return memoryview(encoded)


def _parts_of(metadata: Metadata | None) -> tuple[list[int], list[Any]]:
    """What ``metadata`` holds of EXIF, XMP and profile, by OpenCV's kinds and as arrays of bytes."""
    import cv2
    import numpy as np

    if metadata is None:
        return [], []
    named = {"EXIF": metadata.exif, "XMP": metadata.xmp, "ICCP": metadata.icc}
    held = {name: content for name, content in named.items() if content is not None}
    kinds = [getattr(cv2, f"IMAGE_METADATA_{name}") for name in held]
    return kinds, [np.frombuffer(content, np.uint8) for content in held.values()]
