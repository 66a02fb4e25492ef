"""Cameras, through OpenCV: frames from a device, and a file to record them in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.media.native_stderr import native_messages
from xlsr_cli.options import Size

#: What OpenCV's writer can encode without system libraries, by the file's extension; FFV1 is lossless.
_CODECS = {".mkv": "FFV1", ".avi": "MJPG", ".mp4": "mp4v", ".mov": "mp4v"}
#: Cameras that do not tell their rate; nearly all run at this one.
_USUAL_RATE = 30.0
#: A camera may miss single frames; after so many in a row it is gone.
_MISSES = 10


def camera_number(name: str) -> int | None:
    """The number in ``camera:0``; None for any other name."""
    match = re.fullmatch(r"camera:(\d{1,4})", name)
    return None if match is None else int(match[1])


class Camera:
    """An open camera. ``size`` and ``rate`` (frames per second) are what it says of itself."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self.size = Size(
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 1.0 <= rate <= 1000.0 else _USUAL_RATE

    def frames(self) -> Iterator[Pixels]:
        """BGR frames, uint8 (H, W, 3), until the camera gives no more."""
        misses = 0
        while misses < _MISSES:
            read, frame = self._capture.read()
            if read and frame is not None:
                misses = 0
                yield frame
            else:
                misses += 1


@contextmanager
def open_camera(number: int) -> Iterator[Camera]:
    """The camera with this number, as the system counts. Raises :class:`InputError` where none answers."""
    with native_messages():
        capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened() or capture.get(cv2.CAP_PROP_FRAME_WIDTH) < 1:
            raise InputError(
                f"no camera answers as camera:{number}; see that it is plugged in and free, or try another"
            )
        yield Camera(capture)
    finally:
        with native_messages():
            capture.release()


def check_recording(name: str) -> None:
    """Raise :class:`UsageError` where the output ``name`` is of a kind that cameras are not recorded in."""
    if Path(name).suffix.lower() not in _CODECS:
        raise UsageError(
            f"{name}: a camera is recorded into {', '.join(_CODECS)}, or into pictures such as frame_%05d.png"
        )


class Recorder:
    """Writes BGR frames into a video file: FFV1 in .mkv, MPEG-4 in .mp4 and .mov, Motion JPEG in .avi."""

    def __init__(self, path: Path, size: Size, rate: float) -> None:
        """Raises :class:`OutputError` where OpenCV cannot write it."""
        fourcc = cv2.VideoWriter.fourcc(*_CODECS[path.suffix.lower()])
        with native_messages() as messages:
            self._writer = cv2.VideoWriter(str(path), fourcc, rate, (size.width, size.height))
        if not self._writer.isOpened():
            raise OutputError(
                f"OpenCV cannot record {path.name}: {messages[-1] if messages else 'no encoder'}"
            )

    def write(self, frame: Pixels) -> None:
        """Add one frame of the size that was promised."""
        self._writer.write(frame)

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()
