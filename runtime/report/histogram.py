"""Counts scores in fine bins, in constant memory, also where nobody knows the range of the scores beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lifeiqa.runtime.manifest import ScoreScale

FINE = 1000
BARS = 40  # 2.5 points each on 0-100, so that the borders of the grades (12.5, 37.5, 62.5, 87.5) fall between two bars
_FIRST = 1000  # scores of an unknown range that are looked at before it is chosen


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: scores from `low` to `high`, and how many there are."""

    low: float
    high: float
    count: int


class Histogram:
    """Of any number of finite scores.

    Attributes:
        count: how many there are.
    """

    def __init__(self, scale: ScoreScale) -> None:
        self.count = 0
        self._fixed = not scale.own
        self._low, self._width = scale.low, scale.span / FINE
        self._counts = np.zeros(FINE, np.int64)
        self._first: list[float] | None = None if self._fixed else []

    def add(self, score: float) -> None:
        """Counts a score. On a scale that is known, one beyond an end counts there."""
        self.count += 1
        if self._first is None:
            self._put(score)
            return
        self._first.append(score)
        if len(self._first) == _FIRST:
            self._choose_range()

    def bars(self) -> list[Bar]:
        """`BARS` bars of one width: over the whole scale where it is known, else over the scores that there are."""
        self._choose_range()
        start, step = 0, FINE // BARS
        if not self._fixed and self.count:
            used = np.flatnonzero(self._counts)
            start, step = int(used[0]), -(-int(used[-1] - used[0] + 1) // BARS)
        padded = np.pad(self._counts[start:], (0, BARS * step))[: BARS * step]
        counts = padded.reshape(BARS, step).sum(1)
        edges = [self._low + self._width * (start + step * k) for k in range(BARS + 1)]
        return [Bar(edges[k], edges[k + 1], int(n)) for k, n in enumerate(counts)]

    def quantile(self, share: float) -> float | None:
        """The score that `share` of all lie below, to the width of a fine bin; None where there are no scores."""
        self._choose_range()
        if not self.count:
            return None
        place = min(FINE - 1, int(np.searchsorted(self._counts.cumsum(), share * self.count)))
        return float(self._low + self._width * (place + 0.5))

    def _choose_range(self) -> None:
        """Takes the range of the first scores, with as much again on both sides."""
        if not self._first:
            return
        scores, self._first = self._first, None
        low, high = min(scores), max(scores)
        room = (high - low) or max(abs(low), 1.0) * 1e-3
        self._low, self._width = low - room, 3 * room / FINE
        for score in scores:
            self._put(score)

    def _put(self, score: float) -> None:
        place = math.floor((score - self._low) / self._width)
        while not self._fixed and not 0 <= place < FINE:
            self._double(down=place < 0)
            place = math.floor((score - self._low) / self._width)
        self._counts[min(FINE - 1, max(0, place))] += 1

    def _double(self, down: bool) -> None:
        """Twice the range with half the bins for what is there; the new half lies below it, or above."""
        halved, empty = self._counts.reshape(-1, 2).sum(1), np.zeros(FINE // 2, np.int64)
        self._counts = np.concatenate([empty, halved] if down else [halved, empty])
        self._low -= self._width * FINE if down else 0.0
        self._width *= 2
