"""Fixtures that tests of every room share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from xlsr_cli.engine.runtimes.telemetry import disable_telemetry

disable_telemetry()  # some tests import onnxruntime themselves

settings.register_profile("untimed", deadline=None)  # how long an example takes depends on what else runs
settings.load_profile("untimed")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of awkward and of evaluation pictures that stands beside a checkout; skips without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared pictures are not here")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _usual_scheduling() -> Iterator[None]:
    """Fail a test that leaves its process with real-time scheduling, as SVT-AV1 does for root."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    after = os.sched_getscheduler(0)
    os.sched_setscheduler(0, before, priority)
    assert after == before


def pytest_configure() -> None:
    """Let programs that tests start receive Ctrl-C, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
