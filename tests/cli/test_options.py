"""Every option of ``xlsr upscale`` changes something."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
import typer.main
from PIL import Image

from tests.cli.pictures import SAMPLE, foreign_model, photo, write
from xlsr_cli.cli.app import main
from xlsr_cli.cli.commands.upscale import app

Capture = pytest.CaptureFixture[str]

TESTED: set[str] = set()


def about(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note which options a test is about, so that none can be forgotten."""

    def note(test: Callable[..., None]) -> Callable[..., None]:
        TESTED.update(names)
        return test

    return note


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return write(tmp_path / "in.png", photo(60, 40))


def run(picture: Path, *options: str, output: str = "out.png", code: int = 0) -> Path:
    """Upscale with ``options``; the output's path."""
    target = picture.with_name(output)
    assert main(["upscale", str(picture), str(target), *options]) == code
    return target


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def pixels(path: Path) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found


def plan(picture: Path, capsys: Capture, *options: str) -> dict[str, object]:
    """What --dry-run --json says."""
    capsys.readouterr()
    assert main(["upscale", str(picture), "--dry-run", "--json", *options]) == 0
    return dict(json.loads(capsys.readouterr().out))


@about("scale", "width", "height", "long_edge", "fit")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (120, 80)),
        (["--scale", "3"], (180, 120)),
        (["-s", "2.5"], (150, 100)),
        (["--scale", "7"], (420, 280)),
        (["--width", "90"], (90, 60)),
        (["--height", "120"], (180, 120)),
        (["--width", "70", "--height", "90"], (70, 90)),
        (["--long-edge", "240"], (240, 160)),
        (["--fit", "100x500"], (100, 67)),
    ],
)
def test_sizes(picture: Path, options: list[str], expected: tuple[int, int]) -> None:
    assert size(run(picture, *options)) == expected


@pytest.mark.parametrize(
    "options",
    [
        ["--scale", "1"], ["--scale", "17"], ["--scale", "nan"], ["--width", "10"], ["--width", "99999"],
        ["--scale", "2", "--width", "100"], ["--fit", "100"], ["--long-edge", "0"],
    ],
)  # fmt: skip
def test_sizes_that_make_no_sense(picture: Path, options: list[str], capsys: Capture) -> None:
    target = run(picture, *options, code=2)
    assert not target.exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


@about("model")
def test_model(picture: Path, capsys: Capture) -> None:
    plain = pixels(run(picture))
    other = pixels(run(picture, "--model", "xlsr_x4_rgb_int8", output="other.png"))
    assert not np.array_equal(plain, other)
    run(picture, "--model", "nothing", output="none.png", code=5)
    assert "xlsr_x2_rgb_int8" in capsys.readouterr().err


@about("halo")
def test_a_model_of_the_users_own_and_its_halo(picture: Path, tmp_path: Path, capsys: Capture) -> None:
    network = str(foreign_model(tmp_path / "own.onnx"))
    answer = pixels(run(picture, "--model", network))
    np.testing.assert_array_equal(answer, pixels(picture).repeat(2, 0).repeat(2, 1))
    whole = plan(picture, capsys, "--model", network)
    tiled = plan(picture, capsys, "--model", network, "--halo", "1", "--tile", "16")
    assert whole["passes"][0]["tiles"] == 1  # type: ignore[index]
    assert tiled["passes"][0]["tiles"] > 1  # type: ignore[index]


@about("restore")
def test_restore(picture: Path) -> None:
    for level in ("auto", "off", "light", "strong", "drawing"):
        run(picture, "--restore", level, output=f"{level}.png")
    run(picture, "--restore", "weak", code=2)


@about("color")
def test_color(picture: Path) -> None:
    rgb, luma = (pixels(run(picture, "--color", color, output=f"{color}.png")) for color in ("rgb", "ycbcr"))
    assert not np.array_equal(rgb, luma)
    auto = pixels(run(picture, output="auto.png"))
    assert np.array_equal(auto, rgb) or np.array_equal(auto, luma)


