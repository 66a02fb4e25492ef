"""Videos that are killed, interrupted and resumed, and all the awkward ones."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.media.video import clips
from tests.media.video.killed import STAGES
from xlsr_cli.cli.app import main
from xlsr_cli.jobs.video import SEGMENT_FRAMES
from xlsr_cli.jobs.video.segments import work_folder
from xlsr_cli.media.video import pyav

PROGRAM = str(Path(__file__).with_name("killed.py"))
KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM
RATE = 25
#: Frames that may be on their way between the first stage and the last.
IN_QUEUES = 12


def shown(path: Path) -> list[tuple[int | None, int]]:
    """Time and checksum of every decoded frame."""
    with pyav.open_input(str(path)) as container:
        return [
            (frame.pts, hash(b"".join(clips.plane(frame, n).tobytes() for n in range(len(frame.planes)))))
            for frame in container.decode(video=0)
        ]


def packets(path: Path) -> list[tuple[int, int | None, int]]:
    """Stream, time and checksum of every packet that is not the video's."""
    with pyav.open_input(str(path)) as container:
        return [
            (packet.stream.index, packet.pts, hash(bytes(packet)))
            for packet in container.demux()
            if packet.stream.type != "video" and packet.size
        ]


def hit(sign: str, stage: str, frame: int, source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Run the command and send the signal when this frame of the clip is in this stage."""
    tick = 1000 * frame // RATE  # Matroska counts milliseconds
    command = [sys.executable, PROGRAM, sign, stage, str(tick), "upscale", str(source), str(output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def long_clip(folder: Path, frames: int, width: int) -> Path:
    return clips.make(
        folder / "in.mkv",
        frames=frames,
        rate=RATE,
        width=width,
        height=width * 3 // 4,
        audio=[{"language": "eng"}],
        chapters=[(0, 1000, "A")],
    )


def finish(source: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Let the command come to its end; what it says as JSON."""
    capsys.readouterr()
    assert main(["upscale", str(source), str(output), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def check_same(source: Path, broken: Path) -> None:
    """Whether ``broken`` is what an undisturbed run gives, and nothing else lies beside it."""
    plain = broken.with_name("plain.mkv")
    assert main(["upscale", str(source), str(plain), "--quiet"]) == 0
    assert shown(broken) == shown(plain)
    assert packets(broken) == packets(plain)
    assert clips.summary(broken) == clips.summary(plain)
    assert sorted(path.name for path in broken.parent.iterdir()) == ["broken.mkv", "in.mkv", "plain.mkv"]


def check_resumed(
    folder: Path, capsys: pytest.CaptureFixture[str], *, frames: int, width: int, kills: int
) -> None:
    """Kill it in random stages of as many random frames: every one of the kills meets it at work."""
    source, broken = long_clip(folder, frames, width), folder / "broken.mkv"
    moments = random.Random(frames)
    for frame in sorted(moments.sample(range(1, frames), kills)):
        died = hit("SIGKILL", moments.choice(list(STAGES)[:-1]), frame, source, broken)
        assert died.returncode == KILLED, died.stderr
        assert not broken.exists()
    result = finish(source, broken, capsys)
    assert result["frames"] == frames
    assert result["resumed"] % SEGMENT_FRAMES == 0
    assert frame - SEGMENT_FRAMES - IN_QUEUES < result["resumed"] <= frame
    check_same(source, broken)


def test_killed_twice_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_resumed(tmp_path, capsys, frames=700, width=64, kills=2)


def test_killed_while_put_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, broken = long_clip(tmp_path, frames=40, width=64), tmp_path / "broken.mkv"
    assert hit("SIGKILL", "muxed", 20, source, broken).returncode == KILLED
    assert not broken.exists()
    assert finish(source, broken, capsys)["resumed"] == 40
    check_same(source, broken)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to all of a console")
@pytest.mark.parametrize(("stage", "resumed"), [("decoded", 240), ("written", 240), ("muxed", 300)])
def test_interrupted_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, resumed: int
) -> None:
    source, broken = long_clip(tmp_path, frames=300, width=48), tmp_path / "broken.mkv"
    ended = hit("SIGINT", stage, 270, source, broken)
    assert ended.returncode == 130
    said = ended.stderr.splitlines()
    assert said[-1] == "error: interrupted"
    assert re.fullmatch(r"note: \d+ of \d+ frames were done; the same command continues", said[0])
    assert len(said) == 2
    assert not broken.exists()
    assert finish(source, broken, capsys)["resumed"] == resumed
    check_same(source, broken)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to all of a console")
def test_interrupted_before_a_segment_is_whole(tmp_path: Path) -> None:
    source, broken = long_clip(tmp_path, frames=60, width=48), tmp_path / "broken.mkv"
    assert hit("SIGINT", "written", 30, source, broken).returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def limited(source: Path, output: Path, room: int) -> None:
    """Run the command where no file may grow beyond ``room`` bytes: the system answers as a full disk."""
    import resource

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    command = [sys.executable, "-m", "xlsr_cli", "upscale", str(source), str(output)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert ended.returncode == 4
    assert ended.stderr.startswith("error: cannot write ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_full_disk_costs_nothing_that_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, broken = long_clip(tmp_path, frames=300, width=48), tmp_path / "broken.mkv"
    hit("SIGKILL", "muxed", 290, source, broken)
    limited(source, broken, room=(work_folder(broken) / "segments.sqlite").stat().st_size)
    assert not broken.exists()
    assert finish(source, broken, capsys)["resumed"] == 300
    check_same(source, broken)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_too_full_for_a_segment(tmp_path: Path) -> None:
    source, broken = long_clip(tmp_path, frames=60, width=96), tmp_path / "broken.mkv"
    limited(source, broken, room=30_000)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


@pytest.mark.slow
def test_killed_ten_times_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_resumed(tmp_path, capsys, frames=60 * RATE, width=240, kills=10)


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
