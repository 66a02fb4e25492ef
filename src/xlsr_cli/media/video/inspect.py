"""What is in a video file: its streams, times, colours and metadata. Nothing is written here."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import av
import av.container
import av.error
import av.stream

from xlsr_cli.errors import InputError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.tags import (
    ColorTags,
    Hdr,
    Rotation,
    color_tags,
    hdr_of,
    lost_side_data,
    rotation_of,
)
from xlsr_cli.media.video.truncation import missing_bytes
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: A decoded frame, for rooms that do not know PyAV.
Picture = av.VideoFrame
if TYPE_CHECKING:
    AnyPacket: TypeAlias = av.Packet[Any]

#: FFmpeg's ``AV_FIELD_UNKNOWN`` and ``AV_FIELD_PROGRESSIVE``; anything else is interlaced.
_PROGRESSIVE = (0, 1)
_HASH_BLOCK = 1 << 20
#: Seconds by which headers are commonly wrong: a last subtitle, a frame's duration, rounding.
_TOLERATED_END = 1.0


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream beside the video: what messages and the muxer need to know of it."""

    index: int
    kind: str
    codec: str
    language: str

    def __str__(self) -> str:
        language = f", {self.language}" if self.language else ""
        return f"stream {self.index} ({self.kind}, {self.codec}{language})"


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """What :func:`inspect` found in a file.

    ``index`` is the video stream's. ``size`` is as stored, before any rotation. ``aspect`` is the sample
    aspect ratio, None where the file is silent. ``rate`` is the average frame rate. ``packets`` of the
    video; ``first`` and ``end`` are seconds: the first frame's time and the last one's plus its duration.
    ``constant``: all frames have the same duration, as far as the time base can say. ``heads`` are the
    first packets of all streams.
    """

    path: Path
    format: str
    index: int
    streams: tuple[Stream, ...]
    codec: str
    size: Size
    pix_fmt: str
    aspect: Fraction | None
    rate: Fraction
    time_base: Fraction
    tags: ColorTags
    hdr: Hdr
    rotation: Rotation | None
    interlaced: bool
    packets: int
    constant: bool
    first: Fraction
    end: Fraction
    notices: tuple[Notice, ...]
    heads: dict[int, AnyPacket] = field(repr=False, compare=False)

    def begins(self, index: int) -> Fraction:
        """The time of the first packet of the stream ``index``, in seconds; 0 where it has none."""
        head = self.heads.get(index)
        stamp = None if head is None else head.pts if head.pts is not None else head.dts
        return (
            Fraction(0)
            if head is None or stamp is None
            else stamp * (pyav.exact(head.time_base) or Fraction(1))
        )


