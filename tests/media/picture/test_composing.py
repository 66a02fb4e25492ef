"""Frames are put together as a browser does it: those of a generated matrix are compared with Chromium's."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES
from tests.media.picture import animations
from tests.quality.chromium import Tab, browser, find_chromium
from xlsr_cli.media.picture.animation import open_animation
from xlsr_cli.media.picture.steps.opening import open_picture

#: Every frame of a file as the browser decodes it, RGBA, in base64.
SCRIPT = """
(async () => {
  const bytes = Uint8Array.from(atob("%s"), letter => letter.charCodeAt(0));
  const decoder = new ImageDecoder({
    data: bytes, type: "image/%s", colorSpaceConversion: "none", preferAnimation: true});
  await decoder.tracks.ready;
  await decoder.completed;
  const frames = [];
  for (let index = 0; index < decoder.tracks.selectedTrack.frameCount; index++) {
    const frame = (await decoder.decode({frameIndex: index})).image;
    const pixels = new Uint8Array(frame.allocationSize({format: "RGBA"}));
    await frame.copyTo(pixels, {format: "RGBA"});
    frames.push([frame.codedHeight, frame.codedWidth, btoa(String.fromCharCode(...pixels))]);
    frame.close();
  }
  return frames;
})()
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if find_chromium() is None:
        pytest.skip("no Chromium is installed")
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "page.html"
    page.write_text("<!doctype html>")
    with browser(folder / "profile") as tab:
        tab.visit(page.as_uri(), "true")  # decoders are for pages that are trusted, as a file's is
        yield tab


def by_browser(tab: Tab, data: bytes, format: str) -> list[np.ndarray]:
    """The frames, RGBA."""
    frames = []
    for height, width, pixels in tab.run(SCRIPT % (base64.b64encode(data).decode(), format)):
        found = np.frombuffer(base64.b64decode(pixels), np.uint8)
        frames.append(found.reshape(height, width, 4))
    return frames


def by_us(data: bytes) -> list[np.ndarray]:
    """The frames, RGBA."""
    frames = []
    for frame in open_animation(open_picture(data, "it"), max_pixels=100_000).frames():
        color = np.dstack([frame] * 3) if frame.ndim == 2 else frame[..., 2::-1]
        alpha = frame[..., 3] if frame.ndim == 3 and frame.shape[2] == 4 else np.full(frame.shape[:2], 255)
        frames.append(np.dstack([color, alpha]).astype(np.uint8))
    return frames


def apart(one: list[np.ndarray], other: list[np.ndarray]) -> int:
    """By how many levels two animations differ as they are seen, over black and by alpha."""
    if len(one) != len(other):
        return 255
    seen = [
        [np.dstack([frame[..., :3] * (frame[..., 3:] / 255.0), frame[..., 3]]) for frame in frames]
        for frames in (one, other)
    ]
    return int(max(np.abs(first - second).max() for first, second in zip(*seen, strict=True)))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["gif", "png", "webp"])
def test_as_the_browser(tab: Tab, format: str) -> None:
    wrong, count = [], 0
    for case in animations.cases():
        if case.format == format:
            data = animations.encoded(case)
            count += 1
            if (levels := apart(by_us(data), by_browser(tab, data, format))) > 2:
                wrong.append(f"{levels}: {case.name}")
    assert count > 60
    assert not wrong, f"{len(wrong)} of {count}: {wrong[:5]}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "apng_prev_over_min.png",
        "apng_one_frame_hidden_default.png",
        "gif_dispose2_bgcolour.gif",
        "gif_small_frame.gif",
    ],
)
def test_cases_as_the_browser(tab: Tab, name: str) -> None:
    data = (CASES / name).read_bytes()
    assert apart(by_us(data), by_browser(tab, data, name[-3:])) <= 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_apng_as_ffmpeg(tmp_path: Path) -> None:
    """Colour with alpha: FFmpeg composes others wrongly, and never clears all of the canvas."""
    wrong, count = [], 0
    for case in list(animations.cases())[::3]:
        cleared = case.disposal == 1 and case.second == animations.WHOLE
        if case.format == "png" and case.kind == "alpha" and not cleared:
            data = animations.encoded(case)
            (tmp_path / "a.apng").write_bytes(data)
            command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.apng"), "-vsync", "passthrough"]
            command += ["-pix_fmt", "rgba", "-f", "rawvideo", "-"]
            run = subprocess.run(command, capture_output=True, check=True)
            frames = np.frombuffer(run.stdout, np.uint8).reshape(-1, animations.HEIGHT, animations.WIDTH, 4)
            count += 1
            if (levels := apart(by_us(data), list(frames))) > 2:
                wrong.append(f"{levels}: {case.name}")
    assert count > 20
    assert not wrong, f"{len(wrong)} of {count}: {wrong[:5]}"
