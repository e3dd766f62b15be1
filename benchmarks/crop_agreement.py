"""How far the scores of single crops are from PyTorch's: what each engine and precision costs beside its speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from agreement import named_pictures
from contender import Score

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.preprocess import crops_of


@dataclass(frozen=True)
class CropReference:
    """Crops to compare on.

    Attributes:
        batches: (B, S, S, 3) uint8 RGB, all of one size.
        scores: what PyTorch gives them, one after the other, on the scale that artifacts have.
        span: of that scale, worst to best.
    """

    batches: tuple[UInt8Array, ...]
    scores: FloatArray
    span: float

    @classmethod
    def of(cls, checkpoint: Checkpoint, pictures: int, batch: int) -> CropReference | None:
        """All crops of the first held-out pictures and their distorted copies; None of none.

        Args:
            checkpoint: whose network is the reference.
            pictures: held-out pictures, each with 35 distorted copies.
            batch: crops at once, at most; those that do not fill one are left out.
        """
        if not pictures:
            return None
        crops = np.concatenate([crops_of(copy, checkpoint.preprocess) for _, copy in named_pictures(pictures)])
        batch = min(batch, len(crops))
        batches = tuple(crops[k : k + batch] for k in range(0, len(crops) - batch + 1, batch))
        scorer = TorchScorer.of(checkpoint)
        scores = np.concatenate([scorer.score_crops(part)[0].numpy() for part in batches])
        return cls(batches, scores, checkpoint.scale.artifact_scale().span)

    def compare(self, score: Score) -> dict[str, float]:
        """Points of 100 that the worst crop is off, and the root of the mean square of all."""
        found = np.concatenate([score(part) for part in self.batches])
        off = 100 * np.abs(found.astype(np.float64) - self.scores) / self.span
        return {"worst_crop": float(off.max()), "rms_crop": float(np.sqrt(np.mean(off**2)))}