@about("precision")
def test_precision(picture: Path) -> None:
    auto, int8, fp32 = (
        pixels(run(picture, "--precision", precision, output=f"{precision}.png"))
        for precision in ("auto", "int8", "fp32")
    )
    np.testing.assert_array_equal(auto, int8)
    assert not np.array_equal(int8, fp32)


@about("tile")
def test_tile_changes_the_plan_and_no_pixel(picture: Path, capsys: Capture) -> None:
    many = plan(picture, capsys, "--tile", "16")
    few = plan(picture, capsys, "--tile", "64")
    assert many["passes"][0]["tiles"] > few["passes"][0]["tiles"]  # type: ignore[index]
    one = run(picture, "--tile", "16", output="16.png").read_bytes()
    assert one == run(picture, "--tile", "64", output="64.png").read_bytes()
    run(picture, "--tile", "2", output="2.png", code=2)


@about("threads")
def test_threads_change_the_plan_and_no_pixel(picture: Path, capsys: Capture) -> None:
    assert plan(picture, capsys, "--threads", "3")["threads"] == 3
    one = run(picture, "--threads", "1", output="1.png").read_bytes()
    assert one == run(picture, "--threads", "3", output="3.png").read_bytes()
    run(picture, "--threads", "0", output="0.png", code=2)


@about("provider")
def test_provider(picture: Path, capsys: Capture) -> None:
    run(picture, "--provider", "CPUExecutionProvider")
    run(picture, "--provider", "quantum", output="q.png", code=6)
    assert "quantum" in capsys.readouterr().err


@about("max_memory")
def test_max_memory(tmp_path: Path, capsys: Capture) -> None:
    large = write(tmp_path / "large.png", photo(900, 700))
    free = plan(large, capsys)
    tight = plan(large, capsys, "--max-memory", "8M")
    assert tight["peak_memory"] < free["peak_memory"]  # type: ignore[operator]
    first, second = (
        run(large, *o, output=f"{len(o)}.png").read_bytes() for o in ([], ["--max-memory", "8M"])
    )
    assert first == second


@about("max_pixels")
def test_max_pixels(picture: Path, capsys: Capture) -> None:
    target = run(picture, "--max-pixels", "2k", code=3)
    assert not target.exists()
    assert "--max-pixels allows 2000" in capsys.readouterr().err
    run(picture, "--max-pixels", "2400")


@about("format")
def test_format_decides_before_the_name(picture: Path) -> None:
    with Image.open(run(picture, "--format", "webp", output="out.png")) as image:
        assert image.format == "WEBP"
    run(picture, "--format", "gif", output="no.png", code=2)


@about("quality")
def test_quality(picture: Path) -> None:
    low, high = (
        run(picture, "--quality", str(quality), output=f"{quality}.jpg").stat().st_size
        for quality in (20, 98)
    )
    assert low < high / 2
    run(picture, "--quality", "101", output="no.jpg", code=2)


def test_quality_says_where_it_changes_nothing(picture: Path, capsys: Capture) -> None:
    for name in ("a.png", "a.tif", "a.bmp", "a.ppm"):
        run(picture, "--quality", "50", "--strict", output=name)
        assert "quality-ignored" in capsys.readouterr().err
    run(picture, "--quality", "50", output="a.webp")
    assert "quality-ignored" not in capsys.readouterr().err


@about("lossless")
def test_lossless(picture: Path) -> None:
    exact = pixels(run(picture))
    lossy = pixels(run(picture, output="lossy.webp"))
    lossless = pixels(run(picture, "--lossless", output="lossless.webp"))
    np.testing.assert_array_equal(lossless, exact)
    assert not np.array_equal(lossy, exact)
    assert not run(picture, "--lossless", output="lossless.jpg", code=2).exists()
    assert main(["upscale", str(picture), str(picture.with_name("l.jpg")), "--lossless", "--dry-run"]) == 2


