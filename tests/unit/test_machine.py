"""The description of the machine, parsed from the output of Linux, and limits of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlsr_cli import machine
from xlsr_cli.engine import cgroup


def group(root: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A mount of control groups with ``files``, and a ``/proc/self/cgroup`` that says ``membership``."""
    mount = root / "cgroup"
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    (root / "membership").write_text(membership, encoding="utf-8")
    return mount, root / "membership"


V1 = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a.slice/b.scope\n", {"a.slice/b.scope/cpu.max": "200000 100000\n"}, 2.0),
        # A limit on the group above counts too, and the tightest wins.
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 1.0),
        # In a container the path is the host's and not visible: the top of the mount is the group.
        (V1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/../outside\n", {"cpu.max": "100000 100000\n"}, 1.0),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("0::/\n", {}, None),
    ],
)
def test_cpu_quota(tmp_path: Path, membership: str, files: dict[str, str], quota: float | None) -> None:
    assert cgroup.cpu_quota(*group(tmp_path, membership, files)) == quota


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/a\n", {"a/memory.max": "max\n", "memory.max": "1073741824\n"}, 1 << 30),
        (V1, {"memory/memory.limit_in_bytes": "536870912\n"}, 1 << 29),
        (V1, {"memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_memory_limit(tmp_path: Path, membership: str, files: dict[str, str], limit: int | None) -> None:
    assert cgroup.memory_limit(*group(tmp_path, membership, files)) == limit


def test_nothing_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert cgroup.cpu_quota(tmp_path, tmp_path / "none") is None
    assert cgroup.memory_limit(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7\nflags: x\n", "Intel(R) Core(TM) i7"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n", ""),
        ("Hardware\t: BCM2835\n", "BCM2835"),
    ],
)
def test_cpu_model(text: str, model: str) -> None:
    assert machine.model_of_cpuinfo(text) == model


def test_memory_of_meminfo() -> None:
    text = "MemTotal:       2048 kB\nMemAvailable:   1024 kB\n"
    assert machine.memory_of_meminfo(text) == (2 << 20, 1 << 20)
    assert machine.memory_of_meminfo("") == (None, None)


def test_this_machine_is_described() -> None:
    found = machine.this_machine()
    assert found.cpu.model
    assert found.cores.logical >= found.cores.affinity >= found.cores.usable >= 1
    assert found.memory.total is None or found.memory.total > 1 << 28
    assert found.versions["onnxruntime"]
    assert "CPUExecutionProvider" in found.providers


@pytest.mark.parametrize(
    ("numbers", "kernel", "fast"),
    [
        ({6, 7, 10, 11, 12}, "AVX2 without VNNI", False),
        ({6, 7, 10, 11, 12, 28}, "AVX-VNNI", True),
        ({6, 7, 10, 11, 12, 13, 14, 21}, "AVX-512 without VNNI", False),
        ({6, 7, 10, 11, 12, 13, 14, 21, 23}, "AVX-512 VNNI", True),
        ({100, 101}, "NEON with dot product", True),
        ({6, 7}, "SSE4.1", False),
        (set(), "no vector unit", False),
    ],
)
def test_kernels_are_named_by_features(
    monkeypatch: pytest.MonkeyPatch, numbers: set[int], kernel: str, fast: bool
) -> None:
    import cv2

    monkeypatch.setattr(cv2, "checkHardwareSupport", lambda number: number in numbers)
    cpu = machine.this_machine().cpu
    assert (cpu.kernel, cpu.has_dot_product) == (kernel, fast)
