"""The small inputs that earlier versions failed on behave as they should, through the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cases import CASES
from xlsr_cli.cli.app import main
from xlsr_cli.media.picture.animation import open_animation
from xlsr_cli.media.picture.steps.opening import open_picture

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


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gif_extents_20gb.gif", "reaches to 65635x65635 pixels and --max-pixels allows"),
        ("plan_4gb.gif", "claims 65535x65535 pixels and --max-pixels allows"),
        ("ico_2gb.ico", "claims more pixels than any ICO has"),
        ("apng_assertion.png", "is damaged"),
        ("xpm_imagemagick.xpm", "an XPM with colour names, which is not supported"),
    ],
)
def test_what_claims_too_much_or_makes_no_sense_is_refused(
    tmp_path: Path, name: str, says: str, capsys: Capture
) -> None:
    code, said, output = run(tmp_path, name, "png", capsys)
    assert (code, output.exists()) == (3, False)
    assert says in said


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("tiff_ycbcr_sub22_raw.tif", "png"),
        ("ppm_comment_after_maxval.ppm", "png"),
        ("progressive_no_eoi.jpg", "jpg"),
        ("iptc_split_app13.jpg", "jpg"),
        ("motion_photo.jpg", "jpg"),
        ("trns_1bit_highbits.png", "png"),
        ("gif_small_frame.gif", "png"),
        ("gif_dispose2_bgcolour.gif", "gif"),
        ("apng_prev_over_min.png", "png"),
    ],
)
def test_what_is_kept_whole_needs_no_notice(
    tmp_path: Path, name: str, extension: str, capsys: Capture
) -> None:
    code, said, output = run(tmp_path, name, extension, capsys, "--strict")
    assert (code, output.exists()) == (0, True), said


def test_alpha_beside_cmyk(tmp_path: Path, capsys: Capture) -> None:
    code, said, output = run(tmp_path, "tiff_cmyk_alpha.tif", "png", capsys)
    assert (code, "(cmyk-converted)" in said, "dropped" in said) == (0, True, False)
    with Image.open(output) as image:
        assert (image.mode, image.getchannel("A").getextrema()[0] < 255) == ("RGBA", True)


def test_one_frame_behind_a_hidden_picture(tmp_path: Path, capsys: Capture) -> None:
    code, said, output = run(tmp_path, "apng_one_frame_hidden_default.png", "png", capsys)
    assert (code, "(still-dropped)" in said) == (0, True)
    data = (CASES / "apng_one_frame_hidden_default.png").read_bytes()
    source = open_animation(open_picture(data, "it"), max_pixels=10_000)
    (frame,) = source.frames()
    with Image.open(output) as image:
        shown = np.asarray(image.convert("RGB"))[..., ::-1]
    assert shown.shape[:2] == (2 * frame.shape[0], 2 * frame.shape[1])
    assert np.abs(shown.mean(axis=(0, 1)) - frame[..., :3].mean(axis=(0, 1))).max() < 4


def test_a_gif_in_the_planner_of_a_batch(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "in").mkdir()
    for name in ("plan_4gb.gif", "ico_2gb.ico"):
        shutil.copy(CASES / name, tmp_path / "in")
    code = main(["batch", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--dry-run"])
    assert "claims 65535x65535 pixels" in "".join(capsys.readouterr()), code


def test_every_case_has_a_test() -> None:
    """Those that another room's tests name count as well."""
    tests = Path(__file__).parents[1]
    said = "".join(path.read_text("utf-8") for path in tests.rglob("test_*.py"))
    assert [path.name for path in CASES.iterdir() if path.name not in said] == []


def test_bits_above_the_depth_of_a_transparent_sample(tmp_path: Path, capsys: Capture) -> None:
    code, said, output = run(tmp_path, "trns_1bit_highbits.png", "png", capsys)
    assert (code, "(damaged)" in said) == (0, False)
    with Image.open(output) as image:
        assert image.convert("RGBA").getchannel("A").getextrema() == (0, 255)


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is nothing full to write to")
def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """As docs/exit-codes.md says: 4, and the output is complete."""
    output = tmp_path / "out.png"
    command = [
        sys.executable,
        "-m",
        "xlsr_cli",
        "upscale",
        str(CASES / "trns_1bit_highbits.png"),
        str(output),
    ]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run([*command, "--json"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, "cannot write to stdout" in run.stderr) == (4, True)
    with Image.open(output) as image:
        image.load()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="descriptors have no names")
@pytest.mark.parametrize("opened", ["3> out.png", "3>&1 > out.png", "3> >(cat > out.png); sleep 0.5"])
def test_what_a_shell_has_opened_is_an_output(tmp_path: Path, opened: str) -> None:
    name = "/dev/fd/1" if "&" in opened else "/dev/fd/3"
    command = (
        f"'{sys.executable}' -m xlsr_cli upscale '{CASES / 'trns_1bit_highbits.png'}' {name} --format png"
    )
    run = subprocess.run(["bash", "-c", f"{command} {opened}"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    with Image.open(tmp_path / "out.png") as image:
        image.load()


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
