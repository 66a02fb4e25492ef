"""Read what somebody else may have made endless."""

from __future__ import annotations

import io
from typing import BinaryIO

#: A read asks for no more at once: Python makes room for all that it asks for, there or not.
_BLOCK = 1 << 20


def read_at_most(stream: BinaryIO, most: int) -> bytes | None:
    """The rest of ``stream``; None where that is more than ``most`` bytes, of which no more is read.

    Takes no more memory than there are bytes, whatever ``most`` is. Raises :class:`OSError`.
    """
    held = io.BytesIO()
    while held.tell() <= most:
        block = stream.read(_BLOCK)
        if not block:
            return held.getvalue()
        held.write(block)
    return None
