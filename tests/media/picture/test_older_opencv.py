"""OpenCV 4 in the place of 5: what it can do works, and what it lacks is one sentence."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from tests.media.picture import pictures
from xlsr_cli.errors import ResourceError
from xlsr_cli.formats import PICTURE_FORMATS, PictureFormat
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.picture.steps.encoding import encode, encode_into
from xlsr_cli.options import PictureOptions

#: What ``cv2`` of version 4.10 lacks of what is used here.
MISSING_IN_4_10 = (
    "imencodeWithMetadata", "IMAGE_METADATA_EXIF", "IMAGE_METADATA_XMP", "IMAGE_METADATA_ICCP",
    "IMWRITE_WEBP_LOSSLESS_MODE", "IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR",
)  # fmt: skip
#: The formats whose metadata only OpenCV writes.
BY_OPENCV = ("webp", "avif")


def a_picture(**metadata: bytes) -> Picture:
    pixels = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)
    return Picture(pixels=pixels, metadata=Metadata(**metadata), format="png", bits=8, lossless=True)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MISSING_IN_4_10:
        monkeypatch.delattr(cv2, name)
    monkeypatch.setattr(cv2, "__version__", "4.10.0")


@pytest.mark.parametrize("format", PICTURE_FORMATS)
def test_a_plain_picture_becomes_the_same_file(
    format: PictureFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = encode(a_picture(), format)
    for name in MISSING_IN_4_10:
        monkeypatch.delattr(cv2, name)
    assert encode(a_picture(), format) == newest


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("format", PICTURE_FORMATS)
def test_a_profile_is_kept_or_one_sentence_says_why_not(format: PictureFormat) -> None:
    picture = a_picture(icc=pictures.icc())
    if format not in BY_OPENCV:
        encode(picture, format)
        return
    with pytest.raises(ResourceError, match=r"OpenCV 4\.10\.0 is too old .*'xlsr doctor' says what to do"):
        encode_into(io.BytesIO(), picture, format)


@pytest.mark.usefixtures("older")
def test_lossless_webp_is_refused_and_not_written_with_loss() -> None:
    with pytest.raises(ResourceError, match="IMWRITE_WEBP_LOSSLESS_MODE is missing"):
        encode(a_picture(), "webp", PictureOptions(lossless=True))


def test_a_slip_of_ours_is_no_matter_of_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *given: "".imagined)  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="imagined"):
        encode(a_picture(), "bmp")
