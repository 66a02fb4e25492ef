"""The limits that Linux control groups (version 2 and 1) set for this process: CPU time and memory.

A limit may be set on the process's own group or on any group above it; the tightest one counts. In a
container, the path in ``/proc/self/cgroup`` may be the host's and not be visible; the top of the mount is
then the container's own group. Other systems have no such files, and no limits. No small library reads them:
psutil tells the memory and the cores of the machine, not of the group.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
#: Version 1 writes "no limit" as the largest page-aligned number, so any number of exbibytes is none.
_NO_LIMIT = 1 << 60


def cpu_quota(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> float | None:
    """The CPU time that the groups allow, in CPUs, such as 1.5; None without a limit."""
    quotas = [
        quota
        for folder in _folders("cpu", mount, membership)
        for quota in (_quota_v2(folder), _quota_v1(folder))
        if quota is not None
    ]
    return min(quotas, default=None)


def usable_cores() -> int:
    """The number of cores that this process may use, by the affinity mask and the cgroup's CPU quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, min(cores, math.ceil(quota)) if quota is not None else cores)


def memory_limit(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int | None:
    """The bytes of memory that the groups allow; None without a limit."""
    limits = [
        limit
        for folder in _folders("memory", mount, membership)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _number(folder / name)) is not None and limit < _NO_LIMIT
    ]
    return min(limits, default=None)


def _folders(controller: str, mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of the process's groups that may limit ``controller``, the innermost first."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = mount
        elif controller in controllers.split(","):
            top = mount / controller
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        if ".." in inside.parts:  # the group lies outside of this namespace
            inside = PurePosixPath()
        for group in (inside, *inside.parents):
            yield top / group


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and quota > 0 and period else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
