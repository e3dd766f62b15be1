"""The golden set: crops, the scores that PyTorch gives them, and how far an artifact may be from these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ManifestError, UsageError
from lifeiqa.runtime.manifest import Manifest, ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

VIEWS = 4  # as it is, mirrored, upside down, and both


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact of one precision may be from PyTorch.

    Attributes:
        worst: largest difference of any one score, as a share of the score range.
        srocc: smallest Spearman correlation over the golden crops.
        per: what `worst` is of: "crop": each view of a crop by itself; "picture": the mean over the views of a crop,
            as a picture's score is a mean over crops.
    """

    worst: float
    srocc: float
    per: Literal["crop", "picture"]


@dataclass(frozen=True)
class GoldenCrop:
    """One crop.

    Attributes:
        name: its own in the set.
        kind: "sharp", "blur", "noise", ...
        sha256: of its pixels.
        scores: of its `VIEWS` views, from PyTorch; see `views`.
    """

    name: str
    kind: str
    sha256: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class GoldenPicture:
    """A whole encoded picture: what it must be read as, and scored.

    Attributes:
        file: its name in the set's folder.
        pixels_sha256: of its decoded pixels, upright.
        exact: whether every machine decodes it to the same pixels: PNG does, JPEG need not.
        score: mean over its crops, from PyTorch.
        data: the file's bytes.
    """

    file: str
    pixels_sha256: str
    exact: bool
    score: float
    data: bytes


@dataclass(frozen=True)
class GoldenSet:
    """Everything that artifacts of one checkpoint are compared with.

    Attributes:
        model: its name.
        checkpoint_sha256: of the checkpoint that gave the scores.
        version: of the lifeiqa that made the set.
        preprocess: what the artifacts' manifests must say.
        scale: likewise, of their scores.
        crops: see `GoldenCrop`.
        pairs: names of crops of which the first must score higher than the second.
        pictures: see `GoldenPicture`.
        tolerances: by "precision/weights", as manifests name them.
        pixels: (N, S, S, 3) uint8 RGB, of the crops.
        sha256: of the file that describes the set.
    """

    model: str
    checkpoint_sha256: str
    version: str
    preprocess: PreprocessSpec
    scale: ScoreScale
    crops: tuple[GoldenCrop, ...]
    pairs: tuple[tuple[str, str], ...]
    pictures: tuple[GoldenPicture, ...]
    tolerances: Mapping[str, Tolerance]
    pixels: UInt8Array
    sha256: str = ""

    @property
    def spread(self) -> float:
        """Mean distance of neighbours, when the crops are ordered by score."""
        means = [sum(crop.scores) / VIEWS for crop in self.crops]
        return (max(means) - min(means)) / (len(means) - 1)

    def tolerance_for(self, manifest: Manifest, model: str) -> Tolerance:
        """The tolerance of an artifact.

        Args:
            manifest: the artifact's own.
            model: its file name, for messages.

        Raises:
            UsageError: it was exported from another checkpoint than the set's.
            ManifestError: the set has no tolerance for its precision.
        """
        if manifest.checkpoint_sha256 != self.checkpoint_sha256:
            raise UsageError(
                f"{model} is {manifest.name} of checkpoint {manifest.checkpoint_sha256[:12]}; this golden set belongs "
                f"to {self.model} of checkpoint {self.checkpoint_sha256[:12]}. Make a set for yours, in lifeiqa's "
                "folder: python benchmarks/conformance_set.py --ckpt best.pt -o DIR; "
                f"then: lifeiqa-conformance --set DIR {model}"
            )
        key = f"{manifest.precision}/{manifest.weights}"
        if key not in self.tolerances:
            raise ManifestError(
                f"This golden set has no tolerance for {manifest.precision} with {manifest.weights} weights; it has "
                f"{', '.join(self.tolerances)}. Export the model again, or make the set again, with one lifeiqa."
            )
        return self.tolerances[key]


def views(crops: UInt8Array) -> UInt8Array:
    """(N, S, S, 3) -> (N * VIEWS, S, S, 3): each crop as it is, mirrored, upside down, and both."""
    turned = (crops, crops[:, :, ::-1], crops[:, ::-1], crops[:, ::-1, ::-1])
    return np.stack(turned, axis=1).reshape(-1, *crops.shape[1:])
