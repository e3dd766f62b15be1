"""TensorRT and TensorRT for RTX: engines, each built for one kind of GPU and one version."""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.backends.base import Backend, ModelIO, TensorInfo
from lifeiqa.runtime.backends.cuda import CudaDevice, CudaGraph, open_device
from lifeiqa.runtime.backends.engine_checks import (
    RTX_GPUS,
    gpu_mismatch,
    import_builder,
    rebuild_command,
    software_mismatch,
    source_of,
)
from lifeiqa.runtime.backends.engine_info import EngineInfo, read_plan, read_sidecar
from lifeiqa.runtime.errors import EngineError, ManifestError, MissingError, UsageError, WriteError
from lifeiqa.runtime.files import atomic_write

MAX_GRAPHS = 8  # batch sizes recorded as CUDA graphs; each one holds an execution context
_DTYPES = {"UINT8": "uint8", "FLOAT": "float32"}


class TensorRtBackend(Backend):
    """Runs an engine on the first visible GPU.

    What the sidecar can tell is checked before the engine is read, so that an engine of another machine ends in a
    sentence that says so, and not in a message of TensorRT's.
    """

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        threads: int = 0,
        concurrent: bool = False,
        *,
        trt: Any = None,
        cuda: CudaDevice | None = None,
    ) -> None:
        """Loads an engine.

        Args:
            model: an engine that lifeiqa built, with its `.json` beside it.
            device: "auto" or "cuda": an engine runs nowhere else.
            threads, concurrent: of no meaning on a GPU.
            trt: for tests, the module to use in place of the installed `tensorrt` or `tensorrt_rtx`.
            cuda: for tests, the device to use in place of the first GPU. `close` closes it.

        Raises:
            UsageError: the device is "cpu".
            ManifestError: the engine is not ours, not whole, or was built for another GPU, system or TensorRT.
            MissingError: TensorRT, the Python package for CUDA, the driver, the GPU or its free memory is missing.
        """
        self._closed = False
        self._cuda = cuda
        self._executor: _Executor | None = None
        self._cache: _RuntimeCache | None = None
        try:
            self._open(model, device, trt)
        except BaseException:
            self.close()
            raise

    def _open(self, model: Path, device: str, trt: Any) -> None:
        self.manifest, info = read_sidecar(model)
        if device == "cpu":
            raise UsageError(
                f"The CPU was asked for, but engine {model.name} runs on an NVIDIA GPU only. Use --device cuda, or a "
                f"model for the CPU, such as {source_of(model, self.manifest.precision)}."
            )
        rebuild = f"Rebuild it: {rebuild_command(model, self.manifest.precision, info)}"
        self._trt = import_builder(model, info) if trt is None else trt
        self._messages = _logger(self._trt)[1]
        version, is_rtx = str(self._trt.__version__), info.builder == "tensorrt_rtx"
        self.engine = f"{info.builder} {version}"
        self.device = "cuda"
        if mismatch := software_mismatch(info, version):
            raise ManifestError(f"Engine {model.name} {mismatch}. {rebuild}")
        if self._cuda is None:
            self._cuda = open_device()
        here = self._cuda.compute_capability
        if mismatch := gpu_mismatch(info, version, here):
            raise ManifestError(f"Engine {model.name} {mismatch}. {rebuild}")
        if is_rtx and here not in RTX_GPUS:
            raise MissingError(
                f"Engine {model.name} needs a GPU that TensorRT for RTX compiles for (compute capability "
                f"{', '.join(RTX_GPUS)}); this machine has {here}. Build one for TensorRT on this machine: "
                + rebuild_command(model, self.manifest.precision, info, "tensorrt")
            )
        plan = self._deserialise(model, info, rebuild)
        self.io = _read_io(plan, self._trt)
        _check_io(model, info, self.io, plan, self.manifest.preprocess.crop_size, rebuild)
        self._batch = info.batch[0], info.batch[2]
        contexts = self._rtx_contexts(plan, model) if is_rtx else self._contexts(plan)
        self._executor = _Executor(self._cuda, self.io, info.batch[2], contexts, records=not is_rtx)

    def _deserialise(self, model: Path, info: EngineInfo, rebuild: str) -> Any:
        data = read_plan(model, info, rebuild)
        self._messages.clear()
        try:
            runtime = self._trt.Runtime(_logger(self._trt)[0])
        except (TypeError, RuntimeError) as error:  # TypeError is how its null pointer shows
            raise MissingError(f"{self.engine} cannot start here ({self._reason()}). Check nvidia-smi.") from error
        if info.version_compatible and info.builder == "tensorrt":
            runtime.engine_host_code_allowed = True  # such a plan brings the runtime of its own version
        plan = runtime.deserialize_cuda_engine(data)
        if plan is None:
            raise ManifestError(f"{model} cannot be loaded by {self.engine} ({self._reason()}). {rebuild}")
        return plan

    def _contexts(self, plan: Any) -> Callable[[], Any]:
        """Makes contexts that share one block of scratch memory: they take turns on one stream."""
        assert self._cuda is not None
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        size = max(int(plan.device_memory_size_v2), 256)
        scratch = self._cuda.allocate(size)

        def make() -> Any:
            context = plan.create_execution_context(strategy)
            if context is not None:
                context.set_device_memory(scratch, size)
            return context

        return make

    def _rtx_contexts(self, plan: Any, model: Path) -> Callable[[], Any]:
        """Makes contexts that record CUDA graphs by themselves, and keep the kernels compiled for this GPU."""
        config = plan.create_runtime_config()
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache = _RuntimeCache(model.with_name(model.name + ".rtxcache"), config)
        return lambda: plan.create_execution_context(config)

    def _reason(self) -> str:
        """What TensorRT gave as its first error since the messages were cleared."""
        lines = self._messages[0].splitlines() if self._messages else []
        return lines[0] if lines else "it gives no reason"

    def _infer(self, crops: UInt8Array) -> dict[str, FloatArray]:
        if self._executor is None:
            raise ValueError("the backend is closed")
        self._messages.clear()
        smallest, largest = self._batch
        host = self._executor.host
        names = [tensor.name for tensor in self.io.outputs]
        results = {name: np.empty((len(crops), *host[name].shape[1:]), np.float32) for name in names}
        for start in range(0, len(crops), largest):
            chunk = crops[start : start + largest]
            count, batch = len(chunk), max(len(chunk), smallest)
            host["image"][:count] = chunk
            host["image"][count:batch] = chunk[-1]
            if not self._executor.run(batch):
                raise EngineError(f"{self.manifest.name} failed while running ({self._reason()}). Check nvidia-smi.")
            for name in names:
                results[name][start : start + count] = host[name][:count]
        if self._cache is not None:
            self._cache.save_once()
        return results

    def close(self) -> None:
        """Frees the engine, its memory and the stream. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._executor is not None:
            if self._cache is not None:
                self._cache.save()
            self._executor.close()
        self._executor = self._cache = None  # contexts and engine go before the memory that they use
        if self._cuda is not None:
            self._cuda.close()


class _Executor:
    """Buffers for the largest batch, and the execution contexts that use them.

    Attributes:
        host: page-locked arrays by tensor name, (largest batch, ...).
    """

    def __init__(
        self, cuda: CudaDevice, io: ModelIO, largest: int, new_context: Callable[[], Any], records: bool
    ) -> None:
        """Raises `MissingError` when memory is short."""
        self._cuda, self._io, self._new_context, self._records = cuda, io, new_context, records
        self._recorded: dict[int, tuple[Any, CudaGraph]] = {}
        self._memory: dict[str, int] = {}
        self.host: dict[str, npt.NDArray[Any]] = {}
        for tensor in io.inputs + io.outputs:
            array = cuda.host_array((largest, *(n for n in tensor.shape[1:] if n is not None)), tensor.dtype)
            self.host[tensor.name] = array
            self._memory[tensor.name] = cuda.allocate(array.nbytes)
        self._any_batch = self._context()
        if self._any_batch is None:
            raise MissingError("TensorRT cannot start the engine: free GPU memory is short. Check nvidia-smi.")

    def run(self, batch: int) -> bool:
        """Runs the first `batch` rows of `host["image"]` into the first rows of the outputs; False when it failed."""
        if batch in self._recorded:
            self._recorded[batch][1].replay()
            self._cuda.synchronize()
            return True
        # A recording is bound to the shapes its context had: one context for each, as TensorRT's guide advises.
        context = self._context() if self._records and len(self._recorded) < MAX_GRAPHS else None
        if context is None:
            return self._run(self._any_batch, batch)
        done = self._run(context, batch)  # also settles what the new shape changed, which a recording must not hold
        graph = self._cuda.capture(lambda: self._queue(context, batch)) if done else None
        if graph is not None:
            self._recorded[batch] = context, graph
        self._records = graph is not None  # what failed once fails again
        return done

    def _context(self) -> Any:
        context = self._new_context()
        if context is not None:
            for name, address in self._memory.items():
                context.set_tensor_address(name, address)
        return context

    def _run(self, context: Any, batch: int) -> bool:
        if not context.set_input_shape("image", (batch, *self.host["image"].shape[1:])):
            return False
        queued = self._queue(context, batch)
        self._cuda.synchronize()
        return queued

    def _queue(self, context: Any, batch: int) -> bool:
        self._cuda.copy_in(self._memory["image"], self.host["image"][:batch])
        if not context.execute_async_v3(self._cuda.stream):
            return False
        for tensor in self._io.outputs:
            self._cuda.copy_out(self.host[tensor.name][:batch], self._memory[tensor.name])
        return True

    def close(self) -> None:
        """Drops recordings and contexts; the memory is the device's."""
        for _, graph in self._recorded.values():
            graph.release()
        self._recorded.clear()
        self._any_batch = None
        self.host.clear()


