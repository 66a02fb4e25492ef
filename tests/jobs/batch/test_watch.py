"""A folder that is watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.batch.folders import (
    fill,
    png,
    tree,
)
from xlsr_cli.jobs.batch import run as batch_jobs
from xlsr_cli.jobs.batch.executors.choice import WorkOptions, open_executor
from xlsr_cli.jobs.batch.executors.in_process import InProcessExecutor
from xlsr_cli.jobs.batch.run import watch
from xlsr_cli.jobs.batch.selection import Batch


def test_watching(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlsr_cli.jobs.batch.run.WATCH_SECONDS", 0.05)
    fill(folder, "a.png")
    out = folder.with_name("out")
    with open_executor(WorkOptions()) as executor:
        reports = watch(Batch(folder=folder, out=out), executor, tell=lambda result: None)
        assert next(reports).done == 1
        (folder / "b.png").write_bytes(png(5))
        assert next(reports).done == 2
        assert sorted(tree(out)) == ["a.png", "b.png"]
        reports.close()  # type: ignore[attr-defined]


def test_watching_waits_until_a_file_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, grown = png(), []

    def grow(seconds: float) -> None:
        grown.append(seconds)
        if len(grown) <= 3:
            (folder / "a.png").write_bytes(data[: len(data) * len(grown) // 3])

    monkeypatch.setattr(batch_jobs.time, "sleep", grow)
    with InProcessExecutor(threads=1) as executor:
        out = folder.with_name("out")
        reports = watch(Batch(folder=folder, out=out), executor, tell=lambda result: None)
        report = next(reports)
    assert (report.done, report.failed) == (1, {})
