"""Inference engines by file type or by name; each is imported only when a model needs it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import NamedTuple

from lifeiqa.runtime.backends.base import Backend, ModelIO, TensorInfo
from lifeiqa.runtime.backends.choice import choose_engine, precision_of
from lifeiqa.runtime.errors import ManifestError, UsageError

__all__ = ["Backend", "ModelIO", "TensorInfo", "choose_engine", "open_backend"]

DEVICES = ("auto", "cpu", "cuda")


class _Engine(NamedTuple):
    suffix: str  # of the files it runs
    module: str
    kind: str


# The first that runs a kind of file is the one that is advised for it.
_ENGINES = {
    "onnxruntime": _Engine(".onnx", "lifeiqa.runtime.backends.onnxruntime", "OnnxRuntimeBackend"),
    "openvino": _Engine(".onnx", "lifeiqa.runtime.backends.openvino", "OpenVinoBackend"),
    "tensorrt": _Engine(".engine", "lifeiqa.runtime.backends.tensorrt", "TensorRtBackend"),
}
BACKENDS = ("auto", *_ENGINES)


def open_backend(
    model: Path, device: str = "auto", threads: int = 0, backend: str = "auto", concurrent: bool = False
) -> Backend:
    """Loads an exported model into an inference engine.

    Args:
        model: an exported file.
        device: one of `DEVICES`.
        threads: CPU threads for one operator; 0 leaves it to the engine.
        backend: one of `BACKENDS`. "auto": TensorRT for ".engine"; for ".onnx" see `choose_engine`.
        concurrent: whether several threads will use it at the same time, where it can be used so; see `Backend`.

    Raises:
        UsageError: the file is missing, the device or backend has an unknown name, or the backend does not run this
            kind of file or on this device.
        ManifestError: no engine runs this kind of file, or it is not ours.
        MissingError: the engine or the device is not there.
    """
    for what, name, known in (("device", device, DEVICES), ("backend", backend, BACKENDS)):
        if name not in known:
            raise UsageError(f"The {what} is one of {', '.join(known)}, not {name!r}.")
    if not os.path.isfile(model):  # noqa: PTH113 - a name may be too long to ask the system about
        raise UsageError(f"There is no model {model}. Export one: lifeiqa-export --ckpt best.pt")
    if not str(model).isprintable():
        raise UsageError(f"The model's name {str(model)!r} is not plain text; rename it.")
    able = [name for name, engine in _ENGINES.items() if engine.suffix == model.suffix]
    if not able:
        suffixes = ", ".join(dict.fromkeys(engine.suffix for engine in _ENGINES.values()))
        advice = "export it first: lifeiqa-export --ckpt " + model.name if model.suffix in (".pt", ".pth") else ""
        raise ManifestError(
            f"{model} is not a model file that lifeiqa runs ({suffixes}){'; ' + advice if advice else '.'}"
        )
    if backend == "auto":
        is_onnx = model.suffix == ".onnx"
        backend = choose_engine(device, precision_of(model), concurrent)[0] if is_onnx else able[0]
    elif backend not in able:
        raise UsageError(
            f"{backend} runs {_ENGINES[backend].suffix} files, not {model.name}. Use --backend {able[0]}, or leave "
            "--backend out."
        )
    engine = _ENGINES[backend]
    opened: Backend = getattr(importlib.import_module(engine.module), engine.kind)(
        model, device=device, threads=threads, concurrent=concurrent
    )
    return opened
