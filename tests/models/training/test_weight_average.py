import pytest
import torch
from torch import nn

from lifeiqa.models.training.weight_average import WeightAverage


def network(value: float) -> nn.Module:
    layer = nn.BatchNorm1d(1)
    with torch.no_grad():
        layer.weight.fill_(value)
        assert layer.num_batches_tracked is not None
        layer.num_batches_tracked.fill_(int(value))
    return layer


def set_weight(layer: nn.Module, value: float) -> None:
    layer.load_state_dict(network(value).state_dict())


def test_mean_follows_quickly_at_first_and_slowly_later() -> None:
    layer = network(0.0)
    average = WeightAverage(layer, 0.9)
    set_weight(layer, 1.0)
    average.update(layer)
    assert average.state["weight"].item() == pytest.approx(0.9)  # decay 1/10
    expected = 0.9
    for step in range(1, 200):
        set_weight(layer, 3.0)
        average.update(layer)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * 3
    assert average.state["weight"].item() == pytest.approx(expected)
    set_weight(layer, 13.0)
    average.update(layer)
    assert average.state["weight"].item() == pytest.approx(4.0, abs=0.01)
    assert average.state["num_batches_tracked"].item() == 13  # counts are no means


def test_network_has_the_mean_only_as_long_as_the_context_lasts() -> None:
    layer = network(0.0)
    average = WeightAverage(layer, 0.5)
    set_weight(layer, 1.0)
    with pytest.raises(KeyError), average.in_place_of(layer):
        assert layer.weight.item() == 0
        raise KeyError
    assert layer.weight.item() == 1
    average.copy_to(layer)
    assert layer.weight.item() == 0


def test_decay_of_zero_averages_nothing() -> None:
    layer = network(2.0)
    average = WeightAverage(layer, 0.0)
    average.update(layer)
    average.copy_to(layer)
    assert average.state == {}
    assert layer.weight.item() == 2


def test_mean_goes_on_from_a_saved_state() -> None:
    layer = network(0.0)
    whole, first = WeightAverage(layer, 0.9), WeightAverage(layer, 0.9)
    set_weight(layer, 1.0)
    whole.update(layer)
    first.update(layer)
    second = WeightAverage(layer, 0.9)
    second.load(first.state)
    set_weight(layer, 5.0)
    whole.update(layer)
    second.update(layer)
    assert all(torch.equal(second.state[name], tensor) for name, tensor in whole.state.items())
