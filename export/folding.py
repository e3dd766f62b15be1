"""The network's head with everything multiplied out that is linear in a row: the same scores from fewer products.

All of it is exact but for rounding: products are formed in float64. It is for inference alone, where weights are fixed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lifeiqa.models.network.decoder import Attention, DecoderLayer, PartitionAveragePool
from lifeiqa.models.network.life_iqa import Features, LifeIQA
from lifeiqa.models.network.moe import MixtureOfExperts


class FoldedHead(nn.Module):
    """What `LifeIQA.forward_head` computes, mapped to the artifact's scale, with the expert weights.

    The queries start from the projection of the mean, not from the mean of the projection: one product a crop instead
    of one a position.
    """

    def __init__(self, model: LifeIQA, gain: float, shift: float) -> None:
        """Takes over a network's modules and changes its decoder layers; the network is not to be used afterwards.

        Args:
            model: the network.
            gain: factor of the score.
            shift: added to it.
        """
        super().__init__()
        projection = model.query_projection
        assert projection.bias is not None
        self.query_projection = _linear(projection.weight.flatten(1), projection.bias)
        self.query_embedding = model.query_embedding
        self.memory_projection = model.memory_projection
        self.layers, self.norm = model.layers, model.norm
        if model.memory_projection is not None and _reads_directly(model):
            self.memory_projection = None
            for layer in model.layers:
                assert isinstance(layer, DecoderLayer) and layer.attention is not None
                layer.attention = DirectAttention(layer.attention, model.memory_projection)  # type: ignore[assignment]
        if isinstance(model.moe, MixtureOfExperts):
            scaled_input = model.config.bypass == "scaled_input"
            self.tail: nn.Module = ExpertVotes(model.moe, model.head, model.gamma, scaled_input, gain, shift)
        else:
            self.tail = Votes(model.head, gain, shift)

    def forward(self, features: Features) -> tuple[Tensor, Tensor | None]:
        """Features of B crops -> scores (B,), and expert weights (B, N, E) where there are experts."""
        x = self.query_projection(features.late.mean(dim=(2, 3))).unsqueeze(1) + self.query_embedding
        memory = features.early
        if self.memory_projection is not None:
            memory = self.memory_projection(memory)
        for layer in self.layers:
            x = layer(x, memory)
        score, weights = self.tail(self.norm(x))
        return score, weights


class DirectAttention(nn.Module):
    """Cross-attention that reads the pooled stage itself: no keys and no values are computed.

    With memory M = P W + b, a head's logits are q (M K + k)^T = (q K^T W^T) P^T and what all keys share, which softmax
    takes out. So W K goes into the query projection. What a head mixes is a M V + v = (a P) W V and a constant, since
    its weights a sum to 1. So W V goes into the output projection. All heads of all queries are rows of one product.
    """

    def __init__(self, source: Attention, memory: nn.Linear) -> None:
        super().__init__()
        heads, dim = source.heads, source.query.in_features
        width = dim // heads
        to_memory, memory_bias = memory.weight.double(), memory.bias.double()  # (D, C), (D,)
        self.heads, self.channels = heads, memory.in_features

        keys = (source.key.weight.double() @ to_memory).view(heads, width, -1) / math.sqrt(width)  # (h, D/h, C)
        query = source.query.weight.double().view(heads, width, dim)
        query_bias = source.query.bias.double().view(heads, width)
        self.query = _linear(
            torch.einsum("hwc,hwd->hcd", keys, query).flatten(0, 1), torch.einsum("hwc,hw->hc", keys, query_bias)
        )
        values = (source.value.weight.double() @ to_memory).view(heads, width, -1)
        constant = source.value.weight.double() @ memory_bias + source.value.bias.double()  # (D,)
        out = source.out.weight.double()
        self.out = _linear(
            torch.einsum("dhw,hwc->dhc", out.view(dim, heads, width), values).flatten(1),
            out @ constant + source.out.bias.double(),
        )

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, N, D) and the pooled stage (B, L, C) -> (B, N, D)."""
        queries = self.query(x).unflatten(-1, (self.heads, self.channels)).flatten(1, 2)  # (B, N*h, C)
        attention = torch.softmax(queries @ memory.transpose(-2, -1), dim=-1)  # (B, N*h, L)
        mixed: Tensor = self.out((attention @ memory).unflatten(1, (-1, self.heads)).flatten(-2))
        return mixed


class ExpertVotes(nn.Module):
    """Experts, bypass and score head as one: the head is linear, so each expert's second layer shrinks to one vector.

    An expert then gives a token's score, and the router averages the scores of K experts.
    """

    def __init__(
        self, source: MixtureOfExperts, head: nn.Linear, gamma: Tensor, scaled_input: bool, gain: float, shift: float
    ) -> None:
        super().__init__()
        first = [expert[0] for expert in source.experts]  # type: ignore[index]
        second = [expert[2] for expert in source.experts]  # type: ignore[index]
        self.top_k, self.router = source.top_k, source.router
        self.first = _linear(torch.cat([layer.weight for layer in first]), torch.cat([layer.bias for layer in first]))
        of_head = head.weight.double()[0] * gain  # (D,)
        of_experts, of_input = (of_head, of_head * gamma) if scaled_input else (of_head * gamma, of_head)
        votes = [of_experts @ layer.weight.double() for layer in second]  # E times (H,)
        bias = torch.stack([of_experts @ layer.bias.double() for layer in second])
        self.votes = _linear(torch.block_diag(*votes), bias)  # (E, E*H): every expert reads its own hidden units
        self.bypass = _linear(of_input[None], head.bias.double() * gain + shift)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded tokens (B, N, D) -> scores (B,) and expert weights (B, N, E)."""
        logits = self.router(x)
        best = torch.topk(logits, self.top_k, dim=-1)  # of equal logits, ONNX takes the lower index
        shares = torch.softmax(best.values, dim=-1)  # (B, N, K)
        votes = torch.gather(self.votes(torch.relu(self.first(x))), -1, best.indices)
        score = (shares * votes).sum(dim=-1) + self.bypass(x).squeeze(-1)
        one_hot = torch.eye(logits.shape[-1], dtype=logits.dtype, device=logits.device)[best.indices]
        return score.mean(dim=1), (shares.unsqueeze(-1) * one_hot).sum(dim=-2)


class Votes(nn.Module):
    """The score head of a network without experts."""

    def __init__(self, head: nn.Linear, gain: float, shift: float) -> None:
        super().__init__()
        self.head = _linear(head.weight.double() * gain, head.bias.double() * gain + shift)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Decoded tokens (B, N, D) -> scores (B,)."""
        return self.head(x).squeeze(-1).mean(dim=1), None


class MatrixPool(nn.Module):
    """`PartitionAveragePool` of a fixed side as one product with a constant matrix, for cells of unequal size.

    Two products, one a dimension, are less arithmetic but as many small matrices as there are channels.
    """

    weight: Tensor

    def __init__(self, source: PartitionAveragePool, side: int) -> None:
        super().__init__()
        every_pixel = torch.eye(side * side).view(side * side, 1, side, side)
        self.register_buffer("weight", source(every_pixel).flatten(1))  # (H*H, P*P)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, H) -> (B, P*P, C)."""
        return (x.flatten(2) @ self.weight).transpose(1, 2)


def _reads_directly(model: LifeIQA) -> bool:
    """Whether `DirectAttention` has no more weights than the four projections that it replaces."""
    assert model.memory_projection is not None
    return model.config.heads * model.memory_projection.in_features <= 2 * model.config.dim


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer of (O, I) and O values in any shape."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias.flatten())
    return layer
