"""The function of the Python API; the command line is a thin layer over the same jobs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from xlsr_cli.declaration import assembled, takes_options_of
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import UsageError
from xlsr_cli.jobs.picture import PictureResult, upscale_file
from xlsr_cli.jobs.task import Task
from xlsr_cli.options import PictureOptions
from xlsr_cli.progress import QUIET, Progress


@takes_options_of(PictureOptions)
def upscale(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    progress: Progress = QUIET,
    **options: Any,
) -> PictureResult:
    """Enlarge the picture file ``source`` and write ``output``, by default ``<stem>_x2.<ext>`` beside it.

    ``options`` are those of ``xlsr upscale``. Sizes are numbers of bytes or pixels, without suffixes; ``fit``
    is a :class:`~xlsr_cli.options.Size` or (width, height). See :class:`~xlsr_cli.options.PictureOptions` and
    :class:`~xlsr_cli.options.EngineOptions`. Of an animation the first frame is enlarged. What was not kept
    is in the result's ``notices``. Raises a subclass of :class:`~xlsr_cli.errors.XlsrError`; ``output`` is
    then as it was before.
    """
    asked = assembled(PictureOptions, options)
    if asked.y4m:
        raise UsageError("format y4m is for streams; this function writes pictures")
    target = None if output is None else Path(output)
    with Upscaler.from_options(asked.engine, asked.target) as upscaler:
        return upscale_file(Path(source), target, Task(options=asked, upscaler=upscaler, progress=progress))
