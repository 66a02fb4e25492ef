"""How strongly a film was compressed: one answer for the whole film.

A few packets at a few places are examined, always the same ones, whichever part of the film is enlarged.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import av
import av.container
import av.error
import numpy as np

from xlsr_cli.engine.restore import (
    FILM_QUANTIZERS,
    Compression,
    by_bits,
    by_quantizer,
    codec_name,
    jpeg,
    look,
)
from xlsr_cli.media.compression import headers, jpeg_tables
from xlsr_cli.media.video.demux import (
    coded_pixels,
    decoded,
    faults_mapped,
    main_stream,
    open_video,
    packets_of,
    sought,
)
from xlsr_cli.media.video.pyav import FAULTS, AnyPacket, side_data

#: The number of places in a film that are examined, and of packets at each.
_PLACES, _PACKETS = 4, 12
#: Decoders of FFmpeg's MPEG family, which export the quantizer of every block.
_EXPORTING = frozenset(
    {"mpeg1video", "mpeg2video", "mpeg4", "h263", "flv1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"}
)  # fmt: skip
#: Decoders that export the size of the steps, which is twice the code in the stream.
_EXPORTED_SCALE = 2
#: In place of the quality of a Motion JPEG frame whose tables make no sense.
_NO_QUALITY = -1
#: ``AVVideoEncParams``: how many blocks, where they begin, how long each is, the kind, the frame's own
#: quantizer; behind four numbers of place and size, each block's difference from it.
_PARAMETERS, _DIFFERENCE_AT = struct.Struct("=Ixxxxqqii"), 16


def compression_of(path: Path, scale: int) -> Compression:
    """How strongly the video in ``path`` was compressed, and which network of ``scale`` (2 to 4) it needs.

    By the quantizers in its headers, else by those that the decoder exports, else by the bits per pixel; if
    what it says makes no sense, by the pixels of the first frame. Raises :class:`InputError` for a file that
    is no video.
    """
    sizes = _Sizes()
    with faults_mapped(path), open_video(path) as container:
        stream = main_stream(container, path)
        context = stream.codec_context
        name, pixels = context.codec.canonical_name, context.width * context.height
        if context.codec.lossless and not context.codec.lossy:
            return Compression(level="off", codec=codec_name(name))
        packets = sizes.noting(_packets(container, stream))
        numbers = _numbers(packets, stream, name)
        deque(packets, maxlen=0)  # those that nobody looked into count as well
        key_frames_alone = context.codec.intra_only
    found = _by_numbers(name, scale, numbers, sizes.of_key_frames(pixels))
    if found is not None:
        return found
    if numbers:
        note = f"the quantizers of the {codec_name(name)} stream make no sense"
        return _by_first_frame(path, scale, note)
    if sizes.all and pixels:
        bits = 8 * sum(sizes.all) / len(sizes.all) / pixels
        return by_bits(name, bits, key_frames_alone=key_frames_alone)
    note = f"the {codec_name(name)} stream does not say how strongly it is compressed"
    return _by_first_frame(path, scale, note)


@dataclass
class _Sizes:
    """Bytes of the packets that went by: of all, and of key frames."""

    all: list[int] = field(default_factory=list)
    key: list[int] = field(default_factory=list)

    def noting(self, packets: Iterable[AnyPacket]) -> Iterator[AnyPacket]:
        """``packets``, each noted before anybody takes its content away."""
        for packet in packets:
            self.all.append(packet.size)
            if packet.is_keyframe:
                self.key.append(packet.size)
            yield packet

    def of_key_frames(self, pixels: int) -> float:
        """Bits a pixel, in frames of so many ``pixels``; 1 without any. Movement has no say in key frames."""
        return 8 * sum(self.key) / len(self.key) / pixels if self.key and pixels else 1


def _by_numbers(codec: str, scale: int, numbers: list[int], bits: float) -> Compression | None:
    """By quantizers (for Motion JPEG: qualities) and the key frames' ``bits`` a pixel.

    None if there are no quantizers, or if they make no sense: if the codec does not have most of them. (If it
    does not have a few, that is damage.)
    """
    if not numbers:
        return None
    largest = 100 if codec == "mjpeg" else FILM_QUANTIZERS[codec].largest
    known = [number for number in numbers if 0 <= number <= largest]
    if 2 * len(known) < len(numbers):
        return None
    mean = sum(known) / len(known)
    return (
        jpeg(round(mean), scale, codec=codec_name(codec))
        if codec == "mjpeg"
        else by_quantizer(FILM_QUANTIZERS[codec], scale, mean, bits)
    )


def _numbers(packets: Iterator[AnyPacket], stream: av.VideoStream, codec: str) -> list[int]:
    """Quantizers of frames, slices or blocks; of Motion JPEG the qualities of its frames; of others none."""
    if headers.tells(codec):
        return headers.quantizers(codec, stream, packets)
    if codec == "mjpeg":
        return [jpeg_tables.quality_of(bytes(packet)) or _NO_QUALITY for packet in packets]
    if codec in _EXPORTING:
        context, bound = stream.codec_context, _bound(stream)
        context.options = {"export_side_data": "venc_params"}
        if bound is not None:
            context.options = {**context.options, "max_pixels": str(coded_pixels(bound))}
        return [mean for frame in _decoded(packets, stream) if (mean := _exported(frame)) is not None]
    return []


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[AnyPacket]:
    """The first packets of the video, and those after a few further places to which seeking works."""
    yield from _next_packets(container, stream)
    duration = container.duration or 0
    for place in range(1, _PLACES):
        if not sought(container, (container.start_time or 0) + duration * place // _PLACES):
            return
        yield from _next_packets(container, stream)


def _next_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[AnyPacket]:
    found = (packet for packet in packets_of(container) if packet.stream_index == stream.index)
    return islice((packet for packet in found if packet.size), _PACKETS)


def _decoded(packets: Iterator[AnyPacket], stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    for packet in packets:
        with contextlib.suppress(*FAULTS):
            yield from stream.decode(packet)


def _bound(stream: av.VideoStream) -> int | None:
    """The pixels that the header claims, for which it was refused or not; None where it claims none."""
    return stream.codec_context.width * stream.codec_context.height or None


def _exported(frame: av.VideoFrame) -> int | None:
    """The mean quantizer of a frame's blocks; None where the decoder did not export any."""
    exported = [data for data in side_data(frame) if data.type.name == "VIDEO_ENC_PARAMS"]
    if not exported:
        return None
    content = bytes(exported[0])
    count, start, length, _, base = map(int, _PARAMETERS.unpack_from(content))
    if not count or start + count * length > len(content):
        return None
    differences = [
        int.from_bytes(content[at : at + 4], sys.byteorder, signed=True)
        for at in range(start + _DIFFERENCE_AT, start + count * length, length)
    ]
    return round((base + sum(differences) / count) / _EXPORTED_SCALE)


def _by_first_frame(path: Path, scale: int, note: str) -> Compression:
    with faults_mapped(path), open_video(path) as container:
        stream = main_stream(container, path)
        packets = packets_of(container)
        frame = next(decoded(packets, stream, lambda: None, max_pixels=_bound(stream)), None)
        pixels = np.zeros((1, 1), np.uint8) if frame is None else frame.to_ndarray(format="bgr24")
        return look(pixels, scale, note)
