"""What a benchmark ran on: processor, cores, memory, GPU, versions of what computes."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from lifeiqa.runtime.limits import read_cgroup_limits, usable_cores
from lifeiqa.runtime.processor import processor

# Several packages bring the same module; the first that is installed counts.
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "torch": ("torch",),
    "nncf": ("nncf",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx"),
    "pyiqa": ("pyiqa",),
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    "lifeiqa": ("lifeiqa",),
}


def environment(root: Path = Path("/")) -> dict[str, Any]:
    """This machine and its packages, in types that JSON has: the field "environment" of every result file.

    Args:
        root: of the file system that has proc/cpuinfo.
    """
    found = processor(root)
    gpu, driver = _nvidia()
    return {
        "cpu": found.name or found.machine,
        "features": list(found.flags) or [name for name in found.features if found.has(name)],
        "cores": os.cpu_count() or 1,
        "allowed_cores": usable_cores(),
        "memory_bytes": memory_bytes(root),
        "machine": found.machine,
        "system": f"{platform.system()} {platform.release()}",
        "gpu": gpu,
        "driver": driver,
        "python": platform.python_version(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Main memory, or less where a control group allows less; None where the system does not say."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None
    allowed = read_cgroup_limits(root).memory_bytes
    return whole if allowed is None else min(whole, allowed)


def versions() -> dict[str, str]:
    """Versions of those of `PACKAGES` that are installed."""
    found: dict[str, str] = {}
    for name, distributions in PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def _nvidia() -> tuple[str | None, str | None]:
    """Name and driver of the first NVIDIA GPU; (None, None) where there is none, or nvidia-smi does not answer."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None, None
    name, comma, driver = (done.stdout.splitlines() or [""])[0].partition(",")
    return (name.strip(), driver.strip()) if comma else (None, None)
