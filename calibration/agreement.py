"""Compares the scores of two models on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr, spearmanr

from lifeiqa.calibration.limits import MIN_RANKED, Limit


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
            found.append(f"worst difference {self.worst:.2e} of the score range, limit {limit.worst:.1e}")
        if self.count >= MIN_RANKED and not self.srocc >= limit.srocc - 1e-9:
            found.append(f"Spearman {self.srocc:.6f}, limit {limit.srocc}")
        return found


def compare_pictures(
    reference: Sequence[npt.NDArray[Any]], candidate: Sequence[npt.NDArray[Any]], span: float
) -> Agreement:
    """Compares the scores of pictures, each given by its crops' (K,).

    Of fewer than `MIN_RANKED` pictures, crops are ranked in their place, so that the ranking can be judged at all.
    """
    means = [np.array([cut.mean(dtype=np.float64) for cut in side]) for side in (reference, candidate)]
    pictures = compare(means[0], means[1], span)
    if pictures.count >= MIN_RANKED:
        return pictures
    crops = compare(np.concatenate(reference), np.concatenate(candidate), span)
    return replace(crops, worst=pictures.worst, mean=pictures.mean)


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
