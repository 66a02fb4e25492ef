"""Before the work, find out by trying what the output's container will hold."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
import av.error
import av.stream
from av.container import InputContainer

from xlsr_cli.errors import UsageError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import is_cover, open_video, said
from xlsr_cli.media.video.facts import facts_of
from xlsr_cli.media.video.inspect import Stream, VideoFile
from xlsr_cli.media.video.layout import layout_of
from xlsr_cli.media.video.output.chapters import changed_chapters, chapters_of
from xlsr_cli.media.video.output.containers import Container
from xlsr_cli.media.video.output.convert import Conversion, conversion_of, decodes, notice_of
from xlsr_cli.media.video.output.cut import Cut
from xlsr_cli.media.video.output.encoder import Encoder, Settings
from xlsr_cli.media.video.output.mux import (
    Encoded,
    MuxPlan,
    Rising,
    copy_of,
    delay,
    meant_metadata,
    mux,
    opened,
    timed,
    title_of,
)
from xlsr_cli.media.video.output.readback import differences, reopened
from xlsr_cli.media.video.output.tracks import Track, codec_of, pair, read_tracks, track_of
from xlsr_cli.media.video.pyav import AnyPacket
from xlsr_cli.media.video.tags import RANGE_FULL, SILENT
from xlsr_cli.notices import Notice

_MOV_FAMILY = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "ipod")
#: The readers of containers in which PCM has no times, only a number of samples.
_COUNTING_SAMPLES = ("mov", "avi")
_OTHER_TIMES = "the output's container does not hold its times"
#: Ticks of an AVI's clock by which a time may be off: by its own rounding, and by that of the packet before.
_TOLERATED_TICKS = 2
#: Blank frames that are written on trial.
_TRIAL_FRAMES = 8
#: Containers store the ratio of the sides in whole pixels; FFmpeg itself tolerates as much.
_ASPECT_TOLERANCE = 0.004


# Each stream alone


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What becomes of the streams beside the video: ``copied`` as they are, by their indexes, ``converted``,
    or left out; the ``notices`` tell of the last two. ``through_tee`` as in :class:`MuxPlan`."""

    copied: tuple[int, ...]
    converted: tuple[Conversion, ...]
    through_tee: bool
    notices: tuple[Notice, ...]


def plan_streams(source: VideoFile, container: Container, *, copy_only: bool) -> Carried:
    """Try every stream beside the video. ``copy_only``: what is not taken as it is, is left out."""
    copied, converted, notices, through_tee = [], [], [], False
    with open_video(source.path) as original:
        for stream in source.streams:
            if _made_by_the_muxer(original, stream):
                continue
            given = original.streams[stream.index]
            reason = _refusal(original, stream.index, source, container, through_tee=False)
            if reason is not None and not is_cover(given):
                beyond = _refusal(original, stream.index, source, container, through_tee=True)
                through_tee |= beyond is None
                reason = reason if beyond is not None else None
            conversion = None if reason is None or copy_only else conversion_of(given, container)
            if conversion is not None and not decodes(given, source.heads.get(stream.index, ())):
                conversion, reason = None, f"{reason}, and it cannot be decoded"
            if reason is None:
                copied.append(stream.index)
            elif conversion is not None:
                converted.append(conversion)
                notices.append(notice_of(given, str(stream), conversion))
            else:
                message = f"{stream} cannot be copied: {reason}"
                notices.append(Notice(code="stream-dropped", message=message))
    return Carried(
        copied=tuple(copied),
        converted=tuple(converted),
        through_tee=through_tee,
        notices=tuple(notices),
    )


def _made_by_the_muxer(original: InputContainer, stream: Stream) -> bool:
    """The text track of MP4 chapters and the time-code track: the muxer writes its own."""
    if stream.kind != "data" or not any(name in _MOV_FAMILY for name in original.format.name.split(",")):
        return False
    given: Any = original.streams[stream.index]
    chapters = stream.codec == "bin_data" and bool(original.chapters())
    return chapters or "timecode" in given.metadata


