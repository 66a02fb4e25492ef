"""What the tests of films share."""

from __future__ import annotations

import pytest

from xlsr_cli.engine.upscaler import Upscaler


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    """One upscaler for all films of a module."""
    return Upscaler(threads=1)
