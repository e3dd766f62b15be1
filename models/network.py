"""The Life-IQA network, from a normalised crop to a score (Fig. 4 of the paper)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lifeiqa.models.backbone import Backbone
from lifeiqa.models.config import LifeIQAConfig
from lifeiqa.models.decoder import DecoderLayer, PartitionAveragePool
from lifeiqa.models.moe import MixtureOfExperts, Routing


class Prediction(NamedTuple):
    """Scores (B,) on the checkpoint's own scale, and how the experts were chosen."""

    score: Tensor
    routing: Routing


class LifeIQA(nn.Module):
    """Backbone, guided queries, decoder, expert head, score."""

    def __init__(self, config: LifeIQAConfig, pretrained_backbone: bool = False) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, pretrained_backbone)
        stage3, stage4 = self.backbone.channels
        self.query_embedding = nn.Parameter(torch.randn(1, config.queries, config.dim) * 0.02)
        self.stage4_projection = nn.Conv2d(stage4, config.dim, 1)
        self.pool = PartitionAveragePool(config.grid)
        self.stage3_projection = nn.Linear(stage3, config.dim)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.moe: nn.Module = MixtureOfExperts(config.dim, config.experts, config.top_k, config.expert_hidden)
        self.gamma = nn.Parameter(torch.tensor(1.0 if config.bypass == "scaled_input" else 0.1))
        self.head = nn.Linear(config.dim, 1)

    def forward(self, image: Tensor) -> Prediction:
        """Normalised crops (B, 3, S, S) -> scores (B,) and routing."""
        stage3, stage4 = self.backbone(image)
        context = self.stage4_projection(stage4).mean(dim=(2, 3))  # (B, D)
        x = context.unsqueeze(1) + self.query_embedding  # eq. 1: (B, N, D)
        memory = self.stage3_projection(self.pool(stage3))  # (B, P*P, D)
        for layer in self.layers:
            x = layer(x, memory)
        x = self.norm(x)
        y, routing = self.moe(x)
        y = y + self.gamma * x if self.config.bypass == "scaled_input" else x + self.gamma * y  # eq. 16
        return Prediction(self.head(y).squeeze(-1).mean(dim=1), routing)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters())
