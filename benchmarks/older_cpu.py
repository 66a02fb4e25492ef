"""Measure the kernels for CPUs without VNNI on a CPU that has it.

``python -m benchmarks.older_cpu --threads 2``; with ``--write`` into docs/performance.md. Needs gcc and
objdump, on x86-64 Linux. onnxruntime asks the CPU what it can do with the instruction CPUID and chooses its
kernels by the answer. In a copy of its library each CPUID becomes an instruction that does not exist; a
handler of the signal that this raises answers instead, and leaves out what the older CPU lacks. All other
instructions run natively, so the older kernels are measured at this machine's clock. The pixels must be the
same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import onnxruntime

from benchmarks import runtimes
from benchmarks.harness import SOURCE, machine_line, on_picture, parser, publish, table
from benchmarks.networks import straight_weights, write_onnx
from benchmarks.pairs import side_by_side
from xlsr_cli.bench.noise import Noise
from xlsr_cli.bench.pictures import made_picture
from xlsr_cli.engine.upscaler import Upscaler

SCALE = 3
_CPUID, _NO_SUCH_INSTRUCTION = b"\x0f\xa2", b"\x0f\x0b"
_HIDES = "XLSR_CPUID_HIDES"
#: The extensions that the CPU denies, and their names in ``answer()`` below.
LEVELS = {"as it is": "", "AVX2, without AVX-512 and VNNI": "avx512", "SSE, without AVX": "avx"}

#: Bits by Intel's manual, volume 2, table "Information Returned by CPUID": leaf 7.0 EBX 16, 17, 21, 26-28,
#: 30, 31, ECX 1, 6, 11, 12, 14 and EDX 2, 3, 8, 22-25 are AVX-512 and AMX, leaf 7.1 EAX 4, 5 and EDX 4, 5,
#: 10 AVX-VNNI and its kin; leaf 1 ECX 12, 28, 29 are FMA, AVX and F16C, leaf 7.0 EBX 5 AVX2.
_ANSWERS = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static int hides_avx512, hides_avx;

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (memcmp((void *)registers[REG_RIP], "\x0f\x0b", 2)) abort();
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    __cpuid_count(leaf, part, a, b, c, d);
    if (hides_avx512 && leaf == 7 && part == 0) {
        b &= ~0xdc230000u;
        c &= ~0x00005842u;
        d &= ~0x03c0010cu;
    }
    if (hides_avx512 && leaf == 7 && part == 1) {
        a &= ~0x00000030u;
        d &= ~0x00000430u;
    }
    if (hides_avx && leaf == 7 && part == 0) b &= ~0x00000020u;
    if (hides_avx && leaf == 1) c &= ~0x30001000u;
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void listen(void) {
    const char *hides = getenv("XLSR_CPUID_HIDES");
    hides_avx = hides && !strcmp(hides, "avx");
    hides_avx512 = hides_avx || (hides && !strcmp(hides, "avx512"));
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, 0);
}
"""


def copy_that_asks(folder: Path) -> None:
    """Put a copy of onnxruntime into ``folder`` in which a signal handler answers CPUID."""
    installed = Path(onnxruntime.__file__).parent
    copied = folder / "onnxruntime"
    (copied / "capi").mkdir(parents=True)
    for source in [*installed.iterdir(), *(installed / "capi").iterdir()]:
        if source.name not in ("capi", "__pycache__"):
            (copied / source.relative_to(installed)).symlink_to(source)
    (library,) = (copied / "capi").glob("onnxruntime_pybind11_state*.so")
    content = bytearray(library.read_bytes())
    library.unlink()
    for place in _cpuid_places(library.name, installed, content):
        if content[place : place + 2] != _CPUID:
            raise SystemExit(f"objdump and the file {library.name} disagree about where CPUID is")
        content[place : place + 2] = _NO_SUCH_INSTRUCTION
    library.write_bytes(content)


