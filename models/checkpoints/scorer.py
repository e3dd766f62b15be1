"""The PyTorch reference: what every exported artifact is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of


def normalize(crops: Tensor, spec: PreprocessSpec) -> Tensor:
    """(B, S, S, 3) uint8 RGB -> (B, 3, S, S) float32, by the spec's mean and std, on the same device."""
    mean, std = (torch.tensor(values, device=crops.device) for values in (spec.mean, spec.std))
    return ((crops.float() / 255.0 - mean) / std).permute(0, 3, 1, 2)


class TorchScorer:
    """Scores crops and pictures with the PyTorch network, on the scale that artifacts have."""

    def __init__(self, model: LifeIQA, spec: PreprocessSpec, scale: ScoreScale) -> None:
        """Takes a network that is already where it should run; its mode (training, evaluation) is left alone."""
        self.model, self.spec = model, spec
        self.device = model.query_embedding.device
        self.gain, self.shift = scale.to_artifact()

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> TorchScorer:
        """Builds the checkpoint's network on the CPU, in evaluation mode."""
        return cls(checkpoint.build(), checkpoint.preprocess, checkpoint.scale)

    def normalize(self, crops: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 RGB -> (B, 3, S, S) float32."""
        return normalize(crops.to(self.device), self.spec)

    @torch.inference_mode()
    def score_crops(self, crops: UInt8Array) -> tuple[Tensor, Tensor | None]:
        """(B, S, S, 3) uint8 RGB -> scores (B,) and, if it has experts, their weights (B, N, E), both on the CPU."""
        score, routing, _ = self.model(self.normalize(torch.from_numpy(crops)))
        return score.cpu() * self.gain + self.shift, None if routing is None else routing.weights.cpu()

    def score(self, pixels: UInt8Array) -> float:
        """Mean score of the crops of a picture (H, W, 3) uint8 RGB. Raises `ImageError` as `crops_of` does."""
        return float(self.score_crops(crops_of(pixels, self.spec))[0].mean())
