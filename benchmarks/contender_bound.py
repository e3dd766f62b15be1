"""ONNX Runtime with I/O binding: fixed shapes, buffers in the memory of the device, and CUDA graphs if wanted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from contender import import_quietly

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.backends.onnxruntime import session_options
from lifeiqa.runtime.errors import MissingError

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True)
class _Bound:
    """A session for one batch size, and its buffers."""

    session: Any
    binding: Any
    image: Any
    score: Any


class BoundModel:
    """An exported model whose input and output lie in buffers of the device; a session for each batch size.

    The batch size is part of the session, so that nothing of the shapes is computed when it runs. Times include the
    copies to the device and back.
    """

    def __init__(self, model: Path, device: str, threads: int, graph: bool) -> None:
        """Loads nothing yet: the first batch of each size does.

        Args:
            model: an ONNX file that lifeiqa exported.
            device: "cpu" or "cuda".
            threads: of the CPU; 0: as ONNX Runtime chooses.
            graph: whether the first run of each size is recorded as a CUDA graph, which the others replay.

        Raises:
            MissingError: the installed ONNX Runtime has no CUDA.
        """
        self._ort = import_quietly("onnxruntime")
        self.engine = f"onnxruntime {self._ort.__version__}"
        self._model, self._device, self._threads, self._graph = model, device, threads, graph
        self._bound: dict[int, _Bound] = {}
        if (provider := _PROVIDERS[device]) not in self._ort.get_available_providers():
            raise MissingError(f"this onnxruntime has no {provider}. Install one: pip install onnxruntime-gpu")

    def score(self, crops: UInt8Array) -> FloatArray:
        """(B, S, S, 3) uint8 RGB, contiguous -> (B,) scores.

        Raises:
            MissingError: the session cannot be made: CUDA does not start, or cannot record the model as a graph.
        """
        bound = self._bound.get(len(crops))
        if bound is None:
            bound = self._bound[len(crops)] = self._bind(crops)
        bound.image.update_inplace(crops)
        bound.session.run_with_iobinding(bound.binding)
        scores: FloatArray = bound.score.numpy()
        return scores

    def _bind(self, crops: UInt8Array) -> _Bound:
        options = session_options(self._ort, self._threads)
        options.add_free_dimension_override_by_name("batch", len(crops))
        provider = _PROVIDERS[self._device]
        settings = {"enable_cuda_graph": "1"} if self._graph else {}
        try:
            session = self._ort.InferenceSession(str(self._model), options, providers=[(provider, settings)])
            session.disable_fallback()
            binding = session.io_binding()
            image = self._ort.OrtValue.ortvalue_from_numpy(crops, self._device, 0)
            score = self._ort.OrtValue.ortvalue_from_shape_and_type([len(crops)], np.float32, self._device, 0)
            binding.bind_ortvalue_input("image", image)
            binding.bind_ortvalue_output("score", score)
            session.run_with_iobinding(binding)  # records the graph
        except Exception as error:  # a dozen types, none of them public
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise MissingError(f"ONNX Runtime cannot bind or run {self._model.name}: {reason}") from error
        if session.get_providers()[0] != provider:
            raise MissingError(f"ONNX Runtime cannot start {provider}: the driver, CUDA or cuDNN is missing")
        return _Bound(session, binding, image, score)

    def close(self) -> None:
        """Drops sessions and buffers."""
        self._bound.clear()
