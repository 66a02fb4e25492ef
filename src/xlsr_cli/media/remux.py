"""Put a video file together: the new video, and every other stream of the source copied beside it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
import av.container
import av.error
import av.stream

from xlsr_cli.errors import OutputError, UsageError
from xlsr_cli.media.codecs import Container, Settings, configure
from xlsr_cli.media.video import Stream, VideoFile, is_cover, open_video, packets_of
from xlsr_cli.media.video_tags import Matrix
from xlsr_cli.notices import Notice

#: What muxers write themselves, or what spoke of the old video: not copied.
_STALE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
_STALE_VIDEO = ("encoder", "alpha_mode", "rotate", "vendor_id", "bps", "duration", "number_of_")
_STATISTICS = ("_statistics", "bps", "duration", "number_of_")

_MOV_FAMILY = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "ipod")


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


def write(file: BinaryIO, source: VideoFile, plan: MuxPlan, video: Iterable[Encoded], *, name: str) -> dict[int, int]:
    """Write the output to ``file``, seekable; return how many packets were copied, by source stream.

    ``video`` comes in decoding order. Raises :class:`OutputError` when the container refuses a packet.
    """
    with open_video(source.path) as original:
        output, streams = _open_output(file, source, original, plan)
        copied = dict.fromkeys(plan.copied, 0)
        try:
            fresh = _video_packets(video, streams[source.index], source, plan.cut)
            others = _copied_packets(original, streams, source, plan, copied)
            for packet in _interleaved(fresh, others):
                output.mux_one(packet)
            output.close()
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(f"{name}: the container refuses the streams ({_said(error)}); try an .mkv file") from error
    return copied


def _open_output(
    file: Any, source: VideoFile, original: av.container.InputContainer, plan: MuxPlan
) -> tuple[av.container.OutputContainer, dict[int, Any]]:
    """The output with all its streams, in the source's order."""
    output = av.open(
        file,
        mode="w",
        format=plan.container.format,
        container_options=dict(plan.container.options),
        metadata_errors="surrogateescape",
        buffer_size=1 << 20,
    )
    streams: dict[int, Any] = {}
    for stream in original.streams:
        if stream.index == source.index:
            streams[stream.index] = _add_video(output, stream, source, plan)
        elif stream.index in plan.copied:
            streams[stream.index] = _add_copy(output, stream, source, plan)
    output.metadata.update(_without(original.metadata, _STALE_FILE))
    chapters = _chapters(original, plan.cut)
    if chapters:
        output.set_chapters(chapters)
    return output, streams


def _add_video(
    output: av.container.OutputContainer, stream: Any, source: VideoFile, plan: MuxPlan
) -> av.VideoStream:
    # The encoder is opened for its header alone: its parameters are what every segment was made with.
    fresh: Any = output.add_stream(plan.settings.encoder, rate=plan.settings.rate)
    configure(fresh.codec_context, plan.settings)
    fresh.time_base = source.time_base
    fresh.metadata.update(_without(stream.metadata, _STALE_VIDEO))
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
    copy.metadata.update(_without(stream.metadata, _STATISTICS if trimmed else ()))
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


def _without(metadata: dict[str, str], stale: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if not key.lower().startswith(stale or ("\0",))}


def _chapters(original: av.container.InputContainer, cut: Cut) -> list[Any]:
    chapters = []
    for chapter in original.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        start, end = chapter["start"] * base, chapter["end"] * base
        if (cut.end is not None and start >= cut.end) or (cut.begin is not None and end <= cut.begin):
            continue
        start = max(start, cut.begin) if cut.begin is not None else start
        end = min(end, cut.end) if cut.end is not None else end
        moved = {"start": round((start + cut.shift) / base), "end": round((end + cut.shift) / base)}
        chapters.append({**chapter, **moved})
    return chapters


# Packets


