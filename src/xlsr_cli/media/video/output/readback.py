"""Read a written film back and compare it with what was meant: its streams, and all of their packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from av.container import InputContainer

from xlsr_cli.errors import OutputError
from xlsr_cli.media.video import pyav
from xlsr_cli.media.video.demux import said
from xlsr_cli.media.video.output.mux import MuxPlan
from xlsr_cli.media.video.output.tracks import Comparison, Track, pair, read_tracks

#: After so many seconds the clock of an MPEG transport stream begins anew.
_TS_WRAP = Fraction(1 << 33, 90_000)
_READ_BLOCK = 1 << 18


def verify(file: Any, plan: MuxPlan, meant: Sequence[Track], *, name: str) -> None:
    """Compare ``file`` with ``meant``: all streams there, every packet of each there, each at its time.

    Raises :class:`OutputError` for the first difference.
    """
    try:
        with reopened(file, plan) as result:
            wrong = next(differences(meant, read_tracks(result), plan), None)
    except pyav.FAULTS as error:
        wrong = f"the output cannot be read back ({said(error)})"
    if wrong is not None:
        raise OutputError(f"{name}: {wrong}; the container cannot hold that, try an .mkv file")


def reopened(file: Any, plan: MuxPlan) -> InputContainer:
    """The written ``file``, opened from its start as what it is meant to be."""
    file.seek(0)
    return pyav.open_input(file, format=plan.container.reader, buffer_size=_READ_BLOCK)


def differences(
    meant: Sequence[Track], found: Sequence[Track], plan: MuxPlan, *, heads: bool = False
) -> Iterator[str]:
    """How ``found`` differs from ``meant``, one half of a sentence for each track that does."""
    pairs = list(zip(meant, pair(meant, found), strict=True))
    offset = next((_wraps(a, b, plan) for a, b in pairs if a.main and b is not None), Fraction(0))
    for track, after in pairs:
        base = track.base if after is None else after.base
        own = offset if after is None else offset + _cut_off(track, after, plan)
        comparison = Comparison(tick=_tick(track, base, plan), offset=own, heads=heads)
        wrong = comparison.difference(track, after)
        if wrong is not None:
            yield wrong


def _tick(track: Track, base: Fraction, plan: MuxPlan) -> Fraction:
    """By how much times of ``track`` may be off where ``base`` is the unit in which they came back.

    The sound of an AVI is counted in its own frames, on a film that was moved to its start: both round.
    """
    if not plan.container.constant:
        return plan.tick(base, track.base)
    return Fraction(0) if track.main else base + track.base


def _cut_off(meant: Track, found: Track, plan: MuxPlan) -> Fraction:
    """How much later a stream of an AVI begins than meant, where the film was cut within one of its packets:
    less than a frame. An AVI begins with all of its streams."""
    if not plan.container.constant or plan.cut.begin is None or meant.main:
        return Fraction(0)
    late = (found.first or Fraction(0)) - (meant.first or Fraction(0))
    return late if abs(late) <= 1 / plan.settings.rate else Fraction(0)


def _wraps(meant: Track, found: Track, plan: MuxPlan) -> Fraction:
    """Seconds in the turns of a transport stream's clock that a time of more than a turn has lost."""
    if plan.container.reader != "mpegts" or (meant.first or 0) < _TS_WRAP or found.first is None:
        return Fraction(0)
    return round((found.first - (meant.first or 0)) / _TS_WRAP) * _TS_WRAP
