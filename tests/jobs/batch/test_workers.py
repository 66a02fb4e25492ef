"""Worker processes that die, hang or are killed, and batches that end while they work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.jobs.batch.folders import (
    COMMAND,
    JOURNAL,
    NOT_WINDOWS,
    Capture,
    batch,
    deadly_names,
    events,
    fill,
    tree,
)
from xlsr_cli.errors import ResourceError
from xlsr_cli.jobs.batch.executors.processes import _cause_of_death
from xlsr_cli.jobs.batch.item import Item, failed
from xlsr_cli.jobs.batch.job import Job


class TestFaults:
    """Workers that die; the hook is a file name, which only these tests give."""

    @pytest.fixture(autouse=True)
    def _deadly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        deadly_names(tmp_path, monkeypatch)

    @NOT_WINDOWS
    def test_one_file_is_lost_and_the_batch_goes_on(self, folder: Path, capsys: Capture) -> None:
        fill(folder, "a.png", "crash.png", "greedy.png", "hang.png", "z.png")
        out = batch(folder, "--timeout", "4", jobs=1, code=7)
        assert sorted(tree(out)) == ["a.png", "z.png"]
        said = capsys.readouterr().err
        assert "crash.png crashed the decoder or ran out of memory (SIGABRT)" in said
        assert "hang.png took longer than --timeout 4 s" in said
        assert "not enough memory for" in said
        assert "3 files failed" in said

    @NOT_WINDOWS
    def test_only_what_the_file_itself_did_is_remembered(self, folder: Path, capsys: Capture) -> None:
        """Memory that the machine lacks, and a time that was too short, are no faults of the file."""
        fill(folder, "a.png", "hang.png", "large.png")
        for _ in range(2):
            batch(folder, "--timeout", "4", "--json", jobs=1, code=7)
            told = {str(event.get("name")): event for event in events(capsys)}
            assert told["hang.png"]["event"] == "failed"
            assert told["large.png"]["event"] == "failed"
            assert "needed more memory than there is" in str(told["large.png"]["reason"])

    @NOT_WINDOWS
    @pytest.mark.slow
    def test_a_signal_in_the_first_moments_leaves_one_line(self, folder: Path) -> None:
        fill(folder, "a.png", "hang.png")
        for moment in range(12):
            process = subprocess.Popen(
                [*COMMAND, str(folder), "--out", str(folder.with_name("out")), "--jobs", "2"],
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            time.sleep(moment * 0.12)
            os.killpg(process.pid, signal.SIGTERM) if moment % 2 else process.terminate()
            said = process.communicate(timeout=20)[1]
            # Before the program's own code runs, the signal ends Python itself.
            assert process.returncode in (130, -signal.SIGTERM, -signal.SIGINT)
            assert "Traceback" not in said
            assert said.splitlines()[-1:] in ([], ["error: interrupted"])

    @NOT_WINDOWS
    def test_ctrl_c_leaves_nothing_behind(self, folder: Path) -> None:
        fill(folder, "a.png", "hang.png")
        out = folder.with_name("out")
        process = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(out), "--jobs", "2", "--verbose"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        # Not as soon as the file is there: the worker has yet to say so.
        assert "a.png: done\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(20) == 130
        assert said.splitlines()[-1] == "error: interrupted"
        assert "1 of 2 files were done; the same command continues" in said
        assert sorted(path.name for path in out.iterdir()) == [JOURNAL, "a.png"]

    @NOT_WINDOWS
    def test_watching_goes_on_until_it_is_interrupted(self, folder: Path) -> None:
        fill(folder, "a.png")
        out = folder.with_name("out")
        words = [*COMMAND, str(folder), "--out", str(out), "--jobs", "1", "--watch"]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        for name in ("a.png", "later.png"):
            if not (folder / name).exists():
                fill(folder, name)
            end = time.monotonic() + 60
            while not (out / name).exists() and time.monotonic() < end:
                time.sleep(0.05)
            assert (out / name).exists()
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[-1] == f"no longer watching {folder}"
        assert process.wait(20) == 0

    @NOT_WINDOWS
    @pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
    def test_workers_end_with_their_batch(self, folder: Path, ending: signal.Signals) -> None:
        fill(folder, "a.png", "hang.png")
        out = folder.with_name("out")
        process = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(out), "--jobs", "2"],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        end = time.monotonic() + 60
        while not (out / "a.png").exists() and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(ending)
        said = process.stderr.read()  # until the last worker has closed it
        assert process.wait(20) == (130 if ending == signal.SIGTERM else -ending)
        assert "Traceback" not in said
        with pytest.raises(ProcessLookupError):
            for _ in range(200):
                os.killpg(process.pid, 0)
                time.sleep(0.05)

    @NOT_WINDOWS
    def test_ctrl_c_of_a_terminal_reaches_all_processes(self, folder: Path) -> None:
        """While workers start, too, nothing but the one line is said."""
        fill(folder, "a.png", "hang.png")
        process = subprocess.Popen(
            [*COMMAND, str(folder), "--out", str(folder.with_name("out"))],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr is not None
        plan = process.stderr.readline()  # workers were started before, and are loading
        os.killpg(process.pid, signal.SIGINT)
        assert (plan.split(",")[0], process.stderr.read()) == ("2 pictures", "error: interrupted\n")
        assert process.wait(20) == 130

    @NOT_WINDOWS
    def test_memory(self, folder: Path, capsys: Capture) -> None:
        """A picture for which there is no room is listed, and tried again when there is more."""
        fill(folder, "a.png")
        (folder / "large.png").write_bytes(
            cv2.imencode(".png", np.zeros((3000, 4000), np.uint8))[1].tobytes()
        )
        out = batch(folder, "--max-memory", "300M", "--json", jobs=1, code=7)
        (failed,) = (event for event in events(capsys) if event["event"] == "failed")
        assert failed["name"] == "large.png"
        assert "MB of memory, more than --max-memory leaves for it" in str(failed["reason"])
        assert sorted(tree(out)) == ["a.png"]
        batch(folder, "--max-memory", "100M", jobs=1, code=2)
        assert "--max-memory must be at least" in capsys.readouterr().err


@NOT_WINDOWS
@pytest.mark.parametrize(
    ("program", "lasting"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", True),
        ("os.kill(os.getpid(), signal.SIGFPE)", True),
        ("os.kill(os.getpid(), signal.SIGKILL)", False),
        ("os.abort()", False),  # so does C++ when it lacks memory
        ("sys.exit(3)", False),
    ],
)
def test_which_deaths_are_the_fault_of_the_file(folder: Path, program: str, lasting: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", f"import os, signal, sys; {program}"])
    reason, found = _cause_of_death(process)
    assert found == lasting
    item = Item(job=Job(folder=folder, name="a.png", out=folder, target="a.png"), known=None)
    error = None if found else ResourceError(reason)
    assert failed(item, reason, key="its hash", error=error).entry.key == ("its hash" if lasting else "")


def killed_and_resumed(tmp_path: Path, count: int, bad: int, kills: int) -> None:
    """Kill a batch ``kills`` times after its first output; at the end all is as if nothing had happened."""
    folder = tmp_path / "in"
    fill(folder, *(f"{number % 7}/{number}.png" for number in range(count)))
    for number in range(bad):
        path = folder / f"{number % 7}" / f"{number}.png"
        path.write_bytes(path.read_bytes()[: 20 + number])
    plain, broken = tmp_path / "plain", tmp_path / "broken"
    arguments = [str(folder), "--recursive", "--jobs", "2", "--quiet"]
    assert subprocess.run([*COMMAND, *arguments, "--out", str(plain)], stderr=subprocess.PIPE).returncode == 7
    moments = random.Random(count)
    for number in range(kills):
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--out", str(broken)], stderr=subprocess.DEVNULL, start_new_session=True
        )
        have = len(tree(broken)) if broken.exists() else 0
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if broken.exists() and len(list(broken.rglob("*.png"))) > have:
                break
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        if number % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()  # its workers have to notice
        process.wait()
    last = subprocess.run(
        [*COMMAND, *arguments, "--out", str(broken)], stderr=subprocess.PIPE, text=True, check=False
    )
    assert last.returncode == 7
    assert sum(line.endswith("get an intact copy") for line in last.stderr.splitlines()) == bad
    assert tree(broken) == tree(plain)
    assert len(tree(plain)) == count - bad
    hidden = [path.name for path in broken.rglob(".*")]
    assert hidden == [JOURNAL]


@NOT_WINDOWS
def test_killed_three_times_and_resumed(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, count=120, bad=3, kills=3)


@NOT_WINDOWS
@pytest.mark.slow
def test_killed_ten_times_among_two_thousand(tmp_path: Path) -> None:
    killed_and_resumed(tmp_path, count=2000, bad=20, kills=10)
