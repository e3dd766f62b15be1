"""Every threshold that an exported model has to keep. The only place where they stand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """How far an artifact may be from PyTorch.

    Attributes:
        worst: largest difference of any one score, as a share of the score range.
        srocc: smallest Spearman correlation with PyTorch's scores.
    """

    worst: float
    srocc: float


# "precision/weights" as the manifest has them
LIMITS = {
    "fp32/fp32": Limit(worst=1e-4, srocc=0.9999),
    # Half-precision storage is exact where the checkpoint itself was stored so; the limit is for where it was not.
    "fp32/fp16": Limit(worst=2e-3, srocc=0.999),
}
