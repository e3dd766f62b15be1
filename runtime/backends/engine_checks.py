"""May an engine run here? What its sidecar tells is held against this machine before TensorRT sees the engine."""

from __future__ import annotations

import importlib
import platform
import shlex
from pathlib import Path
from typing import Any

from lifeiqa.runtime.backends.engine_info import DEFAULT_BATCH, EngineInfo
from lifeiqa.runtime.errors import MissingError

RTX_GPUS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
_TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
_PIP_NAMES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx-cu13"}
_TARGETS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


def host_platform() -> str:
    """Operating system and processor, as `EngineInfo.platform` has them: "linux-x86_64"."""
    return f"{platform.system()}-{platform.machine()}".lower()


def import_builder(model: Path, info: EngineInfo) -> Any:
    """Imports the package that loads an engine. Raises `MissingError` when it, or a library it needs, is not here."""
    package = _PIP_NAMES[info.builder]
    try:
        return importlib.import_module(info.builder)
    except ModuleNotFoundError as error:
        jetson = " (on a Jetson it comes with JetPack)" if info.builder == "tensorrt" else ""
        raise MissingError(
            f"Engine {model.name} needs {_TITLES[info.builder]}, which is not installed{jetson}. Install the version "
            f"that built it: pip install {package}=={info.version}"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingError(
            f"{_TITLES[info.builder]} is installed, but cannot be loaded ({error}). Install it again: "
            f"pip install --force-reinstall {package}=={info.version}"
        ) from error


def rebuild_command(engine: Path, precision: str, info: EngineInfo, builder: str = "") -> str:
    """The command that builds an engine again from the ONNX file it came from, which needs no checkpoint."""
    options = [f"--onnx {shlex.quote(str(source_of(engine, precision)))} --target {_TARGETS[builder or info.builder]}"]
    if info.batch != DEFAULT_BATCH:
        options.append(f"--batch {','.join(map(str, info.batch))}")
    options += ["--hardware-compatible"] * info.hardware_compatible + ["--version-compatible"] * info.version_compatible
    return f"lifeiqa-export {' '.join(options)} --force"


def source_of(engine: Path, precision: str) -> Path:
    """The ONNX file of an engine: best.fp16.engine -> best.fp16.onnx, FP32 best.onnx, INT8 best.int8.tensorrt.onnx."""
    ending = {"fp32": "", "int8": ".int8.tensorrt"}.get(precision, f".{precision}")
    return engine.with_name(engine.name.removesuffix(".engine").removesuffix(f".{precision}") + f"{ending}.onnx")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def software_mismatch(info: EngineInfo, version: str) -> str:
    """Why this TensorRT, or this system, cannot load the engine; "" when it can."""
    built, here = _numbers(str(info.version)), _numbers(version)
    newer_will_do = info.version_compatible and built[:1] == here[:1] and built <= here
    if built != here and not newer_will_do:
        return f"was built with {_TITLES[info.builder]} {info.version}; this machine has {version}"
    if info.platform != host_platform():
        return f"was built for {info.platform}; this machine is {host_platform()}"
    return ""


def gpu_mismatch(info: EngineInfo, version: str, here: str) -> str:
    """Why a GPU of compute capability `here` cannot run the engine; "" when it can."""
    built = info.compute_capability
    if info.builder == "tensorrt_rtx" and not built:
        return ""
    if info.hardware_compatible:
        return "" if _numbers(here) >= (8, 0) else f"needs compute capability 8.0 or newer; this machine has {here}"
    if built == here:
        return ""
    return (
        f"was built for compute capability {built or '(unknown)'} with {_TITLES[info.builder]} {info.version}; "
        f"this machine has {here} and {version}"
    )
