"""Refuse pictures that need more memory than the control group of this process grants."""

from __future__ import annotations

from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import ResourceError
from xlsr_cli.options import Size

#: Bytes of memory of the process with all libraries loaded, measured.
PROCESS_MEMORY = 110 << 20


def check_memory(
    name: str, source: Size, target: Size, *, channels: int, depth: int, held: int, upscaler: Upscaler
) -> None:
    """Refuse a picture before any work, by its size.

    ``channels`` (1 to 4) and ``depth`` (bits) are those of the picture; ``held`` are bytes that are in memory
    besides it. Raises :class:`ResourceError`; does nothing where there is no limit.
    """
    if upscaler.memory_limit is not None:
        needed = upscaler.peak_memory(source, channels=channels, depth=depth, size=target)
        refuse_beyond(upscaler.memory_limit, PROCESS_MEMORY + held + needed, name)


def refuse_beyond(limit: int | None, needed: int, name: str) -> None:
    """Raise :class:`ResourceError` where ``needed`` bytes are more than ``limit``, if there is one."""
    if limit is not None and needed > limit:
        raise ResourceError(
            f"{name} needs about {needed >> 20} MB of memory and this control group grants {limit >> 20} MB; "
            "ask for a smaller size, or run it where there is more"
        )
