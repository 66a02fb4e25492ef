"""Run one tile through one model, and put the result into its place in the output."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine import color
from xlsr_cli.engine.models import ModelSpec
from xlsr_cli.engine.pixels import Pixels
from xlsr_cli.engine.session import Session, is_out_of_memory
from xlsr_cli.engine.tiles import tiling
from xlsr_cli.engine.tiles.bounds import keep_within_sources
from xlsr_cli.engine.tiles.tiling import Region
from xlsr_cli.errors import ModelError, ResourceError
from xlsr_cli.options import Size

#: A tile that does not fit into memory is cut smaller, down to this side; smaller ones would not help.
SMALLEST_TILE = 32


def blank_tile(spec: ModelSpec, side: int) -> Pixels:
    """A black tile of ``side`` × ``side`` pixels, in the shape and dtype that the model takes.

    Of the model's only size, where it has one.
    """
    if spec.layout == "planes":
        from xlsr_cli.engine.runtimes.foreign import to_tensor

        size = spec.form.size or Size(width=side, height=side)
        blank = np.zeros((size.height, size.width, spec.input_channels), dtype=np.float32)
        return to_tensor(blank, spec.form)
    if spec.layout == "windows":
        return np.zeros((1, side - 2, side - 2, spec.input_channels), dtype=np.uint8)
    return np.zeros((1, side, side, spec.input_channels), dtype=np.float32)


def windows(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 3×3 around each pixel of ``tile``, uint8, as its channels: (H - 2, W - 2, C), words of four bytes.

    (H, W) gives three words, one a row: channel 4·i + j is row i, column j of the 3×3. (H, W, 3) BGR gives
    nine, one a pixel: channel 4·(3·i + j) + c is colour c of row i, column j. A word's fourth byte has no
    meaning.
    """
    height, width = tile.shape[0] - 2, tile.shape[1] - 2
    if tile.ndim == 2:
        columns = [tile[:, column : column + width] for column in range(3)]
        words = cv2.merge([*columns, columns[0]]).view(np.int32)[..., 0]
        parts = [words[row : row + height] for row in range(3)]
    else:
        words = np.asarray(cv2.cvtColor(tile, cv2.COLOR_BGR2BGRA)).view(np.int32)[..., 0]
        parts = [
            words[row : row + height, column : column + width] for row in range(3) for column in range(3)
        ]
    return np.asarray(cv2.merge(parts).view(np.uint8))


def run_tile(
    session: Session, pixels: Pixels, answer: Pixels, region: Region, keeps_range: bool = False
) -> None:
    """Compute ``region`` of the answer; where memory does not suffice, in four smaller tiles.

    ``pixels`` (H, W) or (H, W, 3) BGR, uint8 or uint16, is the whole picture; ``answer`` of the same dtype,
    scale times as large, gets the rows and columns that are ``region``'s, which is in pixels of the picture.
    With ``keeps_range`` a bundled model's answer is clipped to the range of the source pixels around.
    Raises :class:`ResourceError` where even small tiles do not fit, :class:`ModelError` where a model fails.
    """
    spec = session.spec
    if not _fits(region, spec):
        for quarter in tiling.quarters(region):
            run_tile(session, pixels, answer, quarter, keeps_range)
        return
    try:
        if spec.layout == "planes":
            _run_planes(session, pixels, answer, region)
        else:
            tile = tiling.cut(pixels, region, spec.halo or 0)
            tiling.place_runs(_run_runs(session, tile), answer, region, spec.scale)
            if keeps_range:
                keep_within_sources(tile, spec.halo or 0, answer, region, spec.scale)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        bound = spec.halo is None or spec.form.size is not None
        if bound or max(region.height, region.width) <= SMALLEST_TILE:
            raise ResourceError(
                f"not enough memory to run {spec.name}, even on small tiles; close other programs"
            ) from error
        for quarter in tiling.quarters(region):
            run_tile(session, pixels, answer, quarter, keeps_range)


def _fits(region: Region, spec: ModelSpec) -> bool:
    """Whether the model takes so large a region, with halo, at once."""
    size, halo = spec.form.size, spec.halo or 0
    return size is None or (region.height + 2 * halo <= size.height and region.width + 2 * halo <= size.width)


def _run_runs(session: Session, tile: Pixels) -> Pixels:
    """A bundled model on a tile with halo; the answer in the tile's dtype, (h, w, K)."""
    spec = session.spec
    if spec.layout == "windows":
        return np.asarray(session.run(windows(tile)[None])[0])
    top = np.float32(np.iinfo(tile.dtype).max)
    floats = tile.astype(np.float32) / top
    answer = session.run(floats.reshape(1, *tile.shape[:2], spec.input_channels))[0]
    answer *= top
    return np.asarray(np.rint(answer, out=answer).astype(tile.dtype))


def _run_planes(session: Session, pixels: Pixels, answer: Pixels, region: Region) -> None:
    """A foreign model on a tile with halo; its answer's halo is cut off.

    A model that takes one size only gets that size; what lies beyond the region's halo is dropped.
    """
    from xlsr_cli.engine.runtimes.foreign import from_tensor, to_tensor

    spec, halo = session.spec, session.spec.halo or 0
    tile = tiling.cut(pixels, region, halo, spec.form.size)
    top = np.float32(np.iinfo(tile.dtype).max)
    upscaled = from_tensor(session.run(to_tensor(_colours_of(tile, spec) / top, spec.form)), spec.form)
    height, width = tile.shape[0] * spec.scale, tile.shape[1] * spec.scale
    if upscaled.shape != (height, width, spec.colours):
        raise ModelError(
            f"the model {spec.path} answers {upscaled.shape[:2]} rows and columns to a picture of "
            f"{tile.shape[:2]}, which is not {spec.scale} times its size; it cannot take every size"
        )
    first = halo * spec.scale
    inner = upscaled[first:, first:][: region.height * spec.scale, : region.width * spec.scale]
    if not np.isfinite(inner).all():
        raise ModelError(f"the model {spec.path} answers values that are no numbers; nothing is written")
    levels = np.rint(np.clip(inner, 0.0, 1.0) * top).astype(tile.dtype)
    region.scaled(spec.scale).of(answer)[...] = _pixels_of(levels, tile.ndim)


def _colours_of(tile: Pixels, spec: ModelSpec) -> NDArray[np.float32]:
    """A tile (H, W) or (H, W, 3) BGR as float32 (H, W, C) of what the model takes: RGB or Y′."""
    if tile.ndim == 2:
        return np.repeat(tile[..., None], spec.input_channels, axis=2).astype(np.float32)
    return tile[..., ::-1].astype(np.float32)


def _pixels_of(levels: Pixels, dimensions: int) -> Pixels:
    """(H, W, C) of RGB or Y′ as the picture has them: (H, W), or (H, W, 3) BGR."""
    if dimensions == 3:
        return levels[..., ::-1]
    return levels[..., 0] if levels.shape[2] == 1 else color.gray_of(levels[..., ::-1])
