"""Start a worker process that imports no code from the working folder.

``multiprocessing`` starts Python so that it looks for modules in the working folder first: a ``struct.py``
beside somebody's pictures would be run.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import xlsr_cli
from xlsr_cli.children import child_environment, is_here

#: Run by the new process: ``sys.path`` as we want it, then the worker with its end of the connection.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from xlsr_cli.jobs.batch.executors.worker import main; main(int(sys.argv[2]))"
)


def start_worker() -> tuple[subprocess.Popen[bytes], Connection]:
    """A new worker and our end of the connection to it.

    The worker does not hear Ctrl-C: this process decides what happens. It ends when its standard input
    is closed, which happens when this process ends in any way.
    """
    ours, theirs = multiprocessing.Pipe()
    handle = theirs.fileno()
    path = _import_path(sys.path)
    command = [sys.executable, "-P", *_utf8(), "-c", _PROGRAM, json.dumps(path), str(handle)]
    with _interrupts_blocked():
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=_environment(), **_passing(handle)
        )
    theirs.close()
    return process, ours


def _import_path(path: Sequence[str]) -> list[str]:
    """``path`` without the working folder; if this package itself lies there, it comes last."""
    package = str(Path(xlsr_cli.__file__).parents[1])
    folders = [os.path.abspath(entry) for entry in path if not is_here(entry)]  # noqa: PTH100
    return folders if package in folders else [*folders, package]


def _environment() -> dict[str, str]:
    """OpenBLAS uses one thread in each worker: the other cores are for the other workers."""
    return {"OPENBLAS_NUM_THREADS": "1", **child_environment(), "PYTHONSAFEPATH": "1"}


def _utf8() -> list[str]:
    """UTF-8 mode if it is on here: both processes must decode file names in the same way."""
    return ["-X", "utf8"] if sys.flags.utf8_mode else []


def _passing(handle: int) -> dict[str, Any]:
    """What gives ``handle``, and nothing else, to the new process."""
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        # In a process group of its own, Ctrl-C is off.
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
        return {"startupinfo": startup, "close_fds": False, "creationflags": flags}
    return {"pass_fds": (handle,)}


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started within never get Ctrl-C; this process gets it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_worker(process: subprocess.Popen[bytes], connection: Connection) -> None:
    """End the process at once and close everything that belongs to it."""
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    connection.close()
