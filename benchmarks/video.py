"""Videos end to end: H.264 with AAC to ×3 H.264 with the same AAC, a screen recording, and memory.

``python -m benchmarks.video``; with ``--write`` into docs/performance.md. The clips are made on the spot;
ffmpeg's own Lanczos runs beside in the same run where ffmpeg is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.harness import SOURCE, machine_line, parser, publish, table
from benchmarks.runtimes import dnn_superres
from xlsr_cli.bench.noise import LoadWatch, judge
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.machine import this_machine
from xlsr_cli.options import Size

_SECONDS, _RATE = 10, 30
_ROUNDS = 3
_XLSR = [sys.executable, "-m", "xlsr_cli", "upscale"]
_ENCODING = ["--codec", "h264", "--preset", "veryfast", "--crf", "18"]
_SCREEN = Size(width=960, height=540)
#: The long clip is small, so that ten minutes of it take minutes.
_LONG, _LONG_SECONDS = Size(width=160, height=96), 600


@dataclass(frozen=True, kw_only=True)
class Run:
    """One process: its seconds, and the seconds of CPU that it used."""

    seconds: float
    cpu: float


def film() -> Iterator[np.ndarray]:
    """A camera that pans over a picture, with grain that never repeats."""
    picture = made_picture(Size(width=2 * SOURCE.width, height=2 * SOURCE.height))
    random = np.random.default_rng(1)
    for number in range(_SECONDS * _RATE):
        left, top = 2 * number % SOURCE.width, number % SOURCE.height
        frame = picture[top : top + SOURCE.height, left : left + SOURCE.width].astype(np.int16)
        grain = random.normal(0, 2, frame.shape[:2]).astype(np.int16)
        yield np.clip(frame + grain[..., None], 0, 255).astype(np.uint8)


def screen() -> Iterator[np.ndarray]:
    """A desktop on which 3 × 4 of the 12 × 20 tiles change from frame to frame, their halos not."""
    frame = made_picture(_SCREEN)
    random = np.random.default_rng(2)
    rows, columns = slice(45 + 6, 4 * 45 - 6), slice(2 * 48 + 6, 6 * 48 - 6)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    for _ in range(_SECONDS * _RATE // 2):
        frame = frame.copy()
        frame[rows, columns] = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), size)
        yield frame


def still(size: Size, count: int) -> Iterator[np.ndarray]:
    """A small film of ``count`` frames."""
    picture = made_picture(size)
    for number in range(count):
        yield np.roll(picture, 3 * number, axis=1)


def write_clip(
    path: Path,
    frames: Iterator[np.ndarray],
    *,
    encoder: str = "libx264",
    rate: int = _RATE,
    seconds: int = _SECONDS,
) -> None:
    """Encode BGR frames; with ``seconds`` of AAC beside them."""
    with av.open(str(path), "w") as container:
        first = next(frames)
        video = container.add_stream(encoder, rate=rate)
        assert isinstance(video, av.VideoStream)
        video.height, video.width = first.shape[:2]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "20", "preset": "veryfast"} if encoder == "libx264" else {}
        sound = container.add_stream("aac", rate=48_000)
        for number, pixels in enumerate(
            [first, *frames] if encoder != "libx264" else _chained(first, frames)
        ):
            frame = av.VideoFrame.from_ndarray(pixels, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(video.encode(frame.reformat(format="yuv420p")))
        container.mux(video.encode(None))
        for number in range(seconds * 48_000 // 1024):
            tone = np.sin(2 * np.pi * 440 * (np.arange(1024) + 1024 * number) / 48_000).astype(np.float32) / 4
            block = av.AudioFrame.from_ndarray(np.vstack([tone, tone]), "fltp", "stereo")
            block.sample_rate, block.pts, block.time_base = 48_000, 1024 * number, Fraction(1, 48_000)
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))


def _chained(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest


def timed(words: list[str]) -> Run:
    """Run a process and count its time."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds=seconds, cpu=cpu)


def sound_of(path: Path) -> str:
    """A hash of every audio packet and its time."""
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            digest.update(f"{packet.pts}".encode() + bytes(packet))
    return digest.hexdigest()


def pictures_of(path: Path) -> tuple[int, str]:
    """How many frames there are, and a hash of them and their times."""
    digest, count = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(f"{frame.pts}".encode() + b"".join(bytes(plane) for plane in frame.planes))
            count += 1
    return count, digest.hexdigest()