def _refusal(
    original: InputContainer, index: int, source: VideoFile, container: Container, *, through_tee: bool
) -> str | None:
    """Why ``container`` does not take the stream; None when it does."""
    stream: Any = original.streams[index]
    refused = "the output's container does not hold it"
    if is_cover(stream):
        return None if container.covers else refused
    if stream.type == "attachment" and container.format != "matroska":
        return refused
    if stream.codec_context is None and stream.type not in ("attachment", "data"):
        return "FFmpeg has no decoder for it, and PyAV copies nothing that it cannot decode"
    if index in source.uneven and container.reader in _COUNTING_SAMPLES:
        return _OTHER_TIMES
    file = io.BytesIO()
    try:
        output = opened(file, container, through_tee=through_tee)
        heads = [_copy(packet) for packet in source.heads.get(index, ())]
        copy = copy_of(output, stream, next(iter(heads), None))
        copy.metadata.update(stream.metadata)
        output.start_encoding()
        rising, times = Rising(container), [_decoding_time(packet) for packet in heads]
        for packet in heads:
            if container.constant:  # whose films all begin at zero
                delay(packet, -times[0])
            packet.stream = copy
            output.mux_one(rising.moved(packet, copy))
        output.close()
    except pyav.FAULTS:
        return refused
    # Where no list of the muxer's was asked, the codec has to be the same too; for data always: MPEG-TS takes
    # everything, as data. Behind TrueHD, a reader of Blu-rays shows AC-3 that it may come with.
    exact = through_tee or stream.type == "data"
    file.seek(0)
    try:
        with pyav.open_input(file, format=container.reader) as result:
            tracks = read_tracks(result) if container.constant else [track_of(s) for s in result.streams]
    except pyav.FAULTS:
        return refused if exact else None  # the beginning of one stream may be too little to tell
    for track in tracks[:1]:
        if track.kind != stream.type or (exact and track.codec != codec_of(stream)):
            return refused
        if container.constant and not _keeps_times(track, times, pyav.exact(stream.time_base)):
            return _OTHER_TIMES
    return None


def _keeps_times(track: Track, times: Sequence[Fraction], base: Fraction | None) -> bool:
    """Whether the packets of ``track`` have the distances of ``times``, as far as they are the same packets.

    An AVI counts some sound by its bytes.
    """
    if len(track.times) != len(times):
        return True
    tick = max(track.base, base or Fraction(0)) * _TOLERATED_TICKS
    found = [(ticks - track.times[0]) * track.base for ticks in track.times]
    return all(abs(a - b + times[0]) <= tick for a, b in zip(found, times, strict=True))


# All of them


def rehearse(source: VideoFile, plan: MuxPlan, *, name: str) -> tuple[MuxPlan, list[Notice]]:
    """Write the beginnings of all streams to memory, read them back, and say what did not come through.

    Returns the plan with what was found to be needed. Raises :class:`UsageError` when the encoder or the
    container refuses what is planned, or would hold other times than the source's.
    """
    with open_video(source.path) as original:
        frames = list(_blank_frames(source, plan.settings))
        trial = _Trial(source=source, original=original, frames=frames, name=name)
        wrong, notices = trial.run(moved := plan)
        for lead in () if plan.container.constant else trial.leads():
            if not wrong:
                break
            moved = replace(plan, cut=Cut(shift=plan.cut.shift - lead))
            wrong, notices = trial.run(moved)
            message = f"all streams are moved by {float(-lead):.3f} s: the container has no times below zero"
            notices.append(Notice(code="times-moved", message=message, loss=False))
    if not wrong:
        return moved, notices
    if plan.container.constant:
        message = "an .avi file begins with all of its streams and one of this film begins later"
        raise UsageError(f"{name}: {message} ({wrong[0]}); use .mkv or .mp4")
    raise UsageError(f"{name}: {wrong[0]}; this container cannot hold that, use .mkv or .mp4")


