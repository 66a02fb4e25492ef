"""Put a video file together: the new video, and every other stream of the source copied beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import av.container
import av.error
import av.stream

from xlsr_cli.errors import OutputError
from xlsr_cli.media.video import matroska, pyav
from xlsr_cli.media.video.codecs import Container, Settings, configure
from xlsr_cli.media.video.inspect import VideoFile, is_cover, open_video, packets_of
from xlsr_cli.media.video.tags import Matrix

if TYPE_CHECKING:
    from xlsr_cli.media.video.inspect import AnyPacket

#: What muxers write themselves, or what spoke of the old video: not copied.
STALE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
_STALE_VIDEO = ("encoder", "alpha_mode", "rotate", "vendor_id", "bps", "duration", "number_of_")
_STATISTICS = ("_statistics", "bps", "duration", "number_of_")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Which part of the source goes into the output, in seconds of the source's clock.

    ``begin`` and ``end`` bound it, None being open; ``shift`` is added to every time.
    """

    begin: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)

    def holds(self, time: Fraction) -> bool:
        """Whether a packet of this time belongs to it."""
        return (self.begin is None or time >= self.begin) and (self.end is None or time < self.end)


WHOLE = Cut()


@dataclass(frozen=True, kw_only=True)
class MuxPlan:
    """Everything about the output but its packets: ``copied`` are indexes of the source's streams."""

    container: Container
    settings: Settings
    matrix: Matrix | None
    copied: tuple[int, ...]
    cut: Cut = WHOLE


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One packet of the new video; times are ticks of the source's time base."""

    data: bytes
    pts: int
    dts: int
    duration: int
    key: bool


def write(
    file: BinaryIO, source: VideoFile, plan: MuxPlan, video: Iterable[Encoded], *, name: str
) -> dict[int, int]:
    """Write the output to ``file``, seekable; return how many packets were copied, by source stream.

    ``video`` comes in decoding order. Raises :class:`OutputError` when the container refuses a packet.
    """
    sink = _Sink(file)
    with open_video(source.path) as original:
        output, streams = open_output(sink, source, original, plan)
        copied = dict.fromkeys(plan.copied, 0)
        try:
            fresh = _video_packets(video, streams[source.index], source, plan.cut)
            others = _copied_packets(original, streams, source, plan, copied)
            for packet in _interleaved(fresh, others):
                output.mux_one(packet)
                sink.check()
            output.close()
            sink.check()
            complete(file, plan)
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(
                f"{name}: the container refuses the streams ({said(error)}); try an .mkv file"
            ) from error
    return copied


def open_output(
    file: Any, source: VideoFile, original: av.container.InputContainer, plan: MuxPlan
) -> tuple[av.container.OutputContainer, dict[int, Any]]:
    """The output with all its streams, in the source's order."""
    output = pyav.open_output(
        file,
        format=plan.container.format,
        container_options=dict(plan.container.options),
        buffer_size=1 << 20,
    )
    streams: dict[int, Any] = {}
    for stream in original.streams:
        if stream.index == source.index:
            streams[stream.index] = _add_video(output, stream, source, plan)
        elif stream.index in plan.copied:
            streams[stream.index] = _add_copy(output, stream, source, plan)
    output.metadata.update(without(original.metadata, STALE_FILE))
    chapters = chapters_of(original, plan.cut)
    if chapters:
        output.set_chapters(chapters)
    return output, streams


class _Sink:
    """A file as the muxer sees it. What the system refuses is kept until :meth:`check`: PyAV prints every
    exception of a write but the first one as a traceback."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failure: Exception | None = None

    def write(self, data: bytes) -> int:
        """Write, or after a failure only say so."""
        return self._tried(lambda: self._file.write(data), len(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any file."""
        return self._tried(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """As of any file."""
        return self._tried(self._file.tell, 0)

    def check(self) -> None:
        """Raise what was refused."""
        if self._failure is not None:
            raise self._failure

    def _tried(self, call: Callable[[], int], otherwise: int) -> int:
        if self._failure is None:
            try:
                return call()
            except Exception as error:
                self._failure = error
        return otherwise


def complete(file: BinaryIO, plan: MuxPlan) -> None:
    """Write into the whole ``file`` what the muxer could not be told."""
    if _shape_in_track(plan):
        assert plan.settings.aspect is not None
        webm = plan.container.format == "webm"
        matroska.write_aspect(file, plan.settings.size, plan.settings.aspect, webm=webm)


def _shape_in_track(plan: MuxPlan) -> bool:
    """Whether the container's track has to say the shape of pixels, and the muxer cannot be told."""
    return plan.container.reader == "matroska" and plan.settings.aspect not in (None, 1)


def _add_video(
    output: av.container.OutputContainer, stream: Any, source: VideoFile, plan: MuxPlan
) -> av.VideoStream:
    # The encoder is opened for its header alone: its parameters are what every segment was made with.
    fresh: Any = output.add_stream(plan.settings.encoder, rate=plan.settings.rate)
    configure(fresh.codec_context, plan.settings)
    fresh.time_base = 1 / plan.settings.rate if plan.container.constant else source.time_base
    fresh.metadata.update(_described(stream.metadata, _STALE_VIDEO))
    if _shape_in_track(plan):
        fresh.metadata["title"] = matroska.with_room(title_of(stream.metadata))
    fresh.disposition = int(stream.disposition)
    if plan.matrix is not None:
        fresh.set_display_matrix(plan.matrix)
    if plan.container.format == "mpegts":
        fresh.id = stream.id
    return fresh  # type: ignore[no-any-return]


def _add_copy(output: av.container.OutputContainer, stream: Any, source: VideoFile, plan: MuxPlan) -> Any:
    if is_cover(stream) and plan.container.format == "matroska":
        return _attach_cover(output, stream, source)
    copy = output.add_stream_from_template(stream, opaque=True)
    trimmed = plan.cut.begin is not None or plan.cut.end is not None
    copy.metadata.update(_described(stream.metadata, _STATISTICS if trimmed else ()))
    copy.disposition = int(stream.disposition)
    if plan.container.format == "mpegts":
        copy.id = stream.id
    return copy


def _attach_cover(output: av.container.OutputContainer, stream: Any, source: VideoFile) -> Any:
    """Matroska holds covers as attached files, and reads them back as video streams."""
    kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
    name = stream.metadata.get("filename", f"cover.{kind}")
    picture = bytes(source.heads[stream.index]) if stream.index in source.heads else b""
    cover = output.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), picture)
    cover.metadata.update(stream.metadata)
    return cover


