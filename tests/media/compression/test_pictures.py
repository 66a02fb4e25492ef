"""How strongly picture files were compressed, by their headers and tables."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.photographs import photograph
from xlsr_cli.engine.restore import Compression, Limits
from xlsr_cli.media.compression import picture
from xlsr_cli.media.compression.jpeg_tables import quality_of, quality_of_table
from xlsr_cli.media.compression.webp import quantizer_of
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.pyav import open_input

PICTURE = photograph(0, 64, 80)

#: The flat table that some cameras write, and the one that mozjpeg takes by default, at quality 50.
FLAT = np.full(64, 16)
ROBIDOUX = np.array(
    [
        [16, 16, 16, 18, 25, 37, 56, 85], [16, 17, 20, 27, 34, 40, 53, 75], [16, 20, 24, 31, 43, 62, 91, 135],
        [18, 27, 31, 40, 53, 74, 106, 156], [25, 34, 43, 53, 69, 94, 131, 189],
        [37, 40, 62, 74, 94, 124, 169, 238], [56, 53, 91, 106, 131, 169, 226, 311],
        [85, 75, 135, 156, 189, 238, 311, 418],
    ]
).reshape(-1)  # fmt: skip


def compression_of(data: bytes, format: str) -> Compression | None:
    return picture.compression_of(data, format, 2)[0]


def saved(format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(PICTURE[..., ::-1])).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", range(1, 99))
def test_a_libjpeg_quality_is_found_again(quality: int) -> None:
    encoded = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    assert quality_of(encoded) == quality


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"optimize": True}])
def test_it_is_found_in_every_kind_of_jpeg(options: dict[str, Any]) -> None:
    assert quality_of(saved("JPEG", quality=72, **options)) == 72


@pytest.mark.parametrize("table", [FLAT, ROBIDOUX], ids=["flat", "mozjpeg"])
def test_unusual_tables_are_taken_by_their_values(table: np.ndarray) -> None:
    def at(percent: int) -> int:
        steps = np.clip((table * percent + 50) // 100, 1, 255)
        found = quality_of(saved("JPEG", qtables=[steps.tolist(), steps.tolist()]))
        assert found is not None
        return found

    found = [at(percent) for percent in (10, 20, 50, 100, 200)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 90
    assert 40 <= found[3] <= 90


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 255), min_size=64, max_size=64), st.integers(0, 63))
def test_a_coarser_step_never_makes_a_better_quality(steps: list[int], place: int) -> None:
    coarser = [min(255, step + 20) if index == place else step for index, step in enumerate(steps)]
    before, after = quality_of_table(steps), quality_of_table(coarser)
    assert before is not None
    assert after is not None
    assert after <= before


@pytest.mark.parametrize("steps", [[], [1] * 63, [0] * 64, [1] * 63 + [256], [65535] * 64, [-1] * 64])
def test_absurd_tables_say_nothing(steps: list[int]) -> None:
    assert quality_of_table(steps) is None


def broken_jpegs() -> dict[str, bytes]:
    whole = saved("JPEG", quality=60)
    at = whole.index(b"\xff\xdb")
    length = int.from_bytes(whole[at + 2 : at + 4], "big")
    zeros = bytearray(whole)
    zeros[at + 5 : at + 69] = bytes(64)
    deep = whole[:at] + b"\xff\xdb\x00\x83\x10" + b"\x01\x40" * 64 + whole[at + 2 + length :]
    misnamed = bytearray(whole)
    misnamed[at + 4] = 0x03
    return {
        "zeros": bytes(zeros),
        "16 bits": deep,
        "no table": whole[:at] + whole[at + 2 + length :],
        "another number": bytes(misnamed),
        "cut": whole[: at + 20],
        "nothing": b"",
        "a marker alone": b"\xff\xd8",
        "noise": bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8)),
    }


@pytest.mark.parametrize("kind", broken_jpegs())
def test_broken_jpegs_say_nothing(kind: str) -> None:
    found, note = picture.compression_of(broken_jpegs()[kind], "jpeg", 2)
    assert found is None
    assert note


def test_a_damaged_file_never_raises() -> None:
    random = np.random.default_rng(1)
    whole = {"jpeg": saved("JPEG"), "webp": saved("WEBP"), "avif": saved("AVIF"), "tiff": jpeg_tiff(70)}
    for format, content in whole.items():
        for _ in range(60):
            damaged = np.frombuffer(content, np.uint8).copy()
            damaged[random.integers(0, min(700, len(damaged)), 4)] = random.integers(0, 256, 4)
            compression_of(damaged[: random.integers(1, len(damaged))].tobytes(), format)


def test_webp_tells_a_quantizer_that_falls_as_quality_rises() -> None:
    found = [quantizer_of(saved("WEBP", quality=quality)) for quality in (1, 20, 50, 75, 90, 99)]
    assert None not in found
    assert found == sorted(found, key=lambda value: -(value or 0))
    assert found[0] != found[-1]


def test_lossless_and_animated_webp() -> None:
    assert quantizer_of(saved("WEBP", lossless=True)) is None
    frames = [Image.fromarray(PICTURE).rotate(90)]
    moving = [saved("WEBP", quality=quality, save_all=True, append_images=frames) for quality in (20, 80)]
    assert all(b"ANMF" in content for content in moving)
    coarse, fine = (quantizer_of(content) for content in moving)
    assert coarse is not None
    assert fine is not None
    assert coarse > fine


def test_avif_tells_a_quantizer_that_falls_as_quality_rises() -> None:
    found = [compression_of(saved("AVIF", quality=quality), "avif") for quality in (20, 50, 80, 95)]
    values = [-1 if compression is None else compression.value for compression in found]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] > 0


def test_no_frame_of_an_avif_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the headers must not take as long as reading the picture."""
    formats = []

    def noted(*arguments: Any, **options: Any) -> Any:
        container = open_input(*arguments, **options)
        formats.append(container.streams.video[0].codec_context.pix_fmt)
        return container

    monkeypatch.setattr(pyav, "open_input", noted)
    assert compression_of(saved("AVIF", quality=60), "avif") is not None
    assert formats == [None]  # what only a decoder knows