def _video_packets(video: Iterable[Encoded], stream: Any, source: VideoFile, cut: Cut) -> Iterator[av.Packet]:
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
) -> Iterator[av.Packet]:
    for stream in original.streams:
        if stream.index not in copied:
            stream.discard = av.stream.Discard.all
    for packet in packets_of(original):
        index = packet.stream_index
        if index not in copied:
            continue
        base = packet.time_base or Fraction(1)
        time = packet.pts if packet.pts is not None else packet.dts
        cover = time is None or is_cover(original.streams[index])
        if streams[index].type == "attachment":
            continue  # it is in the header already
        if not cover and not plan.cut.holds(time * base):
            continue
        if plan.cut.shift and not cover:
            shift = round(plan.cut.shift / base)
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        packet.stream = streams[index]
        copied[index] += 1
        yield packet


def _interleaved(video: Iterator[av.Packet], others: Iterator[av.Packet]) -> Iterator[av.Packet]:
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


# Before the work: what the container will hold


def plan_copies(source: VideoFile, container: Container) -> tuple[tuple[int, ...], list[Notice]]:
    """Which streams beside the video ``container`` takes, found by trying; the others are notices."""
    kept, notices = [], []
    with open_video(source.path) as original:
        for stream in source.streams:
            if _made_by_the_muxer(original, stream):
                continue
            reason = _refusal(original, stream.index, source, container)
            if reason is None:
                kept.append(stream.index)
            else:
                message = f"{stream} cannot be copied: {reason}"
                notices.append(Notice(code="stream-dropped", message=message))
    return tuple(kept), notices


def _made_by_the_muxer(original: av.container.InputContainer, stream: Stream) -> bool:
    """The text track of MP4 chapters and the time-code track: the muxer writes its own."""
    if stream.kind != "data" or not any(name in _MOV_FAMILY for name in original.format.name.split(",")):
        return False
    given: Any = original.streams[stream.index]
    chapters = stream.codec == "bin_data" and bool(original.chapters())
    return chapters or "timecode" in given.metadata


def _refusal(
    original: av.container.InputContainer, index: int, source: VideoFile, container: Container
) -> str | None:
    """Why ``container`` does not take the stream; None when it does."""
    stream: Any = original.streams[index]
    if stream.codec_context is None and stream.type not in ("attachment", "data"):
        return "no decoder is known for it"
    output = av.open(io.BytesIO(), mode="w", format=container.format, metadata_errors="surrogateescape")
    try:
        if is_cover(stream) and container.format == "matroska":
            return None
        copy: Any = output.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(stream.metadata)
        if index in source.heads and not is_cover(stream):
            packet = _copy(source.heads[index])
            packet.stream = copy
            output.mux_one(packet)
        else:
            output.start_encoding()
        output.close()
    except (av.error.FFmpegError, ValueError, UnicodeError):
        return "the output's container does not hold it"
    return None


def rehearse(source: VideoFile, plan: MuxPlan, *, name: str) -> list[Notice]:
    """Write the first packets of all streams to memory, read them back, and say what did not come through.

    Raises :class:`UsageError` when the encoder or the container refuses what is planned.
    """
    file = io.BytesIO()
    with open_video(source.path) as original:
        try:
            output, streams = _open_output(file, source, original, plan)
            fresh = streams[source.index]
            picture = av.VideoFrame(plan.settings.size.width, plan.settings.size.height, plan.settings.pix_fmt)
            for plane in picture.planes:
                plane.update(bytes(plane.buffer_size))
            picture.pts, picture.time_base = 0, 1 / plan.settings.rate
            packets = [*fresh.encode(picture), *fresh.encode(None)]
            start = round(source.first / source.time_base)
            for packet in packets:
                packet.time_base = source.time_base
                packet.pts = packet.dts = start
            for index in plan.copied:
                if index in source.heads and streams[index].type != "attachment":
                    head = _copy(source.heads[index])
                    head.stream = streams[index]
                    packets.append(head)
            output.mux(packets)
            output.close()
        except (av.error.FFmpegError, ValueError) as error:
            raise UsageError(
                f"{name}: {plan.settings.codec.name} in {plan.settings.pix_fmt}, {plan.settings.size}, cannot be "
                f"written to this container ({_said(error)}); try another --codec, --preset or --pix-fmt, or an .mkv"
            ) from error
        file.seek(0)
        with av.open(file, mode="r", metadata_errors="surrogateescape") as result:
            return list(_differences(original, result, source, plan))


