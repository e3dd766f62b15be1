"""Pseudo-MOS: quality labels for distorted pictures from an agreed blend of full-reference metrics.

These are not human opinions. MDSI, HaarPSI and VSI each compare a distorted picture with its pristine reference;
their mean rank over the whole set, made monotone along every ladder of levels, becomes the label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

from lifeiqa.models.synthesis.distortions import Picture

METRICS = ("mdsi", "haarpsi", "vsi")


@torch.inference_mode()
def full_reference_metrics(reference: Picture, distorted: list[Picture]) -> npt.NDArray[np.float64]:
    """Scores distorted pictures against one reference, higher better.

    Args:
        reference: (H, W, 3) uint8 RGB.
        distorted: L pictures of the same shape.

    Returns:
        (L, 3) in the order of `METRICS`; MDSI is negated, since it measures distortion.
    """
    import piq

    def batch(pictures: list[Picture]) -> torch.Tensor:
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255.0

    x = batch(distorted)
    y = batch([reference]).expand_as(x)
    scores = [
        -piq.mdsi(x, y, reduction="none"),
        piq.haarpsi(x, y, reduction="none"),
        piq.vsi(x, y, reduction="none"),
    ]
    return torch.stack(scores, dim=1).double().numpy()


def fuse(metrics: npt.NDArray[np.float64], levels_per_ladder: int) -> npt.NDArray[np.float64]:
    """Turns metric values into pseudo-MOS on 0-100, higher better; a pristine picture would be 100.

    Args:
        metrics: (P, M), higher better; consecutive groups of `levels_per_ladder` rows are one ladder, mildest first.

    Returns:
        (P,): 100 times the mean over metrics of the relative rank, then isotonic along each ladder, so that a
        stronger level never has the higher label.
    """
    ranks = np.stack([rankdata(column) for column in metrics.T], axis=1) / (len(metrics) + 1)
    scores = 100.0 * ranks.mean(axis=1)
    ladders: npt.NDArray[Any] = scores.reshape(-1, levels_per_ladder)
    return np.stack([isotonic_regression(ladder, increasing=False).x for ladder in ladders]).reshape(-1)
