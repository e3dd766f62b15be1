"""Compares a written ONNX file with PyTorch: names, then shapes, then values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lifeiqa.calibration.agreement import Agreement, compare, compare_pictures
from lifeiqa.calibration.limits import EXPERT_WEIGHTS_WORST, Limit
from lifeiqa.export.onnx_file import outputs_of
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.synthesis.ladders import held_out_pictures, ladder
from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.backends.base import Backend, TensorInfo
from lifeiqa.runtime.backends.onnxruntime import OnnxRuntimeBackend
from lifeiqa.runtime.errors import ParityError
from lifeiqa.runtime.preprocess import crops_of

CROPS = 2  # of each picture: twenty crops in all, and half a minute for Swin-B on two cores


def check_pictures() -> Iterator[UInt8Array]:
    """The pictures that an export is checked on: the held-out ones and a blurred copy of each."""
    for _, picture in held_out_pictures():
        copies = ladder(picture, "blur")
        yield picture
        yield copies[3]


class ExportCheck:
    """Compares files of one checkpoint with PyTorch, which scores the pictures once for all files of a kind."""

    def __init__(self, checkpoint: Checkpoint, with_experts: bool) -> None:
        """Computes nothing yet.

        Args:
            checkpoint: what the files were exported from.
            with_experts: whether they also give `expert_weights`.
        """
        self.checkpoint, self.with_experts = checkpoint, with_experts
        self._known: dict[bool, list[_Expected]] = {}

    def __call__(self, path: Path, limit: Limit) -> Agreement:
        """Loads a file as a user would and compares it on real crops.

        FP32 is compared crop by crop; reduced precision picture by picture, on all crops that the runtime would cut.

        Raises:
            ParityError: a name, a shape or a value is off.
        """
        with OnnxRuntimeBackend(path, device="cpu") as backend:
            _check_io(backend, outputs_of(self.checkpoint, self.with_experts))
            candidate = []
            exact = backend.manifest.precision == "fp32"
            expected = self._expected(exact)
            for picture in expected:
                outputs = backend.infer_all(picture.crops)
                candidate.append(outputs["score"])
                if self.with_experts and picture.weights is not None and exact:
                    difference = np.abs(outputs["expert_weights"] - picture.weights).max()
                    if not difference <= EXPERT_WEIGHTS_WORST:
                        raise ParityError(f"The exported expert weights differ from PyTorch's by {difference:.1e}.")
            crops = expected[-1].crops
            one = backend.infer(crops[:1])
            if one.shape != (1,) or candidate[-1].shape != (len(crops),):
                raise ParityError(f"Shapes: a batch of 1 gave {one.shape}, one of {len(crops)} {candidate[-1].shape}.")
            span = backend.manifest.scale.span
        reference = [picture.scores for picture in expected]
        if exact:
            agreement = compare(np.concatenate(reference), np.concatenate(candidate), span)
        else:
            agreement = compare_pictures(reference, candidate, span)
        if found := agreement.violations(limit):
            raise ParityError(f"The exported model differs from PyTorch: {'; '.join(found)}. It was not written.")
        return agreement

    def _expected(self, exact: bool) -> list[_Expected]:
        if exact not in self._known:
            scorer, spec = TorchScorer.of(self.checkpoint), self.checkpoint.preprocess
            self._known[exact] = []
            for picture in check_pictures():
                crops = crops_of(picture, spec, CROPS if exact else None)
                scores, weights = scorer.score_crops(crops)
                self._known[exact].append(
                    _Expected(crops, scores.numpy(), None if weights is None else weights.numpy())
                )
        return self._known[exact]


@dataclass(frozen=True)
class _Expected:
    """What PyTorch says of the crops (K, S, S, 3) of a picture: scores (K,), weights of experts (K, N, E)."""

    crops: UInt8Array
    scores: FloatArray
    weights: FloatArray | None


def _check_io(backend: Backend, expected: tuple[TensorInfo, ...]) -> None:
    if backend.io.outputs != expected:
        raise ParityError(f"Outputs: expected {expected}, found {backend.io.outputs}.")
