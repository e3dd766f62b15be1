"""What gpu.sh needs to know of the machine, and its summary. Python alone: it also runs where nothing is installed yet.

python benchmarks/gpu_report.py facts cuda FACTS LACKS     writes what is here as JSON, and what is not, a line each
python benchmarks/gpu_report.py requirements WHEEL EXTRA   prints what to install besides engines and PyTorch
python benchmarks/gpu_report.py libraries                  prints folders of NVIDIA's libraries, as a search path
python benchmarks/gpu_report.py summary STEPS FACTS JSON   prints the steps as a table, and writes both as JSON
"""

from __future__ import annotations

import ctypes
import importlib
import json
import platform
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Installed on their own, or in a build for CUDA instead.
APART = ("onnxruntime", "onnxruntime-gpu", "timm", "torch")
COLUMNS = ("step", "result", "seconds", "why")


def driver() -> dict[str, Any] | None:
    """Name, compute capability and CUDA version of the first GPU, from NVIDIA's driver; None where there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    major, minor, version, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    steps: tuple[Callable[[], int], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGetName(name, len(name), 0),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, 0),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, 0),
        lambda: cuda.cuDriverGetVersion(ctypes.byref(version)),
    )
    if any(step() for step in steps):
        return None
    cuda_version = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return {
        "name": name.value.decode(),
        "compute_capability": f"{major.value}.{minor.value}",
        "cuda_of_driver": cuda_version,
    }


def _version(module: str) -> str:
    return str(importlib.import_module(module).__version__)


def _torch(device: str) -> str:
    torch = importlib.import_module("torch")
    if device == "cuda" and not torch.cuda.is_available():
        raise ImportError(f"PyTorch {torch.__version__} finds no GPU")
    return f"{torch.__version__}"


def _onnxruntime(device: str) -> str:
    ort = importlib.import_module("onnxruntime")
    if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ImportError(f"ONNX Runtime {ort.__version__} is not built for CUDA")
    return f"{ort.__version__}"


def _rtx(gpu: Mapping[str, Any] | None) -> str:
    version = _version("tensorrt_rtx")
    known = importlib.import_module("lifeiqa.runtime.backends.engine_checks").RTX_GPUS
    if gpu is not None and gpu["compute_capability"] not in known:
        raise ImportError(f"it does not run on compute capability {gpu['compute_capability']}")
    return version


def facts(device: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What is on this machine, and why the rest is not, by the names that steps need.

    Args:
        device: "cuda", or "cpu" for a rehearsal.
    """
    gpu = driver()
    found: dict[str, Any] = {"python": platform.python_version(), "gpu": gpu}
    lacks = {} if gpu else {"gpu": "no GPU"}
    probes: dict[str, Callable[[], str]] = {
        "lifeiqa": lambda: str(importlib.import_module("lifeiqa.export") and _version("lifeiqa")),
        "pytest": lambda: _version("pytest"),
        "torch": lambda: _torch(device),
        "onnxruntime": lambda: _onnxruntime(device),
        "cuda-python": lambda: str(importlib.import_module("cuda.bindings.runtime") and _version("cuda.bindings")),
        "tensorrt": lambda: _version("tensorrt"),
        "rtx": lambda: _rtx(gpu),
    }
    for name, probe in probes.items():
        try:
            found[name] = probe()
        except Exception as error:  # a package that is there, but does not work, raises anything
            found[name] = None
            text = (str(error).splitlines() or [type(error).__name__])[0]
            missing = isinstance(error, ModuleNotFoundError)
            lacks[name] = "not installed" if missing else f"does not work here: {text}"
    return found, lacks


def requirements(wheel: Path, extra: str) -> list[str]:
    """What a wheel needs by itself and with an extra, without `APART`."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    wanted = []
    for line in lines:
        if line.startswith("Requires-Dist: "):
            requirement, _, marker = line.removeprefix("Requires-Dist: ").partition(";")
            package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            if (not marker or f'extra == "{extra}"' in marker) and package not in APART:
                wanted.append(requirement.strip())
    return wanted


def libraries() -> list[str]:
    """Folders of CUDA, cuDNN and TensorRT that Python packages brought: ONNX Runtime does not look there by itself."""
    roots = [Path(folder) for folder in sys.path if folder.endswith("-packages")]
    patterns = ("nvidia/*/lib", "tensorrt_libs", "tensorrt_rtx_libs")
    return [str(path) for root in roots for pattern in patterns for path in sorted(root.glob(pattern))]


def summary(rows: list[dict[str, str]]) -> str:
    """The steps as lines of a table."""
    widths = [max(len(row[column]) for row in [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]) for column in COLUMNS]
    lines = [COLUMNS, *(tuple(row[column] for column in COLUMNS) for row in rows)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if place == 2 else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def main(arguments: list[str]) -> None:
    """Runs one of the commands above."""
    command, *rest = arguments
    if command == "facts":
        found, lacks = facts(rest[0])
        Path(rest[1]).write_text(json.dumps(found, indent=1) + "\n")
        Path(rest[2]).write_text("".join(f"{name}\t{why}\n" for name, why in lacks.items()))
    elif command == "requirements":
        print("\n".join(requirements(Path(rest[0]), rest[1])))
    elif command == "libraries":
        print(":".join(libraries()))
    else:
        lines = Path(rest[0]).read_text().splitlines()
        rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]
        facts_file = Path(rest[1])
        machine = json.loads(facts_file.read_text()) if facts_file.exists() else None
        steps = [{**row, "seconds": int(row["seconds"])} for row in rows]
        report = {"kind": "gpu", "format": 1, "machine": machine, "steps": steps}
        Path(rest[2]).write_text(json.dumps(report, indent=1) + "\n")
        print(summary(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
