"""Open a film and read its packets. Only the file itself is read, whatever its name or content refer to."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.codec.context
import av.error
import av.stream
from av.container import InputContainer

from xlsr_cli.errors import InputError
from xlsr_cli.formats import FORMATS
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.pyav import AnyPacket

#: The decoders that give frames with alpha, where FFmpeg's own leave it out.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
#: Readers of FFmpeg that make videos of text and single pictures.
_NO_FILMS = {
    *("tty", "bin", "xbin", "adf", "idf", "image2"),
    *(format.name for format in FORMATS),
    *(name for format in FORMATS if format.animation is not None for name in format.animation.extensions),
}
#: Bytes that FFmpeg asks the file for at a time.
_READ_BLOCK = 1 << 18
#: Seconds: nearly as many nanoseconds as 64 bits hold, which is more than 200 years.
_LATEST = 1 << 33


class InputLostError(InputError):
    """A film cannot be read to its end because of the disk or the network; later it may be."""


class _File(io.FileIO):
    """A film for FFmpeg: bytes, and a name that is only the suffix.

    FFmpeg reads other files where a name is a pattern (``v%d.png``) or a protocol (``concat:…``).

    No exception leaves a call that FFmpeg makes: PyAV would raise it later, out of another call, or print it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        suffix = "".join(letter for letter in path.suffix if letter.isalnum())
        self.name = f"film.{suffix}"
        self._path = path
        self._failure: Exception | None = None

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes; none any more once the system could not read, which :meth:`check` raises."""
        try:
            return b"" if self._failure else super().read(-1 if size is None else size)
        except (OSError, MemoryError) as error:
            self._failure = error
            return b""

    def check(self) -> None:
        """Raise :class:`InputLostError` if something could not be read."""
        if self._failure is not None:
            reason = getattr(self._failure, "strerror", None) or "memory is short"
            raise InputLostError(f"cannot read {self._path}: {reason}") from self._failure

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """The new position; for a place that no file has, the negative number that means so to FFmpeg.

        Damaged headers lead there. PyAV would raise an exception of Python later, out of another call.
        """
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -errno.EINVAL


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """The container of ``path``, closed at the end.

    Only the file itself is read: a playlist, a DASH manifest or a list of parts is refused. Metadata that
    are not UTF-8 are kept as they are. Raises :class:`InputError` when it is missing or no container that
    FFmpeg knows, and at the end where the system could not read it.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_File(path))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        try:
            container = pyav.open_input(
                file, container_options={"protocol_whitelist": "none"}, buffer_size=_READ_BLOCK
            )
        except pyav.FAULTS as error:
            file.check()
            raise InputError(
                f"{path}: the file is damaged or no video that xlsr can read ({said(error)})"
            ) from error
        stack.callback(container.close)
        file.check()
        try:
            yield container
        except Exception:
            file.check()  # then all else follows from it
            raise
        file.check()


@contextmanager
def faults_mapped(path: Path) -> Iterator[None]:
    """Raise :class:`InputError` for what PyAV raises within, where nothing but ``path`` is read."""
    try:
        yield
    except pyav.FAULTS as error:
        raise InputError(f"{path}: the file is damaged ({said(error)})") from error


def is_film(path: Path) -> bool:
    """Whether FFmpeg finds a video in the file that it does not take for pictures or drawn text."""
    try:
        with faults_mapped(path), open_video(path) as container:
            drawn = container.format.name in _NO_FILMS or container.format.name.endswith("_pipe")
            return not drawn and any(_width(stream) > 0 for stream in container.streams.video)
    except InputError:
        return False


def _width(stream: av.VideoStream) -> int:
    """Of its frames; 1 where no decoder is known, which is said once the film is opened."""
    context: Any = stream.codec_context
    return 1 if context is None else int(context.width)


def main_stream(container: InputContainer, path: Path) -> av.VideoStream:
    """The video: the first one marked as default, else the first; a cover picture is none.

    Raises :class:`InputError` when there is none, or none that can be decoded.
    """
    films = [s for s in container.streams.video if not is_cover(s)]
    if not films:
        raise InputError(f"{path}: the file holds no video stream; 'xlsr upscale' needs one")
    stream = next((s for s in films if s.disposition & av.stream.Disposition.default), films[0])
    if stream.codec_context is None:
        raise InputError(f"{path}: no decoder is known for the video stream")
    if _tag(stream.codec_context) in ("encv", "drmi"):
        raise InputError(f"{path}: the video is encrypted; decrypt it first")
    return stream


