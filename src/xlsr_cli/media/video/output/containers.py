"""The containers that can be written, and what each of them can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import av

from xlsr_cli.errors import UsageError
from xlsr_cli.options import VideoCodec

#: AVFMT_GLOBALHEADER of FFmpeg: parameter sets go into the container's header, not into the packets.
_FORMAT_GLOBAL_HEADER = 0x40


#: Negative times (the lead-in of AAC, B-frames) stay as they are; otherwise all streams would be moved.
_KEEP_TIMES = ("avoid_negative_ts", "disabled")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container that can be written.

    ``format`` is FFmpeg's name of its muxer, ``reader`` of its demuxer; ``options`` are the muxer's.
    ``rotates``: it has a place for a rotation; ``covers``: for a picture that belongs to the file.
    ``constant``: its frames have one duration. Sound that it does not hold becomes the first of ``sound``,
    or the second where the source is lossless: names of FFmpeg's encoders, ``pcm`` for the one of the
    source's depth. Subtitles become ``text``. ``table_pid``: the packet identifier under which the muxer of
    transport streams lists all others.
    """

    format: str
    reader: str
    codecs: tuple[VideoCodec, ...]
    options: tuple[tuple[str, str], ...] = (_KEEP_TIMES,)
    rotates: bool = True
    covers: bool = False
    constant: bool = False
    sound: tuple[str, str] | None = None
    text: str | None = None
    table_pid: int = 0

    @property
    def global_header(self) -> bool:
        """Whether the encoder's parameter sets belong into the container's header."""
        return bool(av.ContainerFormat(self.format, "w").flags & _FORMAT_GLOBAL_HEADER)


_MP4 = Container(
    format="mp4",
    reader="mov",
    codecs=("h264", "hevc", "av1", "vp9"),
    covers=True,
    sound=("aac", "flac"),
    text="mov_text",
)
_MOV = Container(
    format="mov",
    reader="mov",
    codecs=("h264", "hevc"),
    options=(_KEEP_TIMES, ("movflags", "+use_metadata_tags")),
    sound=("aac", "pcm"),
    text="mov_text",
)
#: ``passthrough``: no stream becomes a default one that was none. ``bitexact``: no random identifiers, which
#: would make every run's bytes others.
_MATROSKA = (_KEEP_TIMES, ("default_mode", "passthrough"), ("fflags", "+bitexact"))
_MKV = Container(
    format="matroska",
    reader="matroska",
    codecs=("h264", "hevc", "av1", "vp9", "ffv1"),
    options=_MATROSKA,
    covers=True,
    sound=("aac", "flac"),
    text="subrip",
)
WEBM = Container(
    format="webm",
    reader="matroska",
    codecs=("vp9", "av1"),
    options=_MATROSKA,
    sound=("libopus", "libopus"),
    text="webvtt",
)
_AVI = Container(
    format="avi",
    reader="avi",
    codecs=("h264", "ffv1"),
    rotates=False,
    constant=True,
    sound=("ac3", "pcm"),
)
_TS = Container(
    format="mpegts",
    reader="mpegts",
    codecs=("h264", "hevc"),
    options=(_KEEP_TIMES, ("mpegts_copyts", "1")),
    rotates=False,
    sound=("aac", "aac"),
    table_pid=0x1000,
)
#: What cameras and Blu-rays write: a time before every packet, and subtitles of Blu-rays are known as such.
_M2TS = replace(_TS, options=(*_TS.options, ("mpegts_m2ts_mode", "1")), sound=("ac3", "ac3"), table_pid=0x100)
_3GP = Container(
    format="3gp",
    reader="mov",
    codecs=("h264",),
    sound=("aac", "aac"),
    text="mov_text",
)

#: By the output's suffix.
CONTAINERS: dict[str, Container] = {
    ".mp4": _MP4, ".m4v": _MP4, ".mov": _MOV, ".mkv": _MKV, ".webm": WEBM, ".avi": _AVI,
    ".ts": _TS, ".m2ts": _M2TS, ".mts": _M2TS, ".3gp": _3GP,
}  # fmt: skip


#: What a film becomes whose own container is not written: the container that holds most.
_FALLBACK = ".mkv"


def default_suffix(source: PurePath) -> str:
    """The suffix of the output that nobody named: the source's, or that of the container that holds most."""
    return source.suffix if source.suffix.lower() in CONTAINERS else _FALLBACK


def container_for(output: Path) -> Container:
    """The container that ``output``'s suffix names. Raises :class:`UsageError` for any other suffix."""
    container = CONTAINERS.get(output.suffix.lower())
    if container is None:
        names = " ".join(CONTAINERS)
        kind = output.suffix or "a name without a suffix"
        raise UsageError(f"{output}: no video can be written to {kind}; use one of {names}")
    return container
