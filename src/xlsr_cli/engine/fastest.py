"""Run a network in the fastest runtime of this machine; all of them give the same bytes."""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xlsr_cli.engine.models import ModelSpec, load_bytes
from xlsr_cli.engine.runtimes.plugins import PLUG_INS, PlugIn
from xlsr_cli.engine.session import Session
from xlsr_cli.options import EngineOptions

log = logging.getLogger(__name__)

#: Seconds of work after which starting another runtime is likely to save more than it costs.
PAYS_AFTER = 1.0
#: Number of tiles that each runtime is timed on. The best time counts: a busy core makes others longer.
ROUNDS = 4

#: Plug-ins that could not be started in this process; they are not tried again.
_broken: set[str] = set()


def open_session(spec: ModelSpec, options: EngineOptions, *, callers: int) -> Session:
    """The model ``spec`` for ``callers`` calls at once, in the runtime that ``options.provider`` names.

    ``auto`` takes the fastest for models whose bytes are the same in all of them. The others stay on the CPU
    provider, as does all work under a limit of memory: another runtime takes some 100 MB more. Raises
    :class:`~xlsr_cli.errors.ModelError` for a damaged file, :class:`~xlsr_cli.errors.ResourceError` for a
    provider that was named and does not work.
    """
    if options.provider == "auto" and spec.precision == "int8" and options.max_memory is None:
        return FastestSession(spec, callers=callers)
    return Session.bundled(spec, provider=options.provider, callers=callers)


class FastestSession(Session):
    """A :class:`Session` that begins on onnxruntime's CPU kernels and moves to a faster runtime.

    Once the work has taken :data:`PAYS_AFTER`, each plug-in that is installed is started, must give the
    model's golden answer, and then takes turns with the runtime used so far, on tiles that have to be
    computed anyway. One that fails, is slower, or gives other bytes is dropped, and the work goes on. The
    log says what became of each.
    """

    def __init__(self, spec: ModelSpec, *, callers: int) -> None:
        self.spec, self.ends_soon = spec, True
        self._content = load_bytes(spec)
        self._callers = callers
        self._used = Session(spec, self._content)
        self._untried = [plug_in for plug_in in PLUG_INS if plug_in.name not in _broken]
        self._trial: _Trial | None = None
        self._spent = 0.0
        self._starting = threading.Lock()

    def run(self, tile: NDArray[Any], *, last: bool = False) -> NDArray[Any]:
        """As :meth:`Session.run`; the first runs after :data:`PAYS_AFTER` may take longer."""
        if last:
            return self._used.run(tile, last=True)
        if not (self._untried or self._trial):
            return self._used.run(tile)
        if self._trial is None and self._spent >= PAYS_AFTER:
            self._start_next()
        trial = self._trial
        if trial is not None:
            answer = trial.run(tile)
            self._settle(trial)
            return answer
        started = time.perf_counter()
        answer = self._used.run(tile)
        self._spent += time.perf_counter() - started
        return answer

    def stop(self) -> None:
        """Nothing to do: these models run on tiles, which end by themselves."""

    def _start_next(self) -> None:
        """Start the next plug-in in this thread; the others go on as before."""
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._trial is None and self._untried:
                plug_in = self._untried[0]
                challenger = self._started(plug_in) if plug_in.is_installed else None
                if challenger is not None:
                    self._trial = _Trial(plug_in.name, self._used, challenger)
                self._untried = self._untried[1:]
        finally:
            self._starting.release()

    def _started(self, plug_in: PlugIn) -> Session | None:
        """The model in ``plug_in``, its golden answer proved; None where that fails."""
        from xlsr_cli.engine.golden import answers_golden

        try:
            session = Session(
                self.spec, self._content, provider=plug_in.name, callers=self._callers, alone=True
            )
        except Exception as error:
            if plug_in.name not in _broken:
                log.info("%s is not used: %s", plug_in.name, error)
            _broken.add(plug_in.name)
            return None
        try:
            if answers_golden(session):
                return session
            log.info("%s is not used for %s: it gives other bytes", plug_in.name, self.spec.name)
        except Exception as error:
            log.info("%s is not used for %s: %s", plug_in.name, self.spec.name, error)
        return None

    def _settle(self, trial: _Trial) -> None:
        """Take the winner of ``trial`` once there is one."""
        if trial.verdict is None:
            return
        with self._starting:
            if self._trial is trial:
                self._used, self._trial = trial.winner, None
                log.info("%s", f"{trial.name} is {trial.verdict} for {self.spec.name}: {trial.reason}")


class _Trial:
    """``challenger``, called ``name``, and the session ``used`` so far compute tiles in turn.

    Safe to use from several threads at once. ``verdict`` is None until it is decided; ``reason`` says why.
    """

    def __init__(self, name: str, used: Session, challenger: Session) -> None:
        self.name = name
        self.winner = used
        self.verdict: Literal["used", "not used"] | None = None
        self.reason = ""
        self._used, self._challenger = used, challenger
        self._times: dict[Session, list[float]] = {used: [], challenger: []}
        self._turns = itertools.count()
        self._compared = False
        self._lock = threading.Lock()

    def run(self, tile: NDArray[Any]) -> NDArray[Any]:
        """Run the session whose turn it is; on the first tile both, whose answers must be the same."""
        turn = next(self._turns)
        if turn % 2 and self._compared and not self.verdict:
            try:
                return self._timed(self._challenger, tile)
            except Exception as error:
                self._drop(str(error))
                return self._used.run(tile)
        answer = self._timed(self._used, tile)
        if turn == 0:
            self._compare(tile, answer)
        return answer

    def _compare(self, tile: NDArray[Any], answer: NDArray[Any]) -> None:
        """The challenger's first run, which is not timed: it prepares what later runs find ready."""
        try:
            if not np.array_equal(self._challenger.run(tile), answer):
                self._drop("it gives other bytes")
        except Exception as error:
            self._drop(str(error))
        self._compared = True

    def _timed(self, session: Session, tile: NDArray[Any]) -> NDArray[Any]:
        started = time.perf_counter()
        answer = session.run(tile)
        elapsed = time.perf_counter() - started
        with self._lock:
            self._times[session].append(elapsed / math.prod(tile.shape))
            if self.verdict is None and min(map(len, self._times.values())) >= ROUNDS:
                self._judge()
        return answer

    def _judge(self) -> None:
        ratio = min(self._times[self._used]) / min(self._times[self._challenger])
        self.reason = f"{ratio:.2f} times as fast as what ran before"
        self.verdict = "used" if ratio > 1 else "not used"
        if ratio > 1:
            self.winner = self._challenger

    def _drop(self, reason: str) -> None:
        with self._lock:
            if self.verdict is None:
                self.verdict, self.reason = "not used", reason
