"""Mux a video file: the new video, and the other streams of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
import av.error
import av.stream
from av.container import InputContainer, OutputContainer

from xlsr_cli.errors import OutputError
from xlsr_cli.formats import format_of
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import is_cover, open_video, packets_of, said
from xlsr_cli.media.video.inspect import VideoFile, time_of
from xlsr_cli.media.video.output import matroska
from xlsr_cli.media.video.output.chapters import chapters_of
from xlsr_cli.media.video.output.containers import Container
from xlsr_cli.media.video.output.convert import Conversion, SoundConverter, TextConverter
from xlsr_cli.media.video.output.cut import WHOLE, Cut
from xlsr_cli.media.video.output.encoder import Packet, Settings, configure
from xlsr_cli.media.video.output.tracks import Track, codec_of, track_of
from xlsr_cli.media.video.pyav import AnyPacket
from xlsr_cli.media.video.tags import Matrix

#: Codecs of sound whose frames contain their own length.
_SELF_FRAMING = ("mp1", "mp2", "mp3", "ac3", "eac3", "dts")
#: AVFMT_TS_NONSTRICT of FFmpeg: two packets may have the same decoding time.
_FORMAT_NOT_STRICT = 0x20000
#: What AVI calls AAC whose packets have headers of their own, as in transport streams: 0x1610.
_ADTS = "\0\x16\0\0"
#: Bytes that go to the file at a time.
_BLOCK = 1 << 20

#: Tags that are not copied: muxers write them, or they describe the old video.
STALE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")
_STALE_VIDEO = ("encoder", "alpha_mode", "rotate", "vendor_id", "bps", "duration", "number_of_")
_STATISTICS = ("_statistics", "bps", "duration", "number_of_")


@dataclass(frozen=True, kw_only=True)
class MuxPlan:
    """Everything about the output but its packets.

    ``copied`` are indexes of the source's streams, ``converted`` those that are coded again.
    ``through_tee``: PyAV has to be told that its list of what the container takes is too short; see
    :func:`opened`. ``clock``: for a container whose starts are rounded to a clock of its own, that clock's
    ticks per second.
    """

    container: Container
    settings: Settings
    matrix: Matrix | None
    copied: tuple[int, ...]
    converted: tuple[Conversion, ...] = ()
    through_tee: bool = False
    clock: int | None = None
    cut: Cut = WHOLE

    @property
    def carried(self) -> tuple[int, ...]:
        """The streams of the source beside the video that are in the output in any form."""
        return tuple(sorted((*self.copied, *(conversion.index for conversion in self.converted))))

    def tick(self, *bases: Fraction) -> Fraction:
        """By how much a time may be off: one tick of the coarsest of these clocks and the container's."""
        return max(*bases, Fraction(1, self.clock) if self.clock else Fraction(0))


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
) -> list[Track]:
    """Write the output to ``file``, seekable; return what was given to the muxer, one track a stream.

    ``video`` comes in decoding order. Raises :class:`OutputError` when the container refuses a packet.
    """
    with open_video(source.path) as original:
        for stream in original.streams:
            if stream.index not in plan.carried:
                stream.discard = av.stream.Discard.all
        try:
            others = ((packet.stream_index, packet) for packet in packets_of(original))
            return mux(file, source, original, plan, video, others)
        except pyav.FAULTS as error:
            raise OutputError(
                f"{name}: the container refuses the streams ({said(error)}); try an .mkv file"
            ) from error


@pyav.usual_scheduling()
def mux(
    file: BinaryIO,
    source: VideoFile,
    original: InputContainer,
    plan: MuxPlan,
    video: Iterable[Encoded],
    others: Iterable[tuple[int, AnyPacket]],
) -> list[Track]:
    """As :func:`write`; ``others`` are packets of the source, each with the index of its stream there.

    Raises the exceptions of PyAV.
    """
    sink = _Sink(file)
    output = _Output(sink, source, original, plan)
    rising = Rising(plan.container)
    for index, packet in _interleaved(output.fresh(video), output.carried(others), source.index):
        lane = output.lanes[index]
        lane.track.add(packet)
        output.container.mux_one(rising.moved(packet, lane.stream))
        sink.check()
    output.container.close()
    sink.check()
    if _shape_in_track(plan):
        matroska.write_aspect(
            file,
            plan.settings.size,
            plan.settings.aspect or Fraction(1),
            webm=plan.container.format == "webm",
        )
    return [output.lanes[index].track for index in sorted(output.lanes)]


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """A stream of the output, the packets that went into it, and what makes them where they are no copies."""

    stream: Any
    track: Track
    converter: SoundConverter | TextConverter | None = None


