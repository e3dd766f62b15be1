"""The TensorRT backend, mostly without a GPU.

`HostDevice` stands in for the GPU and `StandInTrt` for TensorRT, over host memory: what is queued is done when the
stream is synchronised, and an "engine" is a JSON file whose score is the mean of a crop. They check buffers, shapes,
the order of calls and every refusal. They do not check kernels, nor that the real TensorRT takes these calls: the
tests marked `gpu` do, with a small engine that they build.
"""

import ctypes
import enum
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lifeiqa.runtime import Manifest, PreprocessSpec, ScoreScale
from lifeiqa.runtime.backends import open_backend, tensorrt
from lifeiqa.runtime.backends.cuda import CudaDevice, CudaGraph, open_device
from lifeiqa.runtime.backends.engine_checks import RTX_GPUS, host_platform, rebuild_command
from lifeiqa.runtime.backends.engine_info import EngineInfo, sidecar_of, sidecar_path
from lifeiqa.runtime.backends.tensorrt import MAX_GRAPHS, TensorRtBackend
from lifeiqa.runtime.cli import main
from lifeiqa.runtime.errors import EngineError, LifeIQAError, ManifestError, MissingError, UsageError

SIDE = 8
MANIFEST = Manifest("m", "1", "ab" * 32, "fp16", "fp16", PreprocessSpec(crop_size=SIDE), ScoreScale())
INFO = EngineInfo("tensorrt", "10.3.0", "8.7", host_platform(), (2, 3, 4), False, False, "", 0)
RTX = {"builder": "tensorrt_rtx", "version": "1.7.1.116", "compute_capability": ""}
TENSORS = {
    "image": ["INPUT", "UINT8", [-1, SIDE, SIDE, 3]],
    "score": ["OUTPUT", "FLOAT", [-1]],
    "expert_weights": ["OUTPUT", "FLOAT", [-1, 2, 3]],
}


class HostDevice(CudaDevice):
    """A GPU of host memory. `calls` lists what was queued, `graphs` counts recordings that are not released."""

    stream = 7

    def __init__(self, compute_capability: str = "8.7", records: bool = True) -> None:
        self.compute_capability, self.records = compute_capability, records
        self.memory: dict[int, Any] = {}
        self.arrays: list[npt.NDArray[Any]] = []
        self.calls: list[str] = []
        self.queue: list[Callable[[], object]] = []
        self.recording: list[Callable[[], object]] | None = None
        self.graphs = self.closed = 0

    def put(self, name: str, work: Callable[[], object]) -> None:
        self.calls.append(name if self.recording is None else f"record {name}")
        (self.queue if self.recording is None else self.recording).append(work)

    def allocate(self, size_bytes: int) -> int:
        block = ctypes.create_string_buffer(size_bytes)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def host_array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        self.arrays.append(np.full(shape, 123, dtype))
        return self.arrays[-1]

    def copy(self, name: str, address: int, array: npt.NDArray[Any], inwards: bool) -> None:
        assert array.flags.c_contiguous
        assert any(np.shares_memory(array, known) for known in self.arrays), "not page-locked"
        assert array.nbytes <= len(self.memory[address])
        pair = (address, array.ctypes.data) if inwards else (array.ctypes.data, address)
        self.put(name, lambda: ctypes.memmove(*pair, array.nbytes))

    def copy_in(self, target: int, source: npt.NDArray[Any]) -> None:
        self.copy("in", target, source, inwards=True)

    def copy_out(self, target: npt.NDArray[Any], source: int) -> None:
        self.copy("out", source, target, inwards=False)

    def synchronize(self) -> None:
        self.calls.append("wait")
        for work in self.queue:
            work()
        self.queue.clear()

    def capture(self, work: Callable[[], bool]) -> CudaGraph | None:
        if not self.records:
            return None
        assert not self.queue, "a recording starts on an idle stream"
        self.recording = []
        done, recorded = work(), self.recording
        self.recording = None
        return HostGraph(self, recorded) if done else None

    def close(self) -> None:
        assert not self.graphs, "recordings go before the memory that they use"
        self.closed += 1
        self.memory.clear()


class HostGraph(CudaGraph):
    def __init__(self, device: HostDevice, work: list[Callable[[], object]]) -> None:
        self.device, self.work = device, work
        device.graphs += 1

    def replay(self) -> None:
        self.device.calls.append("replay")
        self.device.queue += self.work

    def release(self) -> None:
        self.device.graphs -= 1


