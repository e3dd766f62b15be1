import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import Prediction
from lifeiqa.models.network.moe import (
    GatheredMixtureOfExperts,
    MixtureOfExperts,
    Routing,
    gathered_top_k_softmax,
    masked_top_k_softmax,
)
from lifeiqa.models.training.losses import (
    classification_loss,
    fidelity_loss,
    load_balancing_loss,
    paper_losses,
    ranking_loss,
    router_z_loss,
)

# Few distinct values, so that ties are the rule and not the exception, and extreme ones.
ties = st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0])
anything = st.floats(-1e4, 1e4, width=32)


@st.composite
def logits_and_k(draw: st.DrawFn) -> tuple[torch.Tensor, int]:
    experts = draw(st.integers(1, 8))
    element = draw(st.sampled_from([ties, anything]))
    rows = draw(st.lists(st.lists(element, min_size=experts, max_size=experts), min_size=1, max_size=6))
    return torch.tensor(rows), draw(st.integers(1, experts))


@settings(max_examples=300, deadline=None)
@given(logits_and_k())
def test_gathered_weights_equal_masked_ones(case: tuple[torch.Tensor, int]) -> None:
    logits, k = case
    masked, gathered = masked_top_k_softmax(logits, k), gathered_top_k_softmax(logits, k)
    torch.testing.assert_close(gathered, masked, rtol=1e-6, atol=1e-7)


@settings(max_examples=100, deadline=None)
@given(logits_and_k())
def test_weights_are_equations_8_to_12_written_out(case: tuple[torch.Tensor, int]) -> None:
    logits, k = case
    weights = gathered_top_k_softmax(logits, k)
    for row, found in zip(logits.double().tolist(), weights, strict=True):
        kept = sorted(range(len(row)), key=lambda e: (-row[e], e))[:k]
        top = max(row)
        powers = {e: torch.exp(torch.tensor(row[e] - top, dtype=torch.float64)).item() for e in kept}
        expected = [powers.get(e, 0.0) / sum(powers.values()) for e in range(len(row))]
        assert found.tolist() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10_000), st.booleans())
def test_gathered_mixture_equals_masked_one(experts: int, k: int, seed: int, tied: bool) -> None:
    torch.manual_seed(seed)
    masked = MixtureOfExperts(16, experts, min(k, experts), 24)
    if tied:
        torch.nn.init.zeros_(masked.router.weight)
        torch.nn.init.zeros_(masked.router.bias)
    x = torch.randn(3, 6, 16)
    y, routing = masked(x)
    y_gathered, routing_gathered = GatheredMixtureOfExperts(masked)(x)
    torch.testing.assert_close(y_gathered, y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(routing_gathered.weights, routing.weights)


def routing_of(logits: torch.Tensor, k: int) -> Routing:
    return Routing(logits, masked_top_k_softmax(logits, k))


def test_load_balancing_loss_is_equations_13_and_14() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4)
    routing = routing_of(logits, 2)
    total = 0.0
    for e in range(4):
        kept = sum(float(routing.weights[b, n, e] > 0) for b in range(2) for n in range(3)) / 6
        probability = sum(torch.softmax(logits[b, n], -1)[e].item() for b in range(2) for n in range(3)) / 6
        total += kept * probability
    assert load_balancing_loss(routing).item() == pytest.approx(4 * total, rel=1e-5)


def test_load_balancing_loss_is_least_when_the_load_is_even() -> None:
    even = torch.eye(4).repeat(1, 3, 1) + torch.eye(4).roll(1, 0).repeat(1, 3, 1)
    collapsed = torch.tensor([3.0, 2.0, 0.0, 0.0]).expand(1, 12, 4)
    for probabilities in ("full", "masked"):
        balanced = load_balancing_loss(routing_of(even, 2), probabilities)
        assert balanced.item() == pytest.approx(2.0, rel=1e-5)
        assert load_balancing_loss(routing_of(collapsed, 2), probabilities) > balanced + 0.5


def test_router_z_loss_is_equation_15() -> None:
    logits = torch.tensor([[[0.0, 0.0], [1.0, -1.0]]])
    expected = (
        torch.log(torch.tensor(2.0)) ** 2 + torch.log(torch.exp(torch.tensor(1.0)) + torch.exp(torch.tensor(-1.0))) ** 2
    ) / 2
    assert router_z_loss(routing_of(logits, 1)).item() == pytest.approx(expected.item())


