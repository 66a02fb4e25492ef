"""Warnings about the installation, before work begins."""

from __future__ import annotations

from xlsr_cli.cli.console import console
from xlsr_cli.installation import opencv_clash
from xlsr_cli.notices import Notice


def warn_of_clash() -> None:
    """Warn if several distributions of OpenCV overwrite each other; the work goes on."""
    clash = opencv_clash()
    if clash is not None:
        message = f"{clash}; 'xlsr doctor' says what to do"
        console.notices("installation", [Notice(code="opencv-clash", message=message)])
