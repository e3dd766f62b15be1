"""Ladders made on the fly, of photographs that are augmented first: other tones, grey, sharper, with a little noise.

The photographs of a set are alike in what nobody distorted: well exposed, in colour, hardly any with true blacks.
Another photograph then looks distorted to the network, and what hides that look raises its score. An augmented
photograph has no label, since it may be taken for undistorted or not; but that its copies are worse than itself is
certain, and that order is all that is asked of these ladders.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lifeiqa.models.datasets.base import Labelled
from lifeiqa.models.synthesis.distortions import DISTORTIONS, LEVELS, Picture, sharpen, without_color
from lifeiqa.models.synthesis.ladders import LADDERS
from lifeiqa.runtime.errors import DatasetError
from lifeiqa.runtime.opencv import cv2

MAX_ZOOM = 1.45  # of windows: a larger one is sharper once reduced to a crop
MAX_SHARPENING = 1.5  # strength of `sharpen`
MAX_NOISE = 3.5  # standard deviation, of 255

# type -> how often, and the type of the set whose mean labels say how far levels are apart
_TYPES = {
    "gaussian_blur": (2, "gaussian_blur"),
    "lens_blur": (1, "lens_blur"),
    "white_noise": (2, "white_noise"),
    "color_noise": (1, "color_noise"),
    "jpeg": (1, "jpeg"),
    "darken": (1, "darken"),
    "contrast_loss": (2, "contrast_loss"),
    "down_up": (2, "pixelate"),
}
_APPLY = {**DISTORTIONS, "down_up": LADDERS["down_up"]}


class OnTheFlyLadders:
    """Makes ladders whose levels are as far apart as those of the set are on average.

    Attributes:
        scores: of levels 0 to 5, falling, for each type that is made, and as often as it is made.
    """

    def __init__(self, items: Iterable[Labelled]) -> None:
        """Raises `DatasetError` when the set has none of the types at all five levels."""
        labels: dict[tuple[str, int], list[float]] = defaultdict(list)
        for item in items:
            labels[item.distortion, item.level].append(item.score / 100.0)
        self.scores: list[tuple[str, npt.NDArray[np.float64]]] = []
        for name, (often, like) in _TYPES.items():
            if all((like, level) in labels for level in LEVELS):
                means = np.array([1.0, *(np.mean(labels[like, level]) for level in LEVELS)])
                self.scores += [(name, np.minimum.accumulate(means))] * often
        if not self.scores:
            types = sorted({like for _, like in _TYPES.values()})
            raise DatasetError(
                f"On-the-fly ladders need a set with five levels of one of {', '.join(types)}; set on_the_fly to 0."
            )

    def draw(
        self, window: Picture, levels: Sequence[int], rng: np.random.Generator
    ) -> tuple[list[Picture], list[float]]:
        """Augments a window and distorts it.

        Args:
            window: (S, S, 3) uint8 RGB of an undistorted photograph.
            levels: which to make, of 0 to 5; 0 is the augmented window itself.
            rng: everything random comes from here.

        Returns:
            The crops, and scores on 0-1 whose order and distances are meant, not their height.
        """
        top = augment(window, rng)
        name, scores = self.scores[rng.integers(len(self.scores))]
        apply, strengths = _APPLY[name]
        seed = rng.integers(1 << 31)  # one for all levels: they share direction and sign
        crops = [apply(top, strengths[k - 1], np.random.default_rng(seed)) if k else top for k in levels]
        return crops, [float(scores[k]) for k in levels]


def augment(window: Picture, rng: np.random.Generator) -> Picture:
    """A window as another photograph could look: each of these changes is made, or not, by itself.

    Grey; up to a fifth of it black and 0.45 to 1.5 times the contrast; sharpened; noise, alike in all channels or not.
    """
    if rng.random() < 0.3:
        window = without_color(window)
    if rng.random() < 0.6:
        low = np.percentile(cv2.cvtColor(window, cv2.COLOR_RGB2GRAY), 20 * rng.random() ** 2)
        gain = np.exp(rng.uniform(np.log(0.45), np.log(1.5)))
        window = np.clip((np.arange(256) - low) * gain, 0, 255).round().astype(np.uint8)[window]
    if rng.random() < 0.5:
        window = sharpen(window, MAX_SHARPENING * rng.random(), rng)
    if rng.random() < 0.4:
        channels = 3 if rng.random() < 0.5 else 1
        noise = rng.normal(0, MAX_NOISE * rng.random(), (*window.shape[:2], channels))
        window = np.clip(window + noise, 0, 255).round().astype(np.uint8)
    return window
