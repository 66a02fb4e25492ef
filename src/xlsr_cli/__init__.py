"""Super-resolution on the CPU: quantized XLSR models, the same pixels on every machine.

>>> from xlsr_cli import Upscaler, upscale
>>> upscale("in.png", "out.png", scale=2)  # doctest: +SKIP
>>> larger = Upscaler(scale=3)(pixels)  # doctest: +SKIP

Importing the package is cheap: heavy modules are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from xlsr_cli.errors import (
    BelowThresholdError,
    ExitCode,
    InputError,
    ItemsFailedError,
    ModelError,
    NotKeptError,
    OutputError,
    ResourceError,
    UsageError,
    XlsrError,
)

if TYPE_CHECKING:
    from xlsr_cli.api import upscale
    from xlsr_cli.engine.estimate import Plan
    from xlsr_cli.engine.tiles.reuse import FrameReuse, Reuse
    from xlsr_cli.engine.upscaler import Upscaler
    from xlsr_cli.jobs.picture import PictureResult
    from xlsr_cli.notices import Notice
    from xlsr_cli.options import EngineOptions, PictureOptions, Size, Target, VideoOptions
    from xlsr_cli.progress import Progress

__version__ = "0.1.0"

__all__ = [
    "BelowThresholdError",
    "EngineOptions",
    "ExitCode",
    "FrameReuse",
    "InputError",
    "ItemsFailedError",
    "ModelError",
    "NotKeptError",
    "Notice",
    "OutputError",
    "PictureOptions",
    "PictureResult",
    "Plan",
    "Progress",
    "ResourceError",
    "Reuse",
    "Size",
    "Target",
    "Upscaler",
    "UsageError",
    "VideoOptions",
    "XlsrError",
    "__version__",
    "upscale",
]

_LAZY = {
    "EngineOptions": "xlsr_cli.options",
    "Notice": "xlsr_cli.notices",
    "PictureOptions": "xlsr_cli.options",
    "PictureResult": "xlsr_cli.jobs.picture",
    "Plan": "xlsr_cli.engine.estimate",
    "Progress": "xlsr_cli.progress",
    "FrameReuse": "xlsr_cli.engine.tiles.reuse",
    "Reuse": "xlsr_cli.engine.tiles.reuse",
    "Size": "xlsr_cli.options",
    "Target": "xlsr_cli.options",
    "Upscaler": "xlsr_cli.engine.upscaler",
    "VideoOptions": "xlsr_cli.options",
    "upscale": "xlsr_cli.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