class Context:
    """An execution context. Like the real one, it must have run once with a new shape before it is recorded."""

    def __init__(self, trt: "StandInTrt", plan: "Plan", scratch: bool) -> None:
        self.trt, self.plan, self.needs_scratch = trt, plan, scratch
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.settled = False

    def set_device_memory(self, address: int, size: int) -> None:
        assert len(self.trt.device.memory[address]) >= size >= self.plan.device_memory_size_v2
        self.needs_scratch = False

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address in self.trt.device.memory

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self.plan.profile
        assert name == "image"
        self.settled, self.shape = self.settled and shape == self.shape, shape
        return low <= shape[0] <= high and list(shape[1:]) == self.plan.tensors["image"][2][1:]

    def execute_async_v3(self, stream: int) -> bool:
        device, recording = self.trt.device, self.trt.device.recording is not None
        assert stream == device.stream
        assert self.addresses.keys() == self.plan.tensors.keys()
        assert not self.needs_scratch
        if self.trt.fails or (recording and not self.settled):
            self.trt.log("ERROR", "IExecutionContext::enqueueV3: it hurts\nsecond line")
            return False
        self.settled = True
        shape = self.shape
        device.put("run", lambda: self.compute(shape))
        return True

    def compute(self, shape: tuple[int, ...]) -> None:
        scores, weights = plain(np.frombuffer(self.trt.device.memory[self.addresses["image"]], np.uint8)[
            : np.prod(shape)
        ].reshape(shape))  # fmt: skip
        ctypes.memmove(self.addresses["score"], scores.tobytes(), scores.nbytes)
        if "expert_weights" in self.addresses:
            ctypes.memmove(self.addresses["expert_weights"], weights.tobytes(), weights.nbytes)


