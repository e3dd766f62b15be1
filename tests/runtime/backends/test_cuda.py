# ruff: noqa: N801, N802, N815 - the names are CUDA's
"""The CUDA device without a GPU.

`Cudart` and `PyCudaDriver` stand in for the two packages over host memory, and do queued work when the stream is
synchronised. They check which calls are made, in which order and with which sizes; not that CUDA takes them.
"""

import ctypes
import enum
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifeiqa.runtime.backends.cuda import CudaDevice, open_device
from lifeiqa.runtime.errors import MissingError


class Memory:
    """Blocks of host memory by address; work that waits; and whatever else must be given back."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.queue: list[Callable[[], object]] = []
        self.recording: list[Callable[[], object]] | None = None
        self.streams = self.graphs = 0

    def new(self, size: int) -> int:
        block = ctypes.create_string_buffer(size)
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def copy(self, target: int, source: int, size: int) -> None:
        work = self.queue if self.recording is None else self.recording
        work.append(lambda: ctypes.memmove(target, source, size))

    def settle(self) -> None:
        for work in self.queue:
            work()
        self.queue.clear()


class CudaError(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100


class Cudart:
    """Stands in for `cuda.bindings.runtime`. `fails` maps a function's name to the error that it gives."""

    cudaError_t = CudaError
    cudaStreamNonBlocking = 1

    class cudaDeviceAttr(enum.Enum):
        cudaDevAttrComputeCapabilityMajor = 75
        cudaDevAttrComputeCapabilityMinor = 76

    class cudaMemcpyKind(enum.Enum):
        cudaMemcpyHostToDevice = 1
        cudaMemcpyDeviceToHost = 2

    class cudaStreamCaptureMode(enum.Enum):
        cudaStreamCaptureModeThreadLocal = 1

    def __init__(self, driver: int = 13000, **fails: int) -> None:
        self.memory, self.driver, self.fails = Memory(), driver, fails

    def __getattribute__(self, name: str) -> Any:
        fails = {} if name == "fails" else self.fails
        return (lambda *_: (CudaError(fails[name]), None)) if name in fails else super().__getattribute__(name)

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, 1

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        assert device == 0
        return (CudaError.cudaSuccess,)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, self.driver

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, 13040

    def cudaDeviceGetAttribute(self, attribute: enum.Enum, device: int) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, {75: 8, 76: 6}[attribute.value]

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        self.memory.streams += 1
        return CudaError.cudaSuccess, 77

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        self.memory.streams -= 1
        return (CudaError.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        assert stream == 77
        self.memory.settle()
        return (CudaError.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, self.memory.new(size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, self.memory.new(size)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.memory.blocks[address]
        return (CudaError.cudaSuccess,)

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: enum.Enum, stream: int) -> tuple[Any, ...]:
        assert stream == 77
        device = target if kind is self.cudaMemcpyKind.cudaMemcpyHostToDevice else source
        assert device in self.memory.blocks
        self.memory.copy(target, source, size)
        return (CudaError.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: enum.Enum) -> tuple[Any, ...]:
        self.memory.recording = []
        return (CudaError.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        graph, self.memory.recording = self.memory.recording, None
        self.memory.graphs += 1
        return CudaError.cudaSuccess, graph

    def cudaGraphInstantiate(self, graph: list[Any], flags: int) -> tuple[Any, ...]:
        self.memory.graphs += 1
        return CudaError.cudaSuccess, list(graph)

    def cudaGraphLaunch(self, executable: list[Any], stream: int) -> tuple[Any, ...]:
        self.memory.queue += executable
        return (CudaError.cudaSuccess,)

    def cudaGraphDestroy(self, graph: object) -> tuple[Any, ...]:
        self.memory.graphs -= 1
        return (CudaError.cudaSuccess,)

    cudaGraphExecDestroy = cudaGraphDestroy

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return (CudaError.cudaSuccess,)

    def cudaGetErrorString(self, error: CudaError) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, {2: b"out of memory"}.get(int(error), b"some other error")


class PyCudaDriver:
    """Stands in for `pycuda.driver`."""

    class Error(Exception):
        pass

    def __init__(self, devices: int = 1) -> None:
        memory = self.memory = Memory()
        self.devices, self.contexts = devices, 0
        driver = self

        class Stream:
            handle = 99

            def __init__(self, flags: int) -> None:
                memory.streams += 1

            def __del__(self) -> None:
                assert driver.contexts == 1, "freed after its context"
                memory.streams -= 1

            def synchronize(self) -> None:
                memory.settle()

        class Allocation:
            def __init__(self, size: int) -> None:
                if size > 1e9:
                    raise driver.Error("cuMemAlloc failed: out of memory")
                self.address = memory.new(size)

            def __int__(self) -> int:
                return self.address

            def __del__(self) -> None:
                if hasattr(self, "address"):
                    assert driver.contexts == 1, "freed after its context"
                    del memory.blocks[self.address]

        self.Stream, self.mem_alloc = Stream, Allocation

    def init(self) -> None:
        if not self.devices:
            raise self.Error("cuInit failed: no CUDA-capable device is detected")

    @property
    def Device(self) -> Any:
        driver = self

        class Device:
            def __init__(self, index: int) -> None:
                assert index == 0

            count = staticmethod(lambda: driver.devices)

            def compute_capability(self) -> tuple[int, int]:
                return 8, 7

            def retain_primary_context(self) -> Any:
                return self

            def push(self) -> None:
                driver.contexts += 1

            def pop(self) -> None:
                driver.contexts -= 1

        return Device

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return np.empty(shape, dtype)

    def memcpy_htod_async(self, target: int, source: np.ndarray, stream: Any) -> None:
        assert target in self.memory.blocks
        self.memory.copy(target, source.ctypes.data, source.nbytes)

    def memcpy_dtoh_async(self, target: np.ndarray, source: int, stream: Any) -> None:
        assert source in self.memory.blocks
        self.memory.copy(target.ctypes.data, source, target.nbytes)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(cudart: Any = None, pycuda: Any = None) -> None:
        for name, module in (("cuda.bindings.runtime", cudart), ("cuda.cudart", None), ("pycuda.driver", pycuda)):
            monkeypatch.setitem(sys.modules, name, module)

    return put


def round_trip(device: CudaDevice) -> None:
    """Sends six numbers through the device's memory."""
    there, back = device.host_array((2, 3), np.float32), device.host_array((2, 3), np.float32)
    there[:], back[:] = np.arange(6).reshape(2, 3), 0
    address = device.allocate(there.nbytes)
    device.copy_in(address, there)
    device.copy_out(back, address)
    assert not back.any(), "copies wait for the stream"
    device.synchronize()
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_cuda_python_copies_and_gives_everything_back(install: Callable[..., None]) -> None:
    cudart = Cudart()
    install(cudart)
    device = open_device()
    assert (device.compute_capability, device.stream) == ("8.6", 77)
    round_trip(device)
    assert len(cudart.memory.blocks) == 3
    device.close()
    device.close()
    assert not cudart.memory.blocks
    assert cudart.memory.streams == 0


def test_pycuda_copies_and_gives_everything_back_while_its_context_is_current(install: Callable[..., None]) -> None:
    driver = PyCudaDriver()
    install(Cudart(), driver)
    device = open_device("pycuda")
    assert (device.compute_capability, device.stream) == ("8.7", 99)
    round_trip(device)
    assert device.capture(lambda: True) is None
    device.close()
    device.close()
    assert (driver.memory.blocks, driver.memory.streams, driver.contexts) == ({}, 0, 0)


def test_recorded_work_runs_when_it_is_replayed_and_not_before(install: Callable[..., None]) -> None:
    cudart = Cudart()
    install(cudart)
    device = open_device()
    there, back = device.host_array((4,), np.uint8), device.host_array((4,), np.uint8)
    address = device.allocate(4)
    back[:] = 0

    def work() -> bool:
        device.copy_in(address, there)
        device.copy_out(back, address)
        return True

    graph = device.capture(work)
    assert graph is not None
    device.synchronize()
    assert not back.any()
    for value in (5, 6):
        there[:] = value
        graph.replay()
        device.synchronize()
        assert (back == value).all()
    graph.release()
    assert cudart.memory.graphs == 0
    device.close()


def out_of_memory() -> bool:
    raise MissingError("The GPU failed in cudaMemcpyAsync: out of memory.")


@pytest.mark.parametrize("work", [lambda: False, out_of_memory])
def test_work_that_cannot_be_recorded_ends_the_recording(
    install: Callable[..., None], work: Callable[[], bool]
) -> None:
    cudart = Cudart()
    install(cudart)
    device = open_device()
    assert device.capture(work) is None
    assert cudart.memory.recording is None
    assert cudart.memory.graphs == 0
    round_trip(device)
    device.close()


def test_recording_that_cuda_refuses_is_none(install: Callable[..., None]) -> None:
    cudart = Cudart(cudaGraphInstantiate=2)
    install(cudart)
    device = open_device()
    assert device.capture(lambda: True) is None
    assert cudart.memory.graphs == 0


@pytest.mark.parametrize(
    ("cudart", "pycuda", "message"),
    [
        (None, None, r"none is installed. Install one: pip install cuda-python .*cuda-python<13.*pip install pycuda"),
        (Cudart(cudaGetDeviceCount=100), None, "no NVIDIA GPU on this machine. Check nvidia-smi"),
        (Cudart(driver=0, cudaGetDeviceCount=35), None, "no working NVIDIA driver"),
        (
            Cudart(driver=12060, cudaGetDeviceCount=35),
            None,
            r"driver is for CUDA 12.6, the package cuda-python for 13.4.*pip install 'cuda-python<13'",
        ),
        (None, PyCudaDriver(devices=0), "no NVIDIA GPU on this machine.*no CUDA-capable device is detected"),
    ],
)
def test_what_the_machine_lacks_is_named(install: Callable[..., None], cudart: Any, pycuda: Any, message: str) -> None:
    install(cudart, pycuda)
    with pytest.raises(MissingError, match=message):
        open_device()


def test_memory_that_is_short_is_named(install: Callable[..., None]) -> None:
    install(Cudart(cudaMalloc=2), PyCudaDriver())
    for package, reason in (("cuda-python", "failed in cudaMalloc: out of memory"), ("pycuda", "out of memory")):
        device = open_device(package)
        with pytest.raises(MissingError, match=rf"{reason}.*nvidia-smi"):
            device.allocate(2_000_000_000)
        device.close()


@pytest.mark.parametrize(("package", "module"), [("cuda-python", "cuda/bindings/runtime"), ("pycuda", "pycuda/driver")])
def test_package_whose_library_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, module: str
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in ("cuda", "pycuda")]:
        monkeypatch.delitem(sys.modules, name)
    path = tmp_path / f"{module}.py"
    path.parent.mkdir(parents=True)
    for folder in path.parents[: len(Path(module).parts) - 1]:
        (folder / "__init__.py").touch()
    path.write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(MissingError, match=rf"{package} cannot be loaded \(libcuda.so.1.*NVIDIA driver"):
            open_device(package)
    finally:
        for name in [n for n in sys.modules if n.split(".")[0] in ("cuda", "pycuda")]:
            del sys.modules[name]


def test_stand_in_has_no_name_that_the_real_package_lacks() -> None:
    cudart = pytest.importorskip("cuda.bindings.runtime")
    for name, value in vars(Cudart).items():
        if name.startswith("cuda"):
            members = list(getattr(value, "__members__", ()))
            assert all(hasattr(getattr(cudart, name), member) for member in members), name


def test_real_package_says_what_is_missing_or_works() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    try:
        device = open_device("cuda-python")
    except MissingError as error:
        assert "NVIDIA" in str(error)
    else:
        round_trip_on_gpu(device)


@pytest.mark.gpu
@pytest.mark.parametrize("package", ["cuda-python", "pycuda"])
def test_real_gpu_copies_records_and_closes(package: str) -> None:
    pytest.importorskip(
        {"cuda-python": "cuda.bindings.runtime", "pycuda": "pycuda.driver"}[package], exc_type=ImportError
    )
    try:
        device = open_device(package)
    except MissingError as error:
        pytest.skip(str(error))
    round_trip_on_gpu(device)


def round_trip_on_gpu(device: CudaDevice) -> None:
    there, back = device.host_array((1000, 7), np.float32), device.host_array((1000, 7), np.float32)
    there[:], back[:] = np.random.default_rng(0).random((1000, 7)), 0
    address = device.allocate(there.nbytes)

    def work() -> bool:
        device.copy_in(address, there)
        device.copy_out(back, address)
        return True

    work()
    device.synchronize()
    assert (back == there).all()
    graph = device.capture(work)
    if graph is not None:
        there += 1
        graph.replay()
        device.synchronize()
        assert (back == there).all()
        graph.release()
    device.close()
    device.close()
