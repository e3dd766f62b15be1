"""ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.backends.base import Backend, ModelIO, TensorInfo
from lifeiqa.runtime.errors import ManifestError, MissingError
from lifeiqa.runtime.limits import compute_threads
from lifeiqa.runtime.manifest import Manifest
from lifeiqa.runtime.processor import processor

_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
_SPINS_BRIEFLY = (1, 32)  # ONNX Runtime that is known to end spinning after a set time; before, it spins or does not
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntimeBackend(Backend):
    """Runs an ONNX file with the first execution provider that the device asks for."""

    def __init__(self, model: Path, device: str = "auto", threads: int = 0, concurrent: bool = False) -> None:
        """Loads a model.

        Args:
            model: an ONNX file that lifeiqa exported.
            device: "cpu"; "cuda", which never falls back; "auto": CUDA where it works, else the CPU.
            threads: for one operator on the CPU; 0: one for each core that this process may use, or a single one where
                several threads use the model.
            concurrent: whether several threads will use it at the same time; on the CPU alone.

        Raises:
            MissingError: ONNX Runtime is not installed, or CUDA was asked for and cannot be used.
            ManifestError: the file is no ONNX model, or none of ours.
        """
        try:
            import onnxruntime

            if not hasattr(onnxruntime, "InferenceSession"):  # the folder that an uninstalled package leaves behind
                raise ImportError("only a remnant of it is there")
        except ModuleNotFoundError as error:
            raise MissingError(
                "No inference engine is installed. Install one: pip install onnxruntime "
                "(or onnxruntime-gpu for an NVIDIA GPU)"
            ) from error
        except ImportError as error:
            raise MissingError(
                f"ONNX Runtime is installed, but cannot be loaded ({error}). Install it again: "
                "pip install --force-reinstall onnxruntime"
            ) from error
        self._ort: Any = onnxruntime
        self._ort.set_default_logger_severity(4)
        self.engine = f"onnxruntime {onnxruntime.__version__}"
        self.device, session = self._open(model, device, threads or int(concurrent))
        self.concurrent = concurrent and self.device == "cpu"
        self._run: Any = session.run
        self.manifest = Manifest.from_metadata(session.get_modelmeta().custom_metadata_map, str(model))
        self.io = ModelIO(
            inputs=tuple(_info(node) for node in session.get_inputs()),
            outputs=tuple(_info(node) for node in session.get_outputs()),
        )
        self._outputs = [output.name for output in self.io.outputs]
        side = self.manifest.preprocess.crop_size
        score = TensorInfo("score", "float32", (None,))
        if self.io.inputs != (TensorInfo("image", "uint8", (None, side, side, 3)),) or score not in self.io.outputs:
            raise ManifestError(f"{model} does not have the inputs and outputs its manifest promises; export it again.")

    def _open(self, model: Path, device: str, threads: int) -> tuple[str, Any]:
        available = self._ort.get_available_providers()
        has_cuda = _PROVIDERS["cuda"] in available
        if device == "cuda" and not has_cuda:
            raise MissingError(
                f"CUDA was asked for, but this onnxruntime only has {', '.join(available)}. Install the CUDA build: "
                "pip uninstall onnxruntime && pip install onnxruntime-gpu"
            )
        if device != "cpu" and has_cuda:
            try:
                session = self._session([_PROVIDERS["cuda"], _PROVIDERS["cpu"]], model, threads)
            except ManifestError:
                self._session([_PROVIDERS["cpu"]], model, threads)  # raises where the file is to blame, not CUDA
            else:
                if session.get_providers()[0] == _PROVIDERS["cuda"]:
                    self.why = "CUDA works" if device == "auto" else "CUDA was asked for"
                    return "cuda", session
            if device == "cuda":
                raise MissingError(
                    "CUDA was asked for, but ONNX Runtime could not start it: the driver, CUDA or cuDNN is missing or "
                    "of another version. Check nvidia-smi, and the versions that your onnxruntime-gpu needs."
                )
        found = "this ONNX Runtime is for CUDA, which does not start" if has_cuda else "this ONNX Runtime has no CUDA"
        self.why = "the CPU was asked for" if device == "cpu" else found
        return "cpu", self._session([_PROVIDERS["cpu"]], model, threads)

    def _session(self, providers: list[str], model: Path, threads: int) -> Any:
        options = session_options(self._ort, threads)
        try:
            session = self._ort.InferenceSession(str(model), options, providers=providers)
        except Exception as error:  # a dozen types, none of them public
            raise ManifestError(
                f"{model} cannot be loaded as an ONNX model ({_reason(error)}). "
                "Export one: lifeiqa-export --ckpt best.pt"
            ) from error
        session.disable_fallback()  # it would go on with another provider, and say so on standard output
        return session

    def _infer(self, crops: UInt8Array) -> dict[str, FloatArray]:
        if self._run is None:
            raise ValueError("the backend is closed")
        try:
            outputs = self._run(self._outputs, {"image": crops})
        except Exception as error:
            raise ManifestError(f"{self.manifest.name} failed while running ({_reason(error)}).") from error
        return dict(zip(self._outputs, outputs, strict=True))

    def close(self) -> None:
        """Drops the session, and with it the model's memory."""
        self._run = None


def session_options(onnxruntime: Any, threads: int = 0) -> Any:
    """Options of every session, while calibrating as later at run time.

    Args:
        onnxruntime: the module.
        threads: of one operator; 0: as `compute_threads` says. ONNX Runtime by itself knows nothing of quotas, and
            binds each thread to a core, where it stays when another program takes that core.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or compute_threads()
    # A thread that waits soon sleeps, and leaves its core to others; work is dealt out in small pieces, so that the
    # thread which is held up by another program does less of it. See benchmarks/neighbour.py.
    if _version(onnxruntime) >= _SPINS_BRIEFLY:
        options.add_session_config_entry("session.intra_op.spin_duration_us", "5")
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.dynamic_block_base", "4")
    # x86 before VNNI adds products of uint8 activations and int8 weights in pairs, in 16 bits, which overflow: scores
    # were up to 17 points off. This makes the weights uint8, for which the sums are exact, but slower where VNNI is.
    if not has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _version(onnxruntime: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in onnxruntime.__version__.split(".")[:2] if part.isdecimal())


@cache
def has_vnni() -> bool:
    """Whether this processor adds four 8-bit products in 32 bits at once; False where nobody says."""
    return processor().has("VNNI")


def _reason(error: Exception) -> str:
    """The first line of ONNX Runtime's message, without its code."""
    return (str(error).splitlines() or [type(error).__name__])[0].split(" : ", 2)[-1]


def _info(node: Any) -> TensorInfo:
    shape = tuple(n if isinstance(n, int) else None for n in node.shape)
    return TensorInfo(node.name, _DTYPES.get(node.type, node.type), shape)
