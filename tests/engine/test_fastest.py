"""The fastest runtime does the work, and a bad one costs nothing but a line under --verbose."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xlsr_cli.engine import fastest
from xlsr_cli.engine.fastest import ROUNDS, FastestSession, open_session
from xlsr_cli.engine.models import ModelSpec, bundled_model
from xlsr_cli.engine.runtimes import plugins
from xlsr_cli.engine.runtimes.plugins import PlugIn
from xlsr_cli.engine.session import Session
from xlsr_cli.errors import ResourceError
from xlsr_cli.options import EngineOptions

SPEC = bundled_model(2, "rgb", "int8")
TILE = np.random.default_rng(2).integers(0, 256, (1, 40, 50, SPEC.input_channels), dtype=np.uint8)
Answer = NDArray[Any]
#: What a pretended runtime makes of the right answer in its n-th run.
Habit = Callable[[Answer, int], Answer]


def slow(answer: Answer, run: int) -> Answer:
    time.sleep(0.05)
    return answer


def right(answer: Answer, run: int) -> Answer:
    return answer


def wrong(answer: Answer, run: int) -> Answer:
    return answer ^ 1


def wrong_later(answer: Answer, run: int) -> Answer:
    """Right for the golden input, wrong for other sizes."""
    return answer ^ 1 if run == 2 else answer


def dies(answer: Answer, run: int) -> Answer:
    if run == 3:
        raise RuntimeError("the driver is gone")
    return answer


class Pretended(Session):
    """Gives the CPU's answers, changed by the habit of the runtime that was asked for."""

    habits: dict[str, Habit]
    runs: dict[str, int]

    def __init__(self, spec: ModelSpec, content: bytes, *, provider: str = "cpu", **others: Any) -> None:
        if provider not in self.habits:
            raise ResourceError(f"the runtime {provider} cannot be loaded (no such symbol)")
        super().__init__(spec, content)
        self.provider = provider

    def run(self, tile: Answer, *, last: bool = False) -> Answer:
        answer = super().run(tile)
        self.runs[self.provider] = self.runs.get(self.provider, 0) + 1
        return self.habits[self.provider](answer, self.runs[self.provider])


def plug_in(name: str, module: str = "numpy") -> PlugIn:
    return PlugIn(name=name, provider=name, distribution=name, module=module, takes="", options=lambda *_: {})


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FastestSession]:
    """``pretend(cpu=slow, other=right)``: a session and other runtimes with these habits, tried at once."""

    def make(*broken: str, **habits: Habit) -> FastestSession:
        monkeypatch.setattr(Pretended, "habits", habits, raising=False)
        monkeypatch.setattr(Pretended, "runs", {}, raising=False)
        monkeypatch.setattr(fastest, "Session", Pretended)
        monkeypatch.setattr(fastest, "PAYS_AFTER", 0.0)
        monkeypatch.setattr(fastest, "_broken", set())
        rows = tuple(plug_in(name) for name in [*broken, *habits] if name != "cpu")
        monkeypatch.setattr(fastest, "PLUG_INS", rows)
        return FastestSession(SPEC, callers=2)

    return make


def used(session: FastestSession) -> str:
    """The runtime that a settled session runs in."""
    assert not session._trial
    assert not session._untried
    assert isinstance(session._used, Pretended)
    return session._used.provider


def run_often(session: FastestSession, threads: int = 1) -> int:
    """Run tiles until the session is settled; each answer must be right. Returns the number of runs."""
    expected = Session.bundled(SPEC).run(TILE)
    with ThreadPoolExecutor(threads) as workers:
        for runs in range(threads, 400, threads):
            for answer in workers.map(session.run, [TILE] * threads):
                np.testing.assert_array_equal(answer, expected)
            if not session._trial and not session._untried:
                return runs
    raise AssertionError("never settled")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_faster_runtime_takes_over(
    pretend: Callable[..., FastestSession], threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    session = pretend(cpu=slow, other=right)
    with caplog.at_level("INFO"):
        run_often(session, threads)
    assert used(session) == "other"
    assert "other is used" in caplog.text


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        (slow, "times as fast as what ran before"),
        (wrong, "it gives other bytes"),
        (wrong_later, "it gives other bytes"),
        (dies, "the driver is gone"),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_runtime_that_is_slower_wrong_or_failing_is_dropped(
    pretend: Callable[..., FastestSession],
    habit: Habit,
    words: str,
    threads: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = pretend(cpu=right, other=habit)
    with caplog.at_level("INFO"):
        run_often(session, threads)
    assert used(session) == "cpu"
    assert caplog.text.count("other is not used") == 1
    assert words in caplog.text


def test_a_runtime_that_does_not_load_is_told_once(
    pretend: Callable[..., FastestSession], caplog: pytest.LogCaptureFixture
) -> None:
    session = pretend("broken", cpu=slow, other=right)
    with caplog.at_level("INFO"):
        run_often(session)
        run_often(FastestSession(SPEC, callers=1))
    assert used(session) == "other"
    assert caplog.text.count("broken is not used: the runtime broken cannot be loaded") == 1


def test_no_tile_is_computed_twice_but_the_one_that_is_compared(
    pretend: Callable[..., FastestSession],
) -> None:
    session = pretend(cpu=right, other=right)
    asked = run_often(session)
    golden, compared = 1, 1
    assert asked >= 2 * ROUNDS
    assert sum(Pretended.runs.values()) == asked + golden + compared


def test_a_small_picture_loads_no_other_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def looked(row: PlugIn) -> bool:
        asked.append(row.name)
        return False

    monkeypatch.setattr(PlugIn, "is_installed", property(looked))
    monkeypatch.setattr(fastest, "_broken", set())  # another test may have found one that is
    session = open_session(SPEC, EngineOptions(), callers=2)
    session.run(TILE)
    assert not asked
    monkeypatch.setattr(fastest, "PAYS_AFTER", 0.0)
    session.run(TILE)
    session.run(TILE)
    assert asked == [row.name for row in plugins.PLUG_INS]


@pytest.mark.parametrize(
    ("options", "precision"),
    [({"provider": "cpu"}, "int8"), ({}, "fp32"), ({"max_memory": 1 << 24}, "int8")],
)
def test_where_bytes_would_differ_or_memory_is_short_the_cpu_works(
    options: dict[str, Any], precision: Any
) -> None:
    session = open_session(bundled_model(2, "rgb", precision), EngineOptions(**options), callers=2)
    assert not isinstance(session, FastestSession)


class TestPlugIns:
    """The errors where a runtime was named and does not work."""

    def asked(self, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
        row = plugins.PLUG_INS[0]
        monkeypatch.setattr(plugins, "PLUG_INS", (row._replace(**changes),))
        with pytest.raises(ResourceError) as caught:
            Session.bundled(SPEC, provider="openvino")
        return str(caught.value)

    def test_one_that_is_absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        message = self.asked(monkeypatch, module="no_such_module")
        assert "pip install 'xlsr-cli[openvino]'" in message

    def test_one_that_is_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plugins, "_registered", set())
        message = self.asked(monkeypatch, module="colorsys")  # has no library
        assert "cannot be loaded" in message
        assert "pip install --force-reinstall --no-deps onnxruntime-ep-openvino" in message

    def test_one_for_another_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("onnxruntime_ep_openvino", reason="the plug-in is not installed")
        message = self.asked(monkeypatch, provider="OpenVINO of another CPU")
        assert "does not take this CPU: it is made for Intel CPUs" in message
