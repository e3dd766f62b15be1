"""The examination: every check, in the order of the report."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

from lifeiqa.runtime.doctor.isolated import isolated, run_check
from lifeiqa.runtime.doctor.report import Check, Report, Section, State

_PACKAGES = ("lifeiqa", "numpy", "typer", "rich")
# Checks that load libraries of others, each in a process of its own.
_CHECKS = {
    "engines": (
        ("ONNX Runtime", "engines.check_onnxruntime", "onnxruntime"),
        ("OpenVINO", "engines.check_openvino", "openvino"),
        ("TensorRT", "engines.check_tensorrt", "tensorrt"),
        ("TensorRT for RTX", "engines.check_tensorrt_rtx", "tensorrt_rtx"),
        ("NVIDIA GPU", "engines.check_gpu", None),
    ),
    "pictures": (("pillow", "pictures.check_pictures", None),),
    "OpenCV": (("OpenCV", "opencv.check_opencv", None),),
    "scoring": (
        ("packaged model", "self_test.check_model", None),
        ("self-test", "self_test.check_score", None),
    ),
}


def examine() -> Report:
    """Looks at this machine. Takes seconds; never raises for what it finds."""
    here = [
        Section("versions", tuple(run_check("versions", "examine.check_versions"))),
        Section("processor", tuple(run_check("processor", "cpu.check_cpu"))),
        Section("limits", tuple(run_check("limits", "limits.check_limits"))),
    ]
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        pending = {title: [pool.submit(_elsewhere, *check) for check in checks] for title, checks in _CHECKS.items()}
        found = [Section(title, tuple(c for job in jobs for c in job.result())) for title, jobs in pending.items()]
    return Report((*here, *found))


def _elsewhere(name: str, check: str, module: str | None) -> list[Check]:
    from lifeiqa.runtime.doctor.engines import installed

    if module is not None and not installed(module):
        return [Check(name, State.absent, "not installed", {})]
    return isolated(name, check)


def check_versions() -> list[Check]:
    """Python, the system, and the packages that every command needs."""
    checks = [_version(package) for package in _PACKAGES]
    python = f"{platform.python_version()}, {platform.python_implementation()}"
    return [
        checks[0],
        Check("Python", State.ok, python, {"version": platform.python_version()}),
        Check("system", State.ok, platform.platform(), {"platform": platform.platform()}),
        *checks[1:],
    ]


def _version(package: str) -> Check:
    try:
        found = version(package)
    except PackageNotFoundError:
        return Check(package, State.broken, f"not installed. Install it: pip install {package}", {"version": None})
    return Check(package, State.ok, found, {"version": found})