class Rising:
    """Decoding times as a muxer wants them: rising in its own clock.

    A clock of milliseconds holds two packets of TrueHD in one of its ticks, and a transport stream's sound is
    not at even times; where that becomes the same tick twice, the second packet gets the next one.
    """

    def __init__(self, container: Container) -> None:
        self._strict = not av.ContainerFormat(container.format, "w").flags & _FORMAT_NOT_STRICT
        self._last: dict[int, int] = {}

    def moved(self, packet: AnyPacket, stream: Any) -> AnyPacket:
        """``packet``, whose times may be changed, for the open output's ``stream``."""
        base, own = pyav.exact(stream.time_base), pyav.exact(packet.time_base)
        if not self._strict or packet.dts is None or base is None or own is None:
            return packet
        ticks, last = round(packet.dts * own / base), self._last.get(stream.index)
        if last is not None and ticks <= last:
            late = 0 if packet.pts is None else packet.pts - packet.dts
            shown, ticks = round(late * own / base), last + 1
            packet.time_base, packet.dts = base, ticks
            packet.pts = None if packet.pts is None else ticks + shown
            packet.duration = round((packet.duration or 0) * own / base)
        self._last[stream.index] = ticks
        return packet


class _Output:
    """The open output: its streams as ``lanes``, by their indexes in the source, and what goes into them."""

    def __init__(self, sink: _Sink, source: VideoFile, original: InputContainer, plan: MuxPlan) -> None:
        self._source, self._original, self._plan = source, original, plan
        self.container = opened(sink, plan.container, through_tee=plan.through_tee, clock=plan.clock)
        conversions = {conversion.index: conversion for conversion in plan.converted}
        self.lanes: dict[int, _Lane] = {}
        for stream in original.streams:
            if stream.index == source.index:
                self.lanes[stream.index] = self._video(stream)
            elif stream.index in conversions:
                self.lanes[stream.index] = self._converted(stream, conversions[stream.index])
            elif stream.index in plan.copied:
                self.lanes[stream.index] = _Lane(stream=self._copied(stream), track=track_of(stream))
        self.container.metadata.update(meant_metadata(original, source))
        chapters = chapters_of(original, plan.cut, plan.container)
        if chapters:
            self.container.set_chapters(chapters)
        self.container.start_encoding()

    # Streams

    def _video(self, stream: Any) -> _Lane:
        plan, settings = self._plan, self._plan.settings
        base = 1 / settings.rate if plan.container.constant else self._source.time_base
        # The encoder is opened for its header alone: its parameters are what every segment was made with.
        fresh: Any = self.container.add_stream(settings.encoder, rate=settings.rate)
        configure(fresh.codec_context, settings)
        fresh.time_base = base
        fresh.metadata.update(_described(stream.metadata, _STALE_VIDEO))
        if _shape_in_track(plan):
            fresh.metadata["title"] = matroska.with_room(title_of(stream.metadata))
        if plan.matrix is not None:
            fresh.set_display_matrix(plan.matrix)
        self._mark(fresh, stream)
        return _Lane(
            stream=fresh, track=replace(track_of(stream, base), codec=settings.codec.name, main=True)
        )

    def _converted(self, stream: Any, conversion: Conversion) -> _Lane:
        converts = TextConverter if conversion.is_text else SoundConverter
        converter = converts(self.container, stream, conversion)
        self._describe(converter.stream, stream, changed=True)
        track = replace(track_of(stream, converter.base), codec=codec_of(converter.stream))
        return _Lane(stream=converter.stream, track=track, converter=converter)

    def _copied(self, stream: Any) -> Any:
        head = next(iter(self._source.heads.get(stream.index, ())), None)
        if is_cover(stream) and self._plan.container.format == "matroska":
            return self._attached(stream, b"" if head is None else bytes(head))
        copy = copy_of(self.container, stream, head)
        self._describe(
            copy, stream, changed=self._plan.cut.begin is not None or self._plan.cut.end is not None
        )
        return copy

    def _attached(self, stream: Any, picture: bytes) -> Any:
        """A cover: Matroska holds it as an attached file, and reads it back as a video stream."""
        format = format_of(picture)
        kind = stream.codec_context.name if format is None else format.name
        name = stream.metadata.get("filename", f"cover.{kind}")
        cover = self.container.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), picture)
        cover.metadata.update(stream.metadata)
        return cover

    def _describe(self, fresh: Any, stream: Any, *, changed: bool) -> None:
        """Give ``fresh`` the names and marks of ``stream``, whose packets may be ``changed``."""
        fresh.metadata.update(_described(stream.metadata, _STATISTICS if changed else ()))
        self._mark(fresh, stream)

    def _mark(self, fresh: Any, stream: Any) -> None:
        """Give ``fresh`` the marks of ``stream``, and its packet identifier, unless the muxer's table of
        streams has that."""
        fresh.disposition = int(stream.disposition)
        container = self._plan.container
        if container.format == "mpegts" and stream.id != container.table_pid:
            fresh.id = stream.id

    # Packets

    def fresh(self, video: Iterable[Encoded]) -> Iterator[AnyPacket]:
        """The packets of the new video."""
        stream, base, cut = self.lanes[self._source.index].stream, self._source.time_base, self._plan.cut
        if self._plan.container.constant:
            yield from self._on_grid(video, stream)
            return
        shift = round(cut.shift / base)
        for encoded in video:
            yield _packet(encoded, stream, base, encoded.pts + shift, encoded.dts + shift, encoded.duration)

    def _on_grid(self, video: Iterable[Encoded], stream: Any) -> Iterator[AnyPacket]:
        """Packets of one duration each. Where the first would come later than the file begins, as in an AVI
        all streams begin together, it is there twice, also at the beginning."""
        rate, begun = self._plan.settings.rate, False
        for encoded in video:
            place = round((encoded.pts * self._source.time_base + self._plan.cut.shift) * rate)
            if not begun and place > 0:
                yield _packet(encoded, stream, 1 / rate, 0, 0, 1)
            begun = True
            yield _packet(encoded, stream, 1 / rate, place, place, 1)

    def carried(self, packets: Iterable[tuple[int, AnyPacket]]) -> Iterator[tuple[int, AnyPacket]]:
        """The packets that belong into the output, each with the index of its stream in the source."""
        cut = self._plan.cut
        for index, packet in packets:
            if index not in self._plan.carried or self.lanes[index].stream.type == "attachment":
                continue  # an attachment is in the header already
            lane, time = self.lanes[index], time_of(packet)
            cover = time is None or is_cover(self._original.streams[index])
            if time is None or cover or cut.holds(time):
                for made in [packet] if lane.converter is None else lane.converter.convert(packet):
                    yield index, _moved(made, lane, Fraction(0) if cover else cut.shift)
        for index, lane in self.lanes.items():
            if lane.converter is not None:
                for made in lane.converter.finish():
                    yield index, _moved(made, lane, cut.shift)
                lane.track.damaged = lane.converter.damaged


