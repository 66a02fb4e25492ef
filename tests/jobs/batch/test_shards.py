"""Parts of one batch, side by side."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.jobs.batch.folders import (
    Capture,
    batch,
    fill,
    told,
    tree,
)
from xlsr_cli.jobs.batch.job import Shard
from xlsr_cli.jobs.batch.journal import Journal
from xlsr_cli.jobs.batch.recipe import fingerprint
from xlsr_cli.options import PictureOptions


def test_shards_are_merged_in_a_report(folder: Path) -> None:
    fill(folder, *(f"{number}.png" for number in range(6)))
    batch(folder, "--shard", "1/2")
    out = batch(folder, "--shard", "2/2")
    assert len(tree(out)) == 6
    report = folder.with_name("r.json")
    batch(folder, "--report", report)
    found = json.loads(report.read_text("utf-8"))
    assert [item["status"] for item in found["items"]] == ["done"] * 6
    assert found["kept"] == 6
    batch(folder, "--shard", "3/2", code=2)


def test_runs_that_would_do_the_same_exclude_each_other(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png", "b.png", "c.png", "d.png")
    out = folder.with_name("out")
    for held, others in (
        (Shard(), [((), 4), (("--dry-run",), 4), (("--shard", "1/2"), 4)]),
        (Shard(index=1, count=2), [((), 4), (("--shard", "1/3"), 4), (("--shard", "2/2"), 0)]),
    ):
        with Journal(out, held):
            for options, code in others:
                batch(folder, *options, code=code)
                assert ("another run is working on" in capsys.readouterr().err) == (code == 4)
    batch(folder)


def test_what_a_killed_shard_began_is_finished(folder: Path, capsys: Capture) -> None:
    fill(folder, "a.png")
    shards = [("--shard", f"{index}/2") for index in (1, 2)]
    for shard in shards:
        out = batch(folder, *shard)
    for path in out.glob(".xlsr-batch-*"):
        with sqlite3.connect(path) as connection:
            claim = fingerprint(PictureOptions())
            connection.execute("UPDATE item SET status = 'working', output_sha256 = '', claim = ?", (claim,))
        connection.close()
    assert told(folder, capsys) == {"a.png": "done"}


def test_half_written_files_of_others_are_left_to_them(folder: Path) -> None:
    fill(folder, *(f"{number}.png" for number in range(9)))
    shard = Shard(index=1, count=2)
    out = batch(folder, "--shard", "1/2")
    parts = {number: out / f".{number}.png.xlsr-0123abcd.part" for number in range(9)}
    for part in parts.values():
        part.touch()
    batch(folder, "--shard", "1/2")
    assert {n for n, part in parts.items() if part.exists()} == {
        n for n in parts if not shard.holds(f"{n}.png")
    }
    batch(folder)
    assert not any(part.exists() for part in parts.values())
