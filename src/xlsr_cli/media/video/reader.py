"""Read the frames of a video between two times, deinterlaced if asked for, each with its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, groupby

import av
import av.error
import av.filter
from av.container import InputContainer

from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import (
    decoded,
    faults_mapped,
    latest_tick,
    main_stream,
    open_video,
    packets_of,
    sought,
)
from xlsr_cli.media.video.inspect import VideoFile, time_of
from xlsr_cli.media.video.pyav import AnyPacket
from xlsr_cli.media.video.tags import carries_captions, lost_side_data
from xlsr_cli.notices import Notice

#: Decoders from which one packet makes one frame, always: where fewer frames come, some were damaged.
_ONE_TO_ONE = ("h264", "hevc", "mpeg4", "mjpeg", "ffv1", "prores", "h263", "mpeg2video", "av1")
#: How many seconds before a key frame to seek to, one after the other; at last the file is read whole.
_SEEK_DISTANCES = (0, 1, 4, 16, 60)


@dataclass(kw_only=True)
class Frame:
    """One decoded frame, its time and duration in ticks of the source's time base."""

    picture: av.VideoFrame
    pts: int
    duration: int


@dataclass(kw_only=True)
class FrameReader:
    """The frames of a video between two times, in order of display, each pts above the one before.

    ``begin`` and ``end`` are seconds on the file's own clock, ``limit`` a number of frames. After the
    iteration ``decoded`` and ``damaged`` tell how many frames came out of the decoder and how many packets
    it refused; ``repaired`` how many timestamps were missing or not above the one before; ``captions``
    whether any frame carried some, and ``lost`` what else frames carry that cannot be written.
    """

    file: VideoFile
    begin: Fraction | None = None
    end: Fraction | None = None
    limit: int | None = None
    deinterlace: bool = False
    threads: int = 1
    decoded: int = 0
    damaged: int = 0
    repaired: int = 0
    captions: bool = False
    lost: dict[str, Notice] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Frame]:
        """Raises :class:`InputError` when the file can no longer be read."""
        key = None if self.begin is None else self.file.key_before(self.begin)
        distances = () if key is None or key <= self.file.first or self.file.counted else _SEEK_DISTANCES
        for distance in distances:
            with self._opened() as (container, stream):
                packets = self._sought(container, stream, key, distance)
                if packets is not None:
                    yield from self._frames(packets, stream)
                    return
        with self._opened() as (container, stream):
            yield from self._frames(packets_of(container), stream)

    @property
    def incomplete(self) -> int:
        """How many frames of the whole file are missing."""
        return max(0, self.file.packets - self.decoded) if self.file.codec in _ONE_TO_ONE else self.damaged

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, av.VideoStream]]:
        with faults_mapped(self.file.path), open_video(self.file.path) as container:
            stream = main_stream(container, self.file.path)
            yield container, stream

    def _sought(
        self, container: InputContainer, stream: av.VideoStream, key: Fraction | None, back: int
    ) -> Iterator[AnyPacket] | None:
        """Packets from a key frame at or before ``key`` on; None where seeking did not lead there.

        Transport and program streams have no index: FFmpeg seeks to where it guesses, which may lie behind.
        """
        assert key is not None
        target = max(self.file.first, key - back)
        if not sought(container, int(target / self.file.time_base), stream):
            return None
        packets = packets_of(container)
        for packet in packets:
            if packet.stream_index == stream.index and packet.is_keyframe:
                time = time_of(packet)
                return None if time is None or time > key else chain([packet], packets)
        return None

    def _frames(self, packets: Iterator[AnyPacket], stream: av.VideoStream) -> Iterator[Frame]:
        frames = decoded(
            packets, stream, self._count_damage, threads=self.threads, max_pixels=self.file.max_pixels
        )
        pictures = self._noticed(frames)
        if self.deinterlace:
            pictures = _deinterlaced(pictures, pyav.exact(stream.time_base) or Fraction(1, 90000))
        yield from self._within(self._timed(pictures))

    def _noticed(self, pictures: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """``pictures``, with what they carry looked at."""
        for picture in pictures:
            self.captions = self.captions or carries_captions(picture)
            for notice in lost_side_data(picture):
                self.lost.setdefault(notice.code, notice)
            yield picture

    def _count_damage(self) -> None:
        self.damaged += 1

    def _timed(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Frame]:
        step = max(1, round(1 / (self.file.rate * self.file.time_base)))
        previous: int | None = None
        end, latest = round(self.file.end / self.file.time_base), latest_tick(self.file.time_base)
        for picture in pictures:
            pts = self._next_time(step, previous) if self.file.counted else picture.pts
            if pts is None and not self.file.counted:
                pts = picture.dts
            if pts is not None and abs(pts) > latest:
                pts = None
            self.decoded += 1
            if pts is None or (previous is not None and pts <= previous):
                self.repaired += 1
                pts = 0 if previous is None else previous + (step if pts is None else 1)
            previous = pts
            yield Frame(picture=picture, pts=pts, duration=min(picture.duration or step, max(1, end - pts)))

    def _next_time(self, step: int, previous: int | None) -> int:
        """The time of the next frame: what could not be decoded has had its own."""
        place = self.decoded + self.damaged
        if place < len(self.file.times):
            return self.file.times[place]
        return (previous or 0) + step

    def _within(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        base, given = self.file.time_base, 0
        for frame in frames:
            if self.end is not None and frame.pts * base >= self.end:
                return
            if self.begin is not None and frame.pts * base < self.begin:
                continue
            if self.limit is not None and given >= self.limit:
                return
            given += 1
            yield frame


def _deinterlaced(pictures: Iterator[av.VideoFrame], base: Fraction) -> Iterator[av.VideoFrame]:
    """Each frame made whole by bwdif (Bob Weaver), one out for one in, times unchanged."""
    for _, alike in groupby(pictures, lambda picture: (picture.width, picture.height, picture.format.name)):
        yield from _deinterlaced_alike(alike, base)


def _deinterlaced_alike(pictures: Iterator[av.VideoFrame], base: Fraction) -> Iterator[av.VideoFrame]:
    """The same for frames of one size and pixel format: a filter crashes where these change."""
    first = next(pictures)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=av.VideoFormat(first.format.name), time_base=base
    )
    bwdif = graph.add("bwdif", "mode=send_frame:deint=all")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()

    def pulled() -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            given = pyav.exact(frame.time_base)
            if frame.pts is not None and given:
                ratio = given / base
                frame.pts, frame.duration = round(frame.pts * ratio), round(frame.duration * ratio)
                frame.time_base = base
            yield frame

    for picture in chain([first], pictures):
        graph.vpush(picture)
        yield from pulled()
    graph.vpush(None)
    yield from pulled()
