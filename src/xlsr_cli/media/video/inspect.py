"""Inspect a video file: its streams, times, colours and metadata."""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from xlsr_cli.errors import InputError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import (
    coded_pixels,
    decoded,
    faults_mapped,
    is_cover,
    main_stream,
    open_video,
    packets_of,
    said,
)
from xlsr_cli.media.video.facts import Crop, facts_of
from xlsr_cli.media.video.layout import Siting, layout_of
from xlsr_cli.media.video.pyav import AnyPacket
from xlsr_cli.media.video.tags import (
    ColorTags,
    Hdr,
    Rotation,
    carries_captions,
    color_tags,
    hdr_of,
    lost_side_data,
    rotation_of,
)
from xlsr_cli.media.video.truncation import missing_bytes
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size

#: FFmpeg's ``AV_FIELD_UNKNOWN`` and ``AV_FIELD_PROGRESSIVE``; anything else is interlaced.
_PROGRESSIVE = (0, 1)
#: Bare streams without a container: their frames have a rate and no times. FFmpeg's names of the readers.
_RAW = ("h264", "hevc", "vvc", "mpegvideo", "m4v", "mjpeg", "obu", "h263", "h261", "vc1", "evc", "dirac")
#: The codecs whose chroma lies between the luma samples, where nothing is said.
_CENTER_SITED = ("mpeg1video", "mjpeg", "theora", "h263")
#: Seconds by which headers are commonly wrong: a last subtitle, a frame's duration, rounding.
_TOLERATED_END = 1.0
#: Ticks per second that MP4 holds, and still counts years with.
_FINEST_CLOCK = 1 << 31
#: FFmpeg's names of PCM and the bits of its samples.
_PCM = re.compile(r"pcm_[fsu](\d+)")
#: How much of each stream's beginning is kept for trying what a container takes: a demuxer needs several
#: packets to tell DTS and TrueHD from others.
_HEAD_PACKETS, _HEAD_BYTES = 1500, 1 << 21


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

    ``index`` is the video stream's. ``size`` is as stored, before any rotation, without what ``crop``
    hides at its sides. ``siting`` is where chroma lies. ``service`` is what the television service of a
    transport stream is called, which holds so many ``programs``. ``aspect`` is the sample aspect ratio, None
    where the file is silent. ``captions``: the first frame carries some. ``rate`` is the average frame rate.
    ``times`` are those of
    all packets of the video, rising, in ticks of ``time_base``: of display, or of decoding in an AVI, which
    has no others. ``keys`` are those of key frames, ``cuts`` those of key frames at which the film can be
    cut: no packet behind one is shown before it, and none before it after it, as where GOPs are open.
    ``first`` and ``end`` are seconds: the first frame's time and the last one's plus its duration. ``heads``
    are the first packets of all streams. ``uneven``: the streams of PCM in which a packet is not where the
    samples before it end. ``max_pixels``: frames of far more are not decoded.
    """

    path: Path
    format: str
    index: int
    streams: tuple[Stream, ...]
    codec: str
    size: Size
    crop: Crop
    captions: bool
    pix_fmt: str
    siting: Siting
    service: Mapping[str, str]
    programs: int
    aspect: Fraction | None
    rate: Fraction
    time_base: Fraction
    tags: ColorTags
    hdr: Hdr
    rotation: Rotation | None
    interlaced: bool
    packets: int
    first: Fraction
    end: Fraction
    notices: tuple[Notice, ...]
    times: Sequence[int] = field(repr=False, compare=False)
    keys: Sequence[int] = field(repr=False, compare=False)
    cuts: Sequence[int] = field(repr=False, compare=False)
    heads: dict[int, list[AnyPacket]] = field(repr=False, compare=False)
    uneven: Set[int] = field(repr=False, compare=False)
    max_pixels: int | None

    @property
    def counted(self) -> bool:
        """Whether the n-th frame shown has the n-th of ``times``, whatever its packet says.

        An AVI knows times of decoding alone, a bare stream none: those of display are FFmpeg's guess.
        """
        return self.format == "avi" or self.format in _RAW

    def begins(self, index: int) -> Fraction | None:
        """The time of the first packet of the stream ``index``, in seconds; None where it has none."""
        head = next(iter(self.heads.get(index, ())), None)
        return None if head is None else time_of(head)

    @property
    def even_rate(self) -> Fraction | None:
        """The rate of frames that lie evenly between the first and the last."""
        span = (self.times[-1] - self.times[0]) * self.time_base if self.times else Fraction(0)
        return (len(self.times) - 1) / span if span else None

    def lies_on_grid(self, rate: Fraction) -> bool:
        """Whether every frame lies on a place of its own of an even grid, within a tick of the clock."""
        base, first = self.time_base, self.times[0] if self.times else 0
        places = [round((tick - first) * base * rate) for tick in self.times]
        near = all(
            abs((tick - first) * base - place / rate) <= base
            for tick, place in zip(self.times, places, strict=True)
        )
        return near and len(set(places)) == len(places)

    def clock(self, streams: Iterable[int]) -> int:
        """Ticks per second of the coarsest clock in which the video's times and those of ``streams`` are
        whole numbers; the video's alone where that clock would be too fine."""
        heads = [head[0] for index in streams if (head := self.heads.get(index))]
        bases = [self.time_base, *(pyav.exact(head.time_base) or Fraction(1) for head in heads)]
        common = math.lcm(*(base.denominator for base in bases))
        return common if common < _FINEST_CLOCK else min(self.time_base.denominator, _FINEST_CLOCK)

    def key_before(self, time: Fraction) -> Fraction | None:
        """The time of the last key frame at or before ``time``, in seconds; None where there is none."""
        place = bisect_right(self.keys, time / self.time_base)
        return self.keys[place - 1] * self.time_base if place else None


