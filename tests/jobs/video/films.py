"""Small films that were faults once (tests/fixtures/film), and how a test enlarges one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.jobs.task import Task
from xlsr_cli.jobs.video.run import VideoResult, upscale_video
from xlsr_cli.options import EngineOptions, PictureOptions, Target, VideoOptions

FIXTURES = Path(__file__).parents[2] / "fixtures" / "film"


def run(
    source: Path,
    output: Path,
    upscaler: Upscaler,
    *,
    target: Target | None = None,
    engine: EngineOptions | None = None,
    strict: bool = False,
    overwrite: bool = False,
    **video: Any,
) -> VideoResult:
    """Enlarge ``source`` into ``output``."""
    options = PictureOptions(
        target=target or Target(), engine=engine or EngineOptions(), strict=strict, overwrite=overwrite
    )
    return upscale_video(
        source, output, Task(options=options, video=VideoOptions(**video), upscaler=upscaler)
    )


def codes(result: VideoResult) -> set[str]:
    """The codes of all notices."""
    return {notice.code for notice in result.notices}


def lost(result: VideoResult) -> set[str]:
    """The codes of the notices that are losses."""
    return {notice.code for notice in result.notices if notice.loss}
