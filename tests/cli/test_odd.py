"""Awkward files: each becomes a picture of the right size, or one sentence and a documented code."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.cli.pictures import photo
from xlsr_cli.cli.app import main
from xlsr_cli.media.picture.steps.opening import open_picture

DOCUMENTED = {3, 4}
SECONDS = 30
BYTES = 2 << 30

#: Runs the command on file after file in one process whose memory is limited, and prints one line for each.
CHILD = f"""
import contextlib, io, resource, sys, time
resource.setrlimit(resource.RLIMIT_DATA, ({BYTES}, {BYTES}))
from xlsr_cli.cli.app import main
out = sys.argv[1]
for number, path in enumerate(sys.argv[2:]):
    began, said = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(["upscale", path, f"{{out}}/{{number}}.png", "--quiet"])
    lines = said.getvalue().splitlines()
    print(code, round(time.perf_counter() - began, 2), len(lines), "Traceback" in said.getvalue(), flush=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def save(image: Image.Image, format: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def rgb(width: int, height: int) -> Image.Image:
    return Image.fromarray(photo(width, height))


def awkward() -> dict[str, bytes]:
    """Files that ordinary programs open."""
    gray = rgb(23, 17).convert("L")
    files = {
        "one.png": save(rgb(1, 1), "PNG"),
        "row.png": save(rgb(300, 1), "PNG"),
        "column.jpg": save(rgb(1, 300), "JPEG"),
        "wide.png": save(rgb(9000, 2), "PNG"),
        "one.webp": save(rgb(1, 1), "WEBP"),
        "one.tif": save(rgb(1, 1), "TIFF"),
        "one.bmp": save(rgb(1, 1), "BMP"),
        "one.ppm": save(rgb(1, 1), "PPM"),
        "one.gif": save(rgb(1, 1), "GIF"),
        "one.jp2": save(rgb(1, 1), "JPEG2000"),
        "one.avif": save(rgb(1, 1), "AVIF"),
        "bits.png": save(gray.convert("1"), "PNG"),
        "palette.png": save(rgb(23, 17).quantize(5), "PNG"),
        "palette.gif": save(rgb(23, 17).quantize(5), "GIF"),
        "clear.png": save(rgb(23, 17).quantize(5), "PNG", transparency=1),
        "gray_alpha.png": save(gray.convert("LA"), "PNG"),
        "progressive.jpg": save(rgb(23, 17), "JPEG", progressive=True),
        "cmyk.jpg": save(rgb(23, 17).convert("CMYK"), "JPEG"),
        "gray.jpg": save(gray, "JPEG"),
        "lab.tif": save(rgb(23, 17).convert("LAB"), "TIFF"),
        "lzw.tif": save(rgb(23, 17), "TIFF", compression="tiff_lzw"),
        "pages.tif": save(rgb(23, 17), "TIFF", save_all=True, append_images=[rgb(5, 5)]),
        "float.tif": save(Image.fromarray(np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)), "TIFF"),
        "deep.png": cv2.imencode(".png", photo(23, 17).astype(np.uint16) * 257)[1].tobytes(),
        "deep_alpha.png": cv2.imencode(
            ".png", np.dstack([photo(23, 17), photo(23, 17)[..., :1]]).astype(np.uint16) * 257
        )[1].tobytes(),
        "icon.ico": save(rgb(32, 32), "ICO"),
        "targa.tga": save(rgb(23, 17), "TGA"),
        "comment.pgm": b"P2\n# a comment\n3 2\n7\n0 1 2\n5 6 7\n",
        "trailing.jpg": save(rgb(23, 17), "JPEG") + b"\0" * 5000,
    }
    lying = {f"called_{name.replace('.', '_')}.txt": data for name, data in list(files.items())[:4]}
    return files | lying


def hopeless() -> dict[str, bytes]:
    """Files that nothing opens."""
    whole = save(rgb(80, 60), "PNG")
    jpeg = save(rgb(80, 60), "JPEG")
    huge = struct.pack(">IIBBBBB", 2_000_000_000, 2_000_000_000, 8, 2, 0, 0, 0)
    return {
        "empty.png": b"",
        "text.png": b"this is no picture\n" * 50,
        "zeros.bin": bytes(100_000),
        "cut.png": whole[: len(whole) // 2],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "signature.png": whole[:8],
        "bomb.png": whole[:8] + struct.pack(">I", 13) + b"IHDR" + huge + bytes(4),
        "nothing_wide.ppm": b"P6 0 10 255\n",
        "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "paper.pdf": b"%PDF-1.4\n%nothing\n",
        "program.exe": b"MZ" + bytes(500),
    }


@pytest.mark.parametrize("name", awkward())
def test_what_ordinary_programs_open(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / name, tmp_path / "out.png"
    data = awkward()[name]
    source.write_bytes(data)
    assert main(["upscale", str(source), str(target), "--quiet"]) == 0, capfd.readouterr().err
    assert capfd.readouterr() == ("", "")
    size = open_picture(data, name).size
    with Image.open(target) as image:
        image.load()
        assert image.size == (2 * size.width, 2 * size.height)


def test_strip_and_strict_agree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What --strip removes is no loss for --strict; what is visible still is."""
    whole = save(rgb(23, 17), "JPEG", comment=b"made by hand")
    unknown = whole[:2] + b"\xff\xeb\0\x10content creds!" + whole[2:]
    for data, more, code in (
        (unknown, [], 8),
        (unknown, ["--strip"], 0),
        (save(rgb(23, 17).convert("CMYK"), "JPEG"), ["--strip"], 8),
        (whole, [], 0),
    ):
        source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
        source.write_bytes(data)
        assert main(["upscale", str(source), str(target), "--strict", "--quiet", *more]) == code
        assert target.exists() == (code == 0)
        assert len(capfd.readouterr().err.splitlines()) == (code != 0)
        if target.exists():
            with Image.open(target) as image:
                assert ("comment" in image.info) == (not more)
            target.unlink()


@pytest.mark.parametrize("name", hopeless())
def test_what_nothing_opens(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / name
    source.write_bytes(hopeless()[name])
    assert main(["upscale", str(source), str(tmp_path / "out.png"), "--quiet"]) == 3
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert name in line
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path), lambda path: path.mkdir()])
def test_what_is_no_file(
    tmp_path: Path, make: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "odd"
    make(source)
    code = main(["upscale", str(source), str(tmp_path / "out.png")])
    assert code == 3
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
@pytest.mark.timeout(30)
@pytest.mark.parametrize(("data", "code"), [(awkward()["gray.jpg"], 0), (b"", 3)])
def test_a_named_pipe_is_read_once(tmp_path: Path, data: bytes, code: int) -> None:
    pipe, content, target = tmp_path / "pipe", tmp_path / "content", tmp_path / "out.png"
    os.mkfifo(pipe)
    content.write_bytes(data)
    script = f"open({str(pipe)!r}, 'wb').write(open({str(content)!r}, 'rb').read())"
    with subprocess.Popen([sys.executable, "-c", script]):
        assert main(["upscale", str(pipe), str(target)]) == code
    assert target.exists() == (code == 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
@pytest.mark.timeout(1200)
def test_all_the_odd_files(shared_data: Path, tmp_path: Path) -> None:
    """Each within 30 seconds and 2 GB."""
    odd = shared_data / "odd"
    paths = [path for path in sorted(odd.rglob("*")) if path.is_file() and path.parent.name != "video"]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == len(paths), (paths[len(lines)], done.stderr[-500:])
    assert done.stderr == ""  # nothing got past us to file descriptor 2
    assert int(peak) < BYTES
    for number, (path, line) in enumerate(zip(paths, lines, strict=True)):
        code, seconds, said, traceback = line.split()
        output = tmp_path / f"{number}.png"
        assert float(seconds) < SECONDS, path
        assert traceback == "False", path
        if code == "0":
            size = open_picture(path.read_bytes(), path.name).size
            with Image.open(output) as image:
                image.load()
                assert image.size == (2 * size.width, 2 * size.height), path
        else:
            assert int(code) in DOCUMENTED, (path, line)
            assert said == "1", path
            assert not output.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert time.monotonic() - began < SECONDS * len(paths)
