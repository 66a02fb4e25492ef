"""A Dask scheduler and its workers, as processes on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scheduler:
    """A scheduler on loopback."""

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_scheduler(folder: Path) -> Iterator[Scheduler]:
    """A scheduler that writes its log into ``folder``."""
    log = folder / "scheduler.log"
    arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with log.open("w") as target:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", *arguments],
            stdout=target,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        end = time.monotonic() + 60
        while not (found := re.search(r"Scheduler at:\s*(tcp://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield Scheduler(found[1], process)
    finally:
        process.terminate()
        process.wait(20)


def worker(
    address: str, folder: Path, nanny: str = "--no-nanny", *, wrapper: tuple[str, ...] = (), startup: str = ""
) -> subprocess.Popen[bytes]:
    """A worker in ``folder``, started by ``wrapper``, that runs ``startup`` before anything else."""
    arguments = [address, "--nthreads", "1", nanny, "--no-dashboard"]
    environment = dict(os.environ)
    if startup:
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(startup)
        environment["PYTHONPATH"] = str(folder / "site")
    return subprocess.Popen(
        [*wrapper, sys.executable, "-m", "distributed.cli.dask_worker", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
    )
