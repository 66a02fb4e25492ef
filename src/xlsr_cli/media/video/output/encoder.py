"""The encoders: codecs, their settings, and one encoder for each segment.

The defaults are listed here and in ``docs/video.md``; a test compares the two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from xlsr_cli.errors import ResourceError, UsageError
from xlsr_cli.machine import cpu_features
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import said
from xlsr_cli.media.video.layout import Siting
from xlsr_cli.media.video.output.containers import WEBM, Container
from xlsr_cli.media.video.tags import RANGE_LIMITED, ColorTags, Hdr
from xlsr_cli.options import Size, VideoCodec, VideoOptions

#: AV_CODEC_FLAG_GLOBAL_HEADER of FFmpeg: parameter sets go into the container's header, not into the packets.
_CODEC_GLOBAL_HEADER = 1 << 22
#: Where chroma may lie that Matroska has numbers for.
_MATROSKA_SITINGS: tuple[Siting, ...] = ("left", "center", "topleft", "top")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A codec that can be written, with the parameters of its encoder.

    ``crf`` is the default and ``worst`` the largest quality number, None where the codec is lossless.
    ``presets`` go from slow to fast; ``preset`` is the default, with which a frame takes the encoder no
    longer than the network takes at ×3. ``hdr``: HDR10 metadata fit into its bitstream; ``captions``: closed
    captions do (CEA-608/708).
    """

    name: VideoCodec
    encoder: str
    crf: int | None
    worst: int
    preset: str | None
    presets: tuple[str, ...]
    hdr: bool = False
    captions: bool = False

    def holds(self, siting: Siting, chroma: tuple[int, int], container: Container) -> bool:
        """Whether the bitstream or ``container`` can say that ``chroma`` (halved across, down) lies at
        ``siting``. H.264 and HEVC have words for 4:2:0 alone; else it is left, whatever a container says."""
        if self.name in ("h264", "hevc"):
            return siting == "left" or chroma == (1, 1)
        if container.reader == "matroska":
            return siting in _MATROSKA_SITINGS
        return siting in (("left", "topleft") if self.name == "av1" and chroma == (1, 1) else ("left",))


#: From here on libvpx works as for calls, which takes a third of the time; otherwise it is not faster than 5.
_VP9_REALTIME = 6
#: Makes x264 write the same bytes with AVX-512 as without; see :func:`encoder_options`.
_SAME_EVERYWHERE = "asm=avx2"

_X26X = (
    "placebo", "veryslow", "slower", "slow", "medium", "fast", "faster", "veryfast", "superfast", "ultrafast",
)  # fmt: skip

