"""Which part of a source goes into the output."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A part, in seconds of the source's clock.

    ``begin`` and ``end`` bound it, None being open; ``shift`` is added to every time.
    """

    begin: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)

    def holds(self, time: Fraction) -> bool:
        """Whether a packet of this time belongs to it."""
        return (self.begin is None or time >= self.begin) and (self.end is None or time < self.end)


WHOLE = Cut()