@dataclass(kw_only=True)
class _Trial:
    """A film of blank frames and the beginnings of all other streams."""

    source: VideoFile
    original: InputContainer
    frames: list[Encoded]
    name: str
    meant: list[Track] = field(default_factory=list)

    def run(self, plan: MuxPlan) -> tuple[list[str], list[Notice]]:
        """Write and read it; which packets came back otherwise, and what else was lost."""
        file = io.BytesIO()
        try:
            self.meant = mux(file, self.source, self.original, plan, self.frames, self._heads(plan))
            with reopened(file, plan) as result:
                found = read_tracks(result)
                wrong = list(differences(self.meant, found, plan, heads=True))
                streams = [
                    None if track is None else result.streams[found.index(track)]
                    for track in pair(self.meant, found)
                ]
                return wrong, list(self._lost(result, streams, plan))
        except pyav.FAULTS as error:
            what = f"{plan.settings.codec.name} in {plan.settings.pix_fmt}, {plan.settings.size},"
            raise UsageError(
                f"{self.name}: {what} cannot be written to this container ({said(error)}); "
                "try another --codec, --preset or --pix-fmt"
            ) from error

    def leads(self) -> list[Fraction]:
        """How far times lie below zero: those of display, and those of decoding."""
        shown = min((track.first for track in self.meant if track.first is not None), default=Fraction(0))
        lowest = min((track.lowest for track in self.meant), default=Fraction(0))
        return [lead for lead in dict.fromkeys((shown, lowest)) if lead < 0]

    def _heads(self, plan: MuxPlan) -> Iterator[tuple[int, AnyPacket]]:
        heads = [(index, packet) for index in plan.carried for packet in self.source.heads.get(index, ())]
        heads.sort(key=lambda head: _decoding_time(head[1]))
        return ((index, _copy(packet)) for index, packet in heads)

    def _lost(self, result: InputContainer, streams: Iterable[Any], plan: MuxPlan) -> Iterator[Notice]:
        """What the container did not keep of the file, and of its ``streams`` as they came back."""
        original, source = self.original, self.source
        chapters, found = chapters_of(original, plan.cut, plan.container), result.chapters()
        if len(chapters) > len(found):
            message = "the output holds no chapters; an .mkv or .mp4 file does"
            yield Notice(code="chapters-dropped", message=message)
        elif (changed := next(changed_chapters(chapters, found), None)) is not None:
            message = f"{changed}; an .mkv file keeps it"
            yield Notice(code="chapters-changed", message=message)
        yield from _tags_lost(meant_metadata(original, source), result)
        for index, after in zip(sorted({source.index, *plan.carried}), streams, strict=True):
            before = original.streams[index]
            what = f"stream {index} ({before.type})"
            if after is None:
                yield Notice(code="stream-dropped", message=f"{what} is lost")
                continue
            if index == source.index:
                yield from _aspect_lost(plan.settings.aspect, after)
                yield from _colours_lost(plan.settings, after)
                if "timecode" in _keys(before.metadata) - _keys(after.metadata):
                    yield Notice(code="timecode-dropped", message="the output's container holds no time code")
            yield from _marks_lost(what, before, after)


def _decoding_time(packet: AnyPacket) -> Fraction:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return (stamp or 0) * (pyav.exact(packet.time_base) or Fraction(1))


def _blank_frames(source: VideoFile, settings: Settings) -> Iterator[Encoded]:
    """The first frames of the new video, all black, at the times of the source's."""
    encoder = Encoder(settings)
    step = max(1, round(1 / (source.rate * source.time_base)))
    times = [(time, step) for time in source.times[:_TRIAL_FRAMES] or [0]]
    packets = []
    for _ in times:
        picture = av.VideoFrame(settings.size.width, settings.size.height, settings.pix_fmt)
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        packets += encoder.encode(picture)
    packets += encoder.finish()
    return timed(packets, [packet.frame for packet in packets], times, source.time_base)


def _colours_lost(settings: Settings, after: Any) -> Iterator[Notice]:
    """FFV1 in AVI says nothing about colours."""
    context, tags = after.codec_context, settings.tags
    lost = {
        "primaries": tags.primaries not in (SILENT.primaries, context.color_primaries),
        "transfer": tags.transfer not in (SILENT.transfer, context.color_trc),
        "matrix": tags.matrix not in (SILENT.matrix, context.colorspace),
        "range": tags.range == RANGE_FULL != context.color_range,
    }
    if layout_of(settings.pix_fmt).family != "yuv":
        del lost["matrix"], lost["range"]
    names = [name for name, is_lost in lost.items() if is_lost]
    if names:
        message = f"the output does not say the {', '.join(names)} of its colours; an .mkv file does"
        yield Notice(code="color-dropped", message=message)


def _marks_lost(what: str, before: Any, after: Any) -> Iterator[Notice]:
    """Language, disposition and title of a stream."""
    language = before.language or "und"
    if language != "und" and (after.language or "und") != language:
        yield Notice(code="language-dropped", message=f"{what} loses its language, {language}")
    if before.disposition & ~after.disposition & ~av.stream.Disposition.default:
        lost = av.stream.Disposition(before.disposition & ~after.disposition)
        yield Notice(code="disposition-dropped", message=f"{what} loses a mark of its track, {lost.name}")
    title = title_of(before.metadata)
    if title and title_of(after.metadata) != title:
        yield Notice(code="title-dropped", message=f"{what} loses its title, {title!r}")


def _tags_lost(meant: dict[str, str], result: InputContainer) -> Iterator[Notice]:
    lost_keys = _keys(meant) - _keys(result.metadata) - _keys(facts_of(result, 0).service)
    if lost_keys:
        names = ", ".join(sorted(lost_keys))
        message = f"the output's container does not hold the tags {names}"
        yield Notice(code="metadata-dropped", message=message)


def _keys(metadata: Mapping[str, str]) -> set[str]:
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