CODECS: dict[VideoCodec, Codec] = {
    codec.name: codec
    for codec in (
        Codec(name="h264", encoder="libx264", crf=18, worst=51, preset="veryfast", presets=_X26X,
              hdr=True, captions=True),
        Codec(name="hevc", encoder="libx265", crf=20, worst=51, preset="ultrafast", presets=_X26X,
              hdr=True, captions=True),
        Codec(name="av1", encoder="libsvtav1", crf=30, worst=63, preset="8",
              presets=tuple(str(preset) for preset in range(14)), hdr=True),
        Codec(name="vp9", encoder="libvpx-vp9", crf=30, worst=63, preset="6",
              presets=tuple(str(preset) for preset in range(9))),
        Codec(name="ffv1", encoder="ffv1", crf=None, worst=0, preset=None, presets=()),
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of the encoder: with the frames, they decide the bytes of a segment.

    ``key_interval``: a key frame comes after at most so many. ``constant``: frames have no times of display.
    """

    codec: Codec
    encoder: str
    crf: int | None
    preset: str | None
    pix_fmt: str
    size: Size
    rate: Fraction
    aspect: Fraction | None
    tags: ColorTags
    siting: Siting
    hdr: Hdr
    threads: int
    global_header: bool
    constant: bool
    key_interval: int


def choose_codec(container: Container, output: Path, video: VideoOptions, *, depth: int) -> Codec:
    """The codec asked for, or the container's default for ``depth`` bits.

    By default H.264 for 8 bits and HEVC for more; WebM gets VP9 and AV1; AVI has FFV1 for more than 8.
    Raises :class:`UsageError` where the container cannot hold it or an option does not belong to it.
    """
    if video.codec is not None:
        name = video.codec
    elif container is WEBM:
        name = "vp9" if depth <= 8 else "av1"
    elif depth <= 8:
        name = "h264"
    else:
        name = "hevc" if "hevc" in container.codecs else container.codecs[-1]
    if name not in container.codecs:
        fitting = " or ".join(container.codecs)
        raise UsageError(
            f"{output}: a {output.suffix} file cannot hold {name}; use --codec {fitting}, or an .mkv file"
        )
    codec = CODECS[name]
    _check_quality(codec, video)
    return codec


def _check_quality(codec: Codec, video: VideoOptions) -> None:
    if video.crf is not None:
        if codec.crf is None:
            raise UsageError(f"--crf has no meaning for {codec.name}, which is lossless")
        if video.crf > codec.worst:
            raise UsageError(f"--crf is 0 to {codec.worst} for {codec.name}, not {video.crf}")
    if video.preset is not None and video.preset not in codec.presets:
        if not codec.presets:
            raise UsageError(f"--preset has no meaning for {codec.name}")
        raise UsageError(f"{codec.name} has no preset {video.preset!r}; use one of {' '.join(codec.presets)}")


def encoder_options(settings: Settings) -> dict[str, str]:
    """Options by which the encoder is opened, in the words of FFmpeg."""
    codec, hdr, threads = settings.codec, settings.hdr, settings.threads
    crf, preset, key_interval = str(settings.crf), str(settings.preset), str(settings.key_interval)
    options = {"crf": crf, "preset": preset, "g": key_interval}
    if codec.name == "h264":
        hdr10 = hdr.x26x.replace("master-display", "mastering-display").replace("max-cll", "cll")
        params = [hdr10] if hdr10 else []
        if settings.tags == ColorTags(range=RANGE_LIMITED):
            # x264 writes the limited range only beside something else that it has to say.
            params.append("videoformat=component")
        if "AVX512F" in cpu_features():
            # At most widths, x264's AVX-512 code weighs memory behind the rows that nothing has written: the
            # same frames become other bytes in every run. Its AVX2 code is as fast and does not.
            params.append(_SAME_EVERYWHERE)
        if params:
            options["x264-params"] = ":".join(params)
        if settings.constant:
            options["bf"] = "0"
        if settings.encoder == "libx264rgb" and settings.crf == 0:
            options["qp"] = options.pop("crf")
    elif codec.name == "hevc":
        # x265 finds its threads itself: ``pools`` tells it how many it may use.
        params = ["log-level=none", f"pools={threads}", *([hdr.x26x] if hdr.x26x else [])]
        options["x265-params"] = ":".join(params)
        options["a53cc"] = "1"
    elif codec.name == "av1":
        params = [f"lp={min(threads, 6)}", *([hdr.svtav1] if hdr.svtav1 else [])]
        options["svtav1-params"] = ":".join(params)
    elif codec.name == "vp9":
        deadline = "realtime" if int(preset) >= _VP9_REALTIME else "good"
        options = {"crf": crf, "b": "0", "cpu-used": preset, "deadline": deadline, "row-mt": "1"}
        options |= {"g": key_interval, "tile-columns": "2"}
    else:
        # Version 3 with checksums of slices, the form that archives use.
        options = {"level": "3", "slicecrc": "1", "coder": "1", "context": "1", "g": "1"}
    if settings.siting != "left":  # which is assumed if nothing is said
        options["chroma_sample_location"] = settings.siting
    return options


def deciding(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """``settings``, and the options without what depends on the CPU and changes no byte."""
    options: dict[str, str] = {}
    for name, value in encoder_options(settings).items():
        kept = ":".join(part for part in value.split(":") if part != _SAME_EVERYWHERE)
        options |= {name: kept} if kept else {}
    return settings, options


def encoder_formats(encoder: str) -> tuple[str, ...]:
    """Pixel formats that ``encoder`` takes; with alpha only FFV1, which holds it in the picture itself.

    Raises :class:`UsageError` when this build has no such encoder.
    """
    try:
        formats = av.Codec(encoder, "w").video_formats
    except pyav.FAULTS as error:
        raise UsageError(f"this build of PyAV has no encoder {encoder}; choose another --codec") from error
    names = (format.name for format in formats or [])
    return tuple(name for name in names if encoder == "ffv1" or not name.startswith(("yuva", "gbrap")))


def configure(target: Any, settings: Settings) -> None:
    """Set up ``target``, an ``av.VideoCodecContext`` that is not open yet, as ``settings`` say."""
    # SVT-AV1 writes to stderr on its own; only errors are of interest.
    os.environ.setdefault("SVT_LOG", "1")
    target.width, target.height = settings.size.width, settings.size.height
    target.pix_fmt = settings.pix_fmt
    target.time_base = 1 / settings.rate
    target.framerate = settings.rate
    if settings.aspect is not None:
        target.sample_aspect_ratio = settings.aspect
    target.color_primaries = settings.tags.primaries
    target.color_trc = settings.tags.transfer
    target.colorspace = settings.tags.matrix
    target.color_range = settings.tags.range
    target.thread_count = settings.threads
    target.options = encoder_options(settings)
    if settings.global_header:
        target.flags |= _CODEC_GLOBAL_HEADER
    if settings.codec.name == "hevc" and settings.global_header:
        target.codec_tag = "hvc1"  # the one that Apple's players take


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One encoded frame: ``frame`` is its number in order of display, from 0; ``key`` marks a key frame."""

    frame: int
    key: bool
    data: bytes


class Encoder:
    """An encoder of its own for one segment: it begins with a key frame and knows nothing of the others."""

    @pyav.usual_scheduling()
    def __init__(self, settings: Settings) -> None:
        """Open it. Raises :class:`UsageError` when the settings are refused."""
        self._context: Any = av.CodecContext.create(settings.encoder, "w")
        self._frames = 0
        self._given = 0
        try:
            configure(self._context, settings)
            self._context.open()
        except pyav.FAULTS as error:
            raise UsageError(
                f"{settings.encoder} cannot encode {settings.size} in {settings.pix_fmt} with these "
                "settings; try another --codec, --preset or --pix-fmt"
            ) from error

    def encode(self, picture: av.VideoFrame) -> list[Packet]:
        """Take the next frame; return packets that became ready, in order of decoding."""
        # The encoder gets numbers instead of times, so the source's clock does not influence it.
        picture.pts, picture.time_base = self._frames, self._context.time_base
        picture.pict_type = 0
        self._frames += 1
        return self._packets(picture)

    def finish(self) -> list[Packet]:
        """The packets that are left. Raises :class:`ResourceError` when a frame got lost in the encoder."""
        packets = self._packets(None)
        if self._given != self._frames:
            raise ResourceError(f"the encoder gave {self._given} packets for {self._frames} frames")
        return packets

    def _packets(self, picture: av.VideoFrame | None) -> list[Packet]:
        try:
            packets = self._context.encode(picture)
        except pyav.FAULTS as error:
            raise ResourceError(f"the encoder failed ({said(error)}); memory may be short") from error
        self._given += len(packets)
        return [Packet(frame=p.pts, key=p.is_keyframe, data=bytes(p)) for p in packets]


def library_versions() -> str:
    """The versions of FFmpeg's libraries: another one may encode the same frames to other bytes."""
    return repr(sorted(av.library_versions.items()))


def library_version() -> str:
    """``av 18.0.0 with libavcodec 62.3.100``, for people."""
    codecs = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"av {av.__version__} with libavcodec {codecs}"
