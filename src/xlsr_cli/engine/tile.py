"""One tile through one model, by the model's layout, into its place in the answer."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine import color, tiling
from xlsr_cli.engine.models import ModelSpec
from xlsr_cli.engine.session import Session, is_out_of_memory
from xlsr_cli.engine.tiling import Region
from xlsr_cli.errors import ModelError, ResourceError

Pixels = NDArray[Any]

#: A tile that did not fit memory is cut smaller, down to this side; below, memory is truly gone.
SMALLEST_TILE = 32


def blank_tile(spec: ModelSpec, side: int) -> Pixels:
    """A black tile of ``side`` × ``side`` pixels, in the shape and dtype that the model takes."""
    if spec.layout == "planes":
        return np.zeros((1, 3, side, side), dtype=np.float32)
    dtype = np.uint8 if spec.precision == "int8" else np.float32
    inner = side - 2 if spec.layout == "windows" else side
    return np.zeros((1, inner, inner, spec.input_channels), dtype=dtype)


def windows(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 3×3 around each pixel of ``tile``, uint8 (H, W), as its channels: (H - 2, W - 2, 12).

    Channel 4·i + j is row i, column j of the 3×3 for j < 3; what j = 3 holds has no meaning. So a row of the
    window is one word of four bytes, and the window three words.
    """
    width = tile.shape[1] - 2
    columns = [tile[:, column : column + width] for column in range(3)]
    words = cv2.merge([*columns, columns[0]]).view(np.int32)[..., 0]
    rows = [words[row : row + tile.shape[0] - 2] for row in range(3)]
    return np.asarray(cv2.merge(rows).view(np.uint8))


def model_input(tile: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.uint8]:
    """A tile with halo, uint8 (H, W) or (H, W, 3) BGR, as the int8 model ``spec`` takes it: (1, H, W, C)."""
    return (windows(tile) if spec.layout == "windows" else color.padded_to_four(tile))[None]


def run_tile(session: Session, pixels: Pixels, answer: Pixels, region: Region) -> None:
    """Compute ``region`` of the answer; where memory does not suffice, in four smaller tiles.

    ``pixels`` (H, W) or (H, W, 3) BGR, uint8 or uint16, is the whole picture; ``answer`` of the same dtype,
    scale times as large, gets the rows and columns that are ``region``'s, which is in pixels of the picture.
    Raises :class:`ResourceError` where even small tiles do not fit, :class:`ModelError` where a model fails.
    """
    try:
        tile = tiling.cut(pixels, region, session.spec.halo or 0)
        if session.spec.layout == "planes":
            _run_planes(session, tile, answer, region)
        else:
            tiling.place_runs(_run_runs(session, tile), answer, region, session.spec.scale)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        quarters = tiling.quarters(region)
        if session.spec.halo is None or max(region.height, region.width) <= SMALLEST_TILE:
            raise ResourceError(
                f"not enough memory to run {session.spec.name}, even on small tiles; close other programs"
            ) from error
        for quarter in quarters:
            run_tile(session, pixels, answer, quarter)


def _run_runs(session: Session, tile: Pixels) -> Pixels:
    """A bundled model on a tile with halo; the answer in the tile's dtype, (h, w, K)."""
    spec = session.spec
    if spec.precision == "int8":
        return np.asarray(session.run(model_input(tile, spec))[0])
    top = np.float32(np.iinfo(tile.dtype).max)
    floats = tile.astype(np.float32) / top
    answer = session.run(floats.reshape(1, *tile.shape[:2], spec.input_channels))[0]
    answer *= top
    return np.asarray(np.rint(answer, out=answer).astype(tile.dtype))


def _run_planes(session: Session, tile: Pixels, answer: Pixels, region: Region) -> None:
    """A model from outside on a tile with halo; its answer's halo is cut off."""
    spec = session.spec
    top = np.float32(np.iinfo(tile.dtype).max)
    bgr = tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, axis=2)
    planes = np.ascontiguousarray(bgr[..., ::-1].transpose(2, 0, 1), dtype=np.float32)[None] / top
    upscaled = session.run(planes)[0]
    height, width = tile.shape[0] * spec.scale, tile.shape[1] * spec.scale
    if upscaled.shape != (3, height, width):
        raise ModelError(
            f"the model {spec.path} answers {upscaled.shape[1:]} rows and columns to a picture of "
            f"{tile.shape[:2]}, which is not {spec.scale} times its size; it cannot take every size"
        )
    border = (spec.halo or 0) * spec.scale
    inner = upscaled[:, border : height - border, border : width - border]
    if not np.isfinite(inner).all():
        raise ModelError(f"the model {spec.path} answers values that are no numbers; nothing is written")
    bgr_answer = np.rint(np.clip(inner, 0.0, 1.0) * top).astype(tile.dtype).transpose(1, 2, 0)[..., ::-1]
    target = region.scaled(spec.scale).of(answer)
    target[...] = bgr_answer if tile.ndim == 3 else color.gray_of(bgr_answer)
