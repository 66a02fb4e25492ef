"""Pictures and a network for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SAMPLE = Path(__file__).resolve().parents[2] / "docs" / "sample" / "gae-aulenti.png"
FOREIGN = Path(__file__).resolve().parents[1] / "fixtures" / "nearest_x2.onnx"


def photo(width: int, height: int) -> np.ndarray:
    """A smooth colourful BGR picture, uint8."""
    coarse = np.random.default_rng(width).integers(
        0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8
    )
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def write(path: Path, pixels: np.ndarray) -> Path:
    """Encode by the name's suffix."""
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def foreign_model(path: Path) -> Path:
    """A copy of a network that is not ours: float NCHW in 0 … 1, each pixel becomes a square of four."""
    path.write_bytes(FOREIGN.read_bytes())
    return path