def _moved(packet: AnyPacket, lane: _Lane, shift: Fraction) -> AnyPacket:
    """``packet`` as one of the output's, ``shift`` seconds later."""
    delay(packet, shift)
    packet.stream = lane.stream
    return packet


def opened(
    file: Any, container: Container, *, through_tee: bool = False, clock: int | None = None
) -> OutputContainer:
    """An empty output of the kind ``container``.

    ``through_tee``: through FFmpeg's muxer of that name, which hands everything on to the real one. PyAV
    asks a muxer for a list of codecs before it adds a stream, and Matroska's names less than Matroska's
    muxer takes (WMA, ADPCM); tee has no list. It does not hand on chapters.
    """
    options = dict(container.options) | ({} if clock is None else {"movie_timescale": str(clock)})
    if not through_tee:
        return pyav.open_output(file, format=container.format, container_options=options, buffer_size=_BLOCK)
    words = ":".join(f"{name}={value}" for name, value in {"f": container.format, **options}.items())
    return pyav.open_output(
        f"[{words}]output", format="tee", io_open=lambda *_: _Open(file), buffer_size=_BLOCK
    )


class _Open:
    """A file that stays open when FFmpeg closes it, because it is still to be looked at."""

    def __init__(self, file: Any) -> None:
        self.write, self.seek, self.tell = file.write, file.seek, file.tell


class _Sink:
    """A file for the muxer. Errors of the system are kept until :meth:`check`: PyAV prints every exception of
    a write after the first one as a traceback."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failure: Exception | None = None

    def write(self, data: bytes) -> int:
        """Write, or after a failure only say so."""
        return self._tried(lambda: self._file.write(data), len(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of a file."""
        return self._tried(lambda: self._file.seek(offset, whence), 0)

    def tell(self) -> int:
        """As of a file."""
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


def _shape_in_track(plan: MuxPlan) -> bool:
    """Whether the container's track has to say the shape of pixels, and the muxer cannot be told."""
    return plan.container.reader == "matroska" and plan.settings.aspect not in (None, 1)


