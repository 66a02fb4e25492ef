"""What every job gets beside its input and output."""

from __future__ import annotations

from dataclasses import dataclass, field

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.options import PictureOptions, VideoOptions
from xlsr_cli.progress import QUIET, Progress


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked of one call. ``video``: for frames of any kind; pictures ignore it."""

    options: PictureOptions = field(default_factory=PictureOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    upscaler: Upscaler
    progress: Progress = QUIET
