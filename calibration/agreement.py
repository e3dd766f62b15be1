"""Compares the scores of two models on the same pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr, spearmanr

from lifeiqa.calibration.limits import RANKED_FROM, Limit


@dataclass(frozen=True)
class Agreement:
    """How well candidate scores follow reference scores.

    Attributes:
        worst, mean: absolute difference, as a share of the score range.
        srocc, plcc: Spearman and Pearson correlation.
        count: scores compared.
    """

    worst: float
    mean: float
    srocc: float
    plcc: float
    count: int

    def violations(self, limit: Limit) -> list[str]:
        """What breaks the limit, in words; empty when nothing does. A NaN breaks it."""
        found = []
        if not self.worst <= limit.worst:
            found.append(f"worst difference {self.worst:.2e} of the score range, limit {limit.worst:.0e}")
        if self.count >= RANKED_FROM and not self.srocc >= limit.srocc:
            found.append(f"Spearman {self.srocc:.6f}, limit {limit.srocc}")
        return found


def compare(reference: npt.NDArray[Any], candidate: npt.NDArray[Any], span: float) -> Agreement:
    """Measures agreement of two score vectors (S,), S at least 2, over a score range of `span`."""
    reference, candidate = reference.astype(np.float64), candidate.astype(np.float64)
    if reference.shape != candidate.shape or reference.ndim != 1 or len(reference) < 2:
        raise ValueError(f"expected two vectors of one length from 2, found {reference.shape} and {candidate.shape}")
    difference = np.abs(reference - candidate) / span
    constant = np.ptp(reference) == 0 or np.ptp(candidate) == 0
    return Agreement(
        worst=float(difference.max()),
        mean=float(difference.mean()),
        srocc=float("nan") if constant else float(spearmanr(reference, candidate).statistic),
        plcc=float("nan") if constant else float(pearsonr(reference, candidate).statistic),
        count=len(reference),
    )
