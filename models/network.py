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
    """Scores (B,) on the checkpoint's own scale, and how the experts were chosen: None where there are none."""

    score: Tensor
    routing: Routing | None


class LifeIQA(nn.Module):
    """Backbone, guided queries, decoder, expert head, score."""

    def __init__(self, config: LifeIQAConfig, pretrained_backbone: bool = False) -> None:
        super().__init__()
        self.config = config
        stages = (config.memory_stage, config.query_stage) if config.memory_stage else (config.query_stage,)
        self.backbone = Backbone(config.backbone, pretrained_backbone, stages)
        channels = self.backbone.channels
        self.query_embedding = nn.Parameter(torch.randn(1, config.queries, config.dim) * 0.02)
        self.query_projection = nn.Conv2d(channels[-1], config.dim, 1)
        self.pool = PartitionAveragePool(config.grid)
        self.memory_projection = nn.Linear(channels[0], config.dim) if config.memory_stage else None
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.moe: nn.Module | None = None
        if config.tail == "moe":
            self.moe = MixtureOfExperts(config.dim, config.experts, config.top_k, config.expert_hidden)
            self.gamma = nn.Parameter(torch.tensor(1.0 if config.bypass == "scaled_input" else 0.1))
        self.head = nn.Linear(config.dim, 1)

    def forward(self, image: Tensor) -> Prediction:
        """Normalised crops (B, 3, S, S) -> scores (B,) and routing."""
        features = self.backbone(image)
        context = self.query_projection(features[-1]).mean(dim=(2, 3))  # (B, D)
        x = context.unsqueeze(1) + self.query_embedding  # eq. 1: (B, N, D)
        memory = None
        if self.memory_projection is not None:
            memory = self.memory_projection(self.pool(features[0]))  # (B, P*P, D)
        for layer in self.layers:
            x = layer(x, memory)
        x = self.norm(x)
        routing = None
        if self.moe is not None:
            y, routing = self.moe(x)
            x = y + self.gamma * x if self.config.bypass == "scaled_input" else x + self.gamma * y  # eq. 16
        return Prediction(self.head(x).squeeze(-1).mean(dim=1), routing)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters())


def parameters_of(config: LifeIQAConfig) -> int:
    """Number of trainable values of a network, without building it."""
    with torch.device("meta"):
        return count_parameters(LifeIQA(config))
