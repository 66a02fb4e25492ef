"""What fuzzers share: new inputs in every run, and a process of its own that they are tried in.

``XLSR_FUZZ_SEED`` repeats a run, ``XLSR_FUZZ_SECONDS`` lengthens it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: New in every run: one that is always the same finds the same.
SEED = os.environ.get("XLSR_FUZZ_SEED") or f"{random.SystemRandom().randrange(1 << 32)}"

#: Megabytes that no process may take with ``--max-memory 500M``, and inputs for one process.
MOST_MEMORY, AT_ONCE = 1500, 150

#: Runs ``use(path)`` on every file of a folder; all but an XlsrError ends it, and with it the test.
CHILD = """
import sys
from pathlib import Path
from xlsr_cli.errors import ExitCode, XlsrError
{probe}
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path, flush=True)
    try:
        use(path)
    except XlsrError as error:
        assert error.exit_code != ExitCode.INTERNAL and "\\n" not in str(error), str(error)
status = Path("/proc/self/status")
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) >> 10)
"""


def seconds(default: float) -> float:
    """How long a fuzzer runs."""
    return float(os.environ.get("XLSR_FUZZ_SECONDS") or default)


def mutated(data: bytes, source: random.Random) -> bytes:
    """``data`` with some of its bytes changed, cut out or doubled; headers are hit more often."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 4, 16))):
        at = source.randrange(min(len(changed), source.choice((64, 600, len(changed)))))
        match source.randrange(6):
            case 0:
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                changed[at : at + 4] = source.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 2:
                del changed[at : at + source.randrange(1, 20)]
            case 3:
                changed[at:at] = changed[at : at + source.randrange(1, 40)]
            case 4:
                changed[at : at + 2] = source.choice((b"\x00\x01", b"\x01\x00", b"\x40\x00", b"\xff\xfe"))
            case _:
                changed[at] = source.randrange(256)
        if not changed:
            return b"x"
    return bytes(changed)


def fuzz(
    probe: str,
    make: Callable[[random.Random], bytes],
    folder: Path,
    *,
    default: float,
    at_once: int = AT_ONCE,
) -> int:
    """Try the inputs of ``make`` until the time is over. Returns their number.

    ``probe``: Python that defines ``use(path)``, for ``at_once`` inputs in one process. An input of
    which a process died, or took too much memory, stays in ``folder`` and is named in the error.
    Raises :class:`AssertionError`.
    """
    print(f"seed {SEED}")
    source, number, until = random.Random(SEED), 0, time.monotonic() + seconds(default)
    inputs = folder / "inputs"
    while time.monotonic() < until:
        inputs.mkdir()
        for index in range(at_once):
            (inputs / f"{number + index:07}").write_bytes(make(source))
        number += at_once
        run = subprocess.run(
            [sys.executable, "-c", CHILD.format(probe=probe), str(inputs)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=280,
        )
        said = run.stdout.splitlines()
        assert run.returncode == 0, f"seed {SEED}, {said[-1:]}, exit {run.returncode}: {run.stderr[-3000:]}"
        if said[-1].isdigit():
            assert int(said[-1]) < MOST_MEMORY, f"seed {SEED}: {said[-1]} MB for one of {inputs}"
        shutil.rmtree(inputs)
    return number
