"""A picture reaches no file but itself, no program and no network, whatever it names and is named."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media.picture import pictures
from tests.media.picture.heif import box, coded, full, heif
from tests.media.picture.rich_files import rich_files
from xlsr_cli.children import child_environment
from xlsr_cli.formats import FORMATS

#: Enlarges every file as the command line does. A hook sees what Python opens, and programs and connections
#: that it starts.
CHILD = """
import sys
from pathlib import Path
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import XlsrError
from xlsr_cli.jobs.picture import upscale_file
from xlsr_cli.jobs.task import Task
from xlsr_cli.options import EngineOptions, PictureOptions

seen = []
def hook(event, arguments):
    if event == "open" or event.startswith(("subprocess.", "os.exec", "os.posix_spawn", "socket.")):
        seen.append(f"{event} {arguments[0]!r}")

options = PictureOptions(overwrite=True, engine=EngineOptions(threads=1, provider="cpu"))
upscaler = Upscaler.from_options(options.engine, options.target)
sys.addaudithook(hook)
for path in sorted(Path(sys.argv[1]).iterdir()):
    seen.clear()
    try:
        upscale_file(path, Path(sys.argv[2]) / "out.png", Task(options=options, upscaler=upscaler))
    except XlsrError:
        pass
    print("\\n".join(f"{path.name}: {event}" for event in seen))
"""


def files(secret: Path) -> Iterator[tuple[str, bytes]]:
    """By file name; ``secret`` is a picture that each of them names in its own way."""
    name, plain = str(secret).encode(), pictures.saved(pictures.image(24, 20, 3), "PNG")
    for kind, data in rich_files().items():
        yield kind.replace("/", " "), data
    for shown in (
        "v%d.png",
        "v1.png",
        "|cat",
        "a.png[0]",
        "data:image%2Fpng",
        "-",
        "~",
        "$HOME.png",
        "a.svg",
        "a.eps",
    ):
        yield shown, plain
    text = name.decode()
    yield (
        "drawing.png",
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{text}"/></svg>'.encode(),
    )
    yield (
        "entity.png",
        f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "{text}">]><svg>&a;</svg>'.encode(),
    )
    yield "script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(" + name + b") run showpage\n"
    yield "magick.jpg", f'<image><read filename="{text}"/></image>'.encode()
    yield "vector.mvg", f"push graphic-context\nimage over 0,0 0,0 '{text}'\npop graphic-context".encode()
    yield (
        "virtual.tif",
        f'<VRTDataset><SourceFilename relativeToVRT="0">{text}</SourceFilename></VRTDataset>'.encode(),
    )
    yield "list.png", b"#EXTM3U\n#EXTINF:1,\nfile://" + name + b"\nhttp://127.0.0.1:9/a.png\n"
    yield "concat.png", b"ffconcat version 1.0\nfile '" + name + b"'\n"
    yield "session.png", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"
    yield "stars.png", b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800)
    yield "light.png", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n" + bytes(4)
    yield "metafile.png", b"\xd7\xcd\xc6\x9a" + bytes(60)
    head = struct.pack("<2sIII", b"BM", 138 + 48 + len(name), 0, 138)
    head += struct.pack("<IiiHHIIiiII", 124, 4, 4, 1, 24, 0, 48, 0, 0, 0, 0) + bytes(16) + b"KNIL" + bytes(48)
    yield "linked.bmp", head + struct.pack("<IIII", 4, 124 + 48, len(name), 0) + bytes(48) + name
    elsewhere = box(b"dinf", full(b"dref", struct.pack(">I", 1), full(b"url ", b"file://" + name + b"\0")))
    yield "elsewhere.avif", heif([coded(pictures.image(24, 20, 3))], meta=elsewhere)
    packet = (
        b'<x:xmpmeta><rdf:Description xmpMM:Manifest="'
        + name
        + b'" stRef:filePath="'
        + name
        + b'"/></x:xmpmeta>'
    )
    yield "linked.png", pictures.saved(pictures.image(9, 9, 3), "PNG", pnginfo=pictures.xmp_chunk(packet))
    yield (
        "linked.jp2",
        pictures.saved(pictures.image(40, 40, 3), "JPEG2000", no_jp2=False) + box(b"url ", bytes(4), name),
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Inputs, outputs, and the picture that nobody may open."""
    inputs, outputs, others = (tmp_path_factory.mktemp(name) for name in ("inputs", "outputs", "others"))
    secret = others / "secret.png"
    secret.write_bytes(pictures.saved(pictures.image(24, 20, 3), "PNG"))
    for name, data in files(secret):
        (inputs / name).write_bytes(data)
    return inputs, outputs, secret


def test_python_opens_no_other_file(folders: tuple[Path, Path, Path]) -> None:
    inputs, outputs, _ = folders
    command = [sys.executable, "-c", CHILD, str(inputs), str(outputs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=inputs)
    seen = [line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line]
    assert any(event == f"open {str(inputs / name)!r}" for name, event in seen)  # the hook is there
    places = {sys.prefix, sys.base_prefix, *sys.path[1:], "/proc", "/sys", "/dev", "/usr", "/etc"}
    system = tuple(f"open '{place}" for place in places)
    others = []
    for name, event in seen:
        is_own = event == f"open {str(inputs / name)!r}" or str(outputs) in event
        if not (is_own or event.startswith(system) or re.fullmatch(r"open \d+", event)):
            others.append(f"{name}: {event}")
    assert others == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_library_opens_another_file(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    inputs, outputs, secret = folders
    log = tmp_path / "log"
    strace = [
        "strace",
        "--follow-forks",
        "--trace=open,openat,openat2,connect,execve",
        "-s",
        "4096",
        "-o",
        str(log),
    ]
    command = [*strace, sys.executable, "-c", CHILD, str(inputs), str(outputs)]
    subprocess.run(command, capture_output=True, check=True, cwd=inputs, env=child_environment())
    calls = log.read_text("utf-8", "replace").splitlines()
    assert sum("execve(" in call for call in calls) == 1
    assert not [call for call in calls if "connect(" in call and "AF_INET" in call]
    assert not [call for call in calls if str(secret.parent) in call]
    relative = [call for call in calls if re.search(r'open\w*\((?:AT_FDCWD, )?"(?!/)', call)]
    assert relative == []  # nothing is looked for in the working folder
    names = {path.name for path in inputs.iterdir()}
    opened = re.findall(re.escape(str(inputs)) + r'/([^"]*)"', "\n".join(calls))
    assert set(opened) <= names
    assert len(opened) <= 3 * len(names)  # its own name alone, and not each file by every other


def test_no_plugin_of_pillow_is_tried_that_no_row_names() -> None:
    named = {plugin for format in FORMATS for plugin in format.pillow}
    assert named.isdisjoint(
        {"EPS", "FITS", "WMF", "GRIB", "HDF5", "BUFR", "MPEG", "FPX", "MIC", "PDF", "PALM"}
    )
