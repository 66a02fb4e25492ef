"""Before the work, find out what the output's container will hold; after it, whether all is there."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import av.container
import av.error
import av.stream

from xlsr_cli.errors import OutputError, UsageError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.codecs import Container
from xlsr_cli.media.video.inspect import (
    Stream,
    VideoFile,
    end_of,
    is_cover,
    open_video,
    packets_of,
    stated_end,
)
from xlsr_cli.media.video.mux import (
    STALE_FILE,
    MuxPlan,
    chapters_of,
    complete,
    open_output,
    said,
    title_of,
    without,
)
from xlsr_cli.notices import Notice

if TYPE_CHECKING:
    from xlsr_cli.media.video.inspect import AnyPacket

_MOV_FAMILY = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "ipod")


#: Containers store the ratio of the sides in whole pixels; FFmpeg itself tolerates as much.
_ASPECT_TOLERANCE = 0.004


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
    refused = "the output's container does not hold it"
    if is_cover(stream):
        return None if container.covers else refused
    if stream.type == "attachment" and container.format != "matroska":
        return refused
    if stream.codec_context is None and stream.type not in ("attachment", "data"):
        return "no decoder is known for it"
    file = io.BytesIO()
    output = pyav.open_output(file, format=container.format, container_options=dict(container.options))
    try:
        copy: Any = output.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(stream.metadata)
        if index in source.heads:
            packet = _copy(source.heads[index])
            packet.stream = copy
            output.mux_one(packet)
        else:
            output.start_encoding()
        output.close()
    except (av.error.FFmpegError, ValueError, UnicodeError):
        return refused
    return None if _comes_back(file, stream, container) else refused


def _comes_back(file: io.BytesIO, stream: Any, container: Container) -> bool:
    """Whether the only stream in ``file`` is of the kind of ``stream``: MPEG-TS takes everything, as data."""
    file.seek(0)
    try:
        with pyav.open_input(file, format=container.reader) as result:
            return [found.type for found in result.streams] in ([], [stream.type])
    except av.error.FFmpegError:
        return True  # one packet alone is too little to tell


def rehearse(source: VideoFile, plan: MuxPlan, *, name: str) -> list[Notice]:
    """Write the first packets of all streams to memory, read them back, and say what did not come through.

    Raises :class:`UsageError` when the encoder or the container refuses what is planned.
    """
    file = io.BytesIO()
    with open_video(source.path) as original:
        try:
            output, streams = open_output(file, source, original, plan)
            fresh = streams[source.index]
            picture = av.VideoFrame(
                plan.settings.size.width, plan.settings.size.height, plan.settings.pix_fmt
            )
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
            complete(file, plan)
        except (av.error.FFmpegError, ValueError) as error:
            what = f"{plan.settings.codec.name} in {plan.settings.pix_fmt}, {plan.settings.size},"
            raise UsageError(
                f"{name}: {what} cannot be written to this container ({said(error)}); "
                "try another --codec, --preset or --pix-fmt"
            ) from error
        file.seek(0)
        with pyav.open_input(file, format=plan.container.reader) as result:
            return list(_differences(original, result, source, plan))


def _differences(
    original: av.container.InputContainer,
    result: av.container.InputContainer,
    source: VideoFile,
    plan: MuxPlan,
) -> Iterator[Notice]:
    if len(chapters_of(original, plan.cut)) > len(result.chapters()):
        yield Notice(code="chapters-dropped", message="the output's container holds no chapters")
    yield from _tags_lost(original, result)
    kept = sorted({source.index, *plan.copied})
    for place, index in enumerate(kept):
        before = original.streams[index]
        if place >= len(result.streams):
            yield Notice(
                code="stream-dropped", message=f"stream {index} ({before.type}) does not come through"
            )
            continue
        after = result.streams[place]
        what = f"stream {index} ({before.type})"
        if index == source.index:
            yield from _aspect_lost(plan.settings.aspect, after)
            if "timecode" in _keys(before.metadata) - _keys(after.metadata):
                yield Notice(code="timecode-dropped", message="the output's container holds no time code")
        language = before.language or "und"
        if language != "und" and (after.language or "und") != language:
            yield Notice(code="language-dropped", message=f"{what} loses its language, {language}")
        if before.disposition & ~after.disposition & ~av.stream.Disposition.default:
            lost = av.stream.Disposition(before.disposition & ~after.disposition)
            yield Notice(code="disposition-dropped", message=f"{what} loses a mark of its track, {lost.name}")
        title = title_of(before.metadata)
        if title and title_of(after.metadata) != title:
            yield Notice(code="title-dropped", message=f"{what} loses its title, {title!r}")


def _tags_lost(
    original: av.container.InputContainer, result: av.container.InputContainer
) -> Iterator[Notice]:
    lost_keys = _keys(without(original.metadata, STALE_FILE)) - _keys(result.metadata)
    if lost_keys:
        names = ", ".join(sorted(lost_keys))
        message = f"the output's container does not hold the tags {names}"
        yield Notice(code="metadata-dropped", message=message)


def _keys(metadata: dict[str, str]) -> set[str]:
    return {key.lower() for key in metadata}


def _aspect_lost(aspect: Fraction | None, after: Any) -> Iterator[Notice]:
    """AVI keeps the shape of pixels only where the codec says it itself, as H.264 does."""
    found = pyav.exact(after.sample_aspect_ratio)
    if aspect is None or aspect == 1 or (found and abs(found / aspect - 1) < _ASPECT_TOLERANCE):
        return
    message = (
        f"its pixels of {aspect.numerator}:{aspect.denominator} will be shown as squares: this codec and "
        "container cannot say it together; --codec h264 or an .mkv file keeps it"
    )
    yield Notice(code="aspect-dropped", message=message)


def _copy(packet: AnyPacket) -> AnyPacket:
    """A packet of its own with the same bytes, times and side data; muxing changes the times of a packet."""
    copy = av.Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    for side in packet.iter_sidedata():
        copy.set_sidedata(side)
    return copy


def verify(
    file: Any, source: VideoFile, plan: MuxPlan, expected: Iterable[int], copied: dict[int, int], *, name: str
) -> Fraction:
    """Read the output back and compare: all frames there, each at its time; all copied packets there.

    ``expected`` are the frames' times in ticks of the source. Returns the duration in seconds. Raises
    :class:`OutputError` for the first difference.
    """
    wanted = sorted(tick * source.time_base + plan.cut.shift for tick in expected)
    with pyav.open_input(file) as result:
        kept = sorted({source.index, *plan.copied})
        place = kept.index(source.index)
        stream: Any = result.streams[place]
        base, stated = pyav.exact(stream.time_base) or Fraction(1), stated_end(result, stream)
        counts = dict.fromkeys(range(len(kept)), 0)
        times, end = [], Fraction(0)
        for packet in packets_of(result):
            counts[packet.stream_index] = counts.get(packet.stream_index, 0) + 1
            if packet.stream_index == place and packet.pts is not None:
                times.append(packet.pts * base)
                end = max(end, end_of(packet.pts * base, (packet.duration or 0) * base, stated))
    if counts[place] != len(wanted):
        raise OutputError(
            f"{name}: {len(wanted)} frames were written and {counts[place]} came back; try an .mkv file"
        )
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
                f"{name}: of stream {index}, {count} packets were copied and "
                f"{counts[kept.index(index)]} came back; try an .mkv file"
            )
    return end - (wanted[0] if wanted else Fraction(0))
