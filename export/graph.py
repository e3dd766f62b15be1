"""The graph that is exported: from uint8 crops to a score, everything inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.network.life_iqa import Prediction
from lifeiqa.models.network.moe import GatheredMixtureOfExperts, MixtureOfExperts
from lifeiqa.runtime.errors import UsageError


class ExportGraph(nn.Module):
    """Normalisation, network with gathered experts, and the mapping to 0-100."""

    factor: Tensor
    offset: Tensor

    def __init__(self, checkpoint: Checkpoint, with_experts: bool = False) -> None:
        super().__init__()
        self.model = checkpoint.build()
        if isinstance(self.model.moe, MixtureOfExperts):
            self.model.moe = GatheredMixtureOfExperts(self.model.moe)
        elif with_experts:
            raise UsageError("This network has no experts; export it without --with-experts.")
        self.with_experts = with_experts
        spec = checkpoint.preprocess
        std = torch.tensor(spec.std)
        self.register_buffer("factor", (1.0 / (255.0 * std)).view(1, 3, 1, 1))
        self.register_buffer("offset", (-torch.tensor(spec.mean) / std).view(1, 3, 1, 1))
        self.gain, self.shift = checkpoint.scale.to_artifact()
        self.eval()

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, S, S, 3) uint8 RGB -> scores (B,), and expert weights (B, N, E) if asked for."""
        x = image.float().permute(0, 3, 1, 2) * self.factor + self.offset  # TensorRT converts uint8, and nothing else
        prediction: Prediction = self.model(x)
        score = prediction.score * self.gain + self.shift
        if not self.with_experts:
            return score
        assert prediction.routing is not None
        return score, prediction.routing.weights