def plain(crops: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What the stand-in computes, done directly."""
    scores = crops.astype(np.float32).mean(axis=(1, 2, 3))
    return scores, np.stack([scores * k for k in range(6)], axis=1).reshape(-1, 2, 3)


class Cache:
    """The runtime cache of TensorRT for RTX: it grows by a kernel with each context."""

    def __init__(self) -> None:
        self.data = b"rtx:"

    def deserialize(self, data: bytes) -> bool:
        self.data = data if data.startswith(b"rtx:") else self.data
        return data.startswith(b"rtx:")

    def serialize(self) -> bytes:
        return self.data


class Config:
    cuda_graph_strategy: Any = None

    def __init__(self, trt: "StandInTrt") -> None:
        self.trt = trt

    def create_runtime_cache(self) -> Cache:
        return Cache()

    def set_runtime_cache(self, cache: Cache) -> bool:
        self.cache = self.trt.cache = cache
        return True


class Plan:
    device_memory_size_v2 = 1000

    def __init__(self, trt: "StandInTrt", values: dict[str, Any]) -> None:
        self.trt, self.tensors, self.profile = trt, values["tensors"], values["profile"]
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.trt.TensorIOMode[self.tensors[name][0]]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.trt.DataType[self.tensors[name][1]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name][2])

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert (name, index) == ("image", 0)
        return [(batch, SIDE, SIDE, 3) for batch in self.profile]

    def create_runtime_config(self) -> Config:
        return Config(self.trt)

    def create_execution_context(self, how: Any) -> Context | None:
        if len(self.trt.contexts) == self.trt.most_contexts:
            return None
        if isinstance(how, Config):
            assert how.cuda_graph_strategy is self.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            how.cache.data += b"kernel"
        else:
            assert how is self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self.trt.contexts.append(Context(self.trt, self, scratch=not isinstance(how, Config)))
        return self.trt.contexts[-1]


class StandInTrt:
    """Stands in for the module `tensorrt` or `tensorrt_rtx`."""

    TensorIOMode = enum.Enum("TensorIOMode", "NONE INPUT OUTPUT")
    DataType = enum.Enum("DataType", "FLOAT HALF UINT8 INT64")
    Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
    ExecutionContextAllocationStrategy = enum.Enum("Strategy", "STATIC ON_PROFILE_CHANGE USER_MANAGED")
    CudaGraphStrategy = enum.Enum("CudaGraphStrategy", "DISABLED WHOLE_GRAPH_CAPTURE")

    class ILogger:
        pass

    def __init__(self, device: HostDevice, version: str = "10.3.0") -> None:
        self.device, self.__version__ = device, version
        self.contexts: list[Context] = []
        self.most_contexts = -1
        self.fails = self.starts_not = False
        self.cache: Cache | None = None
        self.runtimes: list[Any] = []

    def log(self, severity: str, message: str) -> None:
        self.logger.log(self.Severity[severity], message)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - TensorRT's name
        self.logger = logger
        if self.starts_not:
            self.log("INTERNAL_ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        trt = self

        class Runtime:
            engine_host_code_allowed = False

            def deserialize_cuda_engine(self, data: bytes) -> Plan | None:
                try:
                    return Plan(trt, json.loads(data))
                except ValueError:
                    trt.log("INFO", "Loaded engine size: 0 MiB")
                    trt.log("ERROR", "Serialization assertion failed")
                    return None

        self.runtimes.append(Runtime())
        return self.runtimes[-1]


def write_engine(
    folder: Path, tensors: dict[str, Any] | None = None, data: bytes | None = None, **changes: Any
) -> Path:
    """An engine of the stand-in, or of `data`, and its sidecar."""
    plan = {"tensors": TENSORS if tensors is None else tensors, "profile": [2, 3, 4]}
    data = json.dumps(plan).encode() if data is None else data
    path = folder / "best.fp16.engine"
    path.write_bytes(data)
    info = replace(INFO, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), **changes)
    sidecar_path(path).write_bytes(sidecar_of(MANIFEST, info))
    return path


def opened(path: Path, device: HostDevice | None = None, version: str = "10.3.0") -> tuple[TensorRtBackend, Any, Any]:
    device = HostDevice() if device is None else device
    trt = StandInTrt(device, version)
    return TensorRtBackend(path, trt=trt, cuda=device), device, trt


def crops_of_noise(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def refusal(kind: type[LifeIQAError], path: Path, device: HostDevice | None = None, version: str = "10.3.0") -> str:
    """The message with which an engine is refused; the device must have been closed."""
    device = HostDevice() if device is None else device
    with pytest.raises(kind) as caught:
        TensorRtBackend(path, trt=StandInTrt(device, version), cuda=device)
    assert type(caught.value) is kind
    assert device.closed == 1
    return str(caught.value)


# running


def test_batches_of_any_size_equal_the_plain_computation(tmp_path: Path) -> None:
    backend, _, _ = opened(write_engine(tmp_path))
    assert (backend.device, backend.engine, backend.manifest) == ("cuda", "tensorrt 10.3.0", MANIFEST)
    assert [tensor.name for tensor in backend.io.inputs + backend.io.outputs] == list(TENSORS)
    for _ in range(3):  # queued, then replayed
        for count in (1, 2, 3, 4, 5, 9, 12):
            crops = crops_of_noise(count, seed=count)
            outputs = backend.infer_all(crops)
            scores, weights = plain(crops)
            assert np.array_equal(outputs["score"], scores)
            assert np.array_equal(outputs["expert_weights"], weights)
    backend.close()


def test_results_outlive_the_next_batch_and_the_backend(tmp_path: Path) -> None:
    backend, _, _ = opened(write_engine(tmp_path))
    first = backend.infer(crops_of_noise(3))
    before = first.copy()
    backend.infer(crops_of_noise(3, seed=1))
    backend.close()
    assert np.array_equal(first, before)


def test_small_batch_is_padded_with_its_last_crop(tmp_path: Path) -> None:
    backend, device, _ = opened(write_engine(tmp_path))
    crops = crops_of_noise(1)
    assert backend.infer(crops).shape == (1,)
    assert np.array_equal(device.arrays[0][:2], np.concatenate([crops, crops]))


def test_buffers_are_made_once_for_the_largest_batch(tmp_path: Path) -> None:
    backend, device, _ = opened(write_engine(tmp_path))
    assert [array.shape for array in device.arrays] == [(4, SIDE, SIDE, 3), (4,), (4, 2, 3)]
    addresses = set(device.memory)
    assert sorted(map(len, device.memory.values())) == [16, 96, 768, 1000]  # outputs, input, scratch
    for count in (1, 4, 9, 4):
        backend.infer(crops_of_noise(count))
    assert set(device.memory) == addresses
    assert len(device.arrays) == 3


def test_batch_size_is_queued_once_and_then_replayed(tmp_path: Path) -> None:
    backend, device, trt = opened(write_engine(tmp_path))
    one_pass = ["in", "run", "out", "out"]
    backend.infer(crops_of_noise(3))
    assert device.calls == [*one_pass, "wait", *(f"record {call}" for call in one_pass)]
    device.calls.clear()
    backend.infer(crops_of_noise(3))
    assert device.calls == ["replay", "wait"]
    device.calls.clear()
    backend.infer(crops_of_noise(7))  # 4, which is new, and 3
    assert device.calls == [*one_pass, "wait", *(f"record {call}" for call in one_pass), "replay", "wait"]
    assert device.graphs == 2
    assert len({id(context) for context in trt.contexts}) == 3  # one a recording, and one for any batch


def test_recordings_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_GRAPHS >= 4
    monkeypatch.setattr(tensorrt, "MAX_GRAPHS", 1)
    backend, device, trt = opened(write_engine(tmp_path))
    for count in (2, 3, 4, 2, 3, 4):
        crops = crops_of_noise(count, seed=count)
        assert np.array_equal(backend.infer(crops), plain(crops)[0])
    assert (device.graphs, len(trt.contexts)) == (1, 2)
    assert device.calls.count("replay") == 1


def test_device_that_cannot_record_runs_every_batch(tmp_path: Path) -> None:
    backend, device, trt = opened(write_engine(tmp_path), HostDevice(records=False))
    for seed in range(3):
        crops = crops_of_noise(3, seed)
        assert np.array_equal(backend.infer(crops), plain(crops)[0])
    assert device.calls.count("run") == 3
    assert len(trt.contexts) == 2  # it is tried once


def test_context_that_cannot_be_made_for_a_recording_costs_only_the_recording(tmp_path: Path) -> None:
    device = HostDevice()
    trt = StandInTrt(device)
    trt.most_contexts = 1
    backend = TensorRtBackend(write_engine(tmp_path), trt=trt, cuda=device)
    crops = crops_of_noise(3)
    assert np.array_equal(backend.infer(crops), plain(crops)[0])
    assert device.graphs == 0


def test_close_frees_everything_and_may_be_repeated(tmp_path: Path) -> None:
    backend, device, _ = opened(write_engine(tmp_path))
    with backend:
        backend.infer(crops_of_noise(9))
        assert device.graphs > 0
    backend.close()
    assert (device.graphs, device.closed, device.memory) == (0, 1, {})
    with pytest.raises(ValueError, match="closed"):
        backend.infer(crops_of_noise(1))


def test_engine_that_fails_while_running_is_named_with_the_reason(tmp_path: Path) -> None:
    backend, _, trt = opened(write_engine(tmp_path))
    trt.log("ERROR", "an older trouble")
    trt.fails = True
    with pytest.raises(
        EngineError, match=r"^m failed while running \(IExecutionContext::enqueueV3: it hurts\)\. Check"
    ):
        backend.infer(crops_of_noise(3))
    trt.fails = False
    crops = crops_of_noise(4)
    assert np.array_equal(backend.infer(crops), plain(crops)[0])


# TensorRT for RTX


def test_rtx_records_by_itself_and_keeps_its_kernels_beside_the_engine(tmp_path: Path) -> None:
    path = write_engine(tmp_path, **RTX)
    saved = tmp_path / "best.fp16.engine.rtxcache"
    backend, device, trt = opened(path, HostDevice("8.9"), "1.7.1.116")
    assert backend.engine == "tensorrt_rtx 1.7.1.116"
    assert not saved.exists()
    for seed in range(2):
        crops = crops_of_noise(6, seed)
        assert np.array_equal(backend.infer(crops), plain(crops)[0])
    assert saved.read_bytes() == b"rtx:kernel"  # a program that is killed loses nothing
    assert (device.graphs, len(trt.contexts)) == (0, 1)
    trt.cache.data += b"more"
    backend.close()
    assert saved.read_bytes() == b"rtx:kernelmore"
    _, _, again = opened(path, HostDevice("8.9"), "1.7.1.116")
    assert again.cache.data == b"rtx:kernelmorekernel"


def test_rtx_cache_of_something_else_is_replaced(tmp_path: Path) -> None:
    path, saved = write_engine(tmp_path, **RTX), tmp_path / "best.fp16.engine.rtxcache"
    saved.write_bytes(b"of another GPU")
    backend, _, _ = opened(path, HostDevice("8.9"), "1.7.1.116")
    backend.infer(crops_of_noise(2))
    backend.close()
    assert saved.read_bytes() == b"rtx:kernel"


def test_rtx_cache_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    path = write_engine(tmp_path, **RTX)
    (tmp_path / "best.fp16.engine.rtxcache").mkdir()
    backend, _, _ = opened(path, HostDevice("8.9"), "1.7.1.116")
    assert backend.infer(crops_of_noise(2)).shape == (2,)
    backend.close()


# refusals


def test_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"best.fp16.engine runs on an NVIDIA GPU only.*best.fp16.onnx\.$"):
        TensorRtBackend(write_engine(tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("built", "compatible", "here", "loads"),
    [
        ("10.3.0", False, "10.3.0", True),
        ("10.3.0", False, "10.3.1", False),
        ("10.3.0.26", False, "10.3.0.30", False),
        ("10.3.0", True, "10.16.1", True),
        ("10.3.0", True, "11.1.0", False),
        ("10.16.1", True, "10.3.0", False),
    ],
)
def test_engine_loads_only_in_a_tensorrt_that_can_read_it(
    tmp_path: Path, built: str, compatible: bool, here: str, loads: bool
) -> None:
    path = write_engine(tmp_path, version=built, version_compatible=compatible)
    if loads:
        backend, _, trt = opened(path, version=here)
        assert trt.runtimes[0].engine_host_code_allowed is compatible
        backend.close()
    else:
        assert refusal(ManifestError, path, version=here) == (
            f"Engine best.fp16.engine was built with TensorRT {built}; this machine has {here}. Rebuild it: "
            f"lifeiqa-export --onnx {tmp_path}/best.fp16.onnx --target tensorrt --batch 2,3,4 "
            f"{'--version-compatible ' if compatible else ''}--force"
        )


def test_engine_load_fails_when_the_platform_differs(tmp_path: Path) -> None:
    message = refusal(ManifestError, write_engine(tmp_path, platform="linux-sparc"))
    assert f"was built for linux-sparc; this machine is {host_platform()}. Rebuild it: lifeiqa-export" in message


def test_engine_load_fails_when_compute_capability_differs(tmp_path: Path) -> None:
    assert refusal(ManifestError, write_engine(tmp_path), HostDevice("8.6")) == (
        "Engine best.fp16.engine was built for compute capability 8.7 with TensorRT 10.3.0; this machine has 8.6 and "
        f"10.3.0. Rebuild it: lifeiqa-export --onnx {tmp_path}/best.fp16.onnx --target tensorrt --batch 2,3,4 --force"
    )


@pytest.mark.parametrize(
    ("engine", "precision", "command"),
    [
        ("best.fp32.engine", "fp32", "--onnx best.onnx --target tensorrt --force"),
        ("best.int8.engine", "int8", "--onnx best.int8.tensorrt.onnx --target tensorrt --force"),
        ("my best.fp16.engine", "fp16", "--onnx 'my best.fp16.onnx' --target tensorrt --force"),
    ],
)
def test_an_engine_is_rebuilt_from_the_file_it_came_from(engine: str, precision: str, command: str) -> None:
    assert rebuild_command(Path(engine), precision, replace(INFO, batch=(1, 4, 16))) == f"lifeiqa-export {command}"


def test_engine_that_says_no_compute_capability_is_refused(tmp_path: Path) -> None:
    assert "capability (unknown)" in refusal(ManifestError, write_engine(tmp_path, compute_capability=""))


def test_hardware_compatible_engine_runs_from_ampere_on(tmp_path: Path) -> None:
    path = write_engine(tmp_path, hardware_compatible=True)
    for here in ("8.0", "10.0"):
        opened(path, HostDevice(here))[0].close()
    message = refusal(ManifestError, path, HostDevice("7.5"))
    assert "needs compute capability 8.0 or newer; this machine has 7.5. Rebuild it" in message


def test_rtx_engine_needs_a_gpu_that_rtx_knows(tmp_path: Path) -> None:
    path = write_engine(tmp_path, **RTX)
    for here in ("7.5", "12.1"):
        opened(path, HostDevice(here), "1.7.1.116")[0].close()
    message = refusal(MissingError, path, HostDevice("9.0"), "1.7.1.116")
    assert "(compute capability 7.5, 8.0, 8.6, 8.9, 12.0, 12.1); this machine has 9.0" in message
    assert message.endswith(f"lifeiqa-export --onnx {tmp_path}/best.fp16.onnx --target tensorrt --batch 2,3,4 --force")
    marked = write_engine(tmp_path, **RTX, hardware_compatible=True)  # of no meaning to TensorRT for RTX
    opened(marked, HostDevice("7.5"), "1.7.1.116")[0].close()
    fixed = write_engine(tmp_path, **{**RTX, "compute_capability": "8.6"})
    assert "--target tensorrt-rtx" in refusal(ManifestError, fixed, HostDevice("8.9"), "1.7.1.116")


def test_missing_package_is_named_with_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingError, match=r"needs TensorRT, which is not installed.*pip install tensorrt==10.3.0$"):
        TensorRtBackend(write_engine(tmp_path))


def test_package_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise FileNotFoundError('Could not find: libnvinfer.so')")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match=r"cannot be loaded \(Could not find: libnvinfer.so\).*--force-reinstall"):
        TensorRtBackend(write_engine(tmp_path))


def test_truncated_engine_is_refused_before_tensorrt_sees_it(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "is cut short" in refusal(ManifestError, path)


def test_engine_beside_the_sidecar_of_another_is_refused(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"-1", b"+1"))
    assert "is not the engine that best.fp16.engine.json describes" in refusal(ManifestError, path)


def test_engine_whose_file_went_is_refused(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    path.unlink()
    assert "Cannot read" in refusal(ManifestError, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no readable description beside it"),
        (b"{", "is not JSON"),
        (b"[]", "not of a format"),
        (b'{"format": 1}', "malformed"),
        (b'{"format": 1, "engine": {"builder": "tensorrt"}}', "exactly the fields"),
    ],
)
def test_missing_or_malformed_sidecar_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = write_engine(tmp_path)
    sidecar_path(path).unlink() if content is None else sidecar_path(path).write_bytes(content)
    assert message in refusal(ManifestError, path)


@pytest.mark.parametrize(
    "change", [{"size_bytes": "7"}, {"version": 10.3}, {"version_compatible": 1}, {"sha256": None}]
)
def test_sidecar_with_the_wrong_kind_of_value_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_engine(tmp_path)
    content = json.loads(sidecar_path(path).read_bytes())
    content["engine"] |= change
    sidecar_path(path).write_text(json.dumps(content))
    assert f"wrong kind of value for {next(iter(change))}" in refusal(ManifestError, path)


def test_engine_that_tensorrt_cannot_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    message = refusal(ManifestError, write_engine(tmp_path, data=b"no plan"))
    assert "cannot be loaded by tensorrt 10.3.0 (Serialization assertion failed). Rebuild it" in message


def test_tensorrt_that_does_not_start_is_named(tmp_path: Path) -> None:
    device = HostDevice()
    trt = StandInTrt(device)
    trt.starts_not = True
    with pytest.raises(MissingError, match=r"tensorrt 10.3.0 cannot start here \(CUDA initialization failure"):
        TensorRtBackend(write_engine(tmp_path), trt=trt, cuda=device)
    assert device.closed == 1


def test_context_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    device = HostDevice()
    trt = StandInTrt(device)
    trt.most_contexts = 0
    with pytest.raises(MissingError, match="free GPU memory is short"):
        TensorRtBackend(write_engine(tmp_path), trt=trt, cuda=device)
    assert (device.closed, device.memory) == (1, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"image": ["INPUT", "FLOAT", [-1, SIDE, SIDE, 3]]},
        {"image": ["INPUT", "UINT8", [-1, 3, SIDE, SIDE]]},
        {"image": ["INPUT", "UINT8", [4, SIDE, SIDE, 3]]},
        {"score": ["OUTPUT", "HALF", [-1]]},
        {"score": ["OUTPUT", "FLOAT", [-1, 1]]},
        {"score": ["INPUT", "FLOAT", [-1]]},
        {"expert_weights": ["OUTPUT", "INT64", [-1, 2, 3]]},
        {"expert_weights": ["OUTPUT", "FLOAT", [-1, -1, 3]]},
        {"second": ["INPUT", "UINT8", [-1]]},
    ],
)
def test_engine_with_other_inputs_or_outputs_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    message = refusal(ManifestError, write_engine(tmp_path, {**TENSORS, **changes}))
    assert "does not have the inputs and outputs its manifest promises: found image" in message


def test_engine_with_other_batches_than_its_sidecar_is_refused(tmp_path: Path) -> None:
    message = refusal(ManifestError, write_engine(tmp_path, batch=(1, 8, 16)))
    assert "takes batches of (2, 3, 4), its description says (1, 8, 16)" in message


# the real modules


def has_gpu() -> bool:
    try:
        open_device().close()
    except MissingError:
        return False
    return True


def build_engine(folder: Path, name: str, profile: tuple[int, int, int] = (2, 3, 4)) -> Path:
    """A real engine whose score is the mean of a crop. TensorRT for RTX builds it without a GPU, in 20 ms."""
    trt = pytest.importorskip(name, exc_type=ImportError)
    capability = "" if name == "tensorrt_rtx" else open_device().compute_capability
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    image = network.add_input("image", trt.DataType.UINT8, (-1, SIDE, SIDE, 3))
    pixels = network.add_cast(image, trt.DataType.FLOAT).get_output(0)
    score = network.add_reduce(pixels, trt.ReduceOperation.AVG, 0b1110, False).get_output(0)
    score.name = "score"
    network.mark_output(score)
    config = builder.create_builder_config()
    batches = builder.create_optimization_profile()
    batches.set_shape("image", *((batch, SIDE, SIDE, 3) for batch in profile))
    config.add_optimization_profile(batches)
    data = bytes(builder.build_serialized_network(network, config))
    return write_engine(
        folder, data=data, builder=name, version=trt.__version__, compute_capability=capability, batch=profile
    )


def test_real_rtx_of_another_version_is_refused_without_a_gpu(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    path = write_engine(tmp_path, **{**RTX, "version": "1.0.0.1"})
    with pytest.raises(ManifestError, match=rf"with TensorRT for RTX 1.0.0.1; this machine has {trt.__version__}"):
        open_backend(path)


def test_real_rtx_says_why_it_cannot_read_a_file(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    path = write_engine(tmp_path, data=b"garbage" * 50, **{**RTX, "version": trt.__version__})
    with pytest.raises(ManifestError, match=r"cannot be loaded by tensorrt_rtx .*\(IRuntime::.*Serialization"):
        TensorRtBackend(path, cuda=HostDevice("8.6"))


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_real_rtx_engine_without_a_gpu_ends_in_one_line(
    tmp_path: Path, photos: Path, command: Callable[..., Any]
) -> None:
    path = build_engine(tmp_path, "tensorrt_rtx")
    with pytest.raises(MissingError, match=r"NVIDIA|pip install cuda-python"):
        open_backend(path, "cuda")
    outcome = command(main, photos / "coffee.jpg", "--model", path)
    assert outcome.code == MissingError.exit_code
    assert len(outcome.err.strip().splitlines()) <= 3
    assert "Traceback" not in outcome.err
    with pytest.raises(ManifestError, match=r"cannot be loaded by tensorrt_rtx .*CUDA"):  # a GPU that vanished
        TensorRtBackend(path, cuda=HostDevice("8.6"))


def test_stand_in_has_no_name_that_the_real_module_lacks() -> None:
    trt = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    pairs = [
        (StandInTrt, trt),
        (Plan, trt.ICudaEngine),
        (Context, trt.IExecutionContext),
        (Config, trt.IRuntimeConfig),
        (Cache, trt.IRuntimeCache),
    ]
    for stand_in, real in pairs:
        for name, value in vars(stand_in).items():
            if not name.startswith("_") and name not in ("log", "compute", "Severity"):
                assert hasattr(real, name), f"{stand_in.__name__}.{name}"
                for member in getattr(value, "__members__", ()):
                    assert hasattr(getattr(real, name), member), f"{name}.{member}"


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU, its driver and cuda-python or pycuda")
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_real_engine_on_a_real_gpu_gives_the_plain_result(tmp_path: Path, name: str) -> None:
    if name == "tensorrt_rtx":
        device = open_device()
        device.close()
        if device.compute_capability not in RTX_GPUS:
            pytest.skip(f"TensorRT for RTX does not run on compute capability {device.compute_capability}")
    path = build_engine(tmp_path, name)
    for _ in range(2):  # the second time with the runtime cache
        with open_backend(path, "cuda") as backend:
            for _ in range(3):
                for count in (1, 2, 3, 4, 5, 9):
                    crops = crops_of_noise(count, seed=count)
                    assert np.allclose(backend.infer(crops), plain(crops)[0], rtol=1e-5)
    assert (tmp_path / "best.fp16.engine.rtxcache").is_file() == (name == "tensorrt_rtx")
