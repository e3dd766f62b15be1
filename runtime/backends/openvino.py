"""OpenVINO, on the CPU."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.backends.base import Backend, ModelIO, TensorInfo
from lifeiqa.runtime.errors import ManifestError, MissingError, UsageError
from lifeiqa.runtime.limits import compute_threads
from lifeiqa.runtime.manifest import METADATA_KEY, Manifest

_DTYPES = {"u8": "uint8", "f32": "float32"}
_TELEMETRY = "openvino_telemetry"


class OpenVinoBackend(Backend):
    """Runs an ONNX file with OpenVINO's CPU plugin.

    FP32 files are computed in FP32, never in the bfloat16 that OpenVINO takes by default where the CPU has it: that
    moves scores by several points of 100. FP16 files are computed in FP32 too. INT8 files run in INT8 where its sums
    are exact, else in FP32 between the same roundings; OpenVINO fuses and rounds otherwise than ONNX Runtime does, so
    that their scores agree less closely than those of the others.
    """

    def __init__(self, model: Path, device: str = "auto", threads: int = 0, concurrent: bool = False) -> None:
        """Loads a model.

        Args:
            model: an ONNX file that lifeiqa exported.
            device: "cpu" or "auto", which are the same here.
            threads: of the CPU; 0: one for each core that this process may use.
            concurrent: of no meaning here: one picture at a time, on all threads.

        Raises:
            UsageError: the device is "cuda".
            MissingError: OpenVINO is not installed.
            ManifestError: the file is no ONNX model, or none of ours.
        """
        if device == "cuda":
            raise UsageError(
                "CUDA was asked for, but OpenVINO does not run on NVIDIA GPUs. Use --device cpu, or another engine: "
                "--backend onnxruntime"
            )
        openvino = _import_openvino()
        self.engine = f"openvino {openvino.__version__.split('-')[0]}"
        self.device = "cpu"
        graph = _read(openvino, model)
        self.manifest = Manifest.from_metadata(_metadata(graph), str(model))
        self.io = ModelIO(tuple(map(_info, graph.inputs)), tuple(map(_info, graph.outputs)))
        side = self.manifest.preprocess.crop_size
        score = TensorInfo("score", "float32", (None,))
        if self.io.inputs != (TensorInfo("image", "uint8", (None, side, side, 3)),) or score not in self.io.outputs:
            raise ManifestError(f"{model} does not have the inputs and outputs its manifest promises; export it again.")
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        # Threads that are bound to cores wait for a program that takes one of them. See benchmarks/neighbour.py.
        options["ENABLE_CPU_PINNING"] = "NO"
        if count := threads or compute_threads():
            options["INFERENCE_NUM_THREADS"] = str(count)
        core = openvino.Core()
        if self.manifest.precision == "int8" and _overflows(openvino, core):
            options["LP_TRANSFORMS_MODE"] = "NO"
        try:
            compiled = core.compile_model(graph, "CPU", options)
        except RuntimeError as error:
            raise _cannot_be_loaded(model, error) from error
        self._request: Any = compiled.create_infer_request()

    def _infer(self, crops: UInt8Array) -> dict[str, FloatArray]:
        if self._request is None:
            raise ValueError("the backend is closed")
        try:
            outputs = self._request.infer({"image": crops}, share_inputs=True)
        except RuntimeError as error:
            raise ManifestError(f"{self.manifest.name} failed while running ({_reason(error)}).") from error
        return {output.name: outputs[output.name] for output in self.io.outputs}

    def close(self) -> None:
        """Drops the compiled model, and with it its memory."""
        self._request = None


def _import_openvino() -> Any:
    """Imports OpenVINO without its telemetry, which would send an event to Google Analytics on every import."""
    modules: dict[str, Any] = sys.modules
    hide = _TELEMETRY not in modules
    if hide:
        modules[_TELEMETRY] = None  # to the import system: there is no such module; OpenVINO then does without
    try:
        openvino = importlib.import_module("openvino")
        if not hasattr(openvino, "__version__"):  # a folder that an uninstallation left behind
            raise ImportError(f"{list(openvino.__path__)} holds no package")
        return openvino
    except ImportError as error:
        raise MissingError(
            f"OpenVINO is not installed, or cannot be loaded ({error}). Install it: pip install openvino"
        ) from error
    finally:
        if hide:
            del modules[_TELEMETRY]


def _overflows(openvino: Any, core: Any) -> bool:
    """Whether INT8 convolutions lose what 16 bits do not hold, in which x86 before VNNI adds products in pairs."""
    ops = importlib.import_module("openvino.opset13")
    largest = np.full((1, 64, 1, 1), 255, np.float32)
    x = ops.parameter(largest.shape, np.float32)
    activations = ops.fake_quantize(x, *map(np.float32, (0, 255, 0, 255)), 256)
    weights = ops.convert(ops.constant(np.full((8, 64, 1, 1), 127, np.int8)), "f32")
    y = ops.convolution(activations, ops.multiply(weights, np.float32(1)), [1, 1], [0, 0], [0, 0], [1, 1])
    compiled = core.compile_model(openvino.Model([y], [x]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return not np.allclose(compiled({0: largest})[0], 127 * largest.sum(), rtol=1e-3)


def _read(openvino: Any, model: Path) -> Any:
    """Reads a file as ONNX and nothing else: `Core.read_model` tries every format, and each prints what it misses."""
    try:
        frontend = openvino.frontend.FrontEndManager().load_by_framework("onnx")
        return frontend.convert(frontend.load(str(model)))
    except Exception as error:  # a dozen types that have no root of their own
        raise _cannot_be_loaded(model, error) from error


def _metadata(graph: Any) -> Mapping[str, str]:
    """The manifest, out of the ONNX file's metadata, which OpenVINO keeps under "framework"; {} where there is none."""
    place = ["framework", METADATA_KEY]
    return {METADATA_KEY: str(graph.get_rt_info(place).value)} if graph.has_rt_info(place) else {}


def _cannot_be_loaded(model: Path, error: Exception) -> ManifestError:
    return ManifestError(
        f"{model} cannot be loaded as an ONNX model ({_reason(error)}). Export one: lifeiqa-export --ckpt best.pt"
    )


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's message: those before it say where in its sources it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].rstrip(".")


def _info(port: Any) -> TensorInfo:
    kind, shape = port.get_element_type().get_type_name(), port.get_partial_shape()
    sizes = () if shape.rank.is_dynamic else tuple(None if n.is_dynamic else n.get_length() for n in shape)
    return TensorInfo(port.get_any_name(), _DTYPES.get(kind, kind), sizes)
