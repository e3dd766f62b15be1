"""Rounding in training is the rounding of the export."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from lifeiqa.calibration import graph
from lifeiqa.calibration.rounding import round_kernels, round_rows
from lifeiqa.models.training.fake_quantization import (
    LEVELS,
    MIN_WEIGHT_SIZE,
    FakeQuantization,
    round_activations,
    round_weight,
)


@pytest.mark.parametrize("shape", [(96, 1, 3, 3), (16, 24, 5, 5), (8, 4, 1, 1)])
def test_kernels_are_rounded_as_the_export_rounds_them(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1
    np.testing.assert_allclose(round_weight(weight).numpy(), round_kernels(weight.numpy()), rtol=1e-6, atol=1e-8)


def test_rows_are_rounded_as_the_export_rounds_them_and_zeros_stay() -> None:
    weight = torch.randn(64, 24, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    np.testing.assert_allclose(round_weight(weight).numpy(), round_rows(weight.numpy()), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 2.0])
def test_activations_have_256_values_and_zero_is_one_of_them(shift: float) -> None:
    x = torch.linspace(-1, 1, 10_001) + shift
    rounded = round_activations(x)
    step = (max(x.max().item(), 0) - min(x.min().item(), 0)) / LEVELS
    assert len(rounded.unique()) <= 256
    assert (rounded - x).abs().max() <= 0.51 * step + 0.5 * step  # ends move by half a step where 0 is brought in
    assert round_activations(torch.tensor([0.0, *x.tolist()]))[0] == 0


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_flat_activations_stay(value: float) -> None:
    x = torch.full((2, 3), value)
    assert torch.allclose(round_activations(x), x)


def test_gradients_pass_as_if_nothing_was_rounded() -> None:
    x, weight = torch.randn(4, 8), torch.randn(3, 8, requires_grad=True)
    (round_weight(weight) * x[:3]).sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, x[:3])
    y = x.clone().requires_grad_()
    round_activations(y).sum().backward()
    assert y.grad is not None and torch.equal(y.grad, torch.ones_like(x))


def test_layers_that_stay_in_floating_point_are_those_of_the_export() -> None:
    assert MIN_WEIGHT_SIZE == graph.MIN_WEIGHT_SIZE


def test_context_rounds_convolutions_and_large_linear_layers_and_no_others() -> None:
    torch.manual_seed(0)
    image, tokens = torch.randn(1, 3, 8, 8), torch.randn(5, 64)
    conv, large, small = nn.Conv2d(3, 4, 3), nn.Linear(64, MIN_WEIGHT_SIZE // 64), nn.Linear(64, 1)
    with FakeQuantization():
        inside = conv(image), large(tokens), small(tokens)
    assert torch.equal(inside[0], conv2d(round_activations(image), round_weight(conv.weight), conv.bias))
    assert torch.equal(inside[1], linear(round_activations(tokens), round_weight(large.weight), large.bias))
    assert torch.equal(inside[2], small(tokens))
    assert not torch.equal(inside[0], conv(image)) and not torch.equal(inside[1], large(tokens))
