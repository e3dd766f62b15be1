"""The PyTorch reference: what every exported artifact is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from lifeiqa.models.checkpoint import Checkpoint
from lifeiqa.models.network import LifeIQA
from lifeiqa.runtime.images import UInt8Array
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of


class TorchScorer:
    """Scores crops and pictures with the PyTorch network, on the scale that artifacts have."""

    def __init__(self, model: LifeIQA, spec: PreprocessSpec, scale: ScoreScale) -> None:
        """Takes a network that is already where it should run; its mode (training, evaluation) is left alone."""
        self.model, self.spec = model, spec
        self.device = model.gamma.device
        self.gain, self.shift = scale.to_artifact()
        self.mean = torch.tensor(spec.mean, device=self.device)
        self.std = torch.tensor(spec.std, device=self.device)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> TorchScorer:
        """Builds the checkpoint's network on the CPU, in evaluation mode."""
        return cls(checkpoint.build(), checkpoint.preprocess, checkpoint.scale)

    def normalize(self, crops: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 RGB -> (B, 3, S, S) float32."""
        return ((crops.to(self.device).float() / 255.0 - self.mean) / self.std).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def score_crops(self, crops: UInt8Array) -> tuple[Tensor, Tensor]:
        """(B, S, S, 3) uint8 RGB -> scores (B,) and expert weights (B, N, E), both on the CPU."""
        prediction = self.model(self.normalize(torch.from_numpy(crops)))
        return prediction.score.cpu() * self.gain + self.shift, prediction.routing.weights.cpu()

    def score(self, pixels: UInt8Array) -> float:
        """Mean score of the crops of a picture (H, W, 3) uint8 RGB. Raises `ImageError` as `crops_of` does."""
        return float(self.score_crops(crops_of(pixels, self.spec))[0].mean())
