"""Ladders of one distortion on the public held-out pictures: does a worse picture get the lower score?

The pictures are scikit-image's samples. Nothing is ever trained or calibrated on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lifeiqa.models.synthesis.distortions import (
    Picture,
    contrast_loss,
    darken,
    gaussian_blur,
    jpeg,
    jpeg2000,
    white_noise,
)
from lifeiqa.runtime.opencv import cv2

PICTURES = ("astronaut", "camera", "chelsea", "coffee", "rocket")
# A distortion, and its strengths from the mildest on.
Ladder: TypeAlias = tuple[Callable[[Picture, float, np.random.Generator], Picture], tuple[float, ...]]


def _down_up(p: Picture, factor: float, rng: np.random.Generator) -> Picture:
    h, w = p.shape[:2]
    small = cv2.resize(p, (round(w / factor), round(h / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


LADDERS: dict[str, Ladder] = {
    "blur": (gaussian_blur, (0.8, 1.4, 2.2, 3.5, 6.0)),
    "noise": (white_noise, (0.001, 0.003, 0.008, 0.02, 0.06)),
    "jpeg": (jpeg, (50, 30, 18, 10, 5)),
    "jpeg2000": (jpeg2000, (16, 32, 64, 110, 180)),
    "down_up": (_down_up, (1.5, 2.2, 3.2, 5.0, 8.0)),
    "darken": (darken, (0.15, 0.3, 0.5, 0.8, 1.2)),
    "contrast": (contrast_loss, (0.15, 0.3, 0.45, 0.6, 0.8)),
}


def held_out_pictures() -> Iterator[tuple[str, Picture]]:
    """Yields the name and (H, W, 3) uint8 RGB of each held-out picture."""
    from skimage import data

    for name in PICTURES:
        pixels = np.asarray(getattr(data, name)())
        yield name, np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2))


def ladder(picture: Picture, name: str) -> list[Picture]:
    """The pristine picture and its five distorted copies, mildest first."""
    return rungs(picture, LADDERS[name])


def rungs(picture: Picture, of: Ladder) -> list[Picture]:
    """The pristine picture and its distorted copies, mildest first; all with the same random numbers."""
    apply, strengths = of
    return [picture, *(apply(picture, strength, np.random.default_rng(0)) for strength in strengths)]


def in_order(scores: Sequence[float]) -> list[bool]:
    """Of each pair of neighbouring rungs: is the worse one's score lower? Equal scores are not in order."""
    return [better > worse for better, worse in itertools.pairwise(scores)]


@dataclass(frozen=True)
class LadderResult:
    """How often a worse picture got the lower score.

    Attributes:
        in_order: of neighbouring levels, pristine and mildest included.
        mildest_in_order: of pristine and mildest only.
        pairs, mildest_pairs: how many there were.
        by_type: `in_order` for each distortion.
    """

    in_order: float
    mildest_in_order: float
    pairs: int
    mildest_pairs: int
    by_type: dict[str, float]


def evaluate_ladders(score: Callable[[Picture], float]) -> LadderResult:
    """Scores every ladder of every held-out picture with `score`, higher better."""
    ordered: dict[str, list[list[bool]]] = {name: [] for name in LADDERS}
    for _, picture in held_out_pictures():
        for name in LADDERS:
            ordered[name].append(in_order([score(copy) for copy in ladder(picture, name)]))
    table = np.array([ordered[name] for name in LADDERS])  # (type, picture, pair)
    return LadderResult(
        in_order=float(table.mean()),
        mildest_in_order=float(table[:, :, 0].mean()),
        pairs=table.size,
        mildest_pairs=table[:, :, 0].size,
        by_type={name: float(table[i].mean()) for i, name in enumerate(LADDERS)},
    )
