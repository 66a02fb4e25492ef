"""What a stream of a film consists of: the sizes, times and bytes of its packets, given or read back."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from typing import Any

from av.container import InputContainer

from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import is_cover, packets_of
from xlsr_cli.media.video.pyav import AnyPacket
from xlsr_cli.notices import Notice

#: A line of QuickTime's text is its length in two bytes, and then itself.
_EMPTY_TEXT = 2
#: A packet without a time.
_NO_TIME = -(1 << 63)
#: Codecs whose packets look different in different containers: with headers of their own or without,
#: with lengths or start codes between their parts.
_REWRAPPED = (
    "aac", "aac_latm", "h264", "hevc", "vvc", "av1", "opus", "truehd", "dirac", "mov_text", "webvtt",
)  # fmt: skip


@dataclass(kw_only=True)
class Track:
    """The packets of one stream in their order.

    ``name`` is for messages. ``main``: the video that was enlarged. ``base`` is the unit of ``times`` in
    seconds; ``lowest`` is the smallest time of all, also of decoding, and ``end`` is when the last packet
    ends. ``damaged`` packets of the source could not be converted, and are not in it.
    """

    name: str
    kind: str
    codec: str
    base: Fraction
    main: bool = False
    damaged: int = 0
    times: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    lowest: Fraction = Fraction(1 << 63)
    end: Fraction = Fraction(-1 << 63)
    _content: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16), repr=False)

    def add(self, packet: AnyPacket, *, decoding: bool = False) -> None:
        """Count a packet, by its time of display or of ``decoding``."""
        if self.codec == "mov_text" and packet.size <= _EMPTY_TEXT:
            return  # MP4 fills the time between two lines with these
        time = packet.dts if decoding else packet.pts
        self.times.append(_NO_TIME if time is None else time)
        self.sizes.append(packet.size)
        if packet.dts is not None and packet.dts * self.base < self.lowest:
            self.lowest = packet.dts * self.base
        if packet.size:
            self._content.update(packet)
        if time is not None:
            self.end = max(self.end, (time + (packet.duration or 0)) * self.base)

    @property
    def content(self) -> bytes:
        """A hash of all bytes, wherever packets begin."""
        return bytes(self._content.digest())

    @property
    def first(self) -> Fraction | None:
        """The smallest time in seconds."""
        ticks = min((ticks for ticks in self.times if ticks != _NO_TIME), default=None)
        return None if ticks is None else ticks * self.base

    @property
    def duration(self) -> Fraction:
        """Seconds from the first packet's time to the end of the last."""
        return self.end - (self.first or 0) if self.times else Fraction(0)

    def notices(self) -> list[Notice]:
        """What only writing it could tell."""
        if not self.damaged:
            return []
        message = f"{self.damaged} packets of {self.name} are damaged and could not be converted"
        return [Notice(code="stream-damaged", message=message)]

    def starts(self) -> Iterator[tuple[int, int]]:
        """(how many bytes lie before it, its time in ticks) of all packets that have a time."""
        before = accumulate(self.sizes, initial=0)
        return ((place, ticks) for place, ticks in zip(before, self.times, strict=False) if ticks != _NO_TIME)


def track_of(stream: Any, base: Fraction | None = None) -> Track:
    """An empty track for ``stream`` of an open container; ``base`` where not the stream's own."""
    kind = "cover" if is_cover(stream) else str(stream.type)
    codec = codec_of(stream)
    return Track(
        name=f"stream {stream.index} ({kind}, {codec})",
        kind=kind,
        codec=codec,
        base=base or pyav.exact(stream.time_base) or Fraction(1),
    )


def read_tracks(container: InputContainer) -> list[Track]:
    """All streams of ``container`` with all of their packets."""
    tracks = [track_of(stream) for stream in container.streams]
    decoding = container.format.name == "avi"  # it has no times of display, and FFmpeg's are guesses
    for packet in packets_of(container):
        tracks[packet.stream_index].add(packet, decoding=decoding)
    return tracks


