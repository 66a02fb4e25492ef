"""What this machine is: CPU, its instruction sets, the cores and the memory that this process may use."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from xlsr_cli.children import child_environment
from xlsr_cli.engine.cgroup import memory_limit, usable_cores
from xlsr_cli.engine.session import available_providers

#: OpenCV's numbers of CPU features (``CV_CPU_…`` in ``core/cvdef.h``) that matter to integer kernels.
_FEATURES: dict[int, str] = {
    6: "SSE4.1", 7: "SSE4.2", 10: "AVX", 11: "AVX2", 12: "FMA3", 13: "AVX512F", 14: "AVX512BW",
    21: "AVX512VL", 23: "AVX512_VNNI", 28: "AVX_VNNI", 100: "NEON", 101: "NEON_DOTPROD", 104: "SVE",
    210: "RVV", 231: "LASX",
}  # fmt: skip

#: What the int8 kernels will use, the best first: the features that it needs, and its name.
_KERNELS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("AVX512_VNNI",), "AVX-512 VNNI"),
    (("AVX_VNNI",), "AVX-VNNI"),
    (("AVX512BW",), "AVX-512 without VNNI"),
    (("AVX2",), "AVX2 without VNNI"),
    (("NEON_DOTPROD",), "NEON with dot product"),
    (("NEON",), "NEON without dot product"),
    (("AVX",), "AVX"),
    (("SSE4.1",), "SSE4.1"),
)
#: Kernels with one instruction for four 8-bit products and their sum.
DOT_PRODUCT = ("AVX512_VNNI", "AVX_VNNI", "NEON_DOTPROD")

#: Distributions whose versions matter to what xlsr computes, reads and writes.
PACKAGES = ("xlsr-cli", "numpy", "onnxruntime", "opencv-python-headless", "pillow", "tifffile", "av")


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """``model`` as the system names it; ``features`` in OpenCV's words; ``kernel``: the instruction set
    that decides how fast int8 models run."""

    model: str
    architecture: str
    features: tuple[str, ...]
    kernel: str

    @property
    def has_dot_product(self) -> bool:
        """Whether four 8-bit products and their sum are one instruction."""
        return any(feature in self.features for feature in DOT_PRODUCT)


@dataclass(frozen=True, kw_only=True)
class Cores:
    """Numbers of cores: of the machine (``logical``), that this process may run on (``affinity``), and that
    the control group's quota leaves of those (``usable``), which is what xlsr uses."""

    logical: int
    affinity: int
    usable: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes; None where the system does not tell. ``limit`` is the control group's."""

    total: int | None
    available: int | None
    limit: int | None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything about the machine that explains a speed or a failure."""

    system: str
    python: str
    cpu: Cpu
    cores: Cores
    memory: Memory
    versions: dict[str, str | None]
    providers: tuple[str, ...]


def this_machine() -> Machine:
    """Look at the machine; takes a few milliseconds."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        cpu=_cpu(),
        cores=_cores(),
        memory=_memory(),
        versions={name: _version(name) for name in PACKAGES},
        providers=available_providers(),
    )


def _cpu() -> Cpu:
    features = cpu_features()
    kernel = next((name for needs, name in _KERNELS if set(needs) <= set(features)), "no vector unit")
    return Cpu(model=cpu_model(), architecture=platform.machine(), features=features, kernel=kernel)


def cpu_features() -> tuple[str, ...]:
    """The vector instruction sets that this CPU has, on any system: OpenCV asks the CPU itself."""
    import cv2

    return tuple(name for number, name in _FEATURES.items() if cv2.checkHardwareSupport(number))


def cpu_model() -> str:
    """The CPU's name for people."""
    if sys.platform == "darwin":
        name = _output_of("sysctl", "-n", "machdep.cpu.brand_string")
    elif sys.platform == "win32":
        name = _windows_cpu_model()
    else:
        name = model_of_cpuinfo(_text_of(Path("/proc/cpuinfo"))) or _lscpu_model()
    return name or platform.processor() or platform.machine() or "unknown"


def model_of_cpuinfo(text: str) -> str:
    """The model's name in the text of ``/proc/cpuinfo``; empty where it has none, as on most ARM."""
    found = re.search(r"^(?:model name|Hardware|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    return "" if found is None else found[1].strip()


def _lscpu_model() -> str:
    """What ``lscpu`` says: it knows the names behind ARM's numbers of implementers and parts."""
    found = re.search(r"^Model name:\s*(.+)$", _output_of("lscpu"), re.MULTILINE)
    return "" if found is None else found[1].strip()


def _windows_cpu_model() -> str:
    if sys.platform == "win32":
        import winreg

        key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as folder:
            return str(winreg.QueryValueEx(folder, "ProcessorNameString")[0]).strip()
    return ""


def _cores() -> Cores:
    logical = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    return Cores(logical=logical, affinity=affinity, usable=usable_cores())


def _memory() -> Memory:
    if sys.platform == "darwin":
        total = _output_of("sysctl", "-n", "hw.memsize")
        return Memory(total=int(total) if total.isdigit() else None, available=None, limit=None)
    if sys.platform == "win32":
        return _windows_memory()
    total, available = memory_of_meminfo(_text_of(Path("/proc/meminfo")))
    return Memory(total=total, available=available, limit=memory_limit())


def memory_of_meminfo(text: str) -> tuple[int | None, int | None]:
    """(total, available) in bytes, out of the text of ``/proc/meminfo``."""
    kibibytes = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
    total, available = kibibytes.get("MemTotal"), kibibytes.get("MemAvailable")
    return (None if total is None else total << 10), (None if available is None else available << 10)


def _windows_memory() -> Memory:
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            """MEMORYSTATUSEX of the Windows API."""

            _fields_ = [
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                *((name, ctypes.c_ulonglong) for name in ("total", "available", "a", "b", "c", "d", "e")),
            ]

        status = Status(length=ctypes.sizeof(Status))
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return Memory(total=int(status.total), available=int(status.available), limit=None)
    return Memory(total=None, available=None, limit=None)


def _version(distribution: str) -> str | None:
    """The installed version, or None. onnxruntime has a distribution for each kind of accelerator."""
    names = (distribution, f"{distribution}-gpu", f"{distribution}-directml")
    for name in names if distribution == "onnxruntime" else names[:1]:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output_of(*command: str) -> str:
    """What a small program of the system prints; empty when it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, env=child_environment()
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
