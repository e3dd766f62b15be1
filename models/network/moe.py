"""The Top-K mixture of experts (eq. 7-12) in two equal forms: masked for training, gathered for export."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


def masked_top_k_softmax(logits: Tensor, k: int) -> Tensor:
    """Eq. 8-12 as printed: all but the K largest logits become -inf, then softmax. (..., E) -> (..., E).

    Of equal logits, the expert with the lower index counts as larger.
    """
    return torch.softmax(mask_logits(logits, k), dim=-1)


def mask_logits(logits: Tensor, k: int) -> Tensor:
    """Eq. 8 and 11: keeps the K largest logits, -inf elsewhere. (..., E) -> (..., E)."""
    order = torch.sort(logits, dim=-1, descending=True, stable=True).indices
    mask = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order[..., :k], True)
    return logits.masked_fill(~mask, float("-inf"))


def gathered_top_k_softmax(logits: Tensor, k: int) -> Tensor:
    """The same weights for an exported graph: softmax over K values only, then rows of an identity are gathered.

    There is no -inf (which FP16 and INT8 handle badly) and no scatter (which engines handle slowly).
    """
    ordered = torch.sort(logits, dim=-1, descending=True, stable=True)
    weights = torch.softmax(ordered.values[..., :k], dim=-1)  # (..., K)
    one_hot = torch.eye(logits.shape[-1], dtype=logits.dtype, device=logits.device)[ordered.indices[..., :k]]
    return (weights.unsqueeze(-1) * one_hot).sum(dim=-2)  # (..., K, E) -> (..., E)


class Routing(NamedTuple):
    """What the router decided for each token.

    Attributes:
        logits: (B, N, E), eq. 7.
        weights: (B, N, E), eq. 12: sums to 1 over the experts, zero for those not kept.
    """

    logits: Tensor
    weights: Tensor


class MixtureOfExperts(nn.Module):
    """Router and E two-layer experts; every token is a weighted sum of K of them."""

    def __init__(self, dim: int, experts: int, top_k: int, hidden: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.router = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """(B, N, D) -> (B, N, D) and the routing."""
        logits = self.router(x)
        weights = masked_top_k_softmax(logits, self.top_k)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)  # (B, N, D, E)
        return (outputs * weights.unsqueeze(-2)).sum(dim=-1), Routing(logits, weights)


class GatheredMixtureOfExperts(nn.Module):
    """The same function with constant two-dimensional weights, which every engine packs, fuses and quantises.

    All first layers are one D x E*H product, all second layers one E*H x D product; between them the hidden units
    of each expert are scaled by its weight, zero for experts not kept.
    """

    def __init__(self, source: MixtureOfExperts) -> None:
        super().__init__()
        first = [expert[0] for expert in source.experts]  # type: ignore[index]
        second = [expert[2] for expert in source.experts]  # type: ignore[index]
        dim, hidden, count = first[0].in_features, first[0].out_features, len(first)
        self.top_k, self.hidden = source.top_k, hidden
        self.router = source.router
        self.first = nn.Linear(dim, count * hidden)
        self.second = nn.Linear(count * hidden, dim, bias=False)
        self.second_bias = nn.Parameter(torch.stack([layer.bias for layer in second]))  # (E, D)
        with torch.no_grad():
            self.first.weight.copy_(torch.cat([layer.weight for layer in first]))
            self.first.bias.copy_(torch.cat([layer.bias for layer in first]))
            self.second.weight.copy_(torch.cat([layer.weight for layer in second], dim=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """(B, N, D) -> (B, N, D) and the routing."""
        logits = self.router(x)
        weights = gathered_top_k_softmax(logits, self.top_k)
        hidden = torch.relu(self.first(x)).unflatten(-1, (-1, self.hidden))  # (B, N, E, H)
        scaled = (hidden * weights.unsqueeze(-1)).flatten(-2)  # (B, N, E*H)
        return self.second(scaled) + weights @ self.second_bias, Routing(logits, weights)


def expert_load(weights: Tensor) -> Tensor:
    """Share of tokens that keep each expert, of weights (B, N, E): (E,), sums to K."""
    return (weights > 0).float().mean(dim=(0, 1))


def load_entropy(load: Tensor) -> float:
    """Entropy of a load (E,), as a share of the most it can be: 1 when all experts are used alike."""
    p = load / load.sum()
    return float(torch.special.entr(p).sum() / math.log(len(load)))
