"""The program: ``xlsr``, or ``python -m xlsr_cli``."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

from xlsr_cli.cli.loading import loading


def run() -> NoReturn:
    """Run the command line of this process and end the process with its exit code."""
    # numpy brings OpenBLAS, which starts a thread for each core at once; nothing here has work for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with loading():
        from xlsr_cli.cli.app import main
    code = main()
    # Everything is closed and written: Python need not look for garbage in what ends with the process.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    run()