class _RuntimeCache:
    """Kernels that TensorRT for RTX compiled for this GPU, kept in a file beside the engine."""

    def __init__(self, path: Path, config: Any) -> None:
        self._path, self._cache = path, config.create_runtime_cache()
        self._saved = b""
        with contextlib.suppress(OSError):
            self._saved = path.read_bytes()
        if self._saved and not self._cache.deserialize(self._saved):
            self._saved = b""  # of another GPU, driver or version
        config.set_runtime_cache(self._cache)
        self._tried = False

    def save_once(self) -> None:
        """Saves after the first inference: a program may be killed before it closes."""
        if not self._tried:
            self.save()

    def save(self) -> None:
        """Writes the file if it would change. A folder that cannot be written only costs time at the next start."""
        self._tried = True
        memory = self._cache.serialize()
        data = b"" if memory is None else bytes(memory)
        if data and data != self._saved:
            with contextlib.suppress(WriteError, OSError):
                atomic_write(self._path, data)
                self._saved = data


@functools.cache
def _logger(trt: Any) -> tuple[Any, deque[str]]:
    """A logger that keeps errors for our messages. One for each module, for good: TensorRT holds on to the first."""
    messages: deque[str] = deque(maxlen=100)

    def log(_: Any, severity: Any, message: str) -> None:
        if severity.name.endswith("ERROR"):
            messages.append(message)

    return type("Log", (trt.ILogger,), {"log": log})(), messages


