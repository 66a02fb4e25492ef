"""What the results of all jobs that enlarge frames have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xlsr_cli.engine.restore import Compression
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size


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
