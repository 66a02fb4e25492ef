"""``xlsr compare``: against a reference, and with itself."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.photographs import photograph
from xlsr_cli.cli.app import main
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8
from xlsr_cli.quality.compare import compare_self
from xlsr_cli.quality.metrics import compare, psnr

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "docs" / "sample" / "gae-aulenti.png"


def write(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    random = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return write(tmp_path / "reference.png", cv2.resize(random, (64, 48), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def near(reference: Path) -> Path:
    pixels = cv2.imread(str(reference))
    assert pixels is not None
    return write(reference.with_name("near.png"), cv2.add(pixels, 3))


def results(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return list(json.loads(capsys.readouterr().out)["results"])


def test_the_numbers_are_those_of_the_metrics(
    reference: Path, near: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(reference), str(near), str(reference), "--json"]) == 0
    first, second = results(capsys)
    pixels = [cv2.imread(str(path)) for path in (reference, near)]
    expected = compare(*pixels)  # type: ignore[arg-type]
    assert first == {"name": str(near), "identical": False, **vars(expected)}
    assert second["identical"] is True
    assert second["psnr_y"] is None
    assert second["ssim_y"] == pytest.approx(1.0)


def test_the_table(reference: Path, near: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(reference), str(near), str(reference)]) == 0
    out = capsys.readouterr().out
    assert "PSNR Y′" in out
    assert " dB" in out
    assert "identical" in out


def test_border(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = cv2.imread(str(reference))
    assert pixels is not None
    pixels[0] = 255 - pixels[0]
    framed = write(reference.with_name("framed.png"), pixels)
    main(["compare", str(reference), str(framed), "--json", "--border", "1"])
    assert results(capsys)[0]["identical"] is True


def test_fail_under(reference: Path, near: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(reference), str(near), "--fail-under", "20"]) == 0
    assert main(["compare", str(reference), str(near), "--fail-under", "60"]) == 9
    captured = capsys.readouterr()
    assert "PSNR" in captured.out  # the numbers are shown all the same
    assert captured.err.splitlines()[-1].startswith(f"error: {near} reaches ")
    assert main(["compare", str(reference), str(reference), "--fail-under", "99"]) == 0


def test_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--self", str(SAMPLE), "--json"]) == 0
    found = {row["name"]: row["psnr_y"] for row in results(capsys)}
    assert list(found) == ["xlsr", "bicubic", "Lanczos"]
    assert found["xlsr"] > found["Lanczos"] > found["bicubic"]  # type: ignore[operator]


def test_itself_judges_the_model_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--self", str(SAMPLE), "--json"])
    found = {str(row["name"]): float(row["psnr_y"]) for row in results(capsys)}  # type: ignore[arg-type]
    between = (found["xlsr"] + found["Lanczos"]) / 2
    assert main(["compare", "--self", str(SAMPLE), "--fail-under", str(between)]) == 0
    assert main(["compare", "--self", str(SAMPLE), "--fail-under", str(found["xlsr"] + 0.1)]) == 9


@pytest.mark.parametrize(
    "flags", [("--scale", "3"), ("--color", "ycbcr"), ("--model", "xlsr_x4_rgb_int8"), ("--border", "20")]
)
def test_options_of_the_self_test_change_something(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", "--self", str(SAMPLE), "--json"])
    plain = results(capsys)
    assert main(["compare", "--self", str(SAMPLE), "--json", *flags]) == 0
    assert results(capsys)[0]["psnr_y"] != plain[0]["psnr_y"]


def test_gray_and_16_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(2).integers(0, 65536, (20, 30)).astype(np.uint16)
    one, other = write(tmp_path / "a.png", values), write(tmp_path / "b.png", values ^ 1)
    assert main(["compare", str(one), str(other), "--json"]) == 0
    (row,) = results(capsys)
    assert row["psnr_rgb"] is None
    assert row["psnr_y"] == pytest.approx(20 * np.log10(65535.0), abs=1e-9)


def test_alpha_is_not_compared_and_that_is_said(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = cv2.imread(str(reference))
    assert pixels is not None
    clear = write(
        reference.with_name("clear.png"), np.dstack([pixels, np.full(pixels.shape[:2], 9, np.uint8)])
    )
    assert main(["compare", str(reference), str(clear), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["results"][0]["identical"] is True
    assert captured.err.startswith(f"note: {clear}: ")
    assert "alpha-not-compared" in captured.err


def test_that_only_the_first_picture_counts_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("L", (20, 20), level) for level in (0, 255)]
    one, two = tmp_path / "one.png", tmp_path / "two.tif"
    frames[0].save(one)
    frames[0].save(two, save_all=True, append_images=frames[1:])
    assert main(["compare", str(one), str(two), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["results"][0]["identical"] is True
    assert "two.tif" in captured.err
    assert "only the first" in captured.err


def test_a_named_model_shrinks_by_its_own_factor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--self", str(SAMPLE), "--model", "xlsr_x4_rgb_int8"]) == 0
    assert "shrunk by 4 to 72x72" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{reference}", "{small}"], 3, "only pictures of one size"),
        (["{reference}", "nowhere.png"], 3, "nowhere.png does not exist"),
        (["{reference}", "{text}"], 3, "not a picture"),
        (["{reference}"], 2, "at least one picture"),
        (["--self", "{reference}", "{small}"], 2, "--self takes one picture"),
        (["{reference}", "{small}", "--model", "xlsr_x2_rgb_int8"], 2, "--self"),
        (["{reference}", "{small}", "--scale", "3"], 2, "--self"),
        (["{reference}", "{reference}", "--border", "24"], 2, "--border 24 leaves nothing"),
        (["--self", "{reference}", "--border", "24"], 2, "--border 24 leaves nothing"),
        (["{reference}", "{reference}", "--fail-under", "nan"], 2, "a number of decibels"),
        (["--self", "{small}", "--scale", "4"], 2, "too small"),
    ],
)
def test_what_cannot_be_compared(
    reference: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    folder = reference.parent
    names = {
        "reference": reference,
        "small": write(folder / "small.png", np.zeros((5, 5, 3), np.uint8)),
        "text": folder / "text.png",
    }
    names["text"].write_text("hello")
    assert main(["compare", *(argument.format(**names) for argument in arguments)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{sample}", "{out}.png", "--html", "{page}"], 4, "exists already"),
        (["{sample}", "-", "--html", "{folder}/new.html"], 2, "goes to stdout"),
        (["{moving}", "{out}.gif", "--html", "{folder}/new.html"], 2, "an animation"),
        (["{sample}", "{out}.png", "--html", "{folder}/new.png"], 2, "ends in .html"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    names = {"sample": SAMPLE, "out": tmp_path / "out", "page": tmp_path / "page.html", "folder": tmp_path}
    names["page"].write_text("kept")
    names["moving"] = tmp_path / "moving.gif"
    frames = [Image.new("L", (9, 9), level) for level in (0, 255)]
    frames[0].save(names["moving"], save_all=True, append_images=frames[1:])
    assert main(["upscale", *(argument.format(**names) for argument in arguments)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.glob("out*"))
    assert names["page"].read_text() == "kept"


def test_the_page_of_upscale_shows_both(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["upscale", str(SAMPLE), str(tmp_path / "large.png"), "--html", str(page)]) == 0
    text = page.read_text("utf-8")
    assert "before: gae-aulenti.png" in text
    assert "after: large.png" in text


def test_the_page_is_written_and_not_replaced(
    reference: Path, near: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = reference.with_name("page.html")
    arguments = ["compare", str(reference), str(near), "--html", str(page)]
    assert main(arguments) == 0
    text = page.read_text("utf-8")
    assert "near.png" in text
    assert "PSNR" in text
    capsys.readouterr()
    assert main(arguments) == 4
    assert capsys.readouterr().out == ""  # it is found before anything is compared
    assert main([*arguments, "--overwrite"]) == 0
    assert main([*arguments[:-1], str(near), "--overwrite"]) == 2  # a picture is never replaced by a page
    assert main(["compare", "--self", str(SAMPLE), "--html", str(page), "--overwrite"]) == 0
    assert "bicubic" in page.read_text("utf-8")


def compressed_file(folder: Path, pixels: np.ndarray, suffix: str, quality: int) -> Path:
    path = folder / f"photo{quality}{suffix}"
    if suffix == ".avif":  # by one encoder: at one quantizer, others lose 5 dB more or less
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_AVIF_QUALITY, quality])
    else:
        Image.fromarray(pixels[..., ::-1]).save(path, quality=quality)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_itself_is_compressed_as_the_source_was(suffix: str, tmp_path: Path) -> None:
    pixels = photograph(5, 96, 120)
    lost = {}
    for quality in (30, 90):
        path = compressed_file(tmp_path, pixels, suffix, quality)
        found, _ = compare_self(path, 2, Upscaler(2))
        # What bicubic makes of the shrunk picture as it was before it was compressed once more.
        plain = to_uint8(imresize(shrink(found.reference, 2).astype(np.float64), 96, 120))
        lost[quality] = psnr(found.enlarged["bicubic"], plain)
        decoded = cv2.imread(str(path))
        assert decoded is not None
        of_the_file = psnr(decoded, pixels)
        # Bicubic takes some of the noise away; a picture of half the size has more detail to lose.
        assert of_the_file - 3 < lost[quality] < of_the_file + 5
    assert lost[30] < lost[90] - 3


def test_a_clean_source_stays_clean(tmp_path: Path) -> None:
    path = write(tmp_path / "clean.png", photograph(5, 96, 120))
    found, _ = compare_self(path, 2, Upscaler(2))
    plain = to_uint8(imresize(shrink(found.reference, 2).astype(np.float64), 96, 120))
    np.testing.assert_array_equal(found.enlarged["bicubic"], plain)
    assert found.compression.level == "off"


def test_the_level_of_the_self_test_can_be_named(tmp_path: Path) -> None:
    path = compressed_file(tmp_path, photograph(6, 96, 120), ".jpg", 40)
    auto, strong, off = (compare_self(path, 2, Upscaler(2, restore=r))[0] for r in ("auto", "strong", "off"))
    np.testing.assert_array_equal(auto.enlarged["xlsr"], strong.enlarged["xlsr"])
    assert (off.enlarged["xlsr"] != auto.enlarged["xlsr"]).any()
    np.testing.assert_array_equal(auto.enlarged["bicubic"], off.enlarged["bicubic"])
