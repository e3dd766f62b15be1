"""GPU memory, copies and one stream, behind a few calls, whichever Python package for CUDA is installed."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from lifeiqa.runtime.errors import MissingError

PACKAGES = ("cuda-python", "pycuda")
_NO_GPU = "CUDA finds no NVIDIA GPU on this machine. Check nvidia-smi, and the variable CUDA_VISIBLE_DEVICES."
_NO_DRIVER = "This machine has no working NVIDIA driver, which an engine needs to run. Check nvidia-smi."


class CudaGraph(ABC):
    """Work on the device's stream that was recorded once and is started again by one call."""

    @abstractmethod
    def replay(self) -> None:
        """Queues the recorded work on the stream it was recorded on. Raises `MissingError`."""

    @abstractmethod
    def release(self) -> None:
        """Frees the recording, which must not be replayed afterwards. Never raises."""


class CudaDevice(ABC):
    """The first visible GPU, with one stream. Use it in the thread that opened it.

    It owns all memory that it hands out, and frees it in `close`.

    Attributes:
        compute_capability: such as "8.6".
        stream: handle of the stream (a `cudaStream_t`), for an inference engine.
    """

    compute_capability: str
    stream: int

    @abstractmethod
    def allocate(self, size_bytes: int) -> int:
        """Address of new device memory, aligned to 256 bytes at least. Raises `MissingError` when it is short."""

    @abstractmethod
    def host_array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """A new array in page-locked memory, not cleared. Of no use after `close`. Raises `MissingError`."""

    @abstractmethod
    def copy_in(self, target: int, source: npt.NDArray[Any]) -> None:
        """Queues a copy of a contiguous part of a `host_array` to device memory. Raises `MissingError`."""

    @abstractmethod
    def copy_out(self, target: npt.NDArray[Any], source: int) -> None:
        """Queues a copy of device memory to a contiguous part of a `host_array`. Raises `MissingError`."""

    @abstractmethod
    def synchronize(self) -> None:
        """Waits for all queued work. Raises `MissingError` when some of it failed."""

    def capture(self, work: Callable[[], bool]) -> CudaGraph | None:
        """Records what `work` queues, without running it.

        Args:
            work: queues work on the stream; False when it could not.

        Returns:
            The recording; None where the package or the work cannot be recorded.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Frees the stream and all memory. Never raises; a second call does nothing."""


def open_device(prefer: str = PACKAGES[0]) -> CudaDevice:
    """Opens the first visible GPU with the Python package for CUDA that is installed.

    Args:
        prefer: the package to use when both are installed: "cuda-python" or "pycuda".

    Raises:
        MissingError: neither is installed, or there is no GPU, no driver, or too old a one.
    """
    for package in sorted(PACKAGES, key=lambda name: name != prefer):
        module = _import_cudart() if package == "cuda-python" else _import_pycuda()
        if module is not None:
            return _CudaPython(module) if package == "cuda-python" else _PyCuda(module)
    raise MissingError(
        "An engine needs a Python package for CUDA, and none is installed. Install one: pip install cuda-python "
        "(under a driver for CUDA 12: pip install 'cuda-python<13'; on a Jetson also: pip install pycuda)"
    )


def _import_cudart() -> Any:
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # since cuda-python 12.6, and before
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise MissingError(f"The package cuda-python cannot be loaded ({error}). {_NO_DRIVER}") from error
    return None


def _import_pycuda() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except ModuleNotFoundError:
        return None
    except ImportError as error:  # its extension is linked to the driver's library
        raise MissingError(f"The package pycuda cannot be loaded ({error}). {_NO_DRIVER}") from error


