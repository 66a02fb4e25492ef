"""What this installation can really read and write, found by doing it."""

from __future__ import annotations

from io import BytesIO
from typing import get_args

import av
import av.error
import numpy as np
from av.video.stream import VideoStream

from xlsr_cli.errors import XlsrError
from xlsr_cli.formats import FALLBACK, PICTURE_FORMATS, PictureFormat
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.media.picture.image import decode, encode, open_picture
from xlsr_cli.media.picture.metadata import Metadata
from xlsr_cli.media.picture.source import Picture
from xlsr_cli.media.video.output.encoder import CODECS
from xlsr_cli.options import VideoCodec

_SIDE = 64
_FRAMES = 3


def picture_failures() -> dict[PictureFormat, str | None]:
    """For each format that is written: None, or why a tiny picture did not come back from it."""
    return {format: _picture_failure(format) for format in PICTURE_FORMATS}


def _picture_failure(format: PictureFormat) -> str | None:
    ramp = np.arange(_SIDE, dtype=np.uint8) * 3
    pixels = np.ascontiguousarray(np.broadcast_to(ramp[:, None, None], (_SIDE, _SIDE, 3)))
    try:
        content, _ = encode(Picture(pixels=pixels, metadata=Metadata(), format=FALLBACK.name), format)
        picture, _ = decode(open_picture(content, f"a {format} picture"), max_pixels=_SIDE * _SIDE)
    except (XlsrError, ImportError) as error:
        return str(error)
    if picture.pixels.shape != pixels.shape:
        return f"a picture of {pixels.shape} came back as {picture.pixels.shape}"
    return None


def video_failures() -> dict[VideoCodec, str | None]:
    """For each codec that is written: None, or why a few small frames did not come back from it."""
    return {name: _video_failure(CODECS[name].encoder) for name in get_args(VideoCodec)}


def _video_failure(encoder: str) -> str | None:
    try:
        with native_messages():  # x265 and SVT-AV1 introduce themselves at length
            found = _frames_read(_written(encoder))
    except (av.error.FFmpegError, ValueError, OSError) as error:
        return f"{encoder}: {error}"
    return None if found == _FRAMES else f"{found} of {_FRAMES} frames came back from {encoder}"


def _written(encoder: str) -> BytesIO:
    """A file with a few frames."""
    content = BytesIO()
    with av.open(content, "w", format="matroska") as container:
        stream = container.add_stream(encoder, rate=25)
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = _SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(_FRAMES):
            frame = av.VideoFrame(_SIDE, _SIDE, "yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return content


def _frames_read(content: BytesIO) -> int:
    content.seek(0)
    with av.open(content, "r") as container:
        return sum(1 for _ in container.decode(video=0))


def ffmpeg_version() -> str:
    """The version of the FFmpeg libraries inside of PyAV."""
    return str(av.ffmpeg_version_info)
