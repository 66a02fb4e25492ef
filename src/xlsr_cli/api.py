"""The function of the Python API; the command line is a thin layer over the same jobs."""

from __future__ import annotations

import os
from pathlib import Path

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.picture import PictureResult, default_output, read_source, upscale_file
from xlsr_cli.media.picture.image import probe
from xlsr_cli.options import (
    DEFAULT_MAX_PIXELS,
    ColorMode,
    EngineOptions,
    PictureFormat,
    PictureOptions,
    Precision,
    Size,
    Target,
)
from xlsr_cli.progress import QUIET, Progress


def upscale(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_edge: int | None = None,
    fit: tuple[int, int] | None = None,
    model: str | None = None,
    color: ColorMode = "auto",
    precision: Precision = "auto",
    tile: int | None = None,
    halo: int | None = None,
    threads: int | None = None,
    provider: str = "cpu",
    max_memory: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    format: PictureFormat | None = None,
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress = QUIET,
) -> PictureResult:
    """Enlarge the picture file ``source`` and write ``output``, by default ``<stem>_x2.<ext>`` beside it.

    The arguments are the options of ``xlsr upscale``, in bytes and pixels where those have suffixes; see
    :class:`~xlsr_cli.options.PictureOptions` and :class:`~xlsr_cli.options.EngineOptions`. Of an animation
    the first frame is enlarged. What was not kept is in the result's ``notices``. Raises a subclass of
    :class:`~xlsr_cli.errors.XlsrError`; ``output`` is then as it was before.
    """
    options = PictureOptions(
        target=Target(
            scale=scale,
            width=width,
            height=height,
            long_edge=long_edge,
            fit=None if fit is None else Size(width=fit[0], height=fit[1]),
        ),
        engine=EngineOptions(
            model=model,
            color=color,
            precision=precision,
            tile=tile,
            halo=halo,
            threads=threads,
            provider=provider,
            max_memory=max_memory,
        ),
        format=format,
        quality=quality,
        lossless=lossless,
        strip=strip,
        strict=strict,
        overwrite=overwrite,
        max_pixels=max_pixels,
    )
    path = Path(source)
    if output is None:
        target = default_output(path, options, probe(read_source(path), str(path)))
    else:
        target = Path(output)
    upscaler = Upscaler.from_options(options.engine, options.target)
    try:
        return upscale_file(path, target, options, upscaler=upscaler, progress=progress)
    finally:
        upscaler.close()