class _CudaPython(CudaDevice):
    """The CUDA runtime through NVIDIA's cuda-python."""

    def __init__(self, cudart: Any) -> None:
        """Takes the module `cuda.bindings.runtime`. Raises `MissingError` as `open_device` does."""
        self._cudart = cudart
        self._memory: list[int] = []
        self._pinned: list[int] = []
        self._stream: Any = None
        try:
            error, count = cudart.cudaGetDeviceCount()
        except RuntimeError as reason:  # older versions, where the driver's library is missing
            raise MissingError(_NO_DRIVER) from reason
        if int(error) == int(cudart.cudaError_t.cudaErrorInsufficientDriver):
            raise MissingError(self._driver_advice())
        if int(error) or not count:
            raise MissingError(_NO_GPU)
        self._call("cudaSetDevice", 0)
        attributes = cudart.cudaDeviceAttr
        major = self._call("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMajor, 0)
        minor = self._call("cudaDeviceGetAttribute", attributes.cudaDevAttrComputeCapabilityMinor, 0)
        self.compute_capability = f"{major}.{minor}"
        self._stream = self._call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)
        self.stream = int(self._stream)

    def _driver_advice(self) -> str:
        driver, runtime = self._call("cudaDriverGetVersion"), self._call("cudaRuntimeGetVersion")
        if not driver:
            return _NO_DRIVER
        found, needed = (f"{version // 1000}.{version % 1000 // 10}" for version in (driver, runtime))
        return (
            f"The NVIDIA driver is for CUDA {found}, the package cuda-python for {needed}. Install a newer driver, or: "
            f"pip install 'cuda-python<{driver // 1000 + 1}'"
        )

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._cudart, name)(*arguments)
        if int(error):
            self._cudart.cudaGetLastError()  # else the next caller in this process finds it
            text = self._cudart.cudaGetErrorString(error)[1]
            reason = text.decode() if isinstance(text, bytes) else str(error)
            raise MissingError(f"The GPU failed in {name}: {reason}. See nvidia-smi for its memory and its health.")
        return values[0] if values else None

    def allocate(self, size_bytes: int) -> int:
        self._memory.append(int(self._call("cudaMalloc", size_bytes)))
        return self._memory[-1]

    def host_array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self._pinned.append(int(self._call("cudaHostAlloc", size, 0)))
        data = (ctypes.c_uint8 * size).from_address(self._pinned[-1])
        array: npt.NDArray[Any] = np.ctypeslib.as_array(data).view(dtype).reshape(shape)
        return array

    def copy_in(self, target: int, source: npt.NDArray[Any]) -> None:
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, kind, self._stream)

    def copy_out(self, target: npt.NDArray[Any], source: int) -> None:
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, kind, self._stream)

    def synchronize(self) -> None:
        self._call("cudaStreamSynchronize", self._stream)

    def capture(self, work: Callable[[], bool]) -> CudaGraph | None:
        cudart = self._cudart
        # Thread-local: other threads may go on allocating while this one records.
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            queued = work()
        except MissingError:
            queued = False
        finally:
            error, graph = cudart.cudaStreamEndCapture(self._stream)
        if int(error) or not queued:
            cudart.cudaGetLastError()
            if not int(error):
                cudart.cudaGraphDestroy(graph)
            return None
        try:
            return _CudaPythonGraph(self, self._call("cudaGraphInstantiate", graph, 0))
        except MissingError:
            return None
        finally:
            cudart.cudaGraphDestroy(graph)

    def close(self) -> None:
        if self._stream is not None:
            self._cudart.cudaStreamSynchronize(self._stream)
            self._cudart.cudaStreamDestroy(self._stream)
            self._stream = None
        while self._memory:
            self._cudart.cudaFree(self._memory.pop())
        while self._pinned:
            self._cudart.cudaFreeHost(self._pinned.pop())


class _CudaPythonGraph(CudaGraph):
    def __init__(self, device: _CudaPython, executable: Any) -> None:
        self._device, self._executable = device, executable

    def replay(self) -> None:
        self._device._call("cudaGraphLaunch", self._executable, self._device._stream)

    def release(self) -> None:
        self._device._cudart.cudaGraphExecDestroy(self._executable)


class _PyCuda(CudaDevice):
    """The CUDA driver through pycuda, which records no graphs."""

    def __init__(self, driver: Any) -> None:
        """Takes the module `pycuda.driver`. Raises `MissingError` as `open_device` does."""
        self._driver = driver
        self._memory: list[Any] = []
        self._pinned: list[npt.NDArray[Any]] = []
        self._context: Any = None
        self._stream: Any = None
        try:
            driver.init()
            if not driver.Device.count():
                raise MissingError(_NO_GPU)
            device = driver.Device(0)
            # The primary context is the one that TensorRT, through the CUDA runtime, uses as well.
            self._context = device.retain_primary_context()
            self._context.push()
            self._stream = driver.Stream(1)  # CU_STREAM_NON_BLOCKING
        except driver.Error as error:
            self.close()
            raise MissingError(f"{_NO_GPU} CUDA says: {error}.") from error
        self.compute_capability = "{}.{}".format(*device.compute_capability())
        self.stream = int(self._stream.handle)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise MissingError(f"The GPU failed: {error}. See nvidia-smi for its memory and its health.") from error

    def allocate(self, size_bytes: int) -> int:
        self._memory.append(self._call(self._driver.mem_alloc, size_bytes))
        return int(self._memory[-1])

    def host_array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = self._call(self._driver.pagelocked_empty, shape, np.dtype(dtype))
        self._pinned.append(array)
        return array

    def copy_in(self, target: int, source: npt.NDArray[Any]) -> None:
        self._call(self._driver.memcpy_htod_async, target, source, self._stream)

    def copy_out(self, target: npt.NDArray[Any], source: int) -> None:
        self._call(self._driver.memcpy_dtoh_async, target, source, self._stream)

    def synchronize(self) -> None:
        self._call(self._stream.synchronize)

    def close(self) -> None:
        if self._context is None:
            return
        with contextlib.suppress(self._driver.Error):
            if self._stream is not None:
                self._stream.synchronize()
        self._stream = None  # pycuda's objects free what they hold when they go, while the context is current
        self._memory.clear()
        self._pinned.clear()
        with contextlib.suppress(self._driver.Error):
            self._context.pop()
        self._context = None
