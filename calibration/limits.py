"""Every threshold that an exported model has to keep. The only place where they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lifeiqa.runtime.errors import ManifestError

MIN_RANKED = 64  # one swap of two that are almost equal costs 0.00005; of 20 scores, 0.0015
MIN_CROPS = 64  # ranges of fewer mean nothing
RECOMMENDED_CROPS = 300  # with fewer, a warning
# Of a limit's worst difference, what is allowed on the guard's own pictures: those that come later are other ones. With
# the packaged model, the worst of 400 other pictures was up to 1.4 times as far off in FP16, and 2 times in INT8.
GUARD_MARGINS = {"fp16": 0.7, "int8": 0.5}


@dataclass(frozen=True)
class Limit:
    """How far an artifact may be from PyTorch.

    Attributes:
        worst: largest difference of any one score, as a share of the score range: of a crop in FP32, of a picture in
            reduced precision, where single crops scatter more and no user sees them.
        srocc: smallest Spearman correlation with PyTorch's scores; held where there are `MIN_RANKED` scores or more.
    """

    worst: float
    srocc: float


# Largest difference of any one expert weight, which lie in 0..1.
EXPERT_WEIGHTS_WORST = 1e-3

# "precision/weights" as the manifest has them
LIMITS = {
    "fp32/fp32": Limit(worst=1e-4, srocc=0.9999),
    # Half-precision storage is exact where the checkpoint itself was stored so; the limit is for where it was not.
    "fp32/fp16": Limit(worst=2e-3, srocc=0.999),
    "fp16/fp16": Limit(worst=5e-3, srocc=0.9995),
    "int8/int8": Limit(worst=3e-2, srocc=0.998),
}


def limit_for(precision: str, weights: str) -> Limit:
    """The limit of an artifact, by what its manifest says of it.

    Raises:
        ManifestError: this version has none for such an artifact.
    """
    if (limit := LIMITS.get(f"{precision}/{weights}")) is None:
        raise ManifestError(f"There is no limit for {precision} with {weights} weights; export it with this lifeiqa.")
    return limit


def guard_limit(precision: str, limit: Limit) -> Limit:
    """What has to hold on the guard's own pictures, for the limit to hold on others."""
    return replace(limit, worst=limit.worst * GUARD_MARGINS[precision])