def _read_io(plan: Any, trt: Any) -> ModelIO:
    inputs: list[TensorInfo] = []
    outputs: list[TensorInfo] = []
    for index in range(plan.num_io_tensors):
        name = plan.get_tensor_name(index)
        kind = plan.get_tensor_dtype(name).name
        shape = tuple(None if n < 0 else int(n) for n in plan.get_tensor_shape(name))
        is_input = plan.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(TensorInfo(name, _DTYPES.get(kind, kind.lower()), shape))
    return ModelIO(tuple(inputs), tuple(outputs))


def _check_io(model: Path, info: EngineInfo, io: ModelIO, plan: Any, side: int, rebuild: str) -> None:
    image, score = TensorInfo("image", "uint8", (None, side, side, 3)), TensorInfo("score", "float32", (None,))
    usable = all(t.dtype == "float32" and t.shape[:1] == (None,) and None not in t.shape[1:] for t in io.outputs)
    if io.inputs != (image,) or score not in io.outputs or not usable:
        found = ", ".join(f"{t.name} {t.dtype} {t.shape}" for t in io.inputs + io.outputs)
        raise ManifestError(
            f"{model} does not have the inputs and outputs its manifest promises: found {found}; expected image uint8 "
            f"{image.shape} and score float32 {score.shape}. {rebuild}"
        )
    batch = tuple(int(shape[0]) for shape in plan.get_tensor_profile_shape("image", 0))
    if batch != info.batch:
        raise ManifestError(f"{model} takes batches of {batch}, its description says {info.batch}. {rebuild}")