def _differences(
    original: av.container.InputContainer,
    result: av.container.InputContainer,
    source: VideoFile,
    plan: MuxPlan,
) -> Iterator[Notice]:
    if len(_chapters(original, plan.cut)) > len(result.chapters()):
        yield Notice(code="chapters-dropped", message="the output's container holds no chapters")
    kept = sorted({source.index, *plan.copied})
    if len(result.streams) < len(kept):
        return
    for place, index in enumerate(kept):
        before, after = original.streams[index], result.streams[place]
        what = f"stream {index} ({before.type})"
        language = before.language or "und"
        if language != "und" and (after.language or "und") != language:
            yield Notice(code="language-dropped", message=f"{what} loses its language, {language}")
        if before.disposition & ~after.disposition & ~av.stream.Disposition.default:
            lost = av.stream.Disposition(before.disposition & ~after.disposition)
            yield Notice(code="disposition-dropped", message=f"{what} loses a mark of its track, {lost.name}")
        title = before.metadata.get("title")
        if title and title not in after.metadata.values():
            yield Notice(code="title-dropped", message=f"{what} loses its title, {title!r}")
    lost_keys = {key.lower() for key in _without(original.metadata, _STALE_FILE)}
    lost_keys -= {key.lower() for key in result.metadata}
    if lost_keys:
        names = ", ".join(sorted(lost_keys))
        yield Notice(code="metadata-dropped", message=f"the output's container does not hold the tags {names}")


def _copy(packet: av.Packet) -> av.Packet:
    """A packet of its own with the same bytes, times and side data; muxing changes the times of a packet."""
    copy = av.Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    for side in packet.iter_sidedata():
        copy.set_sidedata(side)
    return copy


# After the work: does it hold what was put in


def verify(file: Any, source: VideoFile, plan: MuxPlan, expected: Iterable[int], copied: dict[int, int], *, name: str) -> Fraction:
    """Read the output back and compare: all frames there, each at its time; all copied packets there.

    ``expected`` are the frames' times in ticks of the source. Returns the duration in seconds. Raises
    :class:`OutputError` for the first difference.
    """
    wanted = sorted(tick * source.time_base + plan.cut.shift for tick in expected)
    with av.open(file, mode="r", metadata_errors="surrogateescape") as result:
        kept = sorted({source.index, *plan.copied})
        place = kept.index(source.index)
        base = result.streams[place].time_base or Fraction(1)
        counts = dict.fromkeys(range(len(kept)), 0)
        times, end = [], Fraction(0)
        for packet in packets_of(result):
            counts[packet.stream_index] = counts.get(packet.stream_index, 0) + 1
            if packet.stream_index == place and packet.pts is not None:
                times.append(packet.pts * base)
                end = max(end, (packet.pts + (packet.duration or 0)) * base)
    if counts[place] != len(wanted):
        raise OutputError(f"{name}: {len(wanted)} frames were written and {counts[place]} came back; this is a bug")
    times.sort()
    tick = max(base, source.time_base)
    if len(times) == len(wanted) and not plan.container.constant:
        off = next((i for i, (a, b) in enumerate(zip(wanted, times, strict=True)) if abs(a - b) > tick), None)
        if off is not None:
            raise OutputError(
                f"{name}: frame {off} is at {float(times[off]):.3f} s instead of {float(wanted[off]):.3f} s; "
                "the container cannot hold these times, try an .mkv file"
            )
    covers = [stream.index for stream in source.streams if stream.kind == "cover"]
    for index, count in copied.items():
        if index not in covers and counts[kept.index(index)] != count:
            raise OutputError(
                f"{name}: of stream {index}, {count} packets were copied and {counts[kept.index(index)]} came "
                "back; try an .mkv file"
            )
    return end - (wanted[0] if wanted else Fraction(0))


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


def _said(error: Exception) -> str:
    if isinstance(error, av.error.FFmpegError):
        return str(error.strerror or "unknown error").rstrip(".").lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__
