"""The Life-IQA network, from a normalised crop to a score (Fig. 4 of the paper)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lifeiqa.models.network.backbone import Backbone
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.decoder import DecoderLayer, PartitionAveragePool
from lifeiqa.models.network.moe import MixtureOfExperts, Routing


class Features(NamedTuple):
    """What the rest of the network reads of B crops, from the backbone.

    Attributes:
        late: (B, C, h, w), the stage that guides the queries.
        early: (B, P*P, C'), the pooled stage that they read; None where they read none.
    """

    late: Tensor
    early: Tensor | None


class Prediction(NamedTuple):
    """What the network makes of B crops.

    Attributes:
        score: (B,) on the checkpoint's own scale.
        routing: how the experts were chosen; None where there are none.
        tokens: (B, N, D), the decoded queries, of which experts and head make the score.
    """

    score: Tensor
    routing: Routing | None
    tokens: Tensor


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
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Features:
        """What the backbone makes of normalised crops (B, 3, S, S)."""
        features = self.backbone(image)
        return Features(features[-1], self.pool(features[0]) if self.memory_projection is not None else None)

    def forward_head(self, features: Features) -> Prediction:
        """Features of B crops -> scores (B,) and routing."""
        context = self.query_projection(features.late).mean(dim=(2, 3))  # (B, D)
        x = context.unsqueeze(1) + self.query_embedding  # eq. 1: (B, N, D)
        memory = None
        if self.memory_projection is not None:
            memory = self.memory_projection(features.early)  # (B, P*P, D)
        for layer in self.layers:
            x = layer(x, memory)
        x = tokens = self.norm(x)
        routing = None
        if self.moe is not None:
            y, routing = self.moe(x)
            x = y + self.gamma * x if self.config.bypass == "scaled_input" else x + self.gamma * y  # eq. 16
        return Prediction(self.head(x).squeeze(-1).mean(dim=1), routing, tokens)

    @torch.no_grad()
    def standardize(self, crops: Tensor) -> None:
        """Makes what decoder and queries start from standardised over normalised crops (B, 3, S, S).

        Not in the paper, whose backbones end their stages in layer norms. Where a stage's values are large, attention
        begins, and stays, at one token, and the experts shrink to nothing: the network reads out no more than a linear
        function of the features. The projections take in the scale, so that the architecture stays what it is.
        """
        features = self.forward_features(crops)
        inputs: list[tuple[nn.Conv2d | nn.Linear, Tensor]] = [(self.query_projection, features.late.mean(dim=(2, 3)))]
        if self.memory_projection is not None and features.early is not None:
            inputs.append((self.memory_projection, features.early.flatten(0, 1)))
        for layer, x in inputs:
            assert layer.bias is not None
            mean, std = x.mean(dim=0), x.std(dim=0)
            weight = layer.weight.flatten(1) / std.clamp(min=1e-3 * float(std.mean()))
            weight /= ((x - mean) @ weight.T).std(dim=0).mean()
            layer.weight.copy_(weight.view_as(layer.weight))
            layer.bias.copy_(-weight @ mean)
        self.query_embedding.normal_(std=0.5)  # next to a context of unit variance, so that the queries differ


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters())


def parameters_of(config: LifeIQAConfig) -> int:
    """Number of trainable values of a network, without building it."""
    with torch.device("meta"):
        return count_parameters(LifeIQA(config))
