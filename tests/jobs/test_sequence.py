"""Numbered pictures and cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from xlsr_cli.cli.app import main
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError
from xlsr_cli.jobs import sequence
from xlsr_cli.jobs.sequence import upscale_camera
from xlsr_cli.jobs.task import Task
from xlsr_cli.media.video import camera as cameras
from xlsr_cli.options import Size


def pictures(folder: Path, *numbers: int, name: str = "frame_%05d.png") -> None:
    for number in numbers:
        pixels = np.full((6, 8, 3), number % 256, np.uint8)
        (folder / (name % number)).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestPictures:
    def test_numbers_and_order_are_kept(self, tmp_path: Path) -> None:
        pictures(tmp_path, 3, 1, 20)
        out = tmp_path / "out"
        out.mkdir()
        assert main(["upscale", str(tmp_path / "frame_%05d.png"), str(out / "big_%03d.png")]) == 0
        assert names(out) == ["big_001.png", "big_003.png", "big_020.png"]
        assert Image.open(out / "big_020.png").size == (16, 12)
        assert Image.open(out / "big_020.png").getpixel((3, 3)) == pytest.approx((20, 20, 20), abs=4)

    def test_other_files_are_left_alone(self, tmp_path: Path) -> None:
        pictures(tmp_path, 1)
        for name in ("frame_1.png", "frame_00002.jpg", "xframe_00003.png", "frame_00004.png.bak"):
            (tmp_path / name).write_bytes(b"not taken")
        assert [number for number, _ in sequence.numbered(tmp_path / "frame_%05d.png")] == [1]

    def test_without_leading_zeros(self, tmp_path: Path) -> None:
        pictures(tmp_path, 9, 10, 100, name="f%d.png")
        found = [path.name for _, path in sequence.numbered(tmp_path / "f%d.png")]
        assert found == ["f9.png", "f10.png", "f100.png"]

    def test_the_first_so_many(self, tmp_path: Path) -> None:
        pictures(tmp_path, 1, 2, 3)
        assert (
            main(["upscale", str(tmp_path / "frame_%05d.png"), str(tmp_path / "o%d.png"), "--frames", "2"])
            == 0
        )
        assert [name for name in names(tmp_path) if name.startswith("o")] == ["o1.png", "o2.png"]

    def test_nothing_is_written_where_one_output_exists(self, tmp_path: Path) -> None:
        pictures(tmp_path, 1, 2)
        (tmp_path / "o2.png").write_bytes(b"mine")
        arguments = ["upscale", str(tmp_path / "frame_%05d.png"), str(tmp_path / "o%d.png")]
        assert main(arguments) == 4
        assert not (tmp_path / "o1.png").exists()
        assert (tmp_path / "o2.png").read_bytes() == b"mine"
        assert main([*arguments, "--overwrite"]) == 0

    def test_a_file_whose_name_holds_a_pattern_is_that_file(self, tmp_path: Path) -> None:
        pictures(tmp_path, 1)
        odd = (tmp_path / "frame_00001.png").rename(tmp_path / "100%d.png")
        assert main(["upscale", str(odd), str(tmp_path / "o.png")]) == 0

    @pytest.mark.parametrize(
        ("source", "output", "code", "said"),
        [
            ("none_%d.png", "o%d.png", 3, "no file fits"),
            ("frame_%05d.png", None, 2, "needs an output"),
            ("frame_%05d.png", "-", 2, "needs an output"),
            ("frame_%05d.png", "film.mkv", 2, "ffmpeg makes a video"),
            ("nowhere/f%d.png", "o%d.png", 3, "cannot read the folder"),
        ],
    )
    def test_refusals(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        source: str,
        output: str | None,
        code: int,
        said: str,
    ) -> None:
        pictures(tmp_path, 1)
        outputs = [] if output is None else [output if output == "-" else str(tmp_path / output)]
        assert main(["upscale", str(tmp_path / source), *outputs]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert names(tmp_path) == ["frame_00001.png"]


class FakeCapture:
    """A camera of five frames, 16×12, the second of which is missed."""

    def __init__(self, number: int, interrupt: bool = False) -> None:
        self.left = [1, None, 2, 3, 4, 5]
        self.open = number == 0
        self.interrupt = interrupt

    def isOpened(self) -> bool:
        return self.open

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 16.0, cv2.CAP_PROP_FRAME_HEIGHT: 12.0}.get(what, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        value = self.left.pop(0) if self.left else None
        if value == 3 and self.interrupt:
            raise KeyboardInterrupt
        return value is not None, None if value is None else np.full((12, 16, 3), 40 * value, np.uint8)

    def release(self) -> None:
        self.open = False


@pytest.fixture
def upscaler() -> Iterator[Upscaler]:
    made = Upscaler(2, threads=1)
    yield made
    made.close()


class TestCamera:
    @pytest.fixture(autouse=True)
    def _fake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cameras.cv2, "VideoCapture", FakeCapture)

    def test_into_a_video(self, tmp_path: Path, upscaler: Upscaler) -> None:
        output = tmp_path / "seen.mkv"
        result = upscale_camera(0, output, Task(upscaler=upscaler))
        assert (result.frames, result.size) == (5, Size(width=32, height=24))
        assert names(tmp_path) == ["seen.mkv"]
        import av

        with av.open(str(output)) as container:
            frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
            assert container.streams.video[0].average_rate == 30
        assert [int(frame[12, 16, 0]) for frame in frames] == pytest.approx([40, 80, 120, 160, 200], abs=2)

    def test_into_pictures_until_enough(self, tmp_path: Path) -> None:
        assert main(["upscale", "camera:0", str(tmp_path / "s%02d.png"), "--frames", "3"]) == 0
        assert names(tmp_path) == ["s01.png", "s02.png", "s03.png"]
        assert Image.open(tmp_path / "s03.png").size == (32, 24)

    def test_ctrl_c_ends_a_recording_and_keeps_it(
        self, tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cameras.cv2, "VideoCapture", lambda number: FakeCapture(number, interrupt=True))
        output = tmp_path / "seen.avi"
        result = upscale_camera(0, output, Task(upscaler=upscaler))
        assert result.frames == 2
        assert output.stat().st_size > 0

    def test_ctrl_c_while_a_frame_is_enlarged_keeps_those_before(
        self, tmp_path: Path, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enlarge, calls = Upscaler.__call__, []

        def interrupted(self: Upscaler, *arguments: Any, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return enlarge(self, *arguments, **options)

        monkeypatch.setattr(Upscaler, "__call__", interrupted)
        result = upscale_camera(0, tmp_path / "seen.avi", Task(upscaler=upscaler))
        assert result.frames == 2
        assert (tmp_path / "seen.avi").stat().st_size > 0

    def test_no_camera(self, tmp_path: Path, upscaler: Upscaler) -> None:
        with pytest.raises(InputError, match="no camera answers as camera:7"):
            upscale_camera(7, tmp_path / "o.mkv", Task(upscaler=upscaler))
        assert names(tmp_path) == []

    def test_what_cannot_be_recorded(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["upscale", "camera:0", str(tmp_path / "o.webm")]) == 2
        assert main(["upscale", "camera:0"]) == 2
        assert "recorded into .mkv" in capsys.readouterr().err


def test_without_a_camera_nothing_is_printed_but_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["upscale", "camera:99", str(tmp_path / "o.mkv")]) == 3
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
