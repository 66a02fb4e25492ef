"""The small inputs that earlier versions failed on; each is named after what is in it."""

from __future__ import annotations

from pathlib import Path

CASES = Path(__file__).parent / "fixtures" / "cases"
