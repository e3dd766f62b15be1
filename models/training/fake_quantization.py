"""INT8 rounding in the forward pass, so that the last part of a run learns weights that bear it.

Convolutions and linear layers see their weights and inputs as the export for CPUs quantises them: weights int8,
symmetric, one scale an output channel; inputs uint8, asymmetric, one scale a tensor. Gradients pass as if nothing was
rounded (the straight-through estimator; Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018). Ranges are those of the batch: nothing has to be kept with the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear
from torch.overrides import TorchFunctionMode

GRID = 127  # int8, symmetric
LEVELS = 255  # uint8: steps from the lowest value to the highest
MIN_WEIGHT_SIZE = 2048  # values; smaller linear layers, router and score head, stay in floating point, as in the export


class FakeQuantization(TorchFunctionMode):
    """While this context lasts, convolutions and linear layers compute with rounded weights and inputs."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is conv2d or (func is linear and args[1].numel() >= MIN_WEIGHT_SIZE):
            args = (round_activations(args[0]), round_weight(args[1]), *args[2:])
        return func(*args, **(kwargs or {}))


def round_activations(x: Tensor) -> Tensor:
    """Rounds to 256 values from the lowest (or 0) to the highest (or 0), 0 among them."""
    low, high = torch.aminmax(x.detach())
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    zero = torch.round(-low / scale).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, LEVELS)


def round_weight(weight: Tensor) -> Tensor:
    """Rounds (O, ...) to the int8 grid of each output channel; kernels (O, I, kH, kW) keep their sum to half a step.

    As the export rounds them, see `lifeiqa.calibration.rounding`.
    """
    flat = weight.detach().flatten(1)
    largest = flat.abs().amax(dim=1).view(-1, *[1] * (weight.dim() - 1))
    scale = torch.where(largest > 0, largest / GRID, 1.0)
    exact = weight.detach() / scale
    grid = torch.round(exact)
    if weight.dim() == 4 and weight[0, 0].numel() > 1:
        grid = _with_sums_kept(exact.flatten(2), grid.flatten(2)).view_as(weight)
    return weight + (grid * scale - weight).detach()


def _with_sums_kept(exact: Tensor, grid: Tensor) -> Tensor:
    """Of kernels (O, I, K): rounds those the other way whose rounding was the closest call, until sums are kept."""
    excess = exact - grid
    missing = torch.round(excess.sum(dim=2, keepdim=True))  # whole steps
    direction = missing.sign()
    closeness = (direction * excess).masked_fill(grid.abs() >= GRID, -torch.inf)
    rank = closeness.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
    moved = (rank < missing.abs()) & (grid.abs() < GRID)
    return grid + torch.where(moved, direction, 0.0)
