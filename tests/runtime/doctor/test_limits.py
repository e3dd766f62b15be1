"""Cores and memory under control groups, from files as Linux writes them."""

import os
from pathlib import Path

import pytest

from lifeiqa.runtime.doctor.limits import check_limits
from lifeiqa.runtime.limits import CgroupLimits, compute_threads, read_cgroup_limits, usable_cores

V2_MOUNT = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 23 0:28 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 23 0:29 {top} /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)


def tree(root: Path, mounts: str, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_v2_limit_in_a_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/memory.max": "1073741824\n"}
    root = tree(tmp_path, V2_MOUNT.format(top="/"), "0::/\n", files)
    assert read_cgroup_limits(root) == CgroupLimits(2, 1.5, 1 << 30)


def test_v2_the_tightest_of_the_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a/cpu.max": "100000 100000\n",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        "sys/fs/cgroup/a/b/c/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/x/cpu.max": "1000 100000\n",
    }
    root = tree(tmp_path, V2_MOUNT.format(top="/"), "0::/a/b/c\n", files)
    assert read_cgroup_limits(root) == CgroupLimits(2, 1.0, None)


def test_v1_limits_of_the_own_group(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "536870912\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    root = tree(
        tmp_path, V1_MOUNTS.format(top="/"), "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n1:name=systemd:/x\n", files
    )
    assert read_cgroup_limits(root) == CgroupLimits(1, 0.5, 512 << 20)


def test_v1_limits_where_a_container_has_its_group_mounted_alone(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    root = tree(tmp_path, V1_MOUNTS.format(top="/docker/1"), "3:cpu,cpuacct:/docker/1\n", files)
    assert read_cgroup_limits(root) == CgroupLimits(1, 2.0, None)


@pytest.mark.parametrize(
    ("mounts", "cgroup"), [("", ""), ("nonsense\n - \n", ":::\n0\n"), (V2_MOUNT.format(top="/"), "0::/../..\n")]
)
def test_system_without_groups_or_with_unreadable_ones_has_no_limits(tmp_path: Path, mounts: str, cgroup: str) -> None:
    limits = read_cgroup_limits(tree(tmp_path, mounts, cgroup, {}))
    assert (limits.cores, limits.memory_bytes) == (None, None)


def test_quota_below_the_cores_is_shown(tmp_path: Path) -> None:
    root = tree(tmp_path, V2_MOUNT.format(top="/"), "0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"})
    quota = next(check for check in check_limits(root) if check.name == "CPU quota")
    assert quota.text == "0.5 cores (cgroup v2)"
    assert quota.values["cores"] == 0.5


def test_threads_are_one_for_each_core_and_not_for_its_hyper_threads(tmp_path: Path) -> None:
    for number in os.sched_getaffinity(0):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text("0-999\n")
    assert compute_threads(tmp_path) == 1
    assert compute_threads(tmp_path / "none") == usable_cores()
