"""What every job gets beside its input and output, and the result of those that enlarge frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from xlsr_cli.engine.restore import Compression
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.notices import Notice
from xlsr_cli.options import PictureOptions, Size, VideoOptions
from xlsr_cli.progress import QUIET, Progress


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked of one call. ``video``: for frames of any kind; pictures ignore it."""

    options: PictureOptions = field(default_factory=PictureOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    upscaler: Upscaler
    progress: Progress = QUIET


@dataclass(frozen=True, kw_only=True)
class FramesResult:
    """The result for a series of frames. The sizes are those of the first one.

    ``compression``: how strongly the first frame was compressed, by which the networks for all were chosen;
    None if the options chose them, and for a camera.
    """

    source: str
    output: Path
    source_size: Size
    size: Size
    frames: int
    notices: tuple[Notice, ...] = ()
    compression: Compression | None = None
