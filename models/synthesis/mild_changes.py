"""Changes that leave a picture as good as it was: other tones, a good JPEG. A rated picture keeps its label."""

from __future__ import annotations

import numpy as np

from lifeiqa.models.synthesis.distortions import Picture, jpeg
from lifeiqa.runtime.opencv import cv2

MAX_GAIN = 1.1
MAX_OFFSET = 14  # of 255


def mild_change(p: Picture, rng: np.random.Generator) -> Picture:
    """Each by itself, or not: values times 1/1.1 to 1.1 and up to 14 more or less; JPEG of quality 92 to 98."""
    if rng.random() < 0.3:
        gain, offset = MAX_GAIN ** rng.uniform(-1, 1), rng.uniform(-MAX_OFFSET, MAX_OFFSET)
        values = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255).astype(np.uint8)
        p = np.asarray(cv2.LUT(np.ascontiguousarray(p), values), np.uint8)
    if rng.random() < 0.2:
        p = jpeg(p, float(rng.integers(92, 99)), rng)
    return p