def jpeg_tiff(quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "TIFF", compression="jpeg", quality=quality)
    return file.getvalue()


def test_a_tiff_of_jpeg_has_its_tables() -> None:
    assert str(compression_of(jpeg_tiff(70), "tiff")) == "JPEG, about quality 70: strong"
    plain = io.BytesIO()
    tifffile.imwrite(plain, PICTURE)
    assert compression_of(plain.getvalue(), "tiff") is None


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP"])
def test_other_formats_say_nothing(format: str) -> None:
    assert compression_of(saved(format), format.lower()) is None


def test_the_level_follows_the_quality() -> None:
    order = ["off", "light", "strong"]
    found = [compression_of(saved("JPEG", quality=quality), "jpeg") for quality in range(100, 0, -1)]
    levels = [order.index(compression.level) for compression in found if compression is not None]
    assert len(levels) == 100
    assert levels == sorted(levels)
    assert set(levels) == {0, 1, 2}


def smooth() -> np.ndarray:
    rows, columns = np.mgrid[:64, :80]
    return np.dstack([100 + rows, 60 + columns, 90 + (rows + columns) // 2]).astype(np.uint8)


@pytest.mark.parametrize(
    ("suffix", "flag", "quality"),
    [
        (".jpg", cv2.IMWRITE_JPEG_QUALITY, 97),
        (".webp", cv2.IMWRITE_WEBP_QUALITY, 95),
        (".avif", cv2.IMWRITE_AVIF_QUALITY, 95),
    ],
)
def test_the_same_quality_harms_a_smooth_picture_more(suffix: str, flag: int, quality: int) -> None:
    format = {".jpg": "jpeg"}.get(suffix, suffix[1:])
    noisy = np.random.default_rng(0).integers(0, 256, PICTURE.shape, np.uint8)
    found = [
        compression_of(cv2.imencode(suffix, pixels, [flag, quality])[1].tobytes(), format)
        for pixels in (noisy, smooth())
    ]
    assert [one and one.level for one in found] == ["off", "light"]


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_what_a_file_holds_beside_the_picture_has_no_say(format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a long description " * 2000
    with_notes = saved(format, quality=97, exif=exif)
    assert len(with_notes) > 3 * len(saved(format, quality=97))
    assert compression_of(with_notes, format.lower()) == compression_of(
        saved(format, quality=97), format.lower()
    )


@given(
    quantizer=st.floats(0, 127),
    bits=st.floats(0, 1e9),
    more=st.floats(0, 1e9),
    doubling=st.sampled_from([0, 2, 30]),
)
def test_more_bits_a_pixel_never_make_a_stronger_network(
    quantizer: float, bits: float, more: float, doubling: float
) -> None:
    known = Limits(10, 50, doubling)
    order = ["off", "light", "strong"]
    assert order.index(known.level(quantizer, bits + more)) <= order.index(known.level(quantizer, bits))
    assert order.index(known.level(quantizer + 1, bits)) >= order.index(known.level(quantizer, bits))