def title_of(metadata: dict[str, str]) -> str | None:
    """A stream's title: MP4 reads it back as ``name`` and wants it written as ``title``."""
    return metadata.get("title", metadata.get("name"))


def _described(metadata: dict[str, str], stale: tuple[str, ...]) -> dict[str, str]:
    title = title_of(metadata)
    return without(metadata, stale) | ({} if title is None else {"title": title})


def without(metadata: dict[str, str], stale: tuple[str, ...]) -> dict[str, str]:
    """``metadata`` but for the keys that begin with one of ``stale``, in any case."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(stale or ("\0",))}


def chapters_of(original: av.container.InputContainer, cut: Cut) -> list[Any]:
    """The chapters that lie in ``cut``, as PyAV gives and takes them."""
    chapters = []
    for chapter in original.chapters():
        base = pyav.exact(chapter["time_base"]) or Fraction(1, 1000)
        start, end = chapter["start"] * base, chapter["end"] * base
        if (cut.end is not None and start >= cut.end) or (cut.begin is not None and end <= cut.begin):
            continue
        start = max(start, cut.begin) if cut.begin is not None else start
        end = min(end, cut.end) if cut.end is not None else end
        moved = {"start": round((start + cut.shift) / base), "end": round((end + cut.shift) / base)}
        chapters.append({**chapter, **moved})
    return chapters


# Packets


def _video_packets(video: Iterable[Encoded], stream: Any, source: VideoFile, cut: Cut) -> Iterator[AnyPacket]:
    shift = round(cut.shift / source.time_base)
    for encoded in video:
        packet = av.Packet(encoded.data)
        packet.time_base = source.time_base
        packet.pts, packet.dts = encoded.pts + shift, encoded.dts + shift
        packet.duration = encoded.duration
        packet.is_keyframe = encoded.key
        packet.stream = stream
        yield packet


def _copied_packets(
    original: av.container.InputContainer,
    streams: dict[int, Any],
    source: VideoFile,
    plan: MuxPlan,
    copied: dict[int, int],
) -> Iterator[AnyPacket]:
    for stream in original.streams:
        if stream.index not in copied:
            stream.discard = av.stream.Discard.all
    for packet in packets_of(original):
        index = packet.stream_index
        if index not in copied:
            continue
        base = pyav.exact(packet.time_base) or Fraction(1)
        time = packet.pts if packet.pts is not None else packet.dts
        cover = time is None or is_cover(original.streams[index])
        if streams[index].type == "attachment":
            continue  # it is in the header already
        if time is not None and not cover and not plan.cut.holds(time * base):
            continue
        if plan.cut.shift and not cover:
            shift = round(plan.cut.shift / base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        packet.stream = streams[index]
        copied[index] += 1
        yield packet


def _interleaved(video: Iterator[AnyPacket], others: Iterator[AnyPacket]) -> Iterator[AnyPacket]:
    """Both in the order of their decoding times, so that the muxer has little to hold back."""
    waiting = next(video, None)
    for packet in others:
        stamp = packet.dts if packet.dts is not None else packet.pts
        while waiting is not None and (
            stamp is None or (waiting.dts or 0) * waiting.time_base <= stamp * packet.time_base
        ):
            yield waiting
            waiting = next(video, None)
            if stamp is None:
                break
        yield packet
    if waiting is not None:
        yield waiting
        yield from video


def reordered(pts: list[int]) -> list[int]:
    """Decoding times for packets that come in decoding order with these times of display.

    As small a delay as the order allows, strictly rising, none above its packet's time of display: the
    n-th packet gets the (n - delay)-th smallest time, the first ones the same distances before the start.
    """
    if not pts:
        return []
    ordered = sorted(pts)
    rank = {time: place for place, time in enumerate(ordered)}
    delay = max(place - rank[time] for place, time in enumerate(pts))
    lead = ordered[delay] - ordered[0]
    return [ordered[n] - lead if n < delay else ordered[n - delay] for n in range(len(pts))]


def said(error: Exception) -> str:
    """The library's words, short."""
    if isinstance(error, av.error.FFmpegError):
        return str(error.strerror or "unknown error").rstrip(".").lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__
