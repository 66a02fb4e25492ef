"""Make small sample files for trials, and count what is in a result.

PyAV is imported inside functions: pictures can be tried even if it is broken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.formats import FALLBACK, FORMATS, extension_for

#: The format of the sample animation: one that holds only animations.
ANIMATED = next(format for format in FORMATS if format.animation is not None and format.still is None)
#: Sides of the pictures and of the frames, in pixels.
SIDE = 64
FRAMES = 3
_RATE = 25
_SOUND_RATE = 48_000


def sample_pixels() -> NDArray[np.uint8]:
    """A ramp, (64, 64, 3) BGR."""
    ramp = np.arange(SIDE, dtype=np.uint8) * 3
    return np.ascontiguousarray(np.broadcast_to(ramp[:, None, None], (SIDE, SIDE, 3)))


def write_picture(path: Path) -> None:
    """A picture file in the format that everything can be written in."""
    import cv2

    path.write_bytes(cv2.imencode(extension_for(FALLBACK.name), sample_pixels())[1].tobytes())


def write_animation(path: Path) -> None:
    """A file of three frames, in a format that holds animations only."""
    from PIL import Image

    frames = [Image.fromarray(np.roll(sample_pixels(), 8 * number, axis=0)) for number in range(FRAMES)]
    frames[0].save(path, ANIMATED.pillow[0], save_all=True, append_images=frames[1:], duration=40)


def write_film(path: Path) -> None:
    """A Matroska file: a few frames in H.264, or MPEG-4 where this build has no encoder for it, and sound."""
    import av

    from xlsr_cli.media.video import pyav

    with pyav.open_output(str(path), format="matroska") as container:
        video: Any = container.add_stream("libx264" if has_encoder("libx264") else "mpeg4", rate=_RATE)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio: Any = container.add_stream("pcm_s16le", rate=_SOUND_RATE, layout="mono")
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(
                np.full((SIDE * 3 // 2, SIDE), 60 + 20 * number, np.uint8), "yuv420p"
            )
            frame.pts = number
            container.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, FRAMES * _SOUND_RATE // _RATE), np.int16), "s16", "mono"
        )
        sound.sample_rate, sound.pts = _SOUND_RATE, 0
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def film_contents(path: Path) -> tuple[int, bool]:
    """How many frames of the first video can be decoded, and whether there is sound."""
    from xlsr_cli.media.video import pyav

    with pyav.open_input(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)), bool(container.streams.audio)


def has_encoder(name: str) -> bool:
    """Whether this build of PyAV has the encoder ``name``."""
    import av
    import av.error

    try:
        av.Codec(name, "w")
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def ffmpeg_version() -> str:
    """The version of the FFmpeg libraries inside of PyAV."""
    import av

    return str(av.ffmpeg_version_info)
