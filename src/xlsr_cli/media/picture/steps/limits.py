"""What is refused by its size alone, before it is decoded or encoded."""

from __future__ import annotations

from xlsr_cli.errors import InputError, OutputError
from xlsr_cli.formats import PICTURE_FORMATS, PictureFormat, still_of
from xlsr_cli.options import Size


def check_pixels(size: Size, name: str, max_pixels: int) -> None:
    """Raise :class:`InputError` for a picture of more than ``max_pixels``."""
    if size.pixels > max_pixels:
        raise InputError(
            f"{name} claims {size} pixels and --max-pixels allows {max_pixels}; "
            "raise it if you trust the file"
        )


def check_limits(format: PictureFormat, size: Size) -> None:
    """Raise :class:`OutputError` when a picture of ``size`` does not fit into ``format``."""
    capabilities = still_of(format)
    sides = (size.width, size.height)
    if capabilities.holds(sides):
        return
    limit = f"{capabilities.most_pixels} pixels"
    if max(sides) > capabilities.longest_side:
        limit = f"{capabilities.longest_side} pixels a side"
    remedy = "ask for a smaller size"
    if (roomier := next((name for name in PICTURE_FORMATS if still_of(name).holds(sides)), None)) is not None:
        remedy = f"choose another format, such as --format {roomier}"
    raise OutputError(f"{capabilities.shown} holds at most {limit} and the result would be {size}; {remedy}")
