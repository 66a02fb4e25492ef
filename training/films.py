"""Frames of compressed films to train on: moving patches, encoded by common encoders and decoded.

A clip is a mosaic of training patches, each seen through a window that moves over it at a speed of its own,
so frames have still and moving parts, and key frames and predicted ones look as in films. The clips are made
once, and always the same.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from training.data import Pair
from xlsr_cli.media.video.pyav import usual_scheduling
from xlsr_cli.quality.bicubic import shrink

Pixels = NDArray[np.uint8]
Random = np.random.Generator

#: Of the high-resolution patches: a window's side, and how far it moves in a clip at most.
WINDOW, TRAVEL = 240, 48
FRAMES = 8
#: Windows a side of the mosaic.
ACROSS = 4
#: Frames of each clip that are kept: the key frame and two predicted ones.
KEPT = 3
CLIPS = 100


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One encoder: how many of ten clips it makes, and its quantizer's range for each level."""

    share: int
    quantizer: str
    light: tuple[int, int]
    strong: tuple[int, int]
    options: tuple[tuple[str, str], ...] = ()


#: x264's and x265's crf, libvpx's and SVT-AV1's; of the older codecs the quantizer itself.
ENCODERS = {
    "libx264": Encoder(share=10, quantizer="crf", light=(12, 25), strong=(22, 38)),
    "libx265": Encoder(
        share=3, quantizer="crf", light=(14, 27), strong=(24, 40),
        options=(("preset", "fast"), ("x265-params", "log-level=none:pools=1")),
    ),
    "libvpx-vp9": Encoder(
        share=2, quantizer="crf", light=(14, 32), strong=(28, 54),
        options=(("b", "0"), ("deadline", "realtime"), ("cpu-used", "5")),
    ),
    "libsvtav1": Encoder(
        share=2, quantizer="crf", light=(14, 34), strong=(30, 56), options=(("preset", "10"),)
    ),
    "mpeg2video": Encoder(share=1, quantizer="qmin", light=(2, 4), strong=(4, 14)),
    "mpeg4": Encoder(share=1, quantizer="qmin", light=(2, 4), strong=(4, 14)),
    "mjpeg": Encoder(share=1, quantizer="qmin", light=(2, 4), strong=(4, 16)),
}  # fmt: skip
# SVT-AV1 prints its settings otherwise.
os.environ.setdefault("SVT_LOG", "1")


def film_pairs(pictures: list[Pair], level: str, scale: int, seed: int = 7) -> list[Pair]:
    """Luma pairs from films at ``level`` (light or strong) that are made of luma ``pictures``.

    Luma is of limited range, 16 to 235, as the luma models see it in films.
    """
    random = np.random.default_rng(seed)
    large = [pair.high for pair in pictures if min(pair.high.shape[:2]) >= WINDOW + TRAVEL]
    names = [name for name, encoder in ENCODERS.items() for _ in range(encoder.share)]
    pairs: list[Pair] = []
    for clip in range(CLIPS):
        name = names[clip % len(names)]
        encoder = ENCODERS[name]
        first, last = encoder.light if level == "light" else encoder.strong
        chosen = [large[index] for index in random.integers(0, len(large), ACROSS * ACROSS)]
        high = moving(chosen, random)
        low = [shrink(frame, scale) for frame in high]
        answer = through_encoder(low, name, int(random.integers(first, last + 1)))
        for index in (0, *(1 + random.choice(FRAMES - 1, KEPT - 1, replace=False))):
            pairs += _tiles(high[index], answer[index], scale)
    return pairs


def moving(patches: list[Pixels], random: Random) -> list[Pixels]:
    """FRAMES mosaics of luma ``patches`` (H, W, 1), 8 bits full range; the mosaics are of limited range."""
    speeds = random.integers(-(TRAVEL // FRAMES), TRAVEL // FRAMES + 1, (len(patches), 2))
    speeds[random.random(len(patches)) < 0.2] = 0
    frames = []
    for time in range(FRAMES):
        windows = [_window(patch, speed, time) for patch, speed in zip(patches, speeds, strict=True)]
        rows = [np.hstack(windows[first : first + ACROSS]) for first in range(0, len(windows), ACROSS)]
        limited = np.vstack(rows).astype(np.float32) * np.float32(219 / 255) + 16
        frames.append(np.rint(limited).astype(np.uint8))
    return frames


def _window(patch: Pixels, speed: NDArray[np.int64], time: int) -> Pixels:
    """The window on ``patch`` at ``time``; a window that moves backwards begins at the far end."""
    starts = [TRAVEL * (step < 0) + step * time for step in speed.tolist()]
    return patch[starts[0] : starts[0] + WINDOW, starts[1] : starts[1] + WINDOW]


def through_encoder(frames: list[Pixels], name: str, quantizer: int) -> list[Pixels]:
    """Luma ``frames`` (H, W, 1), encoded by FFmpeg's encoder ``name`` as gray 4:2:0, and decoded."""
    stream = io.BytesIO()
    encoder = ENCODERS[name]
    options = {**dict(encoder.options), encoder.quantizer: str(quantizer)}
    if encoder.quantizer == "qmin":
        options["qmax"] = str(quantizer)
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
    with usual_scheduling(), av.open(stream, "w", format="matroska") as file:
        track = cast(av.VideoStream, file.add_stream(name, rate=25, options=options))
        track.height, track.width, track.pix_fmt = height, width, pix_fmt
        track.thread_count = 1
        for frame in frames:
            file.mux(track.encode(_gray_frame(frame[:height, :width, 0], pix_fmt)))
        file.mux(track.encode())
    stream.seek(0)
    with av.open(stream, "r") as source:
        decoded = [_luma(frame) for frame in source.decode(video=0)]
    return [_like(plane, frame) for plane, frame in zip(decoded, frames, strict=True)]


def _gray_frame(luma: Pixels, pix_fmt: str) -> av.VideoFrame:
    height, width = luma.shape
    gray = np.full((height // 2, width), 128, dtype=np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([luma, gray]), format=pix_fmt)


def _luma(frame: av.VideoFrame) -> Pixels:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)
    return np.array(rows[: frame.height, : frame.width, None])


def _like(plane: Pixels, frame: Pixels) -> Pixels:
    """``plane`` with the odd last row and column of ``frame``, which no encoder took, repeated."""
    rows, columns = (want - have for want, have in zip(frame.shape[:2], plane.shape[:2], strict=True))
    return np.pad(plane, ((0, rows), (0, columns), (0, 0)), mode="edge")


def _tiles(high: Pixels, low: Pixels, scale: int) -> Iterator[Pair]:
    side = WINDOW // scale
    for row in range(ACROSS):
        for column in range(ACROSS):
            inside = (slice(row * WINDOW, (row + 1) * WINDOW), slice(column * WINDOW, (column + 1) * WINDOW))
            small = (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
            yield Pair(high=high[inside], low=low[small], compressed=True)