def films(folder: Path, options: argparse.Namespace) -> str:
    """360p to 1080p, beside ffmpeg: in pairs, one after the other."""
    source, target = folder / "film.mp4", folder / "out.mp4"
    write_clip(source, film())
    frames = _SECONDS * _RATE
    commands = {
        "`xlsr upscale -s 3`": [
            *(*_XLSR, str(source), str(target), "-s", "3", *_ENCODING),
            *("--threads", str(options.threads), "--overwrite", "--quiet"),
        ]
    }
    if shutil.which("ffmpeg"):
        commands["ffmpeg, Lanczos"] = [
            *("ffmpeg", "-v", "error", "-y", "-i", str(source), "-vf", "scale=1920:1080:flags=lanczos"),
            *("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-c:a", "copy", str(folder / "f.mp4")),
        ]
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(options.repeats or _ROUNDS):
        for name, words in commands.items():
            runs[name].append(timed(words))
    assert pictures_of(target)[0] == frames
    assert sound_of(target) == sound_of(source)
    rows = [_film_row(name, found, frames) for name, found in runs.items()]
    for given in options.dnn_superres or []:
        name, _, path = given.partition("=")
        upscale = dnn_superres(Path(path), name, 3)
        rows.append([f"{Path(path).stem}, OpenCV, without coding", f"{_rate(upscale):.1f}", "–", "–"])
    head = [
        f"{SOURCE} → 1920x1080, {_SECONDS} s at {_RATE} fps, H.264 + AAC",
        "frames/s",
        "in single runs",
        "of all cores busy",
    ]
    return (
        f"{table(head, rows)}\n\nx264 `veryfast`, crf 18, for all; medians of runs in turns. Every frame is "
        f"there, and every packet of sound has the same bytes and times.\n\n{_parts(source)}"
    )


def _film_row(name: str, runs: list[Run], frames: int) -> list[str]:
    rates = sorted(frames / run.seconds for run in runs)
    cores = this_machine().cores.usable
    busy = statistics.median(run.cpu / run.seconds / cores for run in runs)
    return [name, f"{statistics.median(rates):.1f}", f"{rates[0]:.1f}–{rates[-1]:.1f}", f"{busy:.0%}"]


def _parts(source: Path) -> str:
    """The CPU time of a frame by part, as --dry-run says it."""
    words = [*_XLSR, str(source), "-s", "3", *_ENCODING, "--dry-run", "--json"]
    told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    parts = ", ".join(
        f"{part} {told[f'{part}_seconds'] * 1e3:.0f} ms" for part in ("decoder", "network", "encoder")
    )
    return f"CPU time of each frame, as `--dry-run` tells it: {parts}."


def _rate(upscale: Callable[[np.ndarray], np.ndarray]) -> float:
    picture = made_picture(SOURCE)
    upscale(picture)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 3.0:
        upscale(picture)
        count += 1
    return count / (time.perf_counter() - began)


def recordings(folder: Path, options: argparse.Namespace) -> str:
    """A twentieth of the screen changes: with and without exact reuse."""
    source = folder / "screen.mkv"
    write_clip(source, screen(), encoder="ffv1")
    found = {}
    for name, flags in (("reuse", []), ("plain", ["--no-reuse"])):
        target = folder / f"{name}.mkv"
        words = [*_XLSR, str(source), str(target), "-s", "2", *_ENCODING, "--threads", str(options.threads)]
        words += ["--overwrite", "--json", *flags]
        began = time.perf_counter()
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        found[name] = (time.perf_counter() - began, json.loads(done.stdout))
    assert pictures_of(folder / "reuse.mkv") == pictures_of(folder / "plain.mkv")
    with_reuse, plain = found["reuse"], found["plain"]
    tiles, reused = (int(with_reuse[1][key]) for key in ("tiles", "reused"))
    return (
        f"Screen recording, {_SCREEN} ×2, 5 % of its tiles changing: {reused / tiles:.1%} of the tiles are "
        f"reused, so the network computes {tiles / max(1, tiles - reused):.1f} times fewer; end to end "
        f"**{plain[0] / with_reuse[0]:.2f} times** as fast as `--no-reuse`, with identical frames."
    )


def memory(folder: Path, options: argparse.Namespace) -> str:
    """Ten minutes: resident memory during the second and the last tenth of it."""
    source, target = folder / "long.mkv", folder / "long_out.mkv"
    write_clip(source, still(_LONG, _LONG_SECONDS * 25), rate=25)
    process = subprocess.Popen([*_XLSR, str(source), str(target), *_ENCODING, "--quiet"])
    samples = []
    while process.poll() is None:
        samples.append(_resident(process.pid))
        time.sleep(0.2)
    assert process.returncode == 0
    tenth = max(1, len(samples) // 10)
    early, late = max(samples[tenth : 2 * tenth]), max(samples[-tenth:])
    return (
        f"Ten minutes of {_LONG}: {early / 1e6:.0f} MB resident in the second tenth of the run, "
        f"{late / 1e6:.0f} MB in the last."
    )


def _resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for."""
    parts = getattr(options, "parts", None) or PARTS
    with tempfile.TemporaryDirectory() as name, LoadWatch() as watch:
        texts = {
            part: f"{machine_line(options.threads)}\n\n{PARTS[part](Path(name), options)}" for part in parts
        }
    machine = this_machine()
    noise = judge(
        [],
        other_cores=watch.other_cores,
        logical_cores=machine.cores.logical,
        used_cores=machine.cores.usable,
    )
    for part, text in texts.items():
        publish(part, text, noise, options)


#: The measurements by their place on the page.
PARTS: dict[str, Callable[[Path, argparse.Namespace], str]] = {
    "video": films,
    "recordings": recordings,
    "video_memory": memory,
}


if __name__ == "__main__":
    command = parser(__doc__)
    command.add_argument(
        "--dnn-superres", action="append", metavar="NAME=FILE.pb", help="as in benchmarks.peers"
    )
    command.add_argument("--parts", nargs="+", choices=PARTS, help="which; by default all")
    main(command.parse_args())
