"""How well predicted scores follow labels: the field's correlations, raw and after the logistic fit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.stats import kendalltau, pearsonr, spearmanr

from lifeiqa.models.datasets.base import Labelled, reading
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.images import read_image

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correlations:
    """Agreement of predictions with labels. NaN where one of them is constant.

    Attributes:
        srocc: Spearman's rank-order correlation.
        plcc: Pearson's linear correlation of the predictions as they are.
        plcc_fitted: the same after the 4-parameter logistic fit.
        krcc: Kendall's rank correlation.
        rmse: root mean square error after the fit, in points of 0-100.
        pictures: how many were compared.
    """

    srocc: float
    plcc: float
    plcc_fitted: float
    krcc: float
    rmse: float
    pictures: int

    def to_plain(self) -> dict[str, Any]:
        """The figures by name, None for NaN: JSON has no word for that."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Correlations:
        """The opposite of `to_plain`."""
        found: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
        return cls(**found)


_FLAT = 1e-6  # points of 100: a vector that varies less is constant but for rounding
METRICS = ("srocc", "plcc", "plcc_fitted", "krcc", "rmse")


def logistic(x: Vector, top: float, bottom: float, middle: float, width: float) -> Vector:
    """The 4-parameter logistic of VQEG (FR-TV phase II, 2003) that maps predictions to labels; monotone in x."""
    z = np.clip((x - middle) / (abs(width) + 1e-9), -500, 500)
    return np.asarray(bottom + (top - bottom) / (1 + np.exp(-z)), np.float64)


def fit_logistic(predicted: Vector, labels: Vector) -> tuple[float, float, float, float]:
    """Least-squares parameters of `logistic`; where the fit does not converge, those it started from."""
    start = (float(labels.max()), float(labels.min()), float(np.mean(predicted)), float(np.std(predicted)) + 1e-6)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which nobody reads
            found, _ = curve_fit(logistic, predicted, labels, p0=start, maxfev=20_000)
    except (RuntimeError, TypeError):  # not converged; fewer points than parameters
        return start
    top, bottom, middle, width = (float(value) for value in found)
    return top, bottom, middle, width


def correlate(predicted: Vector, labels: Vector) -> Correlations:
    """Compares two vectors (P,), P at least 2, on one scale of 0-100."""
    predicted, labels = np.asarray(predicted, np.float64), np.asarray(labels, np.float64)
    if np.ptp(predicted) < _FLAT or np.ptp(labels) < _FLAT:
        nan = float("nan")
        return Correlations(nan, nan, nan, nan, nan, len(labels))
    fitted = logistic(predicted, *fit_logistic(predicted, labels))
    return Correlations(
        srocc=float(spearmanr(predicted, labels).statistic),
        plcc=float(pearsonr(predicted, labels).statistic),
        plcc_fitted=float(pearsonr(fitted, labels).statistic) if np.ptp(fitted) > _FLAT else float("nan"),
        krcc=float(kendalltau(predicted, labels).statistic),
        rmse=float(np.sqrt(np.mean((fitted - labels) ** 2))),
        pictures=len(labels),
    )


def median_of(results: Sequence[Correlations]) -> Correlations:
    """The median of each figure over several splits."""
    values = {name: float(np.median([getattr(result, name) for result in results])) for name in METRICS}
    return Correlations(**values, pictures=int(np.median([result.pictures for result in results])))


def intervals(
    predicted: Vector, labels: Vector, contents: Sequence[str], draws: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of SROCC and PLCC.

    Whole contents are drawn, not pictures: pictures of one content err together, and drawing them singly would make
    the intervals too narrow.
    """
    names, member = np.unique(np.asarray(contents), return_inverse=True)
    rows = [np.flatnonzero(member == k) for k in range(len(names))]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        chosen = np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])
        p, y = predicted[chosen], labels[chosen]
        if np.ptp(p) and np.ptp(y):
            found.append((spearmanr(p, y).statistic, pearsonr(p, y).statistic))
    low, high = np.percentile(np.asarray(found), [2.5, 97.5], axis=0)
    return {"srocc": (float(low[0]), float(high[0])), "plcc": (float(low[1]), float(high[1]))}


def predict(
    score: Callable[[UInt8Array], float],
    items: Sequence[Labelled],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Vector, Vector]:
    """Scores every picture with `score`, which takes (H, W, 3) uint8 RGB.

    Returns:
        predictions and labels, (P,) each, on 0-100.

    Raises:
        DatasetError: a picture cannot be read or scored.
        UsageError: the network gives no number for one.
    """
    predicted = np.empty(len(items))
    for i, item in enumerate(items):
        with reading(item.path):
            predicted[i] = score(read_image(item.path).pixels)
        if not np.isfinite(predicted[i]):
            raise UsageError(f"The network gives no number for {item.path}: has its training diverged?")
        progress(i + 1, len(items))
    return predicted, np.array([item.score for item in items])
