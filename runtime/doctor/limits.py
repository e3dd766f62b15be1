"""How many cores and how much memory this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.limits import read_cgroup_limits


def check_limits(root: Path = Path("/")) -> list[Check]:
    """Cores of the machine, those this process may run on, and its quotas.

    Args:
        root: of the file system that has proc/self.
    """
    logical = os.cpu_count()
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    limits = read_cgroup_limits(root)
    version = f" (cgroup v{limits.version})" if limits.version else ""
    quota = "none" if limits.cores is None else f"{limits.cores:g} cores"
    memory = "none" if limits.memory_bytes is None else f"{limits.memory_bytes / 2**20:.0f} MiB"
    return [
        _count("logical cores", logical),
        _count("cores by affinity", affinity),
        Check("CPU quota", State.ok, f"{quota}{version}", {"cores": limits.cores, "cgroup": limits.version}),
        Check("memory limit", State.ok, f"{memory}{version}", {"bytes": limits.memory_bytes}),
    ]


def _count(name: str, number: int | None) -> Check:
    if number is None:
        return Check(name, State.unknown, "this system does not say", {"count": None})
    return Check(name, State.ok, str(number), {"count": number})
