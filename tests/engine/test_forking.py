"""An upscaler that was used before a fork works in the child, and says so where a runtime cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import xlsr_cli
from xlsr_cli.engine.runtimes import plugins
from xlsr_cli.errors import ResourceError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

#: What every program below begins with: an upscaler that has worked, a picture, and what becomes of it.
BEGIN = """
import os, sys, threading, warnings
import numpy as np
from xlsr_cli import Upscaler
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork beside threads
picture = np.random.default_rng(0).integers(0, 256, (300, 420, 4), dtype=np.uint8)
upscaler = Upscaler(2.5, threads=3, tile=64)
expected = upscaler(picture)
def check():
    assert np.array_equal(upscaler(picture), expected)
"""

IN_A_CHILD = """
child = os.fork()
if not child:
    check()
    check()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
check()
"""

IN_A_CHILD_OF_A_CHILD = """
child = os.fork()
if not child:
    check()
    grandchild = os.fork()
    if not grandchild:
        check()
        sys.exit(0)
    sys.exit(os.waitpid(grandchild, 0)[1])
assert os.waitpid(child, 0)[1] == 0
"""

WHILE_OTHERS_WORK = """
threads = [threading.Thread(target=check) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(5):
    child = os.fork()
    if not child:
        check()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
for thread in threads:
    thread.join()
"""

IN_A_POOL = """
import multiprocessing
def one(number):
    check()
    return number
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(one, range(6)) == list(range(6))
"""


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        # With more, numpy's OpenBLAS itself hangs in a fork while another thread multiplies matrices.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", [IN_A_CHILD, IN_A_CHILD_OF_A_CHILD, WHILE_OTHERS_WORK, IN_A_POOL])
def test_a_forked_process_goes_on(program: str) -> None:
    run(program)


def test_nothing_is_cached_behind_a_lock() -> None:
    """Before Python 3.12, ``cached_property`` holds one for all threads while it computes."""
    package = Path(xlsr_cli.__file__).parent
    forms = ("functools.cached_property", "import cached_property", "@cached_property")
    texts = {path: path.read_text("utf-8") for path in package.rglob("*.py")}
    assert [path for path, text in texts.items() if any(form in text for form in forms)] == []


def test_a_runtime_that_the_parent_had_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (plug_in,) = plugins.PLUG_INS
    monkeypatch.setattr(plugins, "_loaded_by_parent", set())
    monkeypatch.setattr(plugins, "_registered", {plug_in.name})
    monkeypatch.setattr(plugins.PlugIn, "is_installed", True)
    plugins._renew()  # what a fork calls in the child
    with pytest.raises(ResourceError, match="forked after it had started; start processes by 'spawn'"):
        plugins._device(plug_in)
