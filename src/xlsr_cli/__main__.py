"""The program: ``xlsr``, or ``python -m xlsr_cli``."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from xlsr_cli.cli.loading import loading
from xlsr_cli.errors import ExitCode
from xlsr_cli.installation import library_complaint, python_complaint


def run() -> NoReturn:
    """Run the command line of this process and end the process with its exit code."""
    code: int = ExitCode.INTERNAL

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it
                stream.flush()
        os._exit(code)

    # At the end, everything is closed and written. To free each object as well would take 5 % of the time of
    # a small picture. What is registered first is called last: threads and libraries have ended before.
    atexit.register(leave)
    try:
        code = _run()
    except KeyboardInterrupt:  # before the command line could hear it
        sys.stderr.write("error: interrupted\n")
        code = ExitCode.INTERRUPTED
    sys.exit(code)


def _run() -> int:
    # The doctor reports libraries that are too old itself.
    complaint = python_complaint() or (None if sys.argv[1:2] == ["doctor"] else library_complaint())
    if complaint:
        sys.stderr.write(f"error: {complaint}\n")
        return ExitCode.RESOURCE
    # numpy loads OpenBLAS, which would start a thread for each core; nothing here uses them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with loading():
        from xlsr_cli.cli.app import main
    return main()


if __name__ == "__main__":
    run()
