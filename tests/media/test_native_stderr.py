"""What native code prints is caught; what Python writes is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from xlsr_cli.media.native_stderr import native_messages


def run(script: str, *, close_stderr: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    if close_stderr:
        command = ["sh", "-c", 'exec "$0" "$@" 2>&-', *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_lines_come_without_the_place_in_the_source() -> None:
    with native_messages() as messages:
        os.write(2, b"libpng error: bad adaptive filter value\n\n")
        os.write(2, b"[ERROR:0@0.388] global grfmt_tiff.cpp:117 TIFF_Error Fax4Decode: Bad code word\n")
        os.write(
            2,
            b"[ERROR:0@0.1] global loadsave.cpp:1390 imdecode_ imdecode_(''): can't read data: OpenCV(5.0.0) "
            b"/io/x.cpp:933: error: (-2:Unspecified error) failed to read strip in function 'readData'\n",
        )
        assert messages == []
    assert messages == ["bad adaptive filter value", "Fax4Decode: Bad code word", "failed to read strip"]


def test_much_is_cut_off() -> None:
    with native_messages() as messages:
        for _ in range(1000):
            os.write(2, b"the same line again and again and again\n")
    assert 10 < len(messages) < 1000


def test_stderr_is_as_before_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), native_messages():
        os.write(2, b"caught\n")
        raise ZeroDivisionError
    os.write(2, b"free\n")
    assert capfd.readouterr().err == "free\n"


def test_blocks_of_several_threads_do_not_mix() -> None:
    wrong = []

    def work(number: int) -> None:
        for _ in range(20):
            with native_messages() as messages:
                os.write(2, b"%d\n" % number)
                time.sleep(0.0005)
                os.write(2, b"%d\n" % number)
            if messages != [str(number)] * 2:
                wrong.append(messages)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_python_writes_meanwhile_is_not_swallowed() -> None:
    result = run(
        "import os, sys, threading\n"
        "from xlsr_cli.media.native_stderr import native_messages\n"
        "with native_messages() as messages:\n"
        "    thread = threading.Thread(target=lambda: print('progress', file=sys.stderr))\n"
        "    thread.start(); thread.join()\n"
        "    os.write(2, b'native\\n')\n"
        "print(messages)\n"
        "print('later', file=sys.stderr)\n"
        "os.write(2, b'free\\n')\n"
    )
    assert result.stdout == "['native']\n"
    assert result.stderr.splitlines() == ["progress", "later", "free"]


def test_it_works_without_a_standard_error() -> None:
    result = run(
        "import os, sys\n"
        "from xlsr_cli.media.native_stderr import native_messages\n"
        "for _ in range(2):\n"
        "    with native_messages() as messages:\n"
        "        os.write(2, b'native\\n')\n"
        "    print(messages)\n"
        "try:\n"
        "    os.fstat(2); print('open')\n"
        "except OSError:\n"
        "    print('closed')\n",
        close_stderr=True,
    )
    assert result.stdout == "['native']\n['native']\nclosed\n"


def test_it_works_without_a_folder_for_temporary_files() -> None:
    result = run(
        "import os, tempfile\n"
        "def refuse(*a, **k): raise OSError('no')\n"
        "tempfile.TemporaryFile = os.memfd_create = refuse\n"
        "from xlsr_cli.media.native_stderr import native_messages\n"
        "with native_messages() as messages:\n"
        "    pass\n"
        "print(messages)\n"
    )
    assert result.stdout == "[]\n"


def test_no_line_is_cut_in_two() -> None:
    line = b"TIFFFetchNormalTag: Defined set_field_type of custom tag 0 is not an array\n"
    with native_messages() as messages:
        for _ in range(1000):
            os.write(2, line)
    assert len(messages) > 50
    assert set(messages) == {line.decode().strip()}
