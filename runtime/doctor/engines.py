"""Inference engines and the GPU: installed, loadable, and working."""

from __future__ import annotations

import importlib.util
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.errors import LifeIQAError


def check_onnxruntime() -> list[Check]:
    """ONNX Runtime on the CPU, and on CUDA where it was built for that."""
    name = "ONNX Runtime"
    first = _scored(name, "onnxruntime", "cpu")
    if first.state is State.broken:
        return [first]
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    first = replace(
        first, text=f"{first.text}; providers {', '.join(providers)}", values={**first.values, "providers": providers}
    )
    if "CUDAExecutionProvider" not in providers:
        return [first]
    if not gpu_is_here():
        text = "built for CUDA, but this machine has no NVIDIA GPU; the CPU is used"
        return [first, Check(f"{name}, CUDA", State.absent, text)]
    return [first, _scored(f"{name}, CUDA", "onnxruntime", "cuda")]


def check_openvino() -> list[Check]:
    """OpenVINO on the CPU."""
    return [_scored("OpenVINO", "openvino", "cpu")]


def check_tensorrt() -> list[Check]:
    """TensorRT: whether it can be loaded. It runs nothing but engines built for this machine."""
    return [_loaded("TensorRT", "tensorrt")]


def check_tensorrt_rtx() -> list[Check]:
    """TensorRT for RTX, likewise."""
    return [_loaded("TensorRT for RTX", "tensorrt_rtx")]


def check_gpu() -> list[Check]:
    """The first GPU, through whichever Python package for CUDA is installed."""
    from lifeiqa.runtime.backends.cuda import open_device

    name = "NVIDIA GPU"
    if not gpu_is_here():
        return [Check(name, State.absent, "this machine shows none", {"compute_capability": None})]
    if not any(installed(package) for package in ("cuda", "pycuda")):
        text = "there is one; engines need a Python package for CUDA: pip install cuda-python"
        return [Check(name, State.unknown, text, {"compute_capability": None})]
    device = open_device()
    capability = device.compute_capability
    device.close()
    return [Check(name, State.ok, f"compute capability {capability}", {"compute_capability": capability})]


def gpu_is_here(root: Path = Path("/")) -> bool:
    """Whether the system shows an NVIDIA GPU, whatever of CUDA is installed."""
    if platform.system() == "Windows":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    nodes = ("nvidia[0-9]*", "nvgpu", "nvhost-gpu", "nvhost-ctrl-gpu", "dxg")  # desktop, Jetson, Windows' Linux
    return any(any((root / "dev").glob(pattern)) for pattern in nodes)


def installed(module: str) -> bool:
    """Whether Python finds a package of this name, without loading it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a package that is half there
        return True


def _scored(name: str, backend: str, device: str) -> Check:
    """Opens the packaged model and scores the built-in picture, which needs no OpenCV in its own size."""
    from lifeiqa.runtime.backends import open_backend
    from lifeiqa.runtime.doctor.picture import built_in_picture
    from lifeiqa.runtime.doctor.self_test import compared, read_expected
    from lifeiqa.runtime.preprocess import crops_of
    from lifeiqa.runtime.zoo import default_model

    try:
        with open_backend(default_model(), device, backend=backend) as opened:
            version = opened.engine.split()[-1]
            crops = crops_of(built_in_picture(), opened.manifest.preprocess)
            score = float(opened.infer(crops).astype("float64").mean())
        check = compared(name, score, read_expected(default_model()), f"{version}; ")
        return replace(check, values={"version": version, **check.values})
    except LifeIQAError as error:
        return Check(name, State.broken, str(error), {})


def _loaded(name: str, module: str) -> Check:
    loaded: Any = importlib.import_module(module)
    version = getattr(loaded, "__version__", None)
    if version is None:
        return Check(name, State.broken, f"only a remnant is installed. {_reinstall_advice(module)}", {})
    return Check(name, State.ok, f"{version}; can be loaded", {"version": str(version)})


def _reinstall_advice(module: str) -> str:
    return f"Install it again: pip install --force-reinstall {module}"
