"""GCN-enhanced layer interaction: query tokens exchange what they know, then read stage 3 (section III-B)."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lifeiqa.models.network.config import LifeIQAConfig


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


class Attention(nn.Module):
    """Multi-head attention (eq. 2-3): over the tokens of the memory stage, or over the queries themselves."""

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
        """Queries (B, N, D) and what they read (B, L, D) -> (B, N, D)."""
        attention, v = self.weights_and_values(x, memory)
        mixed: Tensor = self.out((attention @ v).transpose(1, 2).flatten(-2))
        return mixed

    def weights_and_values(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Attention weights (B, heads, N, L), each row summing to 1, and values (B, heads, L, D / heads)."""

        def split(t: Tensor) -> Tensor:  # (B, L, D) -> (B, heads, L, D / heads)
            heads: Tensor = t.unflatten(-1, (self.heads, -1))
            return heads.transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(memory)), split(self.value(memory))
        return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1), v


class DecoderLayer(nn.Module):
    """The queries exchange what they know, then read the memory, each with a residual.

    In Life-IQA: a graph, then cross-attention, and no FFN behind it. The ablations put self-attention or nothing in
    place of the graph, leave the memory out, or add the FFN of a plain transformer decoder.
    """

    def __init__(self, config: LifeIQAConfig) -> None:
        super().__init__()
        self.graph = QueryGraph(config) if config.interaction == "gcn" else None
        self.self_norm, self.self_attention = None, None
        if config.interaction == "attention":
            self.self_norm, self.self_attention = nn.LayerNorm(config.dim), Attention(config.dim, config.heads)
        self.norm, self.attention = None, None
        if config.memory_stage:
            self.norm, self.attention = nn.LayerNorm(config.dim), Attention(config.dim, config.heads)
        self.ffn = None
        if config.ffn:
            self.ffn = nn.Sequential(
                nn.LayerNorm(config.dim),
                nn.Linear(config.dim, config.ffn),
                nn.ReLU(),
                nn.Linear(config.ffn, config.dim),
            )

    def forward(self, x: Tensor, memory: Tensor | None) -> Tensor:
        """Queries (B, N, D) and memory (B, P*P, D), if there is one -> (B, N, D)."""
        if self.graph is not None:
            x = x + self.graph(x)
        if self.self_norm is not None and self.self_attention is not None:
            own = self.self_norm(x)
            x = x + self.self_attention(own, own)
        if self.norm is not None and self.attention is not None:
            x = x + self.attention(self.norm(x), memory)
        if self.ffn is not None:
            x = x + self.ffn(x)
        return x


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
