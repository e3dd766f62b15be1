"""Finds which nodes cost most in reduced precision, without measuring each of them."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Measure: TypeAlias = Callable[[frozenset[str]], float]

MAX_MEASUREMENTS = 60
_PARTS = 3  # of a group that is opened; of 2 to 9, this took the fewest measurements to find the first 5 to 14 of 80


@dataclass(frozen=True)
class Sensitivity:
    """What one node alone costs in reduced precision: root mean square change of a crop's score, in score units.

    Against a graph with every weighted node kept, which in FP16 is not quite that in FP32. Of a group whose nodes were
    not measured one by one, each has an equal part."""

    node: str
    rms: float


class CostRanking:
    """Nodes by what each costs alone, the costliest first, found only as far as somebody asks.

    Groups of neighbours are reduced together, and the costliest group is divided until it is a single node. That
    finds the costliest node, because what a group costs is hardly ever less than what one of its nodes does: errors
    are mostly independent, and their squares add up. Where no node stands out, that would be to measure all of them;
    so there is an end to it, and nodes of groups that are left by then count as equal.
    """

    def __init__(self, measure: Measure, nodes: Sequence[str], most: int = MAX_MEASUREMENTS) -> None:
        """Measures nothing yet.

        Args:
            measure: root mean square change of a crop's score where these nodes, and no others, are reduced.
            nodes: to be ranked, in the graph's order.
            most: how often to measure, about, but for nodes that somebody asks for by what they cost.
        """
        self._measure = measure
        self._left = most
        self._places = {node: place for place, node in enumerate(nodes)}
        self._found: list[Sensitivity] = []
        self._groups: list[tuple[float, int, tuple[str, ...]]] = []  # a heap: minus the cost, place, nodes
        self._unopened = tuple(nodes)  # all of them, until the first question

    @property
    def found(self) -> tuple[Sensitivity, ...]:
        """The nodes found so far, the costliest first."""
        return tuple(self._found)

    def first(self, count: int) -> tuple[Sensitivity, ...]:
        """The `count` costliest nodes, or all where there are fewer; estimates where measuring has ended."""
        while len(self._found) < count and self._can_open:
            self._open()
        return tuple(self._every()[:count])

    def to_reach(self, share: float, kept: int = 0) -> int:
        """How many of the costliest nodes to keep for the others to cost a share of what they cost with `kept` kept."""
        if self._unopened:
            self._open()
        while True:
            squares = [row.rms**2 for row in self._every()]
            count, rest = kept, sum(squares[kept:])
            allowed = share**2 * rest
            while count < len(squares) and not rest <= allowed:
                rest -= squares[count]
                count += 1
            if count <= len(self._found) or not self._can_open:
                return count
            self._open()

    def from_cost(self, rms: float) -> tuple[Sensitivity, ...]:
        """The nodes that cost `rms` or more."""
        while self._unopened or (self._groups and -self._groups[0][0] >= rms):
            self._open()
        return tuple(row for row in self._found if row.rms >= rms)

    def _every(self) -> list[Sensitivity]:
        """All nodes measured so far: those found, and those in groups with an equal part of what the group cost."""
        parts = [
            Sensitivity(node, -cost / math.sqrt(len(group)))
            for cost, _, group in sorted(self._groups)
            for node in group
        ]
        return [*self._found, *sorted(parts, key=lambda row: -row.rms)]

    @property
    def _can_open(self) -> bool:
        return self._left > 0 and bool(self._unopened or self._groups)

    def _open(self) -> None:
        """Takes the costliest group: divides it, or has found its node."""
        if self._unopened:
            self._divide(self._unopened)
            self._unopened = ()
            return
        cost, _, group = heapq.heappop(self._groups)
        if len(group) > 1:
            self._divide(group)
        else:
            self._found.append(Sensitivity(group[0], -cost))
            self._found.sort(key=lambda row: -row.rms)

    def _divide(self, group: tuple[str, ...]) -> None:
        parts = min(_PARTS, len(group))
        ends = [round(part * len(group) / parts) for part in range(parts + 1)]
        for start, end in itertools.pairwise(ends):
            part = group[start:end]
            self._left -= 1
            heapq.heappush(self._groups, (-self._measure(frozenset(part)), self._places[part[0]], part))
