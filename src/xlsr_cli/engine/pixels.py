"""What pixels are, in every room."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

#: uint8 or uint16, rows first; which shapes and which order of channels, each docstring says.
Pixels = NDArray[Any]
