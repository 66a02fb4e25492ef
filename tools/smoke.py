"""Try an installed xlsr as a new user would: a picture, a film with sound, a batch, the doctor.

    .venv/bin/python tools/smoke.py

Runs the ``xlsr`` of the environment whose Python this is, in a folder of its own and with a home folder that
is empty and has to stay empty. Prints every command with its answer, looks at what came out, and ends with
exit code 1 at the first fault.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SAMPLE = Path(__file__).resolve().parents[1] / "docs" / "sample" / "gae-aulenti.png"
LIBRARIES = (
    "numpy", "onnxruntime", "opencv-python-headless", "pillow", "tifffile", "av", "typer", "rich",
)  # fmt: skip

#: The film that is made: seconds, frames per second, width and height, samples of sound per second.
SECONDS, RATE, WIDTH, HEIGHT, SOUND_RATE = 2, 25, 160, 120, 48_000


class Wrong(Exception):
    """The result is not the expected one."""


def main() -> int:
    """The exit code: 0 where everything worked, else 1."""
    print(f"{platform.platform()}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    with tempfile.TemporaryDirectory(prefix="xlsr-smoke-") as name:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        try:
            try_everything(folder, home)
        except Wrong as error:
            print(f"\nWRONG: {error}", flush=True)
            return 1
    print("\neverything works")
    return 0


def try_everything(folder: Path, home: Path) -> None:
    """Run every check. Raises :class:`Wrong` at the first fault."""

    def xlsr(*arguments: str) -> None:
        run(arguments, folder, home)

    xlsr("--version")
    shutil.copy(SAMPLE, folder / "sample.png")
    xlsr("upscale", "sample.png")
    expect_picture(folder / "sample_x2.png", folder / "sample.png", 2)
    xlsr("upscale", "sample.png", "large.jpg", "--scale", "3")
    expect_picture(folder / "large.jpg", folder / "sample.png", 3)

    make_film(folder / "film.mkv")
    xlsr("upscale", "film.mkv")
    expect_film(folder / "film_x2.mkv", folder / "film.mkv", 2)

    (folder / "photos").mkdir()
    for number in range(3):
        shutil.copy(SAMPLE, folder / "photos" / f"{number}.png")
    xlsr("batch", "photos")
    for number in range(3):
        expect_picture(folder / "photos_x2" / f"{number}.png", folder / "sample.png", 2)

    xlsr("doctor")
    left = [str(path.relative_to(home)) for path in home.rglob("*")]
    if left:
        raise Wrong(f"the home folder was empty, and now holds {', '.join(left)}")


def run(arguments: tuple[str, ...], folder: Path, home: Path) -> None:
    """Run ``xlsr`` with ``arguments``; its output goes where ours goes."""
    program = Path(sysconfig.get_path("scripts")) / ("xlsr.exe" if os.name == "nt" else "xlsr")
    print(f"\n$ xlsr {' '.join(arguments)}", flush=True)
    names = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment = {**kept, **dict.fromkeys(names, str(home)), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        raise Wrong(f"exit code {done.returncode}")


def expect_picture(output: Path, source: Path, scale: int) -> None:
    """``output`` is ``source`` enlarged by ``scale``, and looks like it."""
    with Image.open(source) as small, Image.open(output) as large:
        expected = (small.width * scale, small.height * scale)
        if large.size != expected:
            raise Wrong(f"{output.name} is {large.size} and not {expected}")
        shrunk = np.asarray(large.convert("RGB").resize(small.size, Image.Resampling.BOX), dtype=int)
        difference = float(np.abs(shrunk - np.asarray(small.convert("RGB"), dtype=int)).mean())
    if difference > 6:
        raise Wrong(f"{output.name} shrunk again is {difference:.1f} levels away from {source.name}")


def make_film(path: Path) -> None:
    """A Matroska file: moving stripes in H.264, and a tone."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio: Any = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        ramp = np.arange(WIDTH)[None, :] + np.arange(HEIGHT)[:, None]
        for number in range(SECONDS * RATE):
            stripes = (128 + 100 * np.sin((ramp + 3 * number) / 9)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(stripes[..., None], 3, axis=2), "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        times = np.arange(SECONDS * SOUND_RATE) * (2 * math.pi * 440 / SOUND_RATE)
        tone: Any = av.AudioFrame.from_ndarray((0.2 * np.sin(times)[None]).astype(np.float32), "fltp", "mono")
        tone.sample_rate, tone.pts = SOUND_RATE, 0
        container.mux(audio.encode(tone))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def expect_film(output: Path, source: Path, scale: int) -> None:
    """``output`` has every frame of ``source``, enlarged, and the very same sound."""
    size, frames, sound = contents(output)
    _, frames_before, sound_before = contents(source)
    if size != (WIDTH * scale, HEIGHT * scale):
        raise Wrong(f"{output.name} is {size}")
    if frames != frames_before or frames != SECONDS * RATE:
        raise Wrong(f"{output.name} has {frames} frames of {frames_before}")
    if sound != sound_before or not sound:
        raise Wrong(f"the sound of {output.name} is not that of {source.name}")


def contents(path: Path) -> tuple[tuple[int, int], int, bytes]:
    """The size of the frames, how many can be decoded, and the bytes of the sound."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        size, frames = (video.width, video.height), sum(1 for _ in container.decode(video))
    with av.open(str(path)) as container:
        return size, frames, b"".join(bytes(packet) for packet in container.demux(audio=0))


if __name__ == "__main__":
    sys.exit(main())
