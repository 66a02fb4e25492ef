"""The stages of a video: in order, overlapping, and ended by the first failure or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from xlsr_cli.jobs.video.pipeline import run_stages

_SECONDS = 60.0


def run(
    source: Iterator[int],
    begin: Callable[[int], Callable[[], int]],
    interrupt: Callable[[], None] = lambda: None,
) -> list[int]:
    """The results, with two numbers in work at once."""
    out: list[int] = []
    run_stages(source, begin, out.extend, depth=2, at_once=2, interrupt=interrupt)
    return out


def test_results_come_in_order_however_long_each_takes() -> None:
    """Even numbers are done when the odd one behind them is."""
    done = [threading.Event() for _ in range(20)]
    begun = []

    def begin(number: int) -> Callable[[], int]:
        begun.append(number)

        def work() -> int:
            if number % 2 == 0:
                assert done[number + 1].wait(_SECONDS)
            done[number].set()
            return number * number

        return work

    assert run(iter(range(20)), begin) == [number * number for number in range(20)]
    assert begun == list(range(20))


def test_a_result_is_handed_on_before_the_next_item_arrives() -> None:
    """A camera or a pipe may have no next item for long."""
    arrived = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        assert arrived.wait(_SECONDS)

    def sink(results: Iterator[int]) -> None:
        for _ in results:
            arrived.set()

    run_stages(source(), lambda number: lambda: number, sink, depth=2, at_once=2, interrupt=lambda: None)
    assert arrived.is_set()


@pytest.mark.parametrize("stage", ["source", "begin", "work", "sink"])
def test_the_failure_of_a_stage_is_raised(stage: str) -> None:
    def fails_in(name: str, number: int) -> None:
        if name == stage and number == 5:
            raise ValueError(name)

    def source() -> Iterator[int]:
        for number in range(1000):
            fails_in("source", number)
            yield number

    def begin(number: int) -> Callable[[], int]:
        fails_in("begin", number)

        def work() -> int:
            fails_in("work", number)
            return number

        return work

    def sink(results: Iterator[int]) -> None:
        for number in results:
            fails_in("sink", number)

    before = threading.active_count()
    with pytest.raises(ValueError, match=stage):
        run_stages(source(), begin, sink, depth=2, at_once=2, interrupt=lambda: None)
    assert threading.active_count() == before


def test_ctrl_c_cuts_short_what_is_being_worked_on() -> None:
    interrupted = threading.Event()

    def begin(number: int) -> Callable[[], int]:
        def work() -> int:
            signal.raise_signal(signal.SIGINT)
            assert interrupted.wait(_SECONDS)
            return number

        return work

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(iter([1]), begin, interrupted.set)
    finally:
        signal.signal(signal.SIGINT, old)


@pytest.mark.parametrize("stage", ["xlsr-decode", "xlsr-enlarge", "xlsr-encode"])
@pytest.mark.parametrize("launched", [False, True])
def test_ctrl_c_while_the_stages_are_being_started(
    monkeypatch: pytest.MonkeyPatch, stage: str, launched: bool
) -> None:
    """It comes in the start of one of the threads, before that runs or when it runs already."""
    start = threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        if thread.name != stage:
            start(thread)
            return
        if launched:
            start(thread)
        raise KeyboardInterrupt

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    interrupted: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        run(iter(range(50)), lambda number: lambda: number, lambda: interrupted.append(True))
    assert interrupted == [True]
    assert threading.active_count() == before
