"""Every byte of a file is pixels, or in the output, or named in a notice."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.cases import CASES
from tests.media.picture import pictures
from xlsr_cli.media.picture.steps.decoding import decode
from xlsr_cli.media.picture.steps.encoding import encode
from xlsr_cli.media.picture.steps.opening import open_picture

VIDEO = (
    struct.pack(">I4s", 24, b"ftyp")
    + b"mp42"
    + bytes(12)
    + struct.pack(">I4s", 40, b"mdat")
    + bytes(range(32))
)
JPEG = cv2.imencode(".jpg", pictures.pixels(40, 48, 3))[1].tobytes()
ICC = pictures.icc()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segments(*segments: bytes, behind: bytes = b"") -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:] + behind


def icc_part(number: int, count: int, content: bytes) -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0" + bytes((number, count)) + content)


def written(data: bytes, format: str) -> tuple[bytes, set[str]]:
    """What becomes of a file, and the codes of all notices."""
    picture, notices = decode(open_picture(data, "it"), max_pixels=1_000_000)
    output, more = encode(picture, format)
    return output, {notice.code for notice in [*notices, *more]}


def motion_photo(announced: str) -> bytes:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description " + announced.encode() + b"/></x:xmpmeta>"
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    if "samsung" in announced:
        inside = b"\0\0\x30\x0a" + struct.pack("<I", 16) + b"MotionPhoto_Data" + VIDEO
        directory = b"SEFH" + struct.pack("<IIHHII", 106, 1, 0, 0x0A30, len(inside), len(inside))
        return with_segments(xmp, behind=inside + directory + struct.pack("<I", len(directory)) + b"SEFT")
    return with_segments(xmp, behind=VIDEO)


@pytest.mark.parametrize(
    "announced",
    [
        'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"',
        f'GCamera:MicroVideo="1" GCamera:MicroVideoOffset="{len(VIDEO)}"',
        'samsung:MotionPhoto="1"',
    ],
)
def test_the_video_of_a_motion_photo(announced: str) -> None:
    data = motion_photo(announced)
    output, codes = written(data, "jpeg")
    assert codes == set()
    begin = data.index(JPEG[-40:]) + 40
    assert output.endswith(data[begin:])
    assert announced.encode() in output
    other, codes = written(data, "png")
    assert "motion-dropped" in codes
    assert b'Photo="1"' not in other and b'Video="1"' not in other


def test_the_motion_photo_of_the_cases() -> None:
    data = (CASES / "motion_photo.jpg").read_bytes()
    output, codes = written(data, "jpeg")
    assert codes == set()
    assert output[-2032:] == data[-2032:]  # as long as XMP says that it is


def test_a_gain_map_goes_and_the_video_stays() -> None:
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{}" Item:Length="{}"/></rdf:li>'
    packet = (
        '<rdf:Description GCamera:MotionPhoto="1" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>'
        + item.format("Primary", 0)
        + item.format("GainMap", len(JPEG))
        + item.format("MotionPhoto", len(VIDEO))
        + "</rdf:Seq></Container:Directory></rdf:Description>"
    ).encode()
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    output, codes = written(with_segments(xmp, behind=JPEG + VIDEO), "jpeg")
    assert codes == {"gain-map-dropped"}
    assert output.endswith(VIDEO) and output.count(b"\xff\xd8\xff") == 1
    assert b"GainMap" not in output and b'Semantic="MotionPhoto"' in output


@pytest.mark.parametrize(("behind", "told"), [(b"", False), (b"\0" * 9 + b"\n", False), (b"PK\3\4zip", True)])
def test_bytes_behind_a_jpeg(behind: bytes, told: bool) -> None:
    _, codes = written(with_segments(behind=behind), "jpeg")
    assert codes == ({"trailer-dropped"} if told else set())


def photoshop(*resources: tuple[int, bytes]) -> bytes:
    return b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + b"\0" * (len(content) % 2)
        for number, content in resources
    )


CAPTION = b"\x1c\x02\x78\0\x0bhello there" + b"\x1c\x02\x19\0\x03abc"


@pytest.mark.parametrize("cut", [1, 7, 13, 20, 30])
def test_iptc_over_two_segments(cut: int) -> None:
    found = photoshop((0x03ED, bytes(16)), (0x0404, CAPTION))
    parts = [segment(0xED, b"Photoshop 3.0\0" + part) for part in (found[:cut], found[cut:])]
    output, codes = written(with_segments(*parts), "jpeg")
    assert (CAPTION in output, codes) == (True, set())


def test_iptc_in_photoshops_tag_of_a_tiff() -> None:
    data = pictures.hand_made_tiff(
        [pictures.pixels(40, 48).tobytes()],
        {
            256: 48,
            257: 40,
            258: 8,
            259: 1,
            262: 1,
            277: 1,
            278: 40,
            34377: tuple(photoshop((0x0404, CAPTION))),
        },
    )
    output, codes = written(data, "tiff")
    assert (CAPTION in output, codes) == (True, set())


def test_what_a_photoshop_document_holds_for_all_programs() -> None:
    found = photoshop(
        (0x0404, CAPTION), (0x0422, pictures.exif(orientation=1, dpi=None)), (0x0424, b"<x:xmpmeta/>")
    )
    pixels = bytes(2) + pictures.pixels(40, 48, 3).transpose(2, 0, 1).tobytes()
    data = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHHI", 3, 40, 48, 8, 3, 0)
    data += struct.pack(">I", len(found)) + found + bytes(4) + pixels
    output, codes = written(data, "tiff")
    assert codes == {"format-changed"}
    assert CAPTION in output and b"<x:xmpmeta/>" in output


@pytest.mark.parametrize(
    ("numbers", "whole"),
    [((1, 2, 3), True), ((3, 1, 2), True), ((1, 2, 9), False), ((1, 1, 2), False), ((0, 1, 2), False)],
)
def test_parts_of_a_profile(numbers: tuple[int, ...], whole: bool) -> None:
    third = len(ICC) // 3 + 1
    parts = [icc_part(number, 3, ICC[third * (number - 1) % len(ICC) :][:third]) for number in numbers]
    output, codes = written(with_segments(*parts), "png")
    with Image.open(io.BytesIO(output)) as image:
        kept = image.info.get("icc_profile")
    assert (kept, codes) == ((ICC, set()) if whole else (None, {"icc-dropped"}))


def scans_of(data: bytes) -> Iterator[int]:
    at = data.find(b"\xff\xda")
    while at >= 0:
        yield at
        at = data.find(b"\xff\xda", at + 2)


def test_a_progressive_jpeg_without_its_end_opens_where_every_scan_is_there() -> None:
    data = cv2.imencode(".jpg", pictures.pixels(64, 96, 3), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    whole, _ = decode(open_picture(data, "it"), max_pixels=1_000_000)
    opened, _ = decode(open_picture(data[:-2], "it"), max_pixels=1_000_000)
    np.testing.assert_array_equal(opened.pixels, whole.pixels)
    for cut in scans_of(data):
        with pytest.raises(Exception, match="damaged"):
            decode(open_picture(data[:cut], "it"), max_pixels=1_000_000)


def test_cmyk_with_alpha() -> None:
    data = (CASES / "tiff_cmyk_alpha.tif").read_bytes()
    picture, notices = decode(open_picture(data, "it"), max_pixels=1_000_000)
    assert picture.pixels.shape == (50, 66, 4)
    assert [notice.code for notice in notices] == ["cmyk-converted"]
    assert np.ptp(picture.pixels[..., 3]) > 0


@pytest.mark.parametrize("sharing", [(2, 2), (2, 1), (4, 1), (1, 2), (4, 2)])
def test_subsampled_colours_of_an_uncompressed_tiff(sharing: tuple[int, int]) -> None:
    across, down = sharing
    luma = pictures.pixels(21, 30)
    chroma = np.full((-(-21 // down), -(-30 // across), 2), (90, 170), np.uint8)
    padded = np.pad(luma, ((0, -21 % down), (0, -30 % across)), mode="edge")
    units = padded.reshape(len(chroma), down, -1, across).swapaxes(1, 2).reshape(*chroma.shape[:2], -1)
    data = pictures.hand_made_tiff(
        [np.concatenate([units, chroma], axis=2).tobytes()],
        {256: 30, 257: 21, 258: (8, 8, 8), 259: 1, 262: 6, 277: 3, 278: 21, 284: 1, 530: sharing},
    )
    picture, notices = decode(open_picture(data, "it"), max_pixels=1_000_000)
    planes = [luma, np.full_like(luma, 170), np.full_like(luma, 90)]  # OpenCV has Cr first
    expected = cv2.cvtColor(np.dstack(planes), cv2.COLOR_YCrCb2BGR)
    assert notices == []
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("comment", [b"255\n", b"255#a\n", b"#a\n255 ", b"255#several words#\n"])
def test_comments_of_a_ppm(comment: bytes) -> None:
    pixels = pictures.pixels(8, 10, 3)
    data = b"P6 10 8\n" + comment + pixels.tobytes()
    picture, _ = decode(open_picture(data, "it"), max_pixels=1_000_000)
    np.testing.assert_array_equal(picture.pixels[..., ::-1], pixels)


def test_an_xpm_with_names_of_colours() -> None:
    with pytest.raises(Exception, match="an XPM with colour names, which is not supported"):
        open_picture((CASES / "xpm_imagemagick.xpm").read_bytes(), "it")