def time_of(packet: AnyPacket) -> Fraction | None:
    """When the packet is shown, or where that is not said, decoded; in seconds."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    return None if stamp is None else stamp * (pyav.exact(packet.time_base) or Fraction(1))


def inspect(path: Path, *, max_pixels: int | None = None) -> VideoFile:
    """Read the whole file once, and decode only its first frame.

    Raises :class:`InputError` for a file without a video stream, without frames, with frames of more than
    ``max_pixels``, encrypted, or damaged so that no frame can be decoded.
    """
    with faults_mapped(path):
        return _inspected(path, max_pixels)


def _inspected(path: Path, max_pixels: int | None) -> VideoFile:
    with open_video(path) as container, open_video(path) as again:
        scanned, stream = main_stream(container, path), main_stream(again, path)
        scan = _scan(container, scanned, path)
        frame = _first_frame(again, stream, path, max_pixels)
        context: Any = stream.codec_context
        facts, base = facts_of(again, stream.index), pyav.exact(stream.time_base) or Fraction(1, 90000)
        rate = _plausible(stream, scan.times, base)
        if container.format.name in _RAW:
            step = max(1, round(1 / (rate * base)))
            scan.times = array("q", range(0, step * scan.packets, step))
        times = sorted(scan.times)
        last = times[-1] * base if times else Fraction(0)
        stored = Size(width=frame.width, height=frame.height)
        crop, cropped = _cropping(facts.crop, frame, path)
        _check_pixels(path, crop.of(stored), max_pixels, allowed=max_pixels)
        rotation, turned = rotation_of(frame)
        lost = [*lost_side_data(frame), *_missing(path, container, scan), *_not_carried(scan, stream, frame)]
        return VideoFile(
            path=path,
            format=container.format.name,
            index=stream.index,
            streams=tuple(_stream(other) for other in container.streams if other.index != stream.index),
            codec=scan.codec,
            size=crop.of(stored),
            crop=crop,
            captions=carries_captions(frame),
            pix_fmt=frame.format.name,
            siting=facts.siting or ("center" if scan.codec in _CENTER_SITED else "left"),
            service=facts.service,
            programs=facts.programs,
            aspect=_aspect(stream, facts.crop, stored),
            rate=rate,
            time_base=base,
            tags=color_tags(context, frame),
            hdr=hdr_of(frame),
            rotation=rotation,
            interlaced=frame.interlaced_frame or getattr(context, "field_order", 0) not in _PROGRESSIVE,
            packets=scan.packets,
            first=times[0] * base if times else Fraction(0),
            end=end_of(last, scan.last_duration * base or 1 / rate, stated_end(container, scanned)),
            notices=(*turned, *cropped, *lost),
            times=times,
            keys=sorted(scan.keys),
            cuts=tuple(scan.cuts),
            heads=scan.heads,
            uneven=scan.uneven,
            max_pixels=max_pixels,
        )


def _check_pixels(path: Path, size: Size, max_pixels: int | None, *, allowed: int | None) -> None:
    if allowed is not None and size.pixels > allowed:
        raise InputError(f"{path}: {size} is more than --max-pixels {max_pixels}; raise it to go on")


def _missing(path: Path, container: InputContainer, scan: _Scan) -> Iterator[Notice]:
    """Where the film ends too early."""
    if scan.broken:
        message = f"the file is damaged after {float(scan.reached):.1f} seconds ({scan.broken}); "
        message += "what is before is upscaled"
    elif missing := _missing_end(container, scan):
        message = f"the file ends {missing:.1f} seconds before its header says; what is there is upscaled"
    elif cut := missing_bytes(path):
        message = f"the last {cut} bytes of the file are missing; what is there is upscaled"
    else:
        return
    yield Notice(code="truncated", message=message)


def _not_carried(scan: _Scan, stream: av.VideoStream, frame: av.VideoFrame) -> Iterator[Notice]:
    """What is in the file and not in the packets and frames that PyAV gives."""
    if scan.unknown:
        message = f"streams that begin on the way, {scan.unknown} packets of them, cannot be copied"
        yield Notice(code="stream-dropped", message=message)
    transparent = stream.metadata.get("alpha_mode") == "1"
    if transparent and not any(component.is_alpha for component in frame.format.components):
        yield Notice(code="alpha-dropped", message="the transparency of the video is left out")


def stated_end(container: InputContainer, stream: av.VideoStream) -> Fraction | None:
    """When the track of an MP4 or MOV says that it ends, in seconds; None in other containers.

    There a packet's duration is the distance to the next one in the order of decoding, which is not how long
    the frame is shown where frames are reordered.
    """
    if "mp4" not in container.format.name.split(",") or stream.duration is None:
        return None
    base = pyav.exact(stream.time_base)
    return None if base is None else ((stream.start_time or 0) + stream.duration) * base


def end_of(last: Fraction, shown: Fraction, stated: Fraction | None) -> Fraction:
    """When the last frame ends, in seconds. ``last`` is its time, ``shown`` the duration of its packet.

    ``stated`` is what :func:`stated_end` found; it can only make the frame shorter.
    """
    return last + shown if stated is None or stated <= last else min(last + shown, stated)


# The look at all packets


@dataclass(kw_only=True)
class _Scan:
    """Times are ticks of the video's time base, ``reached`` is in seconds. ``samples``: of streams of PCM,
    when the first packet is, in seconds, and how many bytes came since.
    """

    codec: str
    packets: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    cuts: array[int] = field(default_factory=lambda: array("q"))
    last_duration: int = 0
    heads: dict[int, list[AnyPacket]] = field(default_factory=dict)
    head_bytes: dict[int, int] = field(default_factory=dict)
    samples: dict[int, tuple[Fraction | None, int]] = field(default_factory=dict)
    uneven: set[int] = field(default_factory=set)
    reached: Fraction = Fraction(0)
    latest: int | None = None
    unknown: int = 0
    broken: str = ""

    def keep_head(self, packet: AnyPacket) -> None:
        head, index = self.heads.setdefault(packet.stream_index, []), packet.stream_index
        if not head or (len(head) < _HEAD_PACKETS and self.head_bytes[index] < _HEAD_BYTES):
            head.append(packet)
            self.head_bytes[index] = self.head_bytes.get(index, 0) + packet.size

    def add_samples(self, packet: AnyPacket, byte_rate: int) -> None:
        index, time = packet.stream_index, time_of(packet)
        begin, before = self.samples.get(index, (time, 0))
        tick = (pyav.exact(packet.time_base) or Fraction(0)) + Fraction(1, byte_rate)
        if time is not None and begin is not None and abs(time - begin - Fraction(before, byte_rate)) > tick:
            self.uneven.add(index)
        self.samples[index] = begin, before + packet.size

    def count_unknown(self) -> None:
        self.unknown += 1

    def note_break(self, error: Exception) -> None:
        self.broken = said(error)

    def add_frame(self, stamp: int | None, packet: AnyPacket) -> None:
        self.packets += 1
        if stamp is None:
            return
        while self.cuts and stamp <= self.cuts[-1]:
            self.cuts.pop()
        if packet.is_keyframe and (self.latest is None or stamp > self.latest):
            self.cuts.append(stamp)
        if self.latest is None or stamp >= self.latest:
            self.latest, self.last_duration = stamp, packet.duration or 0
        self.times.append(stamp)
        if packet.is_keyframe:
            self.keys.append(stamp)


def _scan(container: InputContainer, stream: av.VideoStream, path: Path) -> _Scan:
    scan = _Scan(codec=stream.codec_context.name)
    decoding = container.format.name == "avi"  # it has no times of display, and FFmpeg's are guesses
    byte_rates = {audio.index: _byte_rate(audio) for audio in container.streams.audio}
    for packet in packets_of(container, scan.count_unknown, scan.note_break):
        if packet.has_sidedata("encryption_info"):
            raise InputError(f"{path}: the video is encrypted; decrypt it first")
        scan.keep_head(packet)
        stamp = packet.dts if decoding or packet.pts is None else packet.pts
        if stamp is not None:
            ticks = stamp + (packet.duration or 0)
            scan.reached = max(scan.reached, ticks * (pyav.exact(packet.time_base) or Fraction(1)))
        if byte_rate := byte_rates.get(packet.stream_index):
            scan.add_samples(packet, byte_rate)
        if packet.stream_index == stream.index and not packet.is_discard:
            scan.add_frame(stamp, packet)
    if not scan.packets:
        raise InputError(f"{path}: the video stream holds no frame; nothing to upscale")
    return scan


def _byte_rate(stream: Any) -> int:
    """Bytes a second of a stream of PCM whose packets hold nothing but samples; 0 of any other."""
    context = stream.codec_context
    kind = None if context is None else _PCM.match(context.name)
    return 0 if kind is None else context.sample_rate * context.layout.nb_channels * int(kind[1]) // 8


def _missing_end(container: InputContainer, scan: _Scan) -> float:
    """Seconds between the end that the header states and the last packet; 0 where that means nothing.

    A header's duration is counted from zero by some programs and from the first packet by others: what
    either of them can mean is no damage.
    """
    if not container.duration or "mpegts" in container.format.name:
        return 0.0
    stated = Fraction(container.duration + min(0, container.start_time or 0), av.time_base)
    missing = float(stated - scan.reached)
    return missing if missing > _TOLERATED_END else 0.0


def _first_frame(
    container: InputContainer, stream: av.VideoStream, path: Path, max_pixels: int | None
) -> av.VideoFrame:
    context = stream.codec_context
    if max_pixels is not None and context.width > 0 and context.height > 0:
        claimed = Size(width=context.width, height=context.height)
        _check_pixels(path, claimed, max_pixels, allowed=coded_pixels(max_pixels))
    frame = next(decoded(packets_of(container), stream, lambda: None, max_pixels=max_pixels), None)
    if frame is None:
        raise InputError(f"{path}: no frame of the video can be decoded; the file is damaged or encrypted")
    return frame


def _aspect(stream: av.VideoStream, crop: Crop, stored: Size) -> Fraction | None:
    """The shape of pixels.

    Where the container hides some of them, and its size of display is that of all of them, the program that
    hid them left that size as it was: pixels keep the shape that their codec says.
    """
    aspect, own = (
        _ratio(said) for said in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio)
    )
    if not crop or aspect is None:
        return aspect
    own, shown = own or Fraction(1), crop.of(stored)
    displayed = aspect * Fraction(shown.width, shown.height)
    return own if displayed == own * Fraction(stored.width, stored.height) else aspect


def _ratio(number: Any) -> Fraction | None:
    ratio = pyav.exact(number)
    return ratio if ratio and ratio > 0 else None


def _cropping(crop: Crop, frame: av.VideoFrame, path: Path) -> tuple[Crop, list[Notice]]:
    """What to cut off at the sides of ``frame``, and what to say about it."""
    if not crop:
        return crop, []
    if not crop.fits(Size(width=frame.width, height=frame.height)):
        raise InputError(f"{path}: the file hides all of its frames ({crop}); it is damaged")
    across, down = layout_of(frame.format.name).chroma
    aligned = crop.aligned(1 << across, 1 << down)
    message = f"the sides that the file hides are cut off: {aligned}"
    if aligned != crop:
        message += f" (and not {crop}, where chroma cannot be cut)"
    return aligned, [Notice(code="cropped", message=message, loss=False)]


def _stream(stream: Any) -> Stream:
    context = stream.codec_context
    name = context.name if context is not None else getattr(stream, "name", None)
    if not isinstance(name, str):
        name = "no decoder"
    kind = "cover" if is_cover(stream) else stream.type
    return Stream(index=stream.index, kind=kind, codec=name, language=stream.language or "")


def _plausible(stream: av.VideoStream, times: Sequence[int], base: Fraction) -> Fraction:
    """The first of the stated frame rates that the times do not contradict; else what the times say."""
    span = (max(times) - min(times)) * base if times else Fraction(0)
    counted = (Fraction(len(times) - 1) / span).limit_denominator(1001) if span > 0 else None
    stated = pyav.exact(stream.average_rate), pyav.exact(stream.guessed_rate)
    rates = [rate for rate in stated if rate and rate > 0 and (counted is None or rate < 4 * counted)]
    return next(iter(rates), counted or Fraction(25))
