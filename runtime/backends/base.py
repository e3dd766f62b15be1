"""What every inference engine looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.manifest import Manifest


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: its name, NumPy dtype and shape, where None marks a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ModelIO:
    """Inputs and outputs of a model."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


class Backend(ABC):
    """Runs one exported model. Not thread-safe, unless `concurrent` says so: one for each thread.

    Attributes:
        concurrent: whether several threads may call `infer` at the same time, and gain by it.
        manifest: what the artifact says about itself.
        io: its inputs and outputs.
        device: "cpu" or "cuda": where it really runs.
        engine: name and version of the inference engine, for people.
        why: why it runs on that device, for people.
    """

    manifest: Manifest
    io: ModelIO
    device: str
    engine: str
    why: str = "this engine runs nowhere else"
    concurrent: bool = False

    def infer(self, crops: UInt8Array) -> FloatArray:
        """(B, H, W, 3) uint8 RGB -> (B,) scores. Any B from 1.

        Raises:
            ValueError: the crops have another dtype or shape: a bug in the caller.
        """
        return self.infer_all(crops)["score"]

    def infer_all(self, crops: UInt8Array) -> dict[str, FloatArray]:
        """Like `infer`, with every output of the model by name, such as `expert_weights` (B, N, E).

        Raises:
            ValueError: the crops have another dtype or shape: a bug in the caller.
            ManifestError: the model fails while it runs.
        """
        side = self.manifest.preprocess.crop_size
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or not len(crops):
            raise ValueError(f"expected crops (B, {side}, {side}, 3) uint8, found {crops.shape} {crops.dtype}")
        outputs = self._infer(np.ascontiguousarray(crops))
        if outputs["score"].shape != crops.shape[:1]:  # an engine may skip what it cannot compute, and say nothing
            raise ManifestError(
                f"{self.manifest.name} failed while running (scores of shape {outputs['score'].shape} for {len(crops)} "
                "crops)."
            )
        return outputs

    @abstractmethod
    def _infer(self, crops: UInt8Array) -> dict[str, FloatArray]:
        """Runs the model on checked, contiguous crops."""

    def close(self) -> None:  # noqa: B027 - most engines have nothing to release
        """Releases what the engine holds. The backend is of no use afterwards."""

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