def copy_of(output: OutputContainer, stream: Any, head: AnyPacket | None) -> Any:
    """A stream of ``output`` for the packets of ``stream``, of which ``head`` is the first.

    Raises ValueError where PyAV knows no such codec in this container.
    """
    copy: Any = output.add_stream_from_template(stream, opaque=True)
    codec = codec_of(stream) if stream.type == "audio" else ""
    if codec in _SELF_FRAMING:
        # An AVI or WAV calls a byte the unit of sound. The muxer would count times in it, and FFmpeg's own
        # program sets it to none too.
        copy.codec_context.options = {"block_align": "0"}
        copy.codec_context.open(strict=False)
    elif codec == "aac" and output.format.name == "avi" and not stream.codec_context.extradata:
        copy.codec_context.codec_tag = _ADTS
    elif codec.startswith("adpcm") and head is not None and head.duration:
        # AVI's muxer counts times in blocks by this rate, and headers round it to bytes a second.
        seconds = head.duration * (pyav.exact(head.time_base) or Fraction(1))
        copy.codec_context.bit_rate = round(8 * head.size / seconds)
    return copy


def meant_metadata(original: InputContainer, source: VideoFile) -> dict[str, str]:
    """The tags of the file, and the names of the television service, for which only MPEG-TS has a place."""
    return {**without(original.metadata, STALE_FILE), **source.service}


def title_of(metadata: dict[str, str]) -> str | None:
    """A stream's title: MP4 reads it back as ``name`` and wants it written as ``title``."""
    return metadata.get("title", metadata.get("name"))


def _described(metadata: dict[str, str], stale: tuple[str, ...]) -> dict[str, str]:
    title = title_of(metadata)
    return without(metadata, stale) | ({} if title is None else {"title": title})


def without(metadata: dict[str, str], stale: tuple[str, ...]) -> dict[str, str]:
    """``metadata`` but for the keys that begin with one of ``stale``, in any case."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(stale or ("\0",))}


def _packet(encoded: Encoded, stream: Any, base: Fraction, pts: int, dts: int, duration: int) -> AnyPacket:
    packet: AnyPacket = av.Packet(encoded.data)
    packet.time_base, packet.pts, packet.dts, packet.duration = base, pts, dts, duration
    packet.is_keyframe = encoded.key
    packet.stream = stream
    return packet


def delay(packet: AnyPacket, seconds: Fraction) -> None:
    """Add ``seconds`` to the times of ``packet``."""
    ticks = round(seconds / (pyav.exact(packet.time_base) or Fraction(1)))
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def _interleaved(
    video: Iterator[AnyPacket], others: Iterator[tuple[int, AnyPacket]], main: int
) -> Iterator[tuple[int, AnyPacket]]:
    """Both in the order of their decoding times, so that the muxer has little to buffer."""
    waiting = next(video, None)
    for index, packet in others:
        stamp = packet.dts if packet.dts is not None else packet.pts
        while waiting is not None and (
            stamp is None or (waiting.dts or 0) * waiting.time_base <= stamp * packet.time_base
        ):
            yield main, waiting
            waiting = next(video, None)
            if stamp is None:
                break
        yield index, packet
    if waiting is not None:
        yield main, waiting
        yield from ((main, packet) for packet in video)


#: The longest time that a decoder is told to wait for the first frame, for each frame that comes before it.
_LONGEST_LEAD = Fraction(1)


def timed(
    packets: Iterable[Packet], order: Sequence[int], times: Sequence[tuple[int, int]], base: Fraction
) -> Iterator[Encoded]:
    """``packets`` of an encoder with their times. ``order``: the frames that they hold, which have the
    ``times`` (pts, duration), in ticks of ``base``."""
    decoding = _reordered([times[frame][0] for frame in order], base)
    for packet, dts in zip(packets, decoding, strict=True):
        pts, duration = times[packet.frame]
        yield Encoded(data=packet.data, pts=pts, dts=dts, duration=duration, key=packet.key)


def _reordered(pts: list[int], base: Fraction) -> list[int]:
    """Decoding times for packets that come in decoding order with these times of display, ticks of ``base``.

    As small a delay as the order allows, strictly rising, none above its packet's time of display: the
    n-th packet gets the (n - delay)-th smallest time, the first ones the same distances before the start,
    or a second where frames are minutes apart.
    """
    if not pts:
        return []
    ordered = sorted(pts)
    rank = {time: place for place, time in enumerate(ordered)}
    delay = max(place - rank[time] for place, time in enumerate(pts))
    most = max(1, int(_LONGEST_LEAD / base))
    leads = [ordered[0]]
    for place in range(delay, 0, -1):
        leads.insert(0, leads[0] - min(ordered[place] - ordered[place - 1], most))
    return [*leads[:delay], *ordered[: len(pts) - delay]]
