"""Builds one TensorRT engine in a process of its own, for `lifeiqa.export.engine`.

It writes to stdout, pickled: any number of (steps done, steps known, phase), then a `Built`, or the error that it ends
with. Anything else that goes wrong is a bug, with its traceback on stderr.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import traceback
from collections.abc import Callable
from typing import Any

from lifeiqa.export.engine import Builder, BuildJob, Built, EngineOptions, Progress, capability_of_gpu, load_builder
from lifeiqa.runtime.backends.engine_checks import host_platform
from lifeiqa.runtime.backends.engine_info import EngineInfo
from lifeiqa.runtime.errors import EngineError, LifeIQAError, MissingError, UsageError


def main(pickled: bytes) -> None:
    """Does a pickled `BuildJob`, and leaves without the interpreter's farewell, which TensorRT's threads break."""
    job: BuildJob = pickle.loads(pickled)  # noqa: S301 -- from our own process
    send = _sender()
    try:
        send(_build(job, lambda *step: send(step)))
    except LifeIQAError as error:
        send(error)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _sender() -> Callable[[object], None]:
    """What writes messages to stdout; what libraries print there goes to stderr."""
    messages, lock = os.fdopen(os.dup(1), "wb"), threading.Lock()
    os.dup2(2, 1)

    def send(message: object) -> None:
        try:
            with lock:
                pickle.dump(message, messages)
                messages.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody waits for the engine any more

    return send


def _build(job: BuildJob, progress: Progress) -> Built:
    options = job.options
    trt = load_builder(job.builder)
    capability = capability_of_gpu() if job.builder == "tensorrt" else ""
    log = _Log(trt)
    try:
        maker = trt.Builder(log.logger)
    except TypeError as error:  # what its bindings raise for a null pointer
        maker = None
        log.errors.append(str(error))
    if not maker:
        raise MissingError(
            f"{job.builder} {trt.__version__} cannot build here: {log.last() or 'it finds no NVIDIA GPU'}. Run the "
            "same command on the device, or build for RTX GPUs, which needs none: --target tensorrt-rtx"
        )
    flags = 0  # TensorRT 11 knows strongly typed networks only, and may drop the flag
    if (flag := getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)) is not None:
        flags = 1 << int(flag)
    network = maker.create_network(flags)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(job.onnx_file)):
        found = [parser.get_error(i) for i in range(min(parser.num_errors, 3))]
        reasons = "; ".join(f"{e.node_operator()} {e.node_name()}: {e.desc()}".strip() for e in found)
        raise EngineError(f"{job.builder} {trt.__version__} does not take {job.onnx_file.name}: {reasons}.")
    config = maker.create_builder_config()
    _configure(trt, maker, network, config, job)
    cache = _load_timing_cache(config, job.builder, options)
    config.progress_monitor = _monitor(trt, progress)
    plan = maker.build_serialized_network(network, config)
    if plan is None:
        hint = " A larger --workspace may help." if options.workspace_mib else ""
        raise EngineError(
            f"{job.builder} {trt.__version__} could not build an engine from {job.onnx_file.name}: "
            f"{log.last() or 'it does not say why'}.{hint}"
        )
    data = bytes(plan)
    info = EngineInfo(
        builder=job.builder,
        version=str(trt.__version__),
        compute_capability=capability,
        platform=host_platform(),
        batch=options.batch,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )
    return Built(info, data, None if cache is None else bytes(config.get_timing_cache().serialize()))


def _configure(trt: Any, maker: Any, network: Any, config: Any, job: BuildJob) -> None:
    options, side = job.options, job.side
    profile = maker.create_optimization_profile()
    profile.set_shape("image", *((n, side, side, 3) for n in options.batch))
    config.add_optimization_profile(profile)
    if options.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible and job.builder == "tensorrt":
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


def _monitor(trt: Any, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Adds up the steps of all phases. Called from several threads."""

        def __init__(self) -> None:
            super().__init__()
            self.lock, self.done, self.total = threading.Lock(), 0, 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self.lock:
                self.total += num_steps
                progress(self.done, self.total, phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self.lock:
                self.done += 1
                progress(self.done, self.total, phase_name)
            return True

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
