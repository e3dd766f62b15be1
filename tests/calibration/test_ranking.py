import math

import numpy as np
import pytest

from lifeiqa.calibration.ranking import CostRanking, Sensitivity


class Costs:
    """What groups of nodes cost where errors are independent, and how often somebody measured."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs, self.measured = costs, 0

    def __call__(self, nodes: frozenset[str]) -> float:
        assert nodes
        self.measured += 1
        return math.sqrt(sum(self.costs[node] ** 2 for node in nodes))


def falling(count: int, seed: int) -> dict[str, float]:
    """Costs as networks have them: large in the first nodes, then smaller and smaller, with a few exceptions."""
    rng = np.random.default_rng(seed)
    costs = 3.0 * np.exp(-np.arange(count) / (count / 8)) * rng.uniform(0.3, 1, count) + rng.uniform(0.01, 0.03, count)
    costs[rng.integers(count, size=2)] += 0.5
    return {f"node {k}": float(cost) for k, cost in enumerate(costs)}


@pytest.mark.parametrize("seed", range(5))
def test_costliest_nodes_are_found_without_measuring_each(seed: int) -> None:
    costs = Costs(falling(132, seed))
    true = sorted(costs.costs, key=lambda node: -costs.costs[node])
    ranking = CostRanking(costs, list(costs.costs), most=80)
    assert [row.node for row in ranking.first(5)] == true[:5]
    assert costs.measured <= 40
    assert [row.node for row in ranking.first(15)] == true[:15]
    assert costs.measured <= 80
    assert ranking.found[0] == Sensitivity(true[0], costs.costs[true[0]])


def test_what_was_measured_once_is_not_measured_again() -> None:
    costs = Costs(falling(80, 0))
    ranking = CostRanking(costs, list(costs.costs))
    first = ranking.first(4)
    before = costs.measured
    assert ranking.first(4) == first and ranking.first(2) == first[:2]
    assert costs.measured == before


def test_nodes_from_a_cost_on_are_those_that_cost_it() -> None:
    costs = Costs(falling(80, 1))
    found = CostRanking(costs, list(costs.costs)).from_cost(0.4)
    assert {row.node for row in found} == {node for node, cost in costs.costs.items() if cost >= 0.4}


@pytest.mark.parametrize("nodes", [[], ["a"], ["a", "b"], ["a", "b", "c", "d"]])
def test_few_nodes_are_all_ranked(nodes: list[str]) -> None:
    costs = Costs({node: float(k) for k, node in enumerate(nodes)})
    ranking = CostRanking(costs, nodes)
    assert [row.node for row in ranking.first(9)] == nodes[::-1]
    assert ranking.from_cost(0.5) == tuple(Sensitivity(n, costs.costs[n]) for n in nodes[:0:-1])


def test_node_that_overflows_comes_first() -> None:
    costs = Costs({"a": 1.0, "b": float("inf"), "c": 2.0, "d": 0.1})
    assert [row.node for row in CostRanking(costs, ["a", "b", "c", "d"]).first(3)] == ["b", "c", "a"]


def test_where_no_node_stands_out_measuring_ends_and_nodes_of_a_group_count_as_equal() -> None:
    costs = Costs({f"node {k}": 1.0 + 0.01 * (k % 5) for k in range(132)})
    ranking = CostRanking(costs, list(costs.costs), most=30)
    rows = ranking.first(40)
    assert 30 <= costs.measured <= 32  # a group that is being divided is measured to its end
    assert len({row.node for row in rows}) == 40
    assert all(row.rms == pytest.approx(1.02, abs=0.03) for row in rows)
    assert [row.node for row in ranking.first(200)][:40] == [row.node for row in rows]
    assert {row.node for row in ranking.first(200)} == set(costs.costs)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_nodes_to_reach_a_share_of_the_error_are_as_many_as_are_needed(share: float) -> None:
    for values in (falling(132, 3), {f"node {k}": 1.0 for k in range(132)}):
        costs = Costs(values)
        ranking = CostRanking(costs, list(values))
        count = ranking.to_reach(share)
        squares = sorted((cost**2 for cost in values.values()), reverse=True)
        true = next(k for k in range(133) if sum(squares[k:]) <= share**2 * sum(squares) + 1e-9)
        assert true - 1 <= count <= 1.2 * true + 1
        assert costs.measured <= 62
        kept = ranking.to_reach(share, 20)
        assert kept >= max(20, count)


def test_nothing_has_to_be_kept_to_reach_what_is_there_already() -> None:
    costs = Costs(falling(20, 0))
    assert CostRanking(costs, list(costs.costs)).to_reach(1.0) == 0
