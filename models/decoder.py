"""GCN-enhanced layer interaction: query tokens exchange what they know, then read stage 3 (section III-B)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lifeiqa.models.config import LifeIQAConfig


def normalized_adjacency(nodes: int) -> Tensor:
    """D^-1/2 (1 + I) D^-1/2 of a complete graph, where every row of 1 + I sums to nodes + 1. (N, N)."""
    return (torch.ones(nodes, nodes) + torch.eye(nodes)) / (nodes + 1)


class QueryGraph(nn.Module):
    """Three graph convolutions over the query tokens, eq. 4-6: `A @ (X @ W) [+ b]`, ReLU after the first two."""

    def __init__(self, config: LifeIQAConfig) -> None:
        super().__init__()
        d = config.dim
        bottleneck = config.gcn_widths == "bottleneck"
        widths = (d, d // 2, d // 4, d) if bottleneck else (d, d, d, d)
        pairs = list(itertools.pairwise(widths))
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(i, o)) for i, o in pairs)
        self.biases = nn.ParameterList(torch.zeros(o) for _, o in pairs) if bottleneck else None
        adjacency = normalized_adjacency(config.queries)
        if config.adjacency == "learned":
            self.adjacency = nn.Parameter(adjacency.repeat(3, 1, 1))
        else:
            self.register_buffer("adjacency", adjacency.expand(3, -1, -1).clone(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        for i, weight in enumerate(self.weights):
            x = self.adjacency[i] @ (x @ weight)
            if self.biases is not None:
                x = x + self.biases[i]
            if i < 2:
                x = functional.relu(x)
        return x


class CrossAttention(nn.Module):
    """Multi-head attention of the queries over the stage-3 tokens (eq. 2-3)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, N, D) and memory (B, P*P, D) -> (B, N, D)."""

        def split(t: Tensor) -> Tensor:  # (B, L, D) -> (B, heads, L, D / heads)
            heads: Tensor = t.unflatten(-1, (self.heads, -1))
            return heads.transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(memory)), split(self.value(memory))
        attention = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)
        mixed: Tensor = self.out((attention @ v).transpose(1, 2).flatten(-2))
        return mixed


class DecoderLayer(nn.Module):
    """Query graph, then cross-attention, each with a residual and no FFN behind it."""

    def __init__(self, config: LifeIQAConfig) -> None:
        super().__init__()
        self.graph = QueryGraph(config)
        self.norm = nn.LayerNorm(config.dim)
        self.attention = CrossAttention(config.dim, config.heads)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, N, D) and memory (B, P*P, D) -> (B, N, D)."""
        x = x + self.graph(x)
        read: Tensor = self.attention(self.norm(x), memory)
        return x + read


class PartitionAveragePool(nn.Module):
    """Averages a square feature map over a grid x grid partition: (B, C, H, H) -> (B, grid * grid, C)."""

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, H) -> (B, grid * grid, C)."""
        side = x.shape[-1]
        if side % self.grid == 0:
            return functional.avg_pool2d(x, side // self.grid).flatten(2).transpose(1, 2)
        # Cells of unequal size, as adaptive pooling has them, written as two products with a constant matrix: every
        # exporter and engine has those.
        weights = torch.tensor(_cell_weights(side, self.grid), dtype=x.dtype, device=x.device)
        return (weights @ x @ weights.T).flatten(2).transpose(1, 2)


def _cell_weights(side: int, grid: int) -> list[list[float]]:
    """(grid, side): row k averages the pixels floor(k side / grid) to ceil((k + 1) side / grid)."""
    cells = [(k * side // grid, -(-(k + 1) * side // grid)) for k in range(grid)]
    return [[1.0 / (last - first) if first <= i < last else 0.0 for i in range(side)] for first, last in cells]
