"""Builds TensorRT engines from ONNX files: TensorRT 10.3 to 11.x, and TensorRT for RTX, which needs no GPU to build."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from lifeiqa.runtime.backends.engine_info import DEFAULT_BATCH, EngineInfo, sidecar_of, sidecar_path
from lifeiqa.runtime.errors import EngineError, MissingError
from lifeiqa.runtime.files import atomic_path, atomic_write
from lifeiqa.runtime.manifest import Manifest

Builder: TypeAlias = Literal["tensorrt", "tensorrt_rtx"]
Progress: TypeAlias = Callable[[int, int, str], None]
MIN_VERSION = (10, 3)


@dataclass(frozen=True)
class EngineOptions:
    """How engines are built.

    Attributes:
        batch: smallest, optimal and largest batch.
        workspace_mib: memory that tactics may use, in MiB; 0 leaves it to TensorRT.
        timing_cache: file of measured tactics, read if it is there and written afterwards; plain TensorRT only.
        hardware_compatible: make it run on other GPUs of Ampere or newer too.
        version_compatible: make it load in newer versions of the same major number too.
    """

    batch: tuple[int, int, int] = DEFAULT_BATCH
    workspace_mib: int = 0
    timing_cache: Path | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False


@dataclass(frozen=True)
class BuildJob:
    """What `engine_process` is asked for: the plan of `onnx_file`, for crops of `side` pixels."""

    onnx_file: Path
    side: int
    builder: Builder
    options: EngineOptions


@dataclass(frozen=True)
class Built:
    """What `engine_process` answers: the plan, and the timing cache as it then is, None without one."""

    info: EngineInfo
    plan: bytes
    timing_cache: bytes | None


def build_engine(
    onnx_file: Path,
    target: Path,
    manifest: Manifest,
    builder: Builder,
    options: EngineOptions = EngineOptions(),
    progress: Progress = lambda done, total, text: None,
) -> EngineInfo:
    """Builds an engine and writes it, a pure plan file, with its sidecar; both or neither.

    TensorRT works in a process of its own: its threads go on after a build that was told to stop, some of its calls
    swallow a KeyboardInterrupt, and what it does not survive should not take this process with it.

    Args:
        onnx_file: as lifeiqa exported it; INT8 in its "tensorrt" flavour.
        target: the engine's path.
        manifest: of the ONNX file.
        builder: Python package.
        options: how.
        progress: called with steps done, steps known and the phase. What it raises stops the build.

    Raises:
        MissingError: the builder is not installed, too old, or needs a GPU that is not there.
        EngineError: TensorRT does not take the graph, gives up, or crashes.
        WriteError: the engine cannot be written.
    """
    built = _build_elsewhere(BuildJob(onnx_file, manifest.preprocess.crop_size, builder, options), progress)
    # Both are whole before either is in place; if the process dies between the two, the loader sees that they differ.
    with atomic_path(sidecar_path(target)) as description, atomic_path(target) as plan:
        plan.write_bytes(built.plan)
        description.write_bytes(sidecar_of(manifest, built.info))
    if built.timing_cache is not None and options.timing_cache is not None:
        atomic_write(options.timing_cache, built.timing_cache)
    return built.info


def _build_elsewhere(job: BuildJob, progress: Progress) -> Built:
    """Runs `engine_process`, which ends with this call, whatever ends it. Its session is its own: no Ctrl-C there."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from lifeiqa.export.engine_process import main; "
    command = [sys.executable, "-c", f"{code}main({pickle.dumps(job)!r})"]
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(command, stdin=nothing, stdout=pipe, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            for message in _messages(process.stdout):
                if isinstance(message, Built):
                    return message
                if isinstance(message, Exception):
                    raise message
                progress(*message)
            process.stdout.close()  # what else it would say breaks its pipe
            died = process.wait()
        finally:
            process.kill()
            process.wait()
    if died >= 0:  # its traceback is on stderr
        raise RuntimeError(f"The process that builds engines ended with code {died}.")
    reason = " Was there too little memory?" if died == -signal.SIGKILL else ""
    raise EngineError(
        f"{job.builder} crashed building an engine from {job.onnx_file.name}: {signal.strsignal(-died)}.{reason}"
    )


def _messages(stream: IO[bytes]) -> Iterator[tuple[int, int, str] | Built | Exception]:
    """What `engine_process` says, until it ends, be it in the middle of a message."""
    with contextlib.suppress(EOFError, pickle.UnpicklingError):
        while True:
            yield pickle.load(stream)  # noqa: S301 -- from our own process


def load_builder(builder: Builder) -> Any:
    """Imports a builder package. Raises `MissingError` when it is not there, too old, or its libraries are missing."""
    wheel = "tensorrt-rtx-cu13" if builder == "tensorrt_rtx" else "tensorrt"
    if importlib.util.find_spec(builder) is None:
        raise MissingError(f"{builder} is not installed. Install it: pip install {wheel}")
    try:
        trt = importlib.import_module(builder)
    except (ImportError, OSError) as error:
        raise MissingError(f"{builder} is installed but cannot be loaded: {error}") from error
    version = tuple(int(part) for part in str(trt.__version__).split(".")[:2])
    if builder == "tensorrt" and version < MIN_VERSION:
        raise MissingError(
            f"TensorRT {trt.__version__} is too old; {MIN_VERSION[0]}.{MIN_VERSION[1]} or newer is needed."
        )
    return trt


def available_builder() -> Builder | None:
    """What `--target auto` uses: TensorRT where it and a GPU are there, else TensorRT for RTX, else nothing."""
    if importlib.util.find_spec("tensorrt") is not None:
        with contextlib.suppress(MissingError):
            capability_of_gpu()
            return "tensorrt"
    return "tensorrt_rtx" if importlib.util.find_spec("tensorrt_rtx") is not None else None


def capability_of_gpu() -> str:
    """Compute capability of this machine's GPU. Raises `MissingError` without one, or without a package to ask it."""
    from lifeiqa.runtime.backends.cuda import open_device

    device = open_device()
    try:
        return device.compute_capability
    finally:
        device.close()