def test_ranking_loss_is_zero_in_order_and_counts_pairs_of_one_ladder_only() -> None:
    targets = torch.tensor([[1.0, 0.5], [0.9, 0.1]])
    assert ranking_loss(targets, targets) == 0
    assert ranking_loss(torch.tensor([[0.5, 1.0], [0.9, 0.1]]), targets).item() == pytest.approx((0.25 + 0.5) / 2)
    across = torch.tensor([[1.0, 0.5], [10.9, 10.1]])
    assert ranking_loss(across, targets) == 0


def test_ranking_loss_asks_for_the_margin_between_neighbours_that_differ() -> None:
    targets = torch.tensor([[0.4, 1.0, 0.8, 0.8]])  # in any order; equal targets ask for nothing
    assert ranking_loss(torch.tensor([[0.0, 1.0, 0.9, 0.7]]), targets) == 0
    close = torch.tensor([[0.0, 1.0, 0.95, 0.7]])  # 0.05 apart where half of 0.2 is asked for
    assert ranking_loss(close, targets).item() == pytest.approx(0.05 / 2)
    assert ranking_loss(close, torch.ones(1, 4)) == 0
    assert ranking_loss(close[:, :1], targets[:, :1], first=3.0) == 0
    assert ranking_loss(close, targets, first=3.0).item() == pytest.approx(3 * 0.05 / 4)  # that of 1.0 and 0.8


def test_the_main_loss_counts_targets_by_their_weights() -> None:
    config = replace(LifeIQAConfig(), main_loss="l1")
    prediction = Prediction(torch.tensor([0.5, 0.9, 0.2]), None, torch.zeros(3, 1, 2))
    targets = torch.tensor([0.4, 0.1, 0.2])
    assert paper_losses(prediction, targets, config).main.item() == pytest.approx(0.3)
    weights = torch.tensor([1.0, 0.5, 1.0])
    assert paper_losses(prediction, targets, config, weights).main.item() == pytest.approx((0.1 + 0.4) / 2.5)
    assert paper_losses(prediction, targets, config, torch.zeros(3)).main == 0


def test_the_loss_of_classes_is_the_weighted_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [9.0, 0.0]])
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    classes = torch.tensor([0, 0, 1])
    assert classification_loss(logits, classes, torch.tensor([1.0, 0.5, 0.0])).item() == pytest.approx(
        (right + wrong / 2) / 1.5
    )
    assert classification_loss(logits, classes, torch.zeros(3)) == 0


def test_fidelity_loss_falls_as_pairs_are_ordered_and_counts_pairs_of_one_set_only() -> None:
    targets = torch.tensor([0.9, 0.5, 0.2])
    same = torch.zeros(3, dtype=torch.int64)
    right, wrong = fidelity_loss(targets, targets, same), fidelity_loss(1 - targets, targets, same)
    undecided = fidelity_loss(torch.full((3,), 0.4), targets, same)
    assert right.item() == pytest.approx(0, abs=1e-6)
    assert right < undecided < wrong < 1
    assert fidelity_loss(10 + targets, targets, same).item() == pytest.approx(0, abs=1e-6)  # no scale, only order
    two = torch.tensor([0, 1, 1])
    flipped = torch.tensor([0.0, 0.6, 0.3])  # the first is wrong, but of another set
    assert fidelity_loss(flipped, targets, two).item() == pytest.approx(0, abs=1e-6)
    assert fidelity_loss(flipped, targets, torch.tensor([-1, -1, 0])) == 0


def test_fidelity_loss_has_a_gradient_where_scores_are_far_wrong_or_pairs_are_none() -> None:
    scores = torch.tensor([0.0, 5.0], requires_grad=True)
    fidelity_loss(torch.tanh(scores / 20), torch.tensor([1.0, 0.0]), torch.zeros(2, dtype=torch.int64)).backward()
    assert scores.grad is not None and torch.isfinite(scores.grad).all() and scores.grad[1] > 0
    scores.grad = None
    fidelity_loss(scores, torch.tensor([1.0, 0.0]), torch.tensor([-1, -1])).backward()
    assert (scores.grad == 0).all()
