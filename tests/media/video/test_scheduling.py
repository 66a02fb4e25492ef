"""An encoder leaves the scheduling of its caller as it found it."""

from __future__ import annotations

import os

import pytest

from xlsr_cli.media.capabilities import video_failures

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler"), reason="this system has no scheduling policies"
)


def test_the_probe_of_all_codecs_keeps_the_scheduling_policy() -> None:
    before = os.sched_getscheduler(0)
    video_failures()
    assert os.sched_getscheduler(0) == before
