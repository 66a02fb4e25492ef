"""The folder that a batch works on."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, with room beside it for the output."""
    made = tmp_path / "in"
    made.mkdir()
    return made
