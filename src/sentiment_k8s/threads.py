"""How many threads this process may keep busy: its cores, or what the cgroup's quota leaves."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_threads(cgroups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """min(cores in the affinity mask, max(1, floor(CPU quota))), never the host's cores."""
    cores = affinity_cores()
    quota = cpu_quota(cgroups, membership)
    return min(cores, max(1, math.floor(quota))) if quota else cores


def affinity_cores() -> int:
    """Cores that the scheduler may run this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(cgroups: Path, membership: Path) -> float | None:
    """The least CPU quota from our cgroup up to the root, in cores; None without one.

    Args:
        cgroups: where the cgroup file systems (v1 or v2) are mounted.
        membership: this process's `/proc/self/cgroup`.
    """
    quotas = [q for folder in _folders(cgroups, membership) if (q := _quota(folder)) is not None]
    return min(quotas, default=None)


def _folders(cgroups: Path, membership: Path) -> Iterator[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root = cgroups
        elif "cpu" in controllers.split(","):
            root = cgroups / "cpu"
        else:
            continue
        folder = root / path.lstrip("/")
        while True:
            yield folder
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _quota(folder: Path) -> float | None:
    try:
        if (v2 := folder / "cpu.max").exists():
            quota, period = v2.read_text().split()
            return None if quota == "max" else int(quota) / int(period)
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
