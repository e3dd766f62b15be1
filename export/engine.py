"""Builds TensorRT engines from ONNX files: TensorRT 10.3 to 11.x, and TensorRT for RTX, which needs no GPU to build."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lifeiqa.runtime.engine_checks import host_platform
from lifeiqa.runtime.engine_info import DEFAULT_BATCH, EngineInfo, sidecar_of, sidecar_path
from lifeiqa.runtime.errors import EngineError, MissingError, UsageError
from lifeiqa.runtime.files import atomic_path, atomic_write
from lifeiqa.runtime.manifest import Manifest

Builder: TypeAlias = Literal["tensorrt", "tensorrt_rtx"]
Progress: TypeAlias = Callable[[int, int, str], None]
OLDEST = (10, 3)


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


def build_engine(
    onnx_file: Path,
    target: Path,
    manifest: Manifest,
    builder: Builder,
    options: EngineOptions = EngineOptions(),
    progress: Progress = lambda done, total, text: None,
) -> EngineInfo:
    """Builds an engine and writes it, a pure plan file, with its sidecar; both or neither.

    Args:
        onnx_file: as lifeiqa exported it; INT8 in its "tensorrt" flavour.
        target: the engine's path.
        manifest: of the ONNX file.
        builder: Python package.
        options: how.
        progress: called from TensorRT's threads with steps done, steps known and the phase. Raising KeyboardInterrupt
            in the main thread stops the build at the next step.

    Raises:
        MissingError: the builder is not installed, too old, or needs a GPU that is not there.
        EngineError: TensorRT does not take the graph, or gives up.
        WriteError: the engine cannot be written.
    """
    trt = load_builder(builder)
    capability = _capability() if builder == "tensorrt" else ""
    log = _Log(trt)
    try:
        maker = trt.Builder(log.logger)
    except TypeError as error:  # what its bindings raise for a null pointer
        maker = None
        log.errors.append(str(error))
    if not maker:
        raise MissingError(
            f"{builder} {trt.__version__} cannot build here: {log.last() or 'it finds no NVIDIA GPU'}. Run the "
            "same command on the device, or build for RTX GPUs, which needs none: --target tensorrt-rtx"
        )
    flags = 0  # TensorRT 11 knows strongly typed networks only, and may drop the flag
    if (flag := getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)) is not None:
        flags = 1 << int(flag)
    network = maker.create_network(flags)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(onnx_file)):
        found = [parser.get_error(i) for i in range(min(parser.num_errors, 3))]
        reasons = "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}".strip() for e in found)
        raise EngineError(f"{builder} {trt.__version__} does not take {onnx_file.name}: {reasons}.")
    config = maker.create_builder_config()
    _configure(trt, maker, builder, network, config, manifest, options)
    cache = _load_timing_cache(config, builder, options)
    monitor = _monitor(trt, progress)
    config.progress_monitor = monitor
    plan = _build_interruptibly(maker, network, config, monitor)
    if plan is None:
        hint = " A larger --workspace may help." if options.workspace_mib else ""
        raise EngineError(
            f"{builder} {trt.__version__} could not build an engine from {onnx_file.name}: "
            f"{log.last() or 'it does not say why'}.{hint}"
        )
    data = bytes(plan)
    info = EngineInfo(
        builder=builder,
        version=str(trt.__version__),
        compute_capability=capability,
        platform=host_platform(),
        batch=options.batch,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )
    # Both are whole before either is in place; if the process dies between the two, the loader sees that they differ.
    with atomic_path(sidecar_path(target)) as description, atomic_path(target) as temporary:
        description.write_bytes(sidecar_of(manifest, info))
        temporary.write_bytes(data)
    if cache is not None and options.timing_cache is not None:
        atomic_write(options.timing_cache, bytes(config.get_timing_cache().serialize()))
    return info


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
    if builder == "tensorrt" and version < OLDEST:
        raise MissingError(f"TensorRT {trt.__version__} is too old; {OLDEST[0]}.{OLDEST[1]} or newer is needed.")
    return trt


def available_builder() -> Builder | None:
    """What `--target auto` uses: TensorRT where it and a GPU are there, else TensorRT for RTX, else nothing."""
    if importlib.util.find_spec("tensorrt") is not None:
        with contextlib.suppress(MissingError):
            _capability()
            return "tensorrt"
    return "tensorrt_rtx" if importlib.util.find_spec("tensorrt_rtx") is not None else None


def _configure(
    trt: Any, maker: Any, builder: Builder, network: Any, config: Any, manifest: Manifest, options: EngineOptions
) -> None:
    side = manifest.preprocess.crop_size
    profile = maker.create_optimization_profile()
    profile.set_shape("image", *((n, side, side, 3) for n in options.batch))
    config.add_optimization_profile(profile)
    if options.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible and builder == "tensorrt":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _load_timing_cache(config: Any, builder: Builder, options: EngineOptions) -> Any:
    """TensorRT's cache of measured tactics; None where none is asked for, or it measures none (RTX)."""
    if options.timing_cache is None or builder == "tensorrt_rtx":
        return None
    try:
        known = options.timing_cache.read_bytes() if options.timing_cache.exists() else b""
    except OSError as error:
        raise UsageError(f"Cannot read the timing cache {options.timing_cache}: {error.strerror}.") from error
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        raise UsageError(f"{options.timing_cache} is not a timing cache of this TensorRT and GPU; remove it.")
    return cache


def _build_interruptibly(builder: Any, network: Any, config: Any, monitor: Any) -> Any:
    """Builds in another thread, so that Ctrl-C reaches this one; the monitor then stops the build."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def build() -> None:
        try:
            result.append(builder.build_serialized_network(network, config))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=build, name="engine build")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    except BaseException:
        monitor.stopped = True
        thread.join()
        raise
    if failure:
        raise failure[0]
    return result[0]


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Adds up the steps of all phases. Called from several threads."""

        def __init__(self) -> None:
            super().__init__()
            self.stopped, self.lock = False, threading.Lock()
            self.done, self.total = 0, 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self.lock:
                self.total += num_steps
                progress(self.done, self.total, phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self.lock:
                self.done += 1
                progress(self.done, self.total, phase_name)
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            return None

    return Monitor()


class _Log:
    """Keeps TensorRT off the terminal, and its last error for our own message."""

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []
        severities = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

        class Logger(trt.ILogger):  # type: ignore[misc]
            def log(self, severity: Any, message: str) -> None:
                if severity in severities:
                    errors.append(message)

        self.errors, self.logger = errors, Logger()

    def last(self) -> str:
        return self.errors[-1].strip().rstrip(".") if self.errors else ""


def _capability() -> str:
    """Compute capability of this machine's GPU. Raises `MissingError` without one, or without a package to ask it."""
    from lifeiqa.runtime.backends.cuda import open_device

    device = open_device()
    try:
        return device.compute_capability
    finally:
        device.close()