def _tag(context: av.VideoCodecContext) -> str:
    """The container's four letters for the codec; none where they are no letters."""
    try:
        return context.codec_tag.lower()
    except UnicodeDecodeError:
        return ""


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a picture that belongs to the file, such as the cover of a film."""
    return stream.type == "video" and bool(stream.disposition & av.stream.Disposition.attached_pic)


def packets_of(
    container: InputContainer,
    unknown: Callable[[], None] = lambda: None,
    broken: Callable[[Exception], None] = lambda error: None,
) -> Iterator[AnyPacket]:
    """All packets in file order, without times and durations that mean nothing.

    A damaged place that FFmpeg does not get over is treated as the end, as players do, and ``broken`` is
    called. ``unknown`` is called for a packet of a stream that was not there when the file was opened, as a
    transport stream may have it: PyAV cannot give such a packet. Raises :class:`InputLostError`.
    """
    check = _check_of(container)
    packets: Iterator[AnyPacket | None] = container.demux()
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            unknown()
            packets = container.demux()
            continue
        except pyav.FAULTS as error:
            check()
            broken(error)
            return
        check()
        if packet is None:
            return
        _clean(packet)
        if packet.size or packet.pts is not None or packet.dts is not None:
            yield packet


def _check_of(container: InputContainer) -> Callable[[], None]:
    """What tells whether the file could be read; a file of somebody else raises by itself."""
    file = getattr(cast(Any, container).file, "file", None)
    return file.check if isinstance(file, _File) else lambda: None


def _clean(packet: AnyPacket) -> None:
    """Remove times and durations that mean nothing: clocks of 64 bits would overflow."""
    latest = latest_tick(pyav.exact(packet.time_base))
    if packet.pts is not None and abs(packet.pts) > latest:
        packet.pts = None
    if packet.dts is not None and abs(packet.dts) > latest:
        packet.dts = None
    if packet.duration is not None and not 0 <= packet.duration <= latest:
        packet.duration = 0


@functools.lru_cache(maxsize=64)
def latest_tick(base: Fraction | None) -> int:
    """The largest time that is taken for one, in ticks of ``base``."""
    return int(_LATEST / base) if base and base > 0 else _LATEST


def sought(container: InputContainer, at: int, stream: av.VideoStream | None = None) -> bool:
    """Seek to the key frame at or before ``at``; False where that does not work, as in a damaged file.

    ``at``: in ticks of ``stream``, or in microseconds without it. Raises :class:`InputLostError`.
    """
    try:
        container.seek(at, stream=stream)
    except pyav.FAULTS:
        _check_of(container)()
        return False
    return True


def decoded(
    packets: Iterator[AnyPacket],
    stream: av.VideoStream,
    damaged: Callable[[], None],
    *,
    threads: int = 1,
    max_pixels: int | None = None,
) -> Iterator[av.VideoFrame]:
    """Decoded frames. A packet that the decoder refuses is skipped, and ``damaged`` is called.

    ``max_pixels``: frames of far more are refused before there is memory for them.
    """
    decoder = _decoder_of(stream)
    if max_pixels is not None:
        decoder.options = {**decoder.options, "max_pixels": str(coded_pixels(max_pixels))}
    decoder.thread_type, decoder.thread_count = av.codec.context.ThreadType.AUTO, threads
    for packet in packets:
        if packet.stream_index == stream.index:
            try:
                frames = decoder.decode(packet)
            except pyav.FAULTS:
                damaged()
                continue
            yield from frames
    with contextlib.suppress(*pyav.FAULTS):
        yield from decoder.decode(None)


def coded_pixels(shown: int) -> int:
    """The most pixels that a decoder may need for frames of ``shown``: codecs fill up whole blocks."""
    return 2 * shown + (1 << 20)


def _decoder_of(stream: av.VideoStream) -> av.VideoCodecContext:
    """The usual decoder, or the one that knows the transparency that WebM carries beside the frames."""
    context = stream.codec_context
    name = _ALPHA_DECODERS.get(context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return context
    try:
        decoder = av.VideoCodecContext.create(name, "r")
    except ValueError:  # this build of FFmpeg has no libvpx
        return context
    return cast(av.VideoCodecContext, decoder)


def content_hash(path: Path) -> str:
    """BLAKE2b of the file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def said(error: Exception) -> str:
    """The message of the library, short and without a path."""
    if isinstance(error, av.error.FFmpegError):
        return str(error.strerror or "unknown error").rstrip(".").lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__
