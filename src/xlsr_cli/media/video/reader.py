"""The frames of a video, one after another: between two times, whole or made whole, each at its time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import av.codec.context
import av.container
import av.error
import av.filter

from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.inspect import VideoFile, decoded, main_stream, open_video

#: Decoders from which one packet makes one frame, always: where fewer frames come, some were damaged.
_ONE_TO_ONE = ("h264", "hevc", "mpeg4", "mjpeg", "ffv1", "prores", "h263", "mpeg2video", "av1")


@dataclass(kw_only=True)
class Frame:
    """One decoded frame, its time and duration in ticks of the source's time base."""

    picture: av.VideoFrame
    pts: int
    duration: int


@dataclass(kw_only=True)
class FrameReader:
    """The frames of a video between two times, in order of display, each pts above the one before.

    ``begin`` and ``end`` are seconds on the file's own clock, ``limit`` a number of frames; ``skip``
    leaves out so many frames of those, decoded but not delivered. After the iteration ``decoded`` and
    ``damaged`` tell how many frames came out of the decoder and how many packets it refused;
    ``repaired`` how many timestamps were missing or not above the one before.
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

    def __iter__(self) -> Iterator[Frame]:
        """Raises :class:`InputError` when the file can no longer be read."""
        file = self.file
        with open_video(file.path) as container:
            stream = main_stream(container, file.path)
            stream.thread_type = av.codec.context.ThreadType.AUTO
            stream.codec_context.thread_count = self.threads
            if self.begin is not None and self.begin > file.first:
                self._seek(container, stream)
            pictures = decoded(container, stream, self._count_damage)
            if self.deinterlace:
                pictures = _deinterlaced(pictures, stream)
            yield from self._within(self._timed(pictures))

    @property
    def incomplete(self) -> int:
        """How many frames the whole file should have given and did not."""
        return max(0, self.file.packets - self.decoded) if self.file.codec in _ONE_TO_ONE else self.damaged

    def _seek(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        """To the key frame before ``begin``; a container that cannot seek is read from its start."""
        assert self.begin is not None
        with contextlib.suppress(av.error.FFmpegError):
            container.seek(int(self.begin / self.file.time_base), stream=stream)

    def _count_damage(self) -> None:
        self.damaged += 1

    def _timed(self, pictures: Iterator[av.VideoFrame]) -> Iterator[Frame]:
        step = max(1, round(1 / (self.file.rate * self.file.time_base)))
        previous: int | None = None
        end = round(self.file.end / self.file.time_base)
        # AVI knows times of decoding alone, and what FFmpeg makes of them for display is a guess.
        guessed = self.file.format == "avi"
        for picture in pictures:
            self.decoded += 1
            pts = picture.dts if guessed or picture.pts is None else picture.pts
            if guessed and pts is None and previous is not None:
                pts = previous + step  # the last ones, which no packet completed
            if pts is None or (previous is not None and pts <= previous):
                self.repaired += 1
                pts = 0 if previous is None else previous + (step if pts is None else 1)
            previous = pts
            yield Frame(picture=picture, pts=pts, duration=min(picture.duration or step, max(1, end - pts)))

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


def _deinterlaced(pictures: Iterator[av.VideoFrame], stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Each frame made whole by bwdif (Bob Weaver), one out for one in, times unchanged."""
    graph = av.filter.Graph()
    base = pyav.exact(stream.time_base)
    source = graph.add_buffer(template=stream, time_base=base)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=all")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()

    def pulled() -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            given = pyav.exact(frame.time_base)
            if frame.pts is not None and given and base:
                ratio = given / base
                frame.pts, frame.duration = round(frame.pts * ratio), round(frame.duration * ratio)
                frame.time_base = base
            yield frame

    for picture in pictures:
        graph.vpush(picture)
        yield from pulled()
    graph.vpush(None)
    yield from pulled()
