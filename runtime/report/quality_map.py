"""Where in a picture the quality is: scores of overlapping crops, and the picture coloured by them."""

from __future__ import annotations

import numpy as np

from lifeiqa.runtime.arrays import FloatArray, UInt8Array
from lifeiqa.runtime.errors import ImageError
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import PreprocessSpec, fitted
from lifeiqa.runtime.scorer import Scorer

MOST_CROPS = 60
_BATCH = 16
_TINT = 0.7  # of the colour; the rest is the picture
# Bad, poor, fair, good, excellent; orange to blue is told apart with every colour vision. Also in page.css.
COLORS = ((179, 69, 11), (227, 146, 70), (232, 213, 130), (98, 168, 216), (29, 102, 166))


def quality_map(pixels: UInt8Array, scorer: Scorer) -> FloatArray:
    """Scores a picture place by place.

    Crops of the model's size are laid over the picture after its resize rule, evenly from border to border and half a
    crop apart; further apart where that would be more than 60.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        scorer: its model does it.

    Returns:
        (rows, columns) scores of the crops, on the model's scale and never outside it, at most 60.

    Raises:
        ImageError: the picture has no pixels, or the model gives NaN for a part of it.
    """
    spec = scorer.manifest.preprocess
    pixels, side = fitted(pixels, spec), spec.crop_size
    tops, lefts = _positions(pixels.shape[0], pixels.shape[1], side)
    corners = [(y, x) for y in tops for x in lefts]
    scores = list[FloatArray]()
    for start in range(0, len(corners), _BATCH):
        crops = np.stack([pixels[y : y + side, x : x + side] for y, x in corners[start : start + _BATCH]])
        scores.append(scorer.backend.infer(crops))
    grid = np.concatenate(scores)
    if not np.isfinite(grid).all():
        raise ImageError("the model gave no number for a part of this picture")
    clipped = [scorer.manifest.scale.clip(float(score)) for score in grid]
    return np.asarray(clipped, np.float32).reshape(len(tops), len(lefts))


def _positions(height: int, width: int, side: int) -> tuple[list[int], list[int]]:
    """Tops and lefts of the crops."""
    stride = float(max(1, side // 2))
    while True:
        counts = [1 + int(np.ceil((length - side) / stride)) for length in (height, width)]
        if counts[0] * counts[1] <= MOST_CROPS:
            break
        stride *= 1.05
    spaced = [np.linspace(0, n - side, k).astype(int) for n, k in zip((height, width), counts, strict=True)]
    return spaced[0].tolist(), spaced[1].tolist()


def spread(grid: FloatArray, shape: tuple[int, int], spec: PreprocessSpec, size: tuple[int, int]) -> FloatArray:
    """Blends the scores of crops into one for every pixel of a small copy of the picture.

    Args:
        grid: (rows, columns), of `quality_map`.
        shape: height and width of the picture after the resize rule, before small ones are reflected.
        spec: the model's own.
        size: height and width of the small copy.

    Returns:
        (height, width) scores.
    """
    side, places = spec.crop_size, list[FloatArray]()
    for count, length, small in zip(grid.shape, shape, size, strict=True):
        padded = max(length, side)
        pixel = (np.arange(small) + 0.5) * length / small + (padded - length) // 2  # centres, in the fitted picture
        step = (padded - side) / max(1, count - 1)
        places.append(((pixel - side / 2) / (step or 1.0)).clip(0, count - 1).astype(np.float32))
    rows, columns = np.meshgrid(places[0], places[1], indexing="ij")
    blended = cv2.remap(grid, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.GaussianBlur(blended, (0, 0), max(1.0, max(size) / 40)), np.float32)


def colored(small: UInt8Array, goodness: FloatArray) -> UInt8Array:
    """The picture in grey, under the colour of its quality.

    Args:
        small: (H, W, 3) uint8 RGB.
        goodness: (H, W), 0 the worst to 1 the best; beyond them counts as they do.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    stops = np.linspace(0, 1, len(COLORS))
    color = np.stack([np.interp(goodness, stops, [c[k] for c in COLORS]) for k in range(3)], -1)
    grey = small.mean(axis=2, keepdims=True)
    return np.asarray((_TINT * color + (1 - _TINT) * grey).round(), np.uint8)


def place_of(row: int, column: int, shape: tuple[int, int]) -> str:
    """Words for a cell of a grid."""
    vertical = ("top", "middle", "bottom")[min(2, 3 * (2 * row + 1) // (2 * shape[0]))]
    horizontal = ("left", "centre", "right")[min(2, 3 * (2 * column + 1) // (2 * shape[1]))]
    return "centre" if (vertical, horizontal) == ("middle", "centre") else f"{vertical} {horizontal}"
