"""Pictures from a folder, their low-resolution twins, and random training crops."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.compress import MARGIN, NEAR_LOSSLESS, Level, compress
from training.network import HALO
from xlsr_cli.quality.bicubic import imresize, shrink, to_uint8

Pixels = NDArray[np.uint8]

#: Every n-th picture of the folder is held out and scored during training, never trained on.
HOLD_OUT_EVERY = 40


class NoPictures(Exception):
    """The folder holds nothing to train on; the message says which folder and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture and its shrunk twin: uint8, (H·s, W·s, C) and (H, W, C), C = 3 (BGR) or 1 (luma).

    ``weight`` is how much its squared errors count (:mod:`training.loss`). A ``compressed`` twin has been
    through a codec already.
    """

    high: Pixels
    low: Pixels
    weight: float = 1.0
    compressed: bool = False


def full_range_luma(bgr: Pixels) -> Pixels:
    """BT.601 full-range Y′ of a uint8 BGR picture (H, W, 3), as uint8 (H, W, 1)."""
    weights = np.array([0.114, 0.587, 0.299], dtype=np.float32)
    return np.asarray(np.floor(bgr.astype(np.float32) @ weights + 0.5).astype(np.uint8)[..., None])


def load_pairs(folder: Path, scale: int, colours: int, min_side: int = 64) -> list[Pair]:
    """Every picture below ``folder`` that OpenCV reads and that is at least ``min_side`` pixels a side.

    Low-resolution twins are made by MATLAB's bicubic. Raises :class:`NoPictures` when nothing is left.
    """
    if not folder.is_dir():
        raise NoPictures(f"{folder} is not a folder; give one that holds training pictures")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor() as pool:
        loaded = pool.map(lambda path: _load_pair(path, scale, colours, min_side), files)
        pairs = [pair for pair in loaded if pair is not None]
    if not pairs:
        raise NoPictures(
            f"{folder} holds no picture of at least {min_side}x{min_side} pixels that OpenCV can read"
        )
    return pairs


def _load_pair(path: Path, scale: int, colours: int, min_side: int) -> Pair | None:
    encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if decoded is None or min(decoded.shape[:2]) < min_side:
        return None
    height, width = (side // scale * scale for side in decoded.shape[:2])
    high: Pixels = np.asarray(decoded[:height, :width], dtype=np.uint8)
    low = shrink(high, scale)
    if colours == 1:
        return Pair(high=full_range_luma(high), low=full_range_luma(low))
    return Pair(high=high, low=low)


def hold_out(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """(training pairs, held-out pairs); with too few pictures to spare any, the second is empty."""
    held = pairs[::HOLD_OUT_EVERY] if len(pairs) >= HOLD_OUT_EVERY else []
    return [pair for index, pair in enumerate(pairs) if not held or index % HOLD_OUT_EVERY], held


def keep_pairs(
    path: Path, make: Callable[[], tuple[list[Pair], list[Pair]]]
) -> tuple[list[Pair], list[Pair]]:
    """The training and held-out pairs of ``make``, which takes minutes, cached in the file ``path``."""
    if not path.exists():
        _store_pairs(path, *make())
    with np.load(path) as stored:
        compressed = stored["compressed"]
        pairs = [
            Pair(high=stored[f"high{index}"], low=stored[f"low{index}"], compressed=bool(flag))
            for index, flag in enumerate(compressed)
        ]
        first_held = int(stored["first_held"])
    return pairs[:first_held], pairs[first_held:]


def _store_pairs(path: Path, training: list[Pair], held: list[Pair]) -> None:
    pairs = [*training, *held]
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"first_held": np.array(len(training)), "compressed": np.array([p.compressed for p in pairs])}
    for index, pair in enumerate(pairs):
        arrays |= {f"high{index}": pair.high, f"low{index}": pair.low}
    unfinished = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(unfinished, **arrays)  # type: ignore[arg-type]
    os.replace(unfinished, path)


def listing_hash(folder: Path, *more: object) -> str:
    """A short hash of the list of files in ``folder`` and of ``more``."""
    listed = sorted((str(path), path.stat().st_size) for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(repr((listed, *more)).encode()).hexdigest()[:16]


def shrunk_too(pairs: list[Pair], scale: int, factors: list[float]) -> list[Pair]:
    """``pairs``, and each picture shrunk by each of ``factors`` as well: shrunk pictures are sharper."""
    return pairs + [_shrunk(pair, scale, factor) for factor in factors for pair in pairs]


def _shrunk(pair: Pair, scale: int, factor: float) -> Pair:
    height, width = (round(side * factor) // scale * scale for side in pair.high.shape[:2])
    high = to_uint8(imresize(pair.high, height, width))
    return Pair(high=high, low=shrink(high, scale))


def middle(pair: Pair, scale: int, side: int = 64) -> Pair:
    """The middle of ``pair``: at most ``side`` × ``side`` pixels of the twin, and the same of the picture."""
    top, left = (max(0, (length - side) // 2) for length in pair.low.shape[:2])
    low = pair.low[top : top + side, left : left + side]
    rows, columns = (
        slice(at * scale, (at + length) * scale)
        for at, length in zip((top, left), low.shape[:2], strict=True)
    )
    return replace(pair, low=low, high=pair.high[rows, columns])


def compressed(pairs: list[Pair], level: Level | None, seed: int = 0) -> list[Pair]:
    """``pairs`` with each twin compressed as a whole at ``level``, for scoring and weighing."""
    if level is None:
        return pairs
    random = np.random.default_rng(seed)
    return [
        pair if pair.compressed else replace(pair, low=compress(pair.low, level, random), compressed=True)
        for pair in pairs
    ]


class Crops:
    """An endless source of random crops with random flips and rotations.

    ``crop`` counts low-resolution pixels, halo included; the target covers what the network can answer
    for: (crop - 10)·s pixels a side. ``intensities`` are the paper's random brightness factors. The
    first ``flat`` crops of each batch are plain colours or ramps, pure ones among them: photographs hold few,
    and 8-bit networks tint them unless they are trained not to. Their weight is ``flat_weight``. All
    crops but the share ``clean`` are compressed at ``level``, or, the share ``near_lossless``, hardly at all.
    """

    def __init__(
        self,
        pairs: list[Pair],
        *,
        scale: int,
        crop: int,
        batch: int,
        intensities: list[float],
        seed: int,
        flat: int = 0,
        flat_weight: float = 1.0,
        level: Level | None = None,
        clean: float = 0.0,
        near_lossless: float = 0.0,
    ) -> None:
        self.pairs = [pair for pair in pairs if min(pair.low.shape[:2]) >= crop]
        if not self.pairs:
            raise NoPictures(f"no training picture is {crop * scale} pixels a side or more; lower 'crop'")
        self.scale, self.crop, self.batch = scale, crop, batch
        self.flat, self.flat_weight = flat, flat_weight
        self.level, self.clean, self.near_lossless = level, clean, near_lossless
        self.intensities = np.asarray(intensities, dtype=np.float32)
        self.random = np.random.default_rng(seed)

    def next(self) -> tuple[Tensor, Tensor, Tensor]:
        """(low, high, weight), float32, pictures in 0 … 1.

        Shapes: (N, C, crop, crop), (N, C, (crop-10)·s, (crop-10)·s) and (N,).
        """
        cut = [self._plain() if place < self.flat else self._cut() for place in range(self.batch)]
        gain = self.random.choice(self.intensities, size=(self.batch, 1, 1, 1)).astype(np.float32) / 255.0
        low, high, weight = zip(*cut, strict=True)
        return _to_tensor(np.stack(low), gain), _to_tensor(np.stack(high), gain), torch.tensor(weight)

    def _plain(self) -> tuple[Pixels, Pixels, float]:
        """A plain colour or, as often, a ramp; each channel black, full or anything between."""
        channels = self.pairs[0].low.shape[2]
        colour = np.asarray(np.clip(self.random.integers(-128, 384, channels), 0, 255), dtype=np.float32)
        slope = self.random.normal(0.0, 4.0, (2, channels)).astype(np.float32)
        slope *= np.float32(self.random.integers(2))
        if self.random.integers(2):
            colour[:], slope[:] = colour[0], slope[:, :1]
        inner = (self.crop - 2 * HALO) * self.scale
        low, high = _ramp(colour, slope, self.crop), _ramp(colour, slope / np.float32(self.scale), inner)
        return low, high, self.flat_weight

    def _cut(self) -> tuple[Pixels, Pixels, float]:
        pair = self.pairs[self.random.integers(len(self.pairs))]
        whole_low, whole_high = self._turn(pair.low, pair.high, int(self.random.integers(8)))
        top = int(self.random.integers(whole_low.shape[0] - self.crop + 1))
        left = int(self.random.integers(whole_low.shape[1] - self.crop + 1))
        low = whole_low[top : top + self.crop, left : left + self.crop]
        level = None if pair.compressed else self._level()
        if level is not None:
            low = self._compressed(whole_low, top, left, level)
        inner, scale = self.crop - 2 * HALO, self.scale
        rows, columns = (slice((at + HALO) * scale, (at + HALO + inner) * scale) for at in (top, left))
        return low, whole_high[rows, columns], pair.weight

    def _level(self) -> Level | None:
        """The level of the next crop; None leaves it clean."""
        # Recipes without such a share draw no number here, so that they still see the same crops.
        if self.near_lossless > 0 and self.random.random() >= 1 - self.near_lossless:
            return NEAR_LOSSLESS
        if self.clean > 0 and self.random.random() < self.clean:
            return None
        return self.level

    def _compressed(self, whole: Pixels, top: int, left: int, level: Level) -> Pixels:
        """The crop of ``whole``, compressed together with a random margin."""
        before = self.random.integers(0, MARGIN, 2)
        rows, columns = min(top, int(before[0])), min(left, int(before[1]))
        end = self.crop + MARGIN // 2
        around = compress(whole[top - rows : top + end, left - columns : left + end], level, self.random)
        return around[rows : rows + self.crop, columns : columns + self.crop]

    @staticmethod
    def _turn(low: Pixels, high: Pixels, symmetry: int) -> tuple[Pixels, Pixels]:
        """One of the square's eight symmetries, the same for both pictures."""
        turned = [np.rot90(picture, symmetry % 4) for picture in (low, high)]
        if symmetry >= 4:
            turned = [picture[:, ::-1] for picture in turned]
        return turned[0], turned[1]


def _ramp(colour: NDArray[np.float32], slope: NDArray[np.float32], side: int) -> Pixels:
    """``colour`` in the middle of ``side`` × ``side`` pixels, changing by ``slope`` (2, C) a pixel."""
    place = np.arange(side, dtype=np.float32)[:, None] - (side - 1) / 2
    pixels = colour + place[:, None] * slope[0] + place[None] * slope[1]
    return np.asarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _to_tensor(pictures: Pixels, gain: NDArray[np.float32]) -> Tensor:
    scaled = pictures.astype(np.float32) * gain
    return torch.from_numpy(scaled).permute(0, 3, 1, 2)  # stays channels_last in memory