@contextmanager
def open_video(path: Path) -> Iterator[av.container.InputContainer]:
    """The container of ``path``, closed at the end.

    Only the file itself is read, whatever it refers to. Metadata that are not UTF-8 are kept as they are.
    Raises :class:`InputError` when it is missing or no container that FFmpeg knows.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        container = pyav.open_input(
            f"file:{path.absolute()}", container_options={"protocol_whitelist": "file"}
        )
    except (av.error.FFmpegError, UnicodeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path}: the file is damaged or no video that xlsr can read ({_said(error)})"
        ) from error
    try:
        yield container
    finally:
        container.close()


def inspect(path: Path) -> VideoFile:
    """Look at the whole file once, without decoding more than its first frame.

    Raises :class:`InputError` for a file without a video stream, without frames, encrypted, or damaged so
    that no frame can be decoded.
    """
    with open_video(path) as container:
        stream = main_stream(container, path)
        scan = _scan(container, stream, path)
        streams = tuple(_stream(s) for s in container.streams if s.index != stream.index)
        # Nothing of a stream may be touched once its container is closed.
        index, format_name = stream.index, container.format.name
        missing, stated = _missing_end(container, scan), stated_end(container, stream)
        transparent = stream.metadata.get("alpha_mode") == "1"
    frame, context_tags, field_order, aspect, rate, base = _first_frame(path)
    rotation, notices = rotation_of(frame)
    notices += lost_side_data(frame)
    if missing:
        message = f"the file ends {missing:.1f} seconds before its header says; what is there is upscaled"
        notices.append(Notice(code="truncated", message=message))
    elif cut := missing_bytes(path):
        message = f"the last {cut} bytes of the file are missing; what is there is upscaled"
        notices.append(Notice(code="truncated", message=message))
    if transparent and not any(c.is_alpha for c in frame.format.components):
        notices.append(Notice(code="alpha-dropped", message="the transparency of the video is left out"))
    times = scan.times
    rate = rate or _rate_of(times) or Fraction(25)
    return VideoFile(
        path=path,
        format=format_name,
        index=index,
        streams=streams,
        codec=scan.codec,
        size=Size(width=frame.width, height=frame.height),
        pix_fmt=frame.format.name,
        aspect=aspect,
        rate=rate,
        time_base=base,
        tags=context_tags,
        hdr=hdr_of(frame),
        rotation=rotation,
        interlaced=frame.interlaced_frame or field_order not in _PROGRESSIVE,
        packets=scan.packets,
        constant=_constant(times, base),
        first=min(times, default=Fraction(0)),
        end=end_of(max(times, default=Fraction(0)), scan.last_duration or 1 / rate, stated),
        notices=tuple(notices),
        heads=scan.heads,
    )


def main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The video: the first one marked as default, else the first; a cover picture is none.

    Raises :class:`InputError` when there is none, or none that can be decoded.
    """
    films = [s for s in container.streams.video if not is_cover(s)]
    if not films:
        raise InputError(f"{path}: the file holds no video stream; 'xlsr upscale' needs one")
    stream = next((s for s in films if s.disposition & av.stream.Disposition.default), films[0])
    if stream.codec_context is None:
        raise InputError(f"{path}: no decoder is known for the video stream")
    if stream.codec_context.codec_tag.lower() in ("encv", "drmi"):
        raise InputError(f"{path}: the video is encrypted; decrypt it first")
    return stream


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a picture that belongs to the file, such as the cover of a film."""
    return stream.type == "video" and bool(stream.disposition & av.stream.Disposition.attached_pic)


def content_hash(path: Path) -> str:
    """BLAKE2b of the file's bytes, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=32)
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def stated_end(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    """When the track of an MP4 or MOV says that it ends, in seconds; None in other containers.

    There a packet's duration is the distance to the next one in the order of decoding, which is not how long
    the frame is shown where frames are reordered.
    """
    if "mp4" not in container.format.name.split(",") or stream.duration is None:
        return None
    base = pyav.exact(stream.time_base)
    return None if base is None else ((stream.start_time or 0) + stream.duration) * base


def end_of(last: Fraction, shown: Fraction, stated: Fraction | None) -> Fraction:
    """When the last frame ends, in seconds: it is at ``last``, and its packet says that it is ``shown`` so.

    ``stated`` is what :func:`stated_end` found; it cannot make the frame longer, nor less than nothing.
    """
    return last + shown if stated is None or stated <= last else min(last + shown, stated)


# The look at all packets


@dataclass(kw_only=True)
class _Scan:
    codec: str
    packets: int = 0
    times: list[Fraction] = field(default_factory=list)
    last_duration: Fraction | None = None
    heads: dict[int, AnyPacket] = field(default_factory=dict)
    reached: Fraction = Fraction(0)


def _scan(container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> _Scan:
    scan = _Scan(codec=stream.codec_context.name)
    base = pyav.exact(stream.time_base) or Fraction(1)
    latest = None
    with _mapped(path):
        for packet in packets_of(container):
            if packet.has_sidedata("encryption_info"):
                raise InputError(f"{path}: the video is encrypted; decrypt it first")
            scan.heads.setdefault(packet.stream_index, packet)
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                ticks = stamp + (packet.duration or 0)
                scan.reached = max(scan.reached, ticks * (pyav.exact(packet.time_base) or Fraction(1)))
            if packet.stream_index != stream.index or packet.is_discard:
                continue
            scan.packets += 1
            if stamp is not None:
                scan.times.append(stamp * base)
                if latest is None or stamp >= latest:
                    latest = stamp
                    scan.last_duration = packet.duration * base if packet.duration else None
    if not scan.packets:
        raise InputError(f"{path}: the video stream holds no frame; nothing to upscale")
    return scan


def _missing_end(container: av.container.InputContainer, scan: _Scan) -> float:
    """Seconds between the end that the header states and the last packet; 0 where that means nothing."""
    if not container.duration or "mpegts" in container.format.name:
        return 0.0
    stated = Fraction(container.duration + (container.start_time or 0), av.time_base)
    missing = float(stated - scan.reached)
    return missing if missing > _TOLERATED_END else 0.0


def packets_of(container: av.container.InputContainer) -> Iterator[AnyPacket]:
    """All packets in file order; a damaged end is an end, as every player takes it."""
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.InvalidDataError, av.error.EOFError, av.error.OSError):
            return
        if packet.size or packet.pts is not None or packet.dts is not None:
            yield packet


def _first_frame(
    path: Path,
) -> tuple[av.VideoFrame, ColorTags, int, Fraction | None, Fraction | None, Fraction]:
    with open_video(path) as container:
        stream = main_stream(container, path)
        frame = next(decoded(container, stream, lambda: None), None)
        if frame is None:
            raise InputError(
                f"{path}: no frame of the video can be decoded; the file is damaged or encrypted"
            )
        context = stream.codec_context
        aspect = pyav.exact(stream.sample_aspect_ratio)
        return (
            frame,
            color_tags(context, frame),
            getattr(context, "field_order", 0),
            aspect if aspect and aspect > 0 else None,
            pyav.exact(stream.average_rate) or pyav.exact(stream.guessed_rate),
            pyav.exact(stream.time_base) or Fraction(1, 90000),
        )


def _stream(stream: Any) -> Stream:
    context = stream.codec_context
    name = context.name if context is not None else getattr(stream, "name", None)
    if not isinstance(name, str):
        name = "no decoder"
    kind = "cover" if is_cover(stream) else stream.type
    return Stream(index=stream.index, kind=kind, codec=name, language=stream.language or "")


def _rate_of(times: list[Fraction]) -> Fraction | None:
    span = max(times, default=Fraction(0)) - min(times, default=Fraction(0))
    return (Fraction(len(times) - 1) / span).limit_denominator(1001) if span > 0 else None


def _constant(times: list[Fraction], base: Fraction) -> bool:
    """Whether the times lie on an even grid, each within one tick of ``base``."""
    ordered = sorted(times)
    if len(ordered) < 3:
        return True
    step = (ordered[-1] - ordered[0]) / (len(ordered) - 1)
    return all(abs(time - ordered[0] - place * step) <= base for place, time in enumerate(ordered))


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream, damaged: Callable[[], None]
) -> Iterator[av.VideoFrame]:
    """Frames as the decoder gives them; a packet that it refuses is passed over and ``damaged`` called."""
    for packet in packets_of(container):
        if packet.stream_index == stream.index:
            try:
                frames = stream.decode(packet)
            except (av.error.FFmpegError, ValueError):
                damaged()
                continue
            yield from frames
    with contextlib.suppress(av.error.FFmpegError):
        yield from stream.decode(None)


@contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, UnicodeError) as error:
        raise InputError(f"{path}: the file is damaged ({_said(error)})") from error


def _said(error: Exception) -> str:
    """What FFmpeg said, without the path that the message names already."""
    if isinstance(error, av.error.FFmpegError):
        return str(error.strerror or "unknown error").rstrip(".").lower()
    return type(error).__name__
