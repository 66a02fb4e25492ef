"""The small inputs that earlier versions failed on behave as they should, through the command line."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
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


ENDLESS = "/dev/zero"


@pytest.mark.skipif(not Path(ENDLESS).exists(), reason="there is nothing endless to read")
@pytest.mark.parametrize(
    "arguments", [[ENDLESS, "out.png"], ["-", "out.png"], ["--files-from", "-", "-o", "out"]]
)
@pytest.mark.parametrize("head", [b"", b"\x89PNG\r\n\x1a\n"])
def test_what_never_ends_is_not_read_to_its_end(tmp_path: Path, arguments: list[str], head: bytes) -> None:
    command = [sys.executable, "-m", "xlsr_cli", "upscale", "--max-pixels", "1M", *arguments]
    with subprocess.Popen(
        ["sh", "-c", f"(printf '{head.decode('latin-1')}'; cat {ENDLESS}) | exec \"$@\"", "sh", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        _, said = run.communicate(timeout=60)
    assert run.returncode == 3, said
    assert "knows" in said or "more than" in said


def test_a_large_file_that_is_no_picture_is_not_read(tmp_path: Path, capsys: Capture) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(3 << 30)
    tracemalloc.start()
    try:
        code = main(["upscale", str(large), str(tmp_path / "out.png")])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (code, "not a picture or film" in capsys.readouterr().err) == (3, True)
    assert peak < 50 << 20
