"""The graph that is exported: from uint8 crops to a score, everything inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifeiqa.export.folding import FoldedHead, MatrixPool
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.network.life_iqa import Features, LifeIQA
from lifeiqa.models.network.moe import GatheredMixtureOfExperts, MixtureOfExperts
from lifeiqa.runtime.errors import UsageError


class ExportGraph(nn.Module):
    """Normalisation, network, and the mapping to 0-100."""

    factor: Tensor
    offset: Tensor

    def __init__(self, checkpoint: Checkpoint, with_experts: bool = False, folded: bool = True) -> None:
        """Builds the graph.

        Args:
            checkpoint: what to export.
            with_experts: adds the expert weights to what it gives.
            folded: with the head of `folding`; else layer by layer, with the numbers that the checkpoint holds.

        Raises:
            UsageError: there are no experts.
        """
        super().__init__()
        model = checkpoint.build()
        if with_experts and model.moe is None:
            raise UsageError("This network has no experts; export it without --with-experts.")
        self.with_experts = with_experts
        spec = checkpoint.preprocess
        std = torch.tensor(spec.std)
        self.register_buffer("factor", (1.0 / (255.0 * std)).view(1, 3, 1, 1))
        self.register_buffer("offset", (-torch.tensor(spec.mean) / std).view(1, 3, 1, 1))
        gain, shift = checkpoint.scale.to_artifact()
        self.model = model
        with torch.no_grad():
            self.head: nn.Module = FoldedHead(model, gain, shift) if folded else PlainHead(model, gain, shift)
        side = spec.crop_size // 2 ** (model.config.memory_stage + 1)
        if folded and model.config.memory_stage and side % model.config.grid:
            model.pool = MatrixPool(model.pool, side)  # type: ignore[assignment]
        self.eval()

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, S, S, 3) uint8 RGB -> scores (B,), and expert weights (B, N, E) if asked for."""
        x = image.float().permute(0, 3, 1, 2) * self.factor + self.offset  # TensorRT converts uint8, and nothing else
        score, weights = self.head(self.model.forward_features(x))
        return (score, weights) if self.with_experts else score


class PlainHead(nn.Module):
    """The network's head as it was trained, with gathered experts, and the mapping of its score."""

    def __init__(self, model: LifeIQA, gain: float, shift: float) -> None:
        super().__init__()
        self.model, self.gain, self.shift = model, gain, shift
        if isinstance(model.moe, MixtureOfExperts):
            model.moe = GatheredMixtureOfExperts(model.moe)

    def forward(self, features: Features) -> tuple[Tensor, Tensor | None]:
        """Features of B crops -> scores (B,), and expert weights (B, N, E) where there are experts."""
        prediction = self.model.forward_head(features)
        weights = None if prediction.routing is None else prediction.routing.weights
        return prediction.score * self.gain + self.shift, weights
