"""The small inputs that earlier versions failed on behave as they should, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.cases import CASES
from xlsr_cli.cli.app import main

Capture = pytest.CaptureFixture[str]


def run(tmp_path: Path, name: str, extension: str, capsys: Capture, *flags: str) -> tuple[int, str, Path]:
    """Exit code, what was said, and the output."""
    output = tmp_path / f"out.{extension}"
    code = main(["upscale", str(CASES / name), str(output), "--threads", "1", *flags])
    return code, capsys.readouterr().err, output


@pytest.mark.parametrize(
    ("name", "extension", "notice"),
    [
        ("apng_plays100000_to_webp.png", "webp", "plays-reduced"),
        ("gif_loop65535_to_webp.gif", "webp", "plays-reduced"),
        ("apng_delay700s_to_gif.png", "gif", "delays-shortened"),
        ("apng_delay20000s_to_webp.png", "webp", "delays-shortened"),
        ("tiff_yres.tif", "tif", "dpi-dropped"),
        ("bmp_negative_dpi.bmp", "webp", "dpi-dropped"),
        ("bmp_negative_dpi.bmp", "avif", "dpi-dropped"),
        ("avif_cicp_overflow.avif", "png", "cicp-dropped"),
    ],
)
def test_a_number_that_the_format_cannot_hold_has_a_notice(
    tmp_path: Path, name: str, extension: str, notice: str, capsys: Capture
) -> None:
    code, said, output = run(tmp_path, name, extension, capsys)
    assert code == 0, said
    assert f"({notice})" in said
    with Image.open(output) as image:
        image.load()


@pytest.mark.parametrize("name", ["gif_extents_20gb.gif", "plan_4gb.gif", "apng_assertion.png"])
def test_what_claims_too_much_or_makes_no_sense_is_refused(
    tmp_path: Path, name: str, capsys: Capture
) -> None:
    code, said, output = run(tmp_path, name, "png", capsys)
    assert code == 3, said
    assert not output.exists()


def test_bits_above_the_depth_of_a_transparent_sample(tmp_path: Path, capsys: Capture) -> None:
    code, said, output = run(tmp_path, "trns_1bit_highbits.png", "png", capsys)
    assert (code, "(damaged)" in said) == (0, False)
    with Image.open(output) as image:
        assert image.convert("RGBA").getchannel("A").getextrema() == (0, 255)


def test_a_motion_photo_is_no_silent_loss(tmp_path: Path, capsys: Capture) -> None:
    code, said, output = run(tmp_path, "motion_photo.jpg", "jpg", capsys, "--strict")
    assert (code, output.exists(), "video behind it" in said) == (8, False, True)
