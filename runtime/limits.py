"""How many cores and how much memory this process may use, and what one picture may cost."""

from __future__ import annotations

import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MAX_PIXELS = 200_000_000  # of one picture, where the user does not say
DECODE_TIMEOUT_S = 30.0  # of one file, likewise
_NO_LIMIT_BYTES = 1 << 60  # version 1 says "none" with a number near 2^63


@dataclass(frozen=True)
class CgroupLimits:
    """Limits of the control groups that a process is in; None: no limit.

    Attributes:
        version: 1 or 2; None where there are no control groups.
        cores: CPU time a second, in cores.
        memory_bytes: memory.
    """

    version: int | None = None
    cores: float | None = None
    memory_bytes: int | None = None


@functools.cache
def usable_cores() -> int:
    """How many cores this process can keep busy: those it may run on, or fewer where a quota gives less time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = read_cgroup_limits().cores
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


@functools.cache
def compute_threads(root: Path = Path("/")) -> int:
    """Threads that share one computation: one for each core that this process can keep busy, not for its hyper-threads.

    Args:
        root: of the file system that has sys/devices/system/cpu.

    Returns:
        From 1 to `usable_cores()`; 0 where the system does not say which cores belong together, and no limit is set.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0 if usable_cores() == os.cpu_count() else usable_cores()
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = {_read(root / topology.format(number)).strip() or str(number) for number in os.sched_getaffinity(0)}
    return min(usable_cores(), len(cores))


def read_cgroup_limits(root: Path = Path("/")) -> CgroupLimits:
    """The tightest limits on the way from this process's own group to the top. Of both versions where both are there.

    Args:
        root: of the file system that has proc/self.
    """
    groups = _own_groups(root)
    cores: list[float] = []
    memory: list[int] = []
    version = None
    for kind, options, mounted_root, mount in _mounts(root):
        controllers = {""} if kind == "cgroup2" else options & {"cpu", "memory"}
        for controller in controllers & groups.keys():
            for folder in _group_folders(root, mount, mounted_root, groups[controller]):
                if kind == "cgroup2":
                    cores += _quota(_read(folder / "cpu.max").split())
                    memory += _bytes(_read(folder / "memory.max"))
                else:
                    cores += _quota([_read(folder / f"cpu.cfs_{what}_us").strip() for what in ("quota", "period")])
                    memory += _bytes(_read(folder / "memory.limit_in_bytes"))
                version = max(version or 1, 2 if kind == "cgroup2" else 1)
    return CgroupLimits(version, min(cores, default=None), min(memory, default=None))


def _own_groups(root: Path) -> dict[str, str]:
    """The paths of this process's groups by controller; "" stands for version 2."""
    groups: dict[str, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number.isdecimal() and path.startswith("/"):
            groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _mounts(root: Path) -> list[tuple[str, set[str], str, str]]:
    """Mounted hierarchies: "cgroup" or "cgroup2", its options, the group at its top, and where it is mounted."""
    found = []
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) > 4 and len(right) > 2 and right[0] in ("cgroup", "cgroup2"):
            found.append((right[0], set(right[2].split(",")), left[3], left[4]))
    return found


def _group_folders(root: Path, mount: str, mounted_root: str, group: str) -> list[Path]:
    """The folder of a group, and those above it up to the mount. In a container, only what is mounted there."""
    own, top = PurePosixPath(group), PurePosixPath(mounted_root)
    inner = own.relative_to(top) if own.is_relative_to(top) and ".." not in own.parts else PurePosixPath()
    base = root / mount.lstrip("/")
    return [base / path for path in (inner, *inner.parents)]


def _quota(pair: list[str]) -> list[float]:
    if len(pair) == 2 and all(part.isdecimal() for part in pair) and int(pair[1]):  # "max" and -1: no limit
        return [int(pair[0]) / int(pair[1])]
    return []


def _bytes(text: str) -> list[int]:
    number = int(text) if text.strip().isdecimal() else _NO_LIMIT_BYTES
    return [number] if number < _NO_LIMIT_BYTES else []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
