"""Inference engines by file type; each is imported only when a model needs it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from lifeiqa.runtime.backends.base import Backend, FloatArray, ModelIO, TensorInfo
from lifeiqa.runtime.errors import ManifestError, UsageError

__all__ = ["Backend", "FloatArray", "ModelIO", "TensorInfo", "open_backend"]

DEVICES = ("auto", "cpu", "cuda")

# file suffix -> module and class
_BACKENDS = {
    ".onnx": ("lifeiqa.runtime.backends.onnxruntime", "OnnxRuntimeBackend"),
    ".engine": ("lifeiqa.runtime.backends.tensorrt", "TensorRtBackend"),
}


def open_backend(model: Path, device: str = "auto", threads: int = 0) -> Backend:
    """Loads an exported model into the engine that runs its kind of file.

    Raises:
        UsageError: the file is missing, or the device has an unknown name.
        ManifestError: no engine runs this kind of file, or it is not ours.
        MissingError: the engine or the device is not there.
    """
    if device not in DEVICES:
        raise UsageError(f"The device is one of {', '.join(DEVICES)}, not {device!r}.")
    if not os.path.isfile(model):  # noqa: PTH113 - a name may be too long to ask the system about
        raise UsageError(f"There is no model {model}. Export one: lifeiqa-export --ckpt best.pt")
    if not str(model).isprintable():
        raise UsageError(f"The model's name {str(model)!r} is not plain text; rename it.")
    if model.suffix not in _BACKENDS:
        known = ", ".join(_BACKENDS)
        advice = "export it first: lifeiqa-export --ckpt " + model.name if model.suffix in (".pt", ".pth") else ""
        raise ManifestError(
            f"{model} is not a model file that lifeiqa runs ({known}){'; ' + advice if advice else '.'}"
        )
    module, name = _BACKENDS[model.suffix]
    backend: Backend = getattr(importlib.import_module(module), name)(model, device=device, threads=threads)
    return backend
