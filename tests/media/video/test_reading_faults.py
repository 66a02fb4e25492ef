"""Whatever PyAV, FFmpeg or the disk raise while a film is read becomes one of our errors."""

from __future__ import annotations

import errno
import io
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import av.error
import pytest

from tests.media.video import clips
from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, XlsrError
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.run import upscale_video
from xlsr_cli.jobs.video.segments import work_folder
from xlsr_cli.media.compression import film
from xlsr_cli.media.video import demux, pyav
from xlsr_cli.media.video.demux import InputLostError, is_film, main_stream, open_video, packets_of
from xlsr_cli.media.video.inspect import inspect
from xlsr_cli.media.video.quick_look import quick_look
from xlsr_cli.options import PictureOptions, VideoOptions

FILMS = Path(__file__).parents[2] / "fixtures" / "film"
#: What the system and libraries may raise, and PyAV of its own.
FAULTS: list[Exception] = [
    ValueError("one\nand two"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    OverflowError("too large"),
    ZeroDivisionError("Fraction(1, 0)"),
    KeyError("no such name"),
    AttributeError("no such attribute"),
    AssertionError(),
    RuntimeError("no decoder"),
    struct.error("unpack requires a buffer of 8 bytes"),
    *(av.error.FFmpegError(code, "said") for code in (errno.EINVAL, errno.EPERM, errno.ENOMEM, 0x21475542)),
]


def compression_of(path: Path) -> Compression:
    return film.compression_of(path, 2)


class Disk(io.FileIO):
    """A file whose reads fail from the n-th on."""

    reads, good = 0, 0
    error: Exception = OSError(errno.EIO, "Input/output error")

    def read(self, size: int | None = -1) -> bytes:
        """The bytes, or the error."""
        Disk.reads += 1
        if Disk.reads > Disk.good:
            raise Disk.error
        return cast(bytes, super().read(-1 if size is None else size))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Disk]:
    """Films are read from a :class:`Disk`, in small pieces."""
    monkeypatch.setattr(demux, "_READ_BLOCK", 4096)
    monkeypatch.setattr(demux, "_File", type("Failing", (demux._File, Disk), {}))
    monkeypatch.setattr(Disk, "reads", 0)
    monkeypatch.setattr(Disk, "good", 1 << 40)
    return Disk


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()], ids=str)
@pytest.mark.parametrize("name", ["gop.ts", "hdr10.mp4", "crop.mkv", "avi_ac3.avi", "wma.wmv", "es.h264"])
def test_a_disk_that_fails_at_any_read_is_named(
    name: str,
    error: Exception,
    failing: type[Disk],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(failing, "error", error)
    inspect(FILMS / name)
    whole = failing.reads
    for good in sorted({0, 1, 2, 3, 5, 8, whole // 2, whole - 2, whole - 1}):
        for look in (inspect, compression_of):
            monkeypatch.setattr(failing, "reads", 0)
            monkeypatch.setattr(failing, "good", good)
            try:
                look(FILMS / name)
            except InputLostError as lost:
                reason = "memory is short" if isinstance(error, MemoryError) else "Input/output error"
                assert str(lost) == f"cannot read {FILMS / name}: {reason}"
            else:
                assert failing.reads <= good, f"{look.__name__} after {good} reads"
    assert capfd.readouterr() == ("", "")  # PyAV prints exceptions that it drops


def test_work_that_is_done_outlives_a_disk_that_fails(
    tmp_path: Path, failing: type[Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clips.make(tmp_path / "a.mkv", frames=300, options={"g": "10"})
    result, again = tmp_path / "b.mkv", tmp_path / "c.mkv"
    options, video = PictureOptions(), VideoOptions(preset="ultrafast")
    upscaler = Upscaler(threads=1)
    upscale_video(source, again, Task(options=options, video=video, upscaler=upscaler))
    whole = failing.reads
    monkeypatch.setattr(failing, "reads", 0)
    upscale_video(source, result, Task(options=options, video=video, upscaler=upscaler))
    assert result.read_bytes() == again.read_bytes()
    result.unlink()
    monkeypatch.setattr(failing, "reads", 0)
    monkeypatch.setattr(failing, "good", whole - 2)  # while the sound would be copied
    with pytest.raises(InputLostError, match="Input/output error"):
        upscale_video(source, result, Task(options=options, video=video, upscaler=upscaler))
    assert work_folder(result).is_dir() and not result.exists()
    monkeypatch.setattr(failing, "good", 1 << 40)
    resumed = upscale_video(source, result, Task(options=options, video=video, upscaler=upscaler))
    assert resumed.resumed >= 240
    assert result.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_no_film_is_opened_with_a_fault_of_python(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise fault

    monkeypatch.setattr(pyav, "open_input", fail)
    for look in (inspect, compression_of, quick_look):
        with pytest.raises(InputError) as raised:
            look(FILMS / "crop.mkv")
        assert "\n" not in str(raised.value)
    assert not is_film(FILMS / "crop.mkv")


class Breaking:
    """An open container whose packets end with an exception after so many."""

    def __init__(self, container: Any, fault: Exception, good: int) -> None:
        self._container, self._fault, self._good = container, fault, good

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self) -> Any:
        """The packets, and then the fault."""
        for _, packet in zip(range(self._good), self._container.demux(), strict=False):
            yield packet
        raise self._fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_packets_end_where_the_file_breaks(
    fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clips.make(tmp_path / "a.mkv", frames=12, options={"g": "1", "bf": "0"})
    open_input = pyav.open_input
    monkeypatch.setattr(
        pyav,
        "open_input",
        lambda *args, **options: Breaking(open_input(*args, **options), fault, good=5),
    )
    film = inspect(source)
    assert film.packets == 5
    (notice,) = film.notices
    assert notice.code == "truncated" and notice.message.startswith("the file is damaged after 0.2 seconds")
    assert "\n" not in notice.message
    compression_of(source)


def test_times_that_mean_nothing_are_none(tmp_path: Path) -> None:
    """They would overflow in other clocks, up to the database of segments."""
    source, result = tmp_path / "a.nut", tmp_path / "b.mkv"
    given = [0, 1, 2, 1 << 50, (1 << 50) + 1, (1 << 51) + 7]
    clips.make(source, frames=6, encoder="ffv1", times=given, time_base=Fraction(1, 25))
    with pyav.open_input(str(source)) as container:
        assert max(packet.pts or 0 for packet in container.demux()) > 1 << 50
    with open_video(source) as container:
        times = [packet.pts for packet in packets_of(container)]
    assert times == [0, times[1], 2 * (times[1] or 0), None, None, None]
    upscaler = Upscaler(threads=1)
    done = upscale_video(source, result, Task(video=VideoOptions(codec="ffv1"), upscaler=upscaler))
    assert done.frames == 6 and "times-repaired" in {notice.code for notice in done.notices}


def test_a_codec_of_no_name_is_a_film_that_is_refused(tmp_path: Path) -> None:
    data = bytearray(clips.make(tmp_path / "a.mp4", frames=3).read_bytes())
    at = data.index(b"avc1", data.index(b"stsd"))
    data[at : at + 4] = b"\xff\xfe\xfd\xfc"
    source = tmp_path / "b.mp4"
    source.write_bytes(data)
    assert is_film(source)
    for look in (inspect, compression_of, quick_look):
        with pytest.raises(XlsrError, match="no decoder is known for the video stream"):
            look(source)


def test_letters_of_a_codec_that_are_none_are_no_encryption() -> None:
    class Context:
        @property
        def codec_tag(self) -> str:
            return b"\xff\xfe".decode("ascii")

    stream = SimpleNamespace(type="video", disposition=av.stream.Disposition(0), codec_context=Context())
    container: Any = SimpleNamespace(streams=SimpleNamespace(video=[stream]))
    assert main_stream(container, Path("a.avi")) is cast(Any, stream)


def test_side_data_of_a_kind_without_a_name_hides_no_other() -> None:
    """Motion JPEG of a camera: the EXIF has no name in PyAV 18, the rotation beside it has."""
    film = inspect(FILMS / "mjpeg_exif.avi")
    assert film.rotation is not None
