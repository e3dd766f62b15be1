"""Pictures that show nothing, the bottom of the scale: flat, covered, noise alone."""

from __future__ import annotations

import numpy as np

from lifeiqa.models.synthesis.distortions import Picture
from lifeiqa.runtime.opencv import cv2


def anchor(side: int, rng: np.random.Generator) -> Picture:
    """One of the three, as (side, side, 3) uint8 RGB."""
    return (flat, covered, noise)[rng.integers(3)](side, rng)


def flat(side: int, rng: np.random.Generator) -> Picture:
    """One colour, or one grey."""
    value = rng.integers(0, 256, 3 if rng.random() < 0.5 else 1)
    return np.broadcast_to(value.astype(np.uint8), (side, side, 3)).copy()


def covered(side: int, rng: np.random.Generator) -> Picture:
    """A lens behind a hand, a cap or a cloth: dark, with shapes that have no edge, and the sensor's noise."""
    grid = rng.normal(0, rng.uniform(2, 14), (4, 4, 1)).astype(np.float32)
    shapes = np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)[:, :, None]
    tint = rng.uniform(5, 90) * (1 + rng.uniform(-0.4, 0.4, 3) * (rng.random() < 0.6))
    grain = rng.uniform(0, 6) * rng.standard_normal((side, side, 3 if rng.random() < 0.5 else 1), np.float32)
    return np.clip(np.rint(tint + shapes + grain), 0, 255).astype(np.uint8)


def noise(side: int, rng: np.random.Generator) -> Picture:
    """Noise around one colour, of any strength, fine or coarse, alike in all channels or not."""
    channels = 1 if rng.random() < 0.5 else 3
    field = rng.standard_normal((side, side, channels), np.float32)
    if rng.random() < 0.4:
        coarse = cv2.GaussianBlur(field, (0, 0), rng.uniform(0.5, 2.0)).reshape(field.shape)
        field = (coarse / coarse.std()).astype(np.float32)
    if rng.random() < 0.3:
        return np.broadcast_to(rng.integers(0, 256, field.shape).astype(np.uint8), (side, side, 3)).copy()
    values = rng.uniform(60, 196) + np.exp(rng.uniform(np.log(8), np.log(90))) * field
    return np.broadcast_to(np.clip(np.rint(values), 0, 255).astype(np.uint8), (side, side, 3)).copy()
