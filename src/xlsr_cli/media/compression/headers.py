"""Quantizers in the headers of coded frames, read by FFmpeg's ``trace_headers`` filter.

The filter prints every field in the headers of H.264, HEVC, VP8, VP9 and AV1. Decoders do not export the
quantizers of these codecs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from av.bitstream import BitStreamFilterContext

from xlsr_cli.media.video.pyav import FAULTS, ffmpeg_messages


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """The name of the field with the quantizer of a frame or slice, and of the field that it is added to."""

    quantizer: str
    base: str = ""
    offset: int = 0


_FIELDS = {
    "h264": _Fields(quantizer="slice_qp_delta", base="pic_init_qp_minus26", offset=26),
    "hevc": _Fields(quantizer="slice_qp_delta", base="init_qp_minus26", offset=26),
    "av1": _Fields(quantizer="base_q_idx"),
    "vp9": _Fields(quantizer="base_q_idx"),
    "vp8": _Fields(quantizer="base_qindex"),
}
#: A line of the filter: place, name (with indices), bits, value.
_LINE = re.compile(r"^\d+\s+([a-z][a-z0-9_]*)(?:\[\d+\])*\s+[01]*\s*= (-?\d+)\s*$", re.MULTILINE)


def tells(codec: str) -> bool:
    """Whether quantizers can be read from the headers of ``codec``, by FFmpeg's name of it."""
    return codec in _FIELDS


def quantizers(codec: str, stream: Any, packets: Iterable[Any]) -> list[int]:
    """The quantizer of every slice or frame in ``packets`` of ``stream``, in order; none where damaged."""
    fields = _FIELDS[codec]
    found: list[int] = []
    base = 0
    for name, value in _traced(stream, packets):
        if name == fields.base:
            base = value
        elif name == fields.quantizer:
            found.append(fields.offset + base + value)
    return found


def _traced(stream: Any, packets: Iterable[Any]) -> Iterator[tuple[str, int]]:
    """Name and value of every field, those of the stream's own headers first."""
    try:
        with ffmpeg_messages() as messages:
            filter = BitStreamFilterContext("trace_headers", stream)
        yield from _lines(messages)
        for packet in packets:
            with ffmpeg_messages() as messages:
                filter.filter(packet)
            yield from _lines(messages)
    except FAULTS:
        return


def _lines(messages: Iterable[tuple[int, str, str]]) -> Iterator[tuple[str, int]]:
    for _, name, message in messages:
        if "trace_headers" in name and (line := _LINE.match(message)):
            yield line[1], int(line[2])
