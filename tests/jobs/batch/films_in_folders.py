"""Small films and animations for folders, and what is in the films that a batch made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

RATE = 25
_SAMPLES = 48_000 // RATE


def film(path: Path, *, frames: int = 6, width: int = 48, height: int = 32, seed: int = 0) -> Path:
    """A film that moves, with sound, in H.264."""
    noise = np.random.default_rng(seed).integers(60, 180, (height, width + frames), np.uint8)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=RATE, options={"g": "20", "threads": "1"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio: Any = container.add_stream("ac3", rate=48_000, layout="mono")
        for number in range(frames):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = noise[:, number : number + width]
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts = number
            container.mux(video.encode(frame))
            times = np.arange(number * _SAMPLES, (number + 1) * _SAMPLES)
            sound = av.AudioFrame.from_ndarray(np.sin(times / 20).astype(np.float32)[None], "fltp", "mono")
            sound.sample_rate, sound.pts = 48_000, number * _SAMPLES
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def sound_alone(path: Path) -> Path:
    """A file of a container of films that holds sound and nothing else."""
    with av.open(str(path), "w") as container:
        audio: Any = container.add_stream("aac", rate=48_000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        sound.sample_rate, sound.pts = 48_000, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


def animation(path: Path, *, frames: int = 3) -> Path:
    """A GIF."""
    shown = [Image.new("RGB", (12, 8), (60 * number % 250, 90, 0)) for number in range(frames)]
    shown[0].save(path, "GIF", save_all=True, append_images=shown[1:], duration=40)
    return path


def contents(path: Path) -> tuple[list[bytes], list[bytes]]:
    """The frames of a film, decoded, and the packets of its sound."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    return frames, packets