@about("overwrite")
def test_overwrite(picture: Path, capsys: Capture) -> None:
    target = picture.with_name("out.png")
    target.write_bytes(b"mine")
    run(picture, code=4)
    assert target.read_bytes() == b"mine"
    assert "--overwrite" in capsys.readouterr().err
    run(picture, "--overwrite")
    assert size(target) == (120, 80)


@about("strip")
def test_strip(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    source = tmp_path / "in.jpg"
    Image.fromarray(photo(30, 20)).save(source, exif=exif, dpi=(300, 300))
    with Image.open(run(source, output="kept.jpg")) as image:
        assert image.getexif()[0x010E] == "a secret place"
    stripped = run(source, "--strip", output="bare.jpg")
    assert b"secret" not in stripped.read_bytes()


@about("strict")
def test_strict(tmp_path: Path, capsys: Capture) -> None:
    source = write(tmp_path / "in.png", np.dstack([photo(30, 20), np.full((20, 30), 99, np.uint8)]))
    run(source, output="told.jpg")
    assert "alpha-dropped" in capsys.readouterr().err
    assert not run(source, "--strict", output="strict.jpg", code=8).exists()


@about("json")
def test_json(picture: Path, capsys: Capture) -> None:
    target = run(picture, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["output"] == str(target)
    assert found["size"] == {"width": 120, "height": 80}
    assert found["models"] == ["xlsr_x2_rgb_int8"]


@pytest.mark.parametrize(
    "options",
    [[], ["--dry-run"], ["-s", "6.5"], ["--dry-run", "-s", "6.5"], ["--format", "jpeg"]],
    ids=" ".join,
)
def test_json_is_what_its_schema_says(tmp_path: Path, options: list[str], capsys: Capture) -> None:
    schema = json.loads((SAMPLE.parents[1] / "upscale.schema.json").read_text("utf-8"))
    source = write(tmp_path / "in.png", np.dstack([photo(30, 20), np.full((20, 30), 99, np.uint8)]))
    assert main(["upscale", str(source), "--json", *options]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), schema)


@about("quiet")
def test_quiet(tmp_path: Path, capsys: Capture) -> None:
    source = write(tmp_path / "in.png", np.dstack([photo(30, 20), np.full((20, 30), 99, np.uint8)]))
    run(source, "--quiet", output="out.jpg")
    assert capsys.readouterr() == ("", "")
    run(source, "--quiet", output="out.jpg", code=4)
    assert capsys.readouterr().err.startswith("error: ")


@about("verbose")
def test_verbose(picture: Path, capsys: Capture) -> None:
    run(picture)
    brief = capsys.readouterr().err
    run(picture, "--verbose", "--overwrite")
    assert len(capsys.readouterr().err.splitlines()) > len(brief.splitlines())
    run(picture, "--verbose", "--quiet", "--overwrite", code=2)


@about("debug")
def test_debug_shows_the_traceback(tmp_path: Path, capsys: Capture) -> None:
    missing = str(tmp_path / "missing.png")
    assert main(["upscale", missing]) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert main(["upscale", missing, "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


@about("dry_run")
def test_dry_run_writes_nothing(picture: Path, capsys: Capture) -> None:
    before = sorted(picture.parent.iterdir())
    found = plan(picture, capsys, "--scale", "6")
    assert [step["model"] for step in found["passes"]] == ["xlsr_x2_rgb_int8", "xlsr_x3_rgb_int8"]  # type: ignore[attr-defined]
    assert (found["source"], found["output"]) == (str(picture), str(picture.with_name("in_x6.png")))
    assert (found["source_size"], found["size"]) == (
        {"width": 60, "height": 40},
        {"width": 360, "height": 240},
    )
    assert main(["upscale", str(picture), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "xlsr_x2_rgb_int8 on 60x40" in said
    assert "MB" in said
    assert sorted(picture.parent.iterdir()) == before


@about("html_full")
def test_full_pictures_lie_beside_the_page(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlsr_cli.quality.page._LARGE_PAGE", 0)
    page = picture.with_name("small.html")
    run(picture, "--html", str(page), "--html-full", output="full.png")
    assert picture.with_name("small_files").is_dir()


@about("html")
def test_html(picture: Path) -> None:
    page = picture.with_name("page.html")
    run(picture, "--html", str(page))
    text = page.read_text("utf-8")
    assert "in.png" in text
    assert "out.png" in text


@about("output")
def test_output_names_a_file_or_a_folder(picture: Path) -> None:
    assert main(["upscale", str(picture), "-o", str(picture.with_name("one.png"))]) == 0
    assert main(["upscale", str(picture), "--output", f"{picture.with_name('out')}/"]) == 0
    assert size(picture.with_name("one.png")) == size(picture.parent / "out" / "in.png") == (120, 80)


@about("files_from", "null")
@pytest.mark.parametrize(("end", "options"), [("\n", []), ("\0", ["--null"])])
def test_a_list_names_inputs(picture: Path, end: str, options: list[str]) -> None:
    names = picture.with_name("names")
    names.write_text(f"{picture}{end}{end}", "utf-8", newline="")
    assert main(["upscale", "--files-from", str(names), *options]) == 0
    assert size(picture.with_name("in_x2.png")) == (120, 80)
    assert main(["upscale", str(picture), "--null"]) == 2


@about("inputs")
def test_default_names(picture: Path) -> None:
    assert main(["upscale", str(picture)]) == 0
    assert main(["upscale", str(picture), "-s", "2.5"]) == 0
    assert main(["upscale", str(picture), "--fit", "100x100"]) == 0
    assert main(["upscale", str(picture), "--format", "jpeg"]) == 0
    names = sorted(path.name for path in picture.parent.iterdir())
    assert names == ["in.png", "in_fit100x100.png", "in_x2.5.png", "in_x2.jpg", "in_x2.png"]


VIDEO = {
    "codec", "crf", "preset", "pix_fmt", "deinterlace", "start", "end", "frames", "copy_only", "reuse",
}  # fmt: skip


@pytest.mark.parametrize(
    "option",
    [
        ["--codec", "h264"], ["--crf", "3"], ["--preset", "slow"], ["--pix-fmt", "gray"], ["--deinterlace"],
        ["--start", "1"], ["--end", "1"], ["--frames", "1"], ["--copy-only"], ["--no-reuse"],
    ],
)  # fmt: skip
def test_options_of_videos_are_refused_for_pictures(
    picture: Path, option: list[str], capsys: Capture
) -> None:
    """Their effect on videos is tested with the videos."""
    run(picture, *option, code=2)
    assert "are for videos" in capsys.readouterr().err


def test_no_option_was_forgotten() -> None:
    parameters = {str(parameter.name) for parameter in typer.main.get_command(app).params}
    assert parameters - VIDEO == TESTED


def test_the_sample_is_worth_it(tmp_path: Path) -> None:
    assert main(["upscale", str(SAMPLE), str(tmp_path / "out.png")]) == 0
    assert size(tmp_path / "out.png") == (576, 576)


def test_verbose_tells_what_became_of_the_runtimes(
    picture: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that is long enough tries them. A broken one costs a line; the picture is still made."""
    from xlsr_cli.engine import fastest

    row = fastest.PLUG_INS[0]._replace(name="broken", module="colorsys")
    monkeypatch.setattr(fastest, "PLUG_INS", (row,))
    monkeypatch.setattr(fastest, "PAYS_AFTER", 0.0)
    monkeypatch.setattr(fastest, "_broken", set())
    run(picture, "--tile", "16", "--verbose", output="verbose.png")
    told = capsys.readouterr().err
    assert told.count("broken is not used") == 1
    monkeypatch.setattr(fastest, "_broken", set())
    run(picture, "--tile", "16", output="silent.png")
    assert "broken" not in capsys.readouterr().err
