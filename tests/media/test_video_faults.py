"""Videos that are killed and resumed, and all the awkward ones."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest

from tests.media import clips
from xlsr_cli.cli.app import main

COMMAND = [sys.executable, "-m", "xlsr_cli", "upscale"]


def shown(path: Path) -> list[tuple[int | None, int]]:
    """Time and checksum of every decoded frame."""
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        return [
            (frame.pts, hash(b"".join(bytes(plane) for plane in frame.planes)))
            for frame in container.decode(video=0)
        ]


def packets(path: Path) -> list[tuple[int, int | None, int]]:
    """Stream, time and checksum of every packet that is not the video's."""
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        return [
            (packet.stream.index, packet.pts, hash(bytes(packet)))
            for packet in container.demux()
            if packet.stream.type != "video" and packet.size
        ]


def interrupted(source: Path, output: Path, kills: int, seed: int) -> int:
    """Run the command and kill it ``kills`` times, then let it finish; how often it was hit at work."""
    moments = random.Random(seed)
    hits = 0
    for _ in range(kills):
        process = subprocess.Popen([*COMMAND, str(source), str(output)], stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.4, 1.6))
        hits += process.poll() is None
        process.send_signal(signal.SIGKILL) if hasattr(signal, "SIGKILL") else process.kill()
        process.wait()
        if output.exists():
            break  # it was faster; the result is looked at all the same
    done = subprocess.run([*COMMAND, str(source), str(output)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "exists" in done.stderr, done.stderr
    return hits


def check_resumed(tmp_path: Path, frames: int, width: int, kills: int) -> int:
    source = clips.make(
        tmp_path / "in.mkv",
        frames=frames,
        width=width,
        height=width * 3 // 4,
        audio=[{"language": "eng"}],
        chapters=[(0, 1000, "A")],
    )
    plain, broken = tmp_path / "plain.mkv", tmp_path / "broken.mkv"
    assert main(["upscale", str(source), str(plain), "--quiet"]) == 0
    hits = interrupted(source, broken, kills, seed=frames)
    assert shown(broken) == shown(plain)
    assert packets(broken) == packets(plain)
    assert clips.summary(broken) == clips.summary(plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.mkv", "in.mkv", "plain.mkv"]
    return hits


def test_killed_twice_and_resumed(tmp_path: Path) -> None:
    assert check_resumed(tmp_path, frames=700, width=128, kills=2) >= 1


@pytest.mark.slow
def test_killed_ten_times_and_resumed(tmp_path: Path) -> None:
    assert check_resumed(tmp_path, frames=60 * 25, width=440, kills=10) == 10


@pytest.mark.slow
def test_the_odd_videos(shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each becomes a video with as many frames, or is one sentence and a documented code."""
    for path in sorted((shared_data / "odd" / "video").iterdir()):
        output = tmp_path / f"{path.stem}.mkv"
        code = main(["upscale", str(path), str(output), "--frames", "20", "--quiet"])
        said = capfd.readouterr().err
        assert code in (0, 2, 3, 4), path.name
        if code == 0:
            assert said == "", path.name
            assert shown(output), path.name
        else:
            assert len(said.splitlines()) == 1, (path.name, said)
            assert said.startswith("error: ")
            assert not output.exists()
        assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")], path.name
