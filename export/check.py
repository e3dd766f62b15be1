"""Compares a written ONNX file with PyTorch: names, then shapes, then values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lifeiqa.calibration.agreement import Agreement, compare, compare_pictures
from lifeiqa.calibration.limits import EXPERT_WEIGHTS_WORST, Limit
from lifeiqa.export.onnx_file import outputs_of
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.synthesis.ladders import held_out_pictures, ladder
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends.base import Backend
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


def check_export(checkpoint: Checkpoint, path: Path, with_experts: bool, limit: Limit) -> Agreement:
    """Loads the file as a user would and compares it with PyTorch on real crops.

    FP32 is compared crop by crop; reduced precision picture by picture, on all crops that the runtime would cut.

    Raises:
        ParityError: a name, a shape or a value is off.
    """
    with OnnxRuntimeBackend(path, device="cpu") as backend:
        _check_io(backend, checkpoint, with_experts)
        reference, candidate = [], []
        scorer = TorchScorer.of(checkpoint)
        exact = backend.manifest.precision == "fp32"
        for picture in check_pictures():
            crops = crops_of(picture, checkpoint.preprocess, CROPS if exact else None)
            outputs = backend.infer_all(crops)
            scores, weights = scorer.score_crops(crops)
            reference.append(scores.numpy())
            candidate.append(outputs["score"])
            if with_experts and weights is not None and exact:
                difference = np.abs(outputs["expert_weights"] - weights.numpy()).max()
                if not difference <= EXPERT_WEIGHTS_WORST:
                    raise ParityError(f"The exported expert weights differ from PyTorch's by {difference:.1e}.")
        one = backend.infer(crops[:1])
        if one.shape != (1,) or outputs["score"].shape != (len(crops),):
            raise ParityError(f"Shapes: a batch of 1 gave {one.shape}, one of {len(crops)} {outputs['score'].shape}.")
        span = backend.manifest.scale.span
    if exact:
        agreement = compare(np.concatenate(reference), np.concatenate(candidate), span)
    else:
        agreement = compare_pictures(reference, candidate, span)
    if found := agreement.violations(limit):
        raise ParityError(f"The exported model differs from PyTorch: {'; '.join(found)}. It was not written.")
    return agreement


def _check_io(backend: Backend, checkpoint: Checkpoint, with_experts: bool) -> None:
    expected = outputs_of(checkpoint, with_experts)
    if backend.io.outputs != expected:
        raise ParityError(f"Outputs: expected {expected}, found {backend.io.outputs}.")