def _cpuid_places(name: str, installed: Path, content: bytearray) -> list[int]:
    """Offsets in the file of every CPUID instruction."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(installed / "capi" / name)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    addresses = [int(line.split(":")[0], 16) for line in listing.splitlines() if line.endswith("\tcpuid")]
    segments = _loaded_segments(content)
    return [
        address - start + offset
        for address in addresses
        for start, size, offset in segments
        if start <= address < start + size
    ]


def _loaded_segments(content: bytearray) -> list[tuple[int, int, int]]:
    """(address, size, offset in the file) of each PT_LOAD segment of a 64-bit ELF file."""
    (first,) = struct.unpack_from("<Q", content, 0x20)
    size, count = struct.unpack_from("<HH", content, 0x36)
    headers = [struct.unpack_from("<IIQQQQ", content, first + index * size) for index in range(count)]
    return [(address, length, offset) for kind, _, offset, address, _, length in headers if kind == 1]


def measure(threads: int, repeats: int | None) -> dict[str, object]:
    """In a process of its own: seconds of engine and float32 export, and the hash of the pixels."""
    with tempfile.TemporaryDirectory() as folder:
        straight = Path(folder) / "straight.onnx"
        write_onnx(straight_weights(None, SCALE), SCALE, straight)
        run_straight = runtimes.onnxruntime_planes(straight, threads)
    ours = Upscaler(SCALE, threads=threads, restore="off")
    runs = on_picture({"ours": ours, "straight": runtimes.through_planes(run_straight)})
    measured = side_by_side(runs, threads=threads, repeats=repeats)
    return {
        "seconds": {name: timing.seconds for name, timing in measured.timings.items()},
        "ratio": str(measured.ratios["straight"]),
        "pixels": hashlib.sha256(ours(made_picture(SOURCE)).tobytes()).hexdigest(),
        "reasons": list(measured.noise.reasons),
    }


def compare(options: argparse.Namespace, folder: Path) -> tuple[str, Noise]:
    """Measure every level in a process of its own; return the text and the noise."""
    for tool in ("gcc", "objdump"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is needed for this benchmark and is not installed")
    copy_that_asks(folder)
    answers, preload = folder / "answers.c", folder / "answers.so"
    answers.write_text(_ANSWERS, encoding="utf-8")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(preload), str(answers)], check=True)
    rows, pixels, reasons = [], set(), []
    for level, hides in LEVELS.items():
        environment = os.environ | {"PYTHONPATH": str(folder), "LD_PRELOAD": str(preload), _HIDES: hides}
        command = [sys.executable, "-m", "benchmarks.older_cpu", "--alone", "--threads", str(options.threads)]
        if options.repeats:
            command += ["--repeats", str(options.repeats)]
        done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
        result = json.loads(done.stdout)
        ours, straight = result["seconds"]["ours"], result["seconds"]["straight"]
        rows.append([level, f"{ours * 1e3:.1f}", f"{straight * 1e3:.1f}", result["ratio"]])
        pixels.add(result["pixels"])
        reasons += [f"{level}: {reason}" for reason in result["reasons"]]
    if len(pixels) != 1:
        raise SystemExit("the pixels differ between the kernels, which must never happen")
    head = ["onnxruntime sees", "xlsr int8, ms", "straight float32, ms", "times as fast"]
    text = [
        machine_line(options.threads),
        "",
        table(head, rows),
        "",
        "The same pixels came out in every row. Both go from array to array, ours with `restore=off`. The "
        "last column is the median of pairs and their middle half.",
    ]
    return "\n".join(text), Noise(other_cores=None, reasons=tuple(reasons))


def main(options: argparse.Namespace) -> None:
    """Measure, print, and write where it is asked for."""
    with tempfile.TemporaryDirectory() as folder:
        text, noise = compare(options, Path(folder))
    publish("older_cpu", text, noise, options)


if __name__ == "__main__":
    words = parser(__doc__)
    words.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.alone:
        print(json.dumps(measure(given.threads, given.repeats)))
    else:
        main(given)
