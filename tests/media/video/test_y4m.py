"""Y4M streams: what goes through, what is refused, and that it is the same as the engine's answer."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from xlsr_cli.cli.app import main
from xlsr_cli.engine.resample import resize
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.stream import StreamResult, upscale_y4m
from xlsr_cli.media.video.y4m import read_header
from xlsr_cli.options import EngineOptions, PictureOptions, Size, Target, VideoOptions

#: Width and height of chroma as shares of luma's.
SUBSAMPLED = {"420": (2, 2), "422": (2, 1), "444": (1, 1), "440": (1, 2), "411": (4, 1)}


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    made = Upscaler(2, threads=1)
    yield made
    made.close()


def planes(colour: str, width: int, height: int, number: int) -> list[np.ndarray]:
    """Luma, chroma and alpha of a smooth random frame."""
    deep = re.fullmatch(r"4\d\dp(\d+)", colour)
    depth = int(deep[1]) if deep else 8
    sizes = [(width, height)]
    if not colour.startswith("mono"):
        across, down = SUBSAMPLED[colour[:3]]
        sizes += [(-(-width // across), -(-height // down))] * 2
    if colour.endswith("alpha"):
        sizes.append((width, height))
    made = []
    for place, (w, h) in enumerate(sizes):
        rows, columns = np.mgrid[:h, :w]
        wave = 0.5 + 0.4 * np.sin(0.3 * rows + 0.2 * columns + number + place)
        made.append((wave * ((1 << depth) - 1)).astype("<u2" if depth > 8 else np.uint8))
    return made


def stream(
    colour: str = "420mpeg2", width: int = 24, height: int = 16, frames: int = 3, tags: str = ""
) -> bytes:
    head = f"YUV4MPEG2 W{width} H{height} F30000:1001 Ip A1:1 C{colour}{tags}\n".encode()
    body = b"".join(
        b"FRAME\n" + b"".join(plane.tobytes() for plane in planes(colour, width, height, number))
        for number in range(frames)
    )
    return head + body


def run(
    data: bytes, upscaler: Upscaler, options: PictureOptions | None = None, video: VideoOptions | None = None
) -> tuple[StreamResult, bytes]:
    sink = io.BytesIO()
    result = upscale_y4m(
        io.BytesIO(data),
        sink,
        Task(options=options or PictureOptions(), video=video or VideoOptions(), upscaler=upscaler),
    )
    return result, sink.getvalue()


@pytest.mark.parametrize("colour", ["420mpeg2", "420jpeg", "422", "444", "440", "411", "mono", "444alpha"])
@pytest.mark.parametrize(("width", "height"), [(24, 16), (23, 15)])
def test_the_planes_are_those_of_the_engine(upscaler: Upscaler, colour: str, width: int, height: int) -> None:
    result, written = run(stream(colour, width, height, 2), upscaler)
    assert (result.frames, result.size) == (2, Size(width=2 * width, height=2 * height))
    head, _, body = written.partition(b"\n")
    assert head.decode() == f"YUV4MPEG2 W{2 * width} H{2 * height} F30000:1001 Ip A1:1 C{colour}"
    for number in range(2):
        assert body.startswith(b"FRAME\n")
        body = body[6:]
        for place, plane in enumerate(planes(colour, width, height, number)):
            if place == 0:
                expected = upscaler(plane)
            elif place == 3:
                expected = resize(plane, result.size)
            else:
                left = {"420mpeg2": 0.25, "422": 0.25, "411": 0.375}.get(colour, 0.0)
                whole = Size(width=2 * plane.shape[1], height=2 * plane.shape[0])
                expected = resize(plane, whole, siting=(left, 0.0))
                across, down = SUBSAMPLED[colour[:3]]
                expected = expected[: -(-2 * height // down), : -(-2 * width // across)]
            content = body[: expected.size]
            np.testing.assert_array_equal(np.frombuffer(content, np.uint8).reshape(expected.shape), expected)
            body = body[expected.size :]
    assert body == b""


@pytest.mark.parametrize("colour", ["420p10", "422p12", "444p16"])
def test_deep_samples_keep_their_depth(upscaler: Upscaler, colour: str) -> None:
    _, written = run(stream(colour, frames=1), upscaler)
    head, _, body = written.partition(b"\n")
    assert head.endswith(colour.encode())
    luma = np.frombuffer(body[6 : 6 + 2 * 48 * 32], "<u2").reshape(32, 48)
    small = planes(colour, 24, 16, 0)[0]
    assert abs(float(luma.mean()) - float(small.mean())) < 0.01 * float(small.mean())
    assert len(np.unique(luma)) > 260  # more than eight bits could tell apart


def test_parameters_pass_through(upscaler: Upscaler) -> None:
    data = stream(tags=" XYSCSS=420MPEG2 XCOLORRANGE=FULL").replace(b"FRAME\n", b"FRAME Xnote\n")
    _, written = run(data, upscaler)
    assert written.startswith(
        b"YUV4MPEG2 W48 H32 F30000:1001 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=FULL\nFRAME Xnote\n"
    )


def test_aspect_follows_where_the_sides_grow_differently() -> None:
    target = Target(width=48, height=64)
    upscaler = Upscaler.from_options(EngineOptions(threads=1), target)
    data = stream().replace(b"A1:1", b"A4:3")
    _, written = run(data, upscaler, PictureOptions(target=target))
    assert b" A8:3 " in written.partition(b"\n")[0]


def test_a_part(upscaler: Upscaler) -> None:
    result, written = run(stream(frames=3), upscaler, video=VideoOptions(frames=2))
    assert result.frames == 2
    assert written.count(b"FRAME\n") == 2


def test_reuse_changes_no_byte(upscaler: Upscaler) -> None:
    one = stream(frames=1, width=200, height=120)
    head, _, body = one.partition(b"\n")
    data = head + b"\n" + body * 3
    with_reuse, plain = (run(data, upscaler, video=VideoOptions(reuse=reuse)) for reuse in (True, False))
    assert with_reuse[1] == plain[1]
    assert with_reuse[0].reused > 0
    assert plain[0].reused == 0


def test_colour_through_the_rgb_network(upscaler: Upscaler) -> None:
    rgb = Upscaler.from_options(EngineOptions(color="rgb", threads=1), Target())
    data = stream("444")
    _, luma = run(data, upscaler)
    _, colours = run(data, rgb, PictureOptions(engine=EngineOptions(color="rgb")))
    assert luma != colours
    assert len(luma) == len(colours)


def test_interlaced_is_said(upscaler: Upscaler) -> None:
    result, _ = run(stream().replace(b"Ip", b"It"), upscaler)
    assert [notice.code for notice in result.notices] == ["interlaced"]


def test_cut_off_in_a_frame(upscaler: Upscaler) -> None:
    sink = io.BytesIO()
    with pytest.raises(InputError, match="ends within frame 3; the 2 before it are whole"):
        upscale_y4m(io.BytesIO(stream(frames=3)[:-10]), sink, Task(upscaler=upscaler))
    assert sink.getvalue().count(b"FRAME\n") == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no Y4M stream"),
        (b"YUV4MPEG2 W10 H10", "no Y4M stream"),
        (b"YUV4MPEG2 " + b"X" * 5000 + b"\n", "no Y4M stream"),
        (b"YUV4MPEG2 W10 F25:1\n", "without a size"),
        (b"YUV4MPEG2 W0 H10\n", "without a size"),
        (b"YUV4MPEG2 W-5 H10\n", "without a size"),
        (b"YUV4MPEG2 W10 H10 C420p99\n", "'420p99' is not supported"),
        (b"YUV4MPEG2 W10 H10 Cbayer\n", "'bayer' is not supported"),
        (b"YUV4MPEG2 W999999 H999999\n", "max_pixels"),
        (b"YUV4MPEG2 W2 H2 C420jpeg\nJUNK\n", "frame 1 does not begin where it should"),
    ],
)
def test_what_is_no_stream(upscaler: Upscaler, data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(data, upscaler)


@pytest.mark.parametrize(
    "video",
    [
        VideoOptions(codec="h264"),
        VideoOptions(crf=1),
        VideoOptions(start=1.0),
        VideoOptions(deinterlace=True),
    ],
)
def test_what_raw_frames_have_no_use_for(upscaler: Upscaler, video: VideoOptions) -> None:
    with pytest.raises(UsageError, match="is not for raw frames"):
        run(stream(), upscaler, video=video)


def test_a_plain_420_is_sited_as_in_jpeg() -> None:
    assert read_header(io.BytesIO(b"YUV4MPEG2 W4 H4\n"), "it").siting == "center"
    assert read_header(io.BytesIO(b"YUV4MPEG2 W4 H4 C420paldv\n"), "it").siting == "topleft"
    assert read_header(io.BytesIO(b"YUV4MPEG2 W4 H4 C420mpeg2\n"), "it").siting == "left"


class TestCommand:
    def test_through_pipes(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "xlsr_cli", "upscale", "-", "-", "--format", "y4m"],
            input=stream(),
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        assert done.stdout.startswith(b"YUV4MPEG2 W48 H32 ")
        assert done.stdout.count(b"FRAME\n") == 3

    def test_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = tmp_path / "film.y4m"
        source.write_bytes(stream())
        assert main(["upscale", str(source)]) == 0
        assert (tmp_path / "film_x2.y4m").read_bytes().startswith(b"YUV4MPEG2 W48")
        assert main(["upscale", str(source)]) == 4
        assert main(["upscale", str(source), str(source), "--overwrite"]) == 4
        assert main(["upscale", str(source), str(tmp_path / "film.mp4")]) == 2
        assert "pipe them into ffmpeg" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["film.y4m", "film_x2.y4m"]

    def test_format_y4m_asks_for_a_stream(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = tmp_path / "text"
        text.write_text("hello")
        assert main(["upscale", str(text), "-", "--format", "y4m"]) == 3
        assert "is no Y4M stream" in capsys.readouterr().err
        assert main(["batch", str(tmp_path), "--format", "y4m"]) == 2

    def test_a_damaged_stream_leaves_no_file(self, tmp_path: Path) -> None:
        source = tmp_path / "film.y4m"
        source.write_bytes(stream()[:-10])
        assert main(["upscale", str(source)]) == 3
        assert [path.name for path in tmp_path.iterdir()] == ["film.y4m"]

    @pytest.mark.parametrize("word", ["W{}", "H{}", "A{}:1", "A1:{}", "C{}", "C420p{}", "F{}:1", "I{}"])
    def test_any_byte_in_a_header_is_read_or_refused(self, word: str) -> None:
        """Python takes a raised 2 for a digit, and its numbers know no end."""
        for value in (*(chr(byte) for byte in range(1, 256)), "9" * 30, "-1", "0", "\u00b2\u00b3"):
            words = " ".join(("YUV4MPEG2 W8 H8 F25:1", word.format(value)))
            try:
                header = read_header(io.BytesIO(words.encode("latin-1") + b"\n"), "pipe")
            except InputError:
                continue
            assert header.size.pixels > 0 and (header.aspect is None or header.aspect > 0)
            header.resized(Size(width=99, height=7)).line()

    def test_a_player_that_leaves(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "xlsr_cli", "upscale", "-", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        try:
            process.stdin.write(stream(frames=200))
            process.stdin.close()
        except BrokenPipeError:
            pass
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(30) == 4

    @pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
    @pytest.mark.parametrize("format", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le"])
    def test_between_two_ffmpegs(self, tmp_path: Path, format: str) -> None:
        make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=50x38:rate=5:duration=1"]
        made = subprocess.run(
            [*make, "-pix_fmt", format, "-strict", "-1", "-f", "yuv4mpegpipe", "-"],
            capture_output=True,
            check=True,
        )
        enlarged = subprocess.run(
            [sys.executable, "-m", "xlsr_cli", "upscale", "-", "-", "-s", "3"],
            input=made.stdout,
            capture_output=True,
            check=True,
        )
        probed = subprocess.run(
            [
                *("ffprobe", "-v", "error", "-count_frames", "-of", "csv=p=0"),
                *("-show_entries", "stream=width,height,pix_fmt,nb_read_frames", "-"),
            ],
            input=enlarged.stdout,
            capture_output=True,
            check=False,
        )
        assert probed.stdout.decode().strip() == f"150,114,{format},5", probed.stderr
