"""Small videos for tests, made with PyAV, and what PyAV says of a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from xlsr_cli.media.video import pyav

SUBTITLE = b"Hello \xc3\xa4"


@dataclass(kw_only=True)
class Clip:
    """What to put into a file; see :func:`make`."""

    frames: int = 12
    width: int = 48
    height: int = 32
    rate: int = 25
    encoder: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    #: Ticks of ``time_base``; by default one frame after the other.
    times: Sequence[int] | None = None
    time_base: Fraction | None = None
    aspect: Fraction | None = None
    #: primaries, transfer, matrix, range by their numbers
    tags: tuple[int, int, int, int] | None = None
    rotation: int | None = None
    matrix: Sequence[int] | None = None
    audio: Sequence[dict[str, Any]] = ()
    subtitles: Sequence[dict[str, Any]] = ()
    attachments: Sequence[tuple[str, str, bytes]] = ()
    chapters: Sequence[tuple[int, int, str]] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    still: bool = False
    #: Colours that every matrix can show.
    pale: bool = False
    muxer: dict[str, str] = field(default_factory=dict)


def pictures(clip: Clip) -> Iterable[av.VideoFrame]:
    """A gradient that moves, with noise that the encoder cannot flatten away; planar formats only."""
    noise = np.random.default_rng(1)
    grain = noise.integers(0, 40, (clip.height, clip.width))
    for number in range(clip.frames):
        frame = av.VideoFrame(clip.width, clip.height, clip.pix_fmt)
        depth = max(c.bits for c in frame.format.components)
        moved = 0 if clip.still else 3 * number
        for index, plane in enumerate(frame.planes):
            rows, columns = np.mgrid[0 : plane.height, 0 : plane.width]
            value = 40 + 2 * rows + columns + moved + 30 * index
            if index and clip.pale:
                value = 120 + columns // 4
            value = value + grain[: plane.height, : plane.width] // (8 if clip.pale else 1)
            samples = np.frombuffer(plane, np.uint8 if depth == 8 else "<u2").reshape(plane.height, -1)
            top = (1 << depth) - 1
            samples[:, : plane.width] = np.clip(
                value * top // 255 + (0 if clip.still else number % 3), 0, top
            )
        yield frame


@pyav.usual_scheduling()
def make(path: Path, clip: Clip | None = None, **settings: Any) -> Path:
    """Write ``clip``, or a clip of ``settings``, to ``path``, whose suffix names the container."""
    clip = clip or Clip(**settings)
    with pyav.open_output(str(path), container_options=clip.muxer) as output:
        video: Any = output.add_stream(clip.encoder, rate=clip.rate)
        video.width, video.height, video.pix_fmt = clip.width, clip.height, clip.pix_fmt
        video.codec_context.time_base = clip.time_base or Fraction(1, clip.rate)
        if "x264" in clip.encoder:
            video.options = {"preset": "ultrafast", "crf": "10"}
        if "x265" in clip.encoder:
            video.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
        for name, value in clip.options.items():
            video.options = {**video.options, name: value}
        if clip.aspect is not None:
            video.codec_context.sample_aspect_ratio = clip.aspect
        if clip.tags is not None:
            context = video.codec_context
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = clip.tags
        if clip.rotation is not None:
            video.set_display_rotation(clip.rotation)
        if clip.matrix is not None:
            video.set_display_matrix(clip.matrix)
        audio = [_add_audio(output, settings) for settings in clip.audio]
        subtitles = [_add_subtitle(output, settings) for settings in clip.subtitles]
        for name, kind, data in clip.attachments:
            output.add_attachment(name, kind, data)
        output.metadata.update(clip.metadata)
        if clip.chapters:
            output.set_chapters(
                [
                    {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": t}}
                    for n, (a, b, t) in enumerate(clip.chapters, 1)
                ]
            )
        packets = []
        for number, frame in enumerate(pictures(clip)):
            frame.pts = number if clip.times is None else clip.times[number]
            frame.time_base = video.codec_context.time_base
            packets += video.encode(frame)
        packets += video.encode(None)
        for stream, settings in zip(audio, clip.audio, strict=True):
            packets += _sound(stream, clip, settings)
        for stream in subtitles:
            packets.append(_line(stream))
        output.start_encoding()
        output.mux(packets)
    return path


def _add_audio(output: Any, settings: dict[str, Any]) -> Any:
    stream = output.add_stream(settings.get("codec", "aac"), rate=48000, layout="mono")
    _describe(stream, settings)
    return stream


def _add_subtitle(output: Any, settings: dict[str, Any]) -> Any:
    stream = output.add_mux_stream(settings.get("codec", "subrip"))
    stream.time_base = Fraction(1, 1000)
    _describe(stream, settings)
    return stream


def _describe(stream: Any, settings: dict[str, Any]) -> None:
    for name in ("language", "title"):
        if name in settings:
            stream.metadata[name] = settings[name]
    if "disposition" in settings:
        stream.disposition = int(settings["disposition"])


def _sound(stream: Any, clip: Clip, settings: dict[str, Any]) -> list[Any]:
    size = stream.codec_context.frame_size or 1024
    packets = []
    first = int(settings.get("late", 0.0) * 48000)
    for number in range(max(1, 48000 * clip.frames // clip.rate // size)):
        time = np.arange(size) + number * size
        wave = 0.3 * np.sin(time * 0.05 * (1 + stream.index))
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, first + number * size, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _line(stream: Any) -> Any:
    packet = av.Packet(SUBTITLE)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 100
    packet.duration = 200
    packet.is_keyframe = True
    return packet


# What is in a file


@dataclass(frozen=True, kw_only=True)
class Found:
    """One stream as read back; ``packets`` are (hash, seconds)."""

    kind: str
    codec: str
    language: str
    title: str
    disposition: int
    packets: tuple[tuple[str, float], ...]


def streams(path: Path) -> list[Found]:
    """All streams of ``path`` with all their packets."""
    with pyav.open_input(str(path)) as container:
        packets: dict[int, list[tuple[str, float]]] = {stream.index: [] for stream in container.streams}
        for packet in container.demux():
            if packet.size:
                stamp = packet.pts if packet.pts is not None else packet.dts
                seconds = float(stamp * packet.time_base) if stamp is not None else -1.0
                packets[packet.stream_index].append((hashlib.sha256(bytes(packet)).hexdigest(), seconds))
        found = []
        for stream in container.streams:
            context = stream.codec_context
            metadata = stream.metadata
            found.append(
                Found(
                    kind=stream.type,
                    codec=context.name if context is not None else "",
                    language=stream.language or "und",
                    title=metadata.get("title", metadata.get("name", "")),
                    disposition=int(stream.disposition),
                    packets=tuple(packets[stream.index]),
                )
            )
        return found


def frames(path: Path) -> list[av.VideoFrame]:
    """All frames of the first video stream."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times(path: Path) -> list[float]:
    """The times of all frames in seconds."""
    return [float(frame.pts * frame.time_base) for frame in frames(path)]


def plane(frame: av.VideoFrame, index: int = 0) -> np.ndarray:
    """A copy of one plane."""
    depth = max(c.bits for c in frame.format.components)
    given = frame.planes[index]
    samples = np.frombuffer(given, np.uint8 if depth == 8 else "<u2").reshape(given.height, -1)
    return samples[:, : given.width].copy()


def summary(path: Path) -> dict[str, Any]:
    """What the header says of the video, the file's metadata and chapters."""
    with pyav.open_input(str(path)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        return {
            "codec": context.codec.canonical_name,
            "pix_fmt": context.pix_fmt,
            "size": (context.width, context.height),
            "aspect": pyav.exact(video.sample_aspect_ratio),
            "tags": (context.color_primaries, context.color_trc, context.colorspace, context.color_range),
            "metadata": dict(container.metadata),
            "chapters": [
                (
                    round(float(c["start"] * c["time_base"]), 3),
                    round(float(c["end"] * c["time_base"]), 3),
                    c["metadata"].get("title"),
                )
                for c in container.chapters()
            ],
        }


def mpeg_crc(data: bytes) -> bytes:
    """The checksum at the end of a table in a transport stream."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 1 << 31 else 0)) & 0xFFFFFFFF
    return crc.to_bytes(4, "big")