def codec_of(stream: Any) -> str:
    """The name of the codec whether or not there is a decoder for it."""
    context = stream.codec_context
    name = context.codec.canonical_name if context is not None else getattr(stream, "name", None)
    return str(name or "none")


def pair(meant: Sequence[Track], found: Sequence[Track]) -> list[Track | None]:
    """For each track that was meant the one that came back as it, None where there is none.

    Containers may have an order of their own (covers at the end) and add streams (the text of chapters).
    """
    left = list(found)
    answer: list[Track | None] = []
    for track in meant:
        same_kind = [other for other in left if other.kind == track.kind]
        best = next((other for other in same_kind if other.codec == track.codec), None)
        best = best or next(iter(same_kind), None)
        if best is not None:
            left.remove(best)
        answer.append(best)
    return answer


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two tracks are compared.

    ``tick``: by how many seconds times may be off. ``offset``: how many seconds later all that was found is
    meant to be. ``heads``: only the beginnings of the streams were written, of which a demuxer may hold the
    last packets back.
    """

    tick: Fraction
    offset: Fraction = Fraction(0)
    heads: bool = False

    def difference(self, meant: Track, found: Track | None) -> str | None:
        """How ``found`` differs from ``meant``, as one half of a sentence; None where it does not."""
        if meant.kind == "attachment" or (meant.kind == "cover" and found is not None):
            return None
        if found is None:
            return f"{meant.name} is not there"
        return self._video(meant, found) if meant.main else self._copy(meant, found)

    def _video(self, meant: Track, found: Track) -> str | None:
        if len(found.times) != len(meant.times):
            return f"{len(meant.times)} frames were written and {len(found.times)} came back"
        if _NO_TIME in found.times:
            return f"{found.times.count(_NO_TIME)} frames came back without a time"
        return self._first_off(meant, sorted(meant.times), found, sorted(found.times), "frame")

    def _copy(self, meant: Track, found: Track) -> str | None:
        """A demuxer may cut sound whose frames need no packets (PCM, ADPCM) at other places: then all bytes
        have to be there in their order, and times are compared where two packets begin at the same byte."""
        packet = f"packet of {meant.name}"
        if self.heads:
            alike = meant.sizes[: len(found.sizes)] == found.sizes
            number = len(found.times) if alike else 1
            return self._first_off(meant, meant.times[:number], found, found.times[:number], packet)
        if len(found.times) == len(meant.times) and (found.sizes == meant.sizes or _may_differ(meant)):
            wrong = self._first_off(meant, meant.times, found, found.times, packet)
            if wrong is None and found.content != meant.content and not _may_differ(meant):
                return f"{meant.name} came back with other bytes"
            return wrong
        if found.content != meant.content:
            written, read = len(meant.times), len(found.times)
            return f"of {meant.name}, {written} packets were written and {read} came back"
        here = dict(found.starts())
        pairs = [(ticks, here[place]) for place, ticks in meant.starts() if place in here]
        return self._first_off(meant, [a for a, _ in pairs], found, [b for _, b in pairs], packet)

    def _first_off(
        self, meant: Track, wanted: Sequence[int], found: Track, read: Sequence[int], what: str
    ) -> str | None:
        """The first two times that lie too far apart."""
        # Whole numbers of a common unit, because a film has millions of packets and fractions are slow.
        unit = math.lcm(*(f.denominator for f in (meant.base, found.base, self.tick, self.offset)))
        mine, theirs = int(meant.base * unit), int(found.base * unit)
        most, offset = int(self.tick * unit), int(self.offset * unit)
        for place, (a, b) in enumerate(zip(wanted, read, strict=False)):
            if a == _NO_TIME:
                continue
            if b == _NO_TIME:
                return f"{what} {place} came back without a time"
            if abs(a * mine - b * theirs + offset) > most:
                now, then = float(b * found.base - self.offset), float(a * meant.base)
                return f"{what} {place} is at {now:.4f} s instead of {then:.4f} s"
        return None


def _may_differ(track: Track) -> bool:
    return track.kind not in ("audio", "subtitle") or track.codec in _REWRAPPED
