"""The type of pixels, the same in the whole package."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

#: uint8 or uint16, rows first. Each docstring tells shapes and the order of channels.
Pixels = NDArray[Any]
