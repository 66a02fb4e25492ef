"""What every job that enlarges frames tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from xlsr_cli.engine.restore import Compression
from xlsr_cli.notices import Notice
from xlsr_cli.options import Size


@dataclass(frozen=True, kw_only=True)
class FramesResult:
    """What became of a row of frames. The sizes are those of the first one.

    ``compression``: what the networks for all frames were chosen by, of the first one; None where they were
    told, and for a camera.
    """

    source: str
    output: str
    source_size: Size
    size: Size
    frames: int
    notices: tuple[Notice, ...] = ()
    compression: Compression | None = None
