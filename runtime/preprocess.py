"""From a picture to the crops that a model reads. The only place where that is decided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ImageError, ManifestError, UsageError

# Steps of the R2 low-discrepancy sequence: 1/p and 1/p^2, where p solves p^3 = p + 1.
_R2_STEPS = (0.7548776662466927, 0.5698402909980532)
MAX_CROPS = 256
_LEAST_REDUCED = 0.99  # a part that is as large before and after, in whole pixels, is copied by OpenCV


@dataclass(frozen=True)
class PreprocessSpec:
    """How a picture becomes crops. Travels with every checkpoint and every exported model.

    A side that is below `crop_size` after the resize rule is reflected at both borders, evenly, up to `crop_size`: the
    mirror repeats no edge pixel (d c b | a b c d | c b a), and comes again where one does not reach; a side of one
    pixel is that pixel again and again. This is the same in all models, so no field says it.

    Attributes:
        crop_size: side of the square crops, in pixels.
        crops: crops a picture when the user does not say.
        crop_plan: "r2": the first crop is the centre, the others spread evenly; always the same for one shape.
        resize: "none"; "shorter_side_at_most": a larger picture is reduced, area-averaged, until its shorter side
            is `resize_to[0]`; "exact": every picture is brought to the width and height `resize_to` (KonIQ-10k and
            SPAQ are read at 512x384).
        resize_to: () for "none", (pixels,) or (width, height).
        color: channel order of the crops.
        mean, std: per channel, of values in 0..1. Applied inside the exported graph, never outside.
    """

    crop_size: int = 224
    crops: int = 5
    crop_plan: Literal["r2"] = "r2"
    resize: Literal["none", "shorter_side_at_most", "exact"] = "shorter_side_at_most"
    resize_to: tuple[int, ...] = (512,)
    color: Literal["RGB"] = "RGB"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        expected = {"none": 0, "shorter_side_at_most": 1, "exact": 2}
        if self.crop_plan != "r2" or self.color != "RGB" or self.resize not in expected:
            raise ManifestError(
                f"This lifeiqa does not know crop plan {self.crop_plan!r}, colour order {self.color!r} and resize "
                f"rule {self.resize!r}; use a newer one"
            )
        sizes = (self.crop_size, self.crops, *self.resize_to)
        if len(self.resize_to) != expected[self.resize] or not all(isinstance(n, int) and n > 0 for n in sizes):
            raise ManifestError(f"Preprocessing is malformed: {self.to_dict()}")
        if self.crops > MAX_CROPS:
            raise ManifestError(f"Preprocessing asks for {self.crops} crops; at most {MAX_CROPS} are possible.")
        numbers = (*self.mean, *self.std)
        if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
            raise ManifestError(f"Preprocessing has means or stds that are no numbers: {self.to_dict()}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ManifestError(f"Preprocessing needs three means and three positive stds: {self.to_dict()}")
        if self.resize != "none" and min(self.resize_to) < self.crop_size:
            raise ManifestError(f"Preprocessing resizes to {self.resize_to}, below its crop of {self.crop_size}.")

    def note(self, height: int, width: int) -> str | None:
        """What a result says of a picture of this size in pixels: that it is reflected, or None."""
        if self.resize == "exact" or min(height, width) >= self.crop_size:
            return None
        return "smaller than a crop, reflected at the borders"

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, in types that JSON has."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PreprocessSpec:
        """Raises `ManifestError` when a field is missing, unknown or of the wrong kind."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or values.keys() != names:
            raise ManifestError(f"Preprocessing must have exactly the fields {', '.join(sorted(names))}.")
        try:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**plain)
        except TypeError as error:
            raise ManifestError(f"Preprocessing is malformed: {error}") from error


def spread_positions(count: int, height: int, width: int, crop_h: int, crop_w: int) -> list[tuple[int, int]]:
    """Top-left corners (y, x) of `count` crops: the centre first, then the R2 sequence. The first k never change."""
    rows, columns = height - crop_h + 1, width - crop_w + 1
    fractions = [((0.5 + k * _R2_STEPS[0]) % 1.0, (0.5 + k * _R2_STEPS[1]) % 1.0) for k in range(count)]
    return [(int(v * rows), int(u * columns)) for v, u in fractions]


def size_after_resize(height: int, width: int, spec: PreprocessSpec) -> tuple[int, int]:
    """Height and width in pixels that the spec's resize rule brings a picture of `height` and `width` to."""
    if spec.resize == "exact":
        return spec.resize_to[1], spec.resize_to[0]
    if spec.resize == "none" or min(height, width) <= spec.resize_to[0]:
        return height, width
    factor = spec.resize_to[0] / min(height, width)
    return max(spec.crop_size, round(height * factor)), max(spec.crop_size, round(width * factor))


def resized(pixels: UInt8Array, spec: PreprocessSpec, wanted: tuple[int, int] | None = None) -> UInt8Array:
    """Applies the spec's resize rule.

    Args:
        pixels: (H, W, 3) uint8.
        spec: the model's own.
        wanted: rows and columns, from the top left, that the caller needs; None for all. What lies beyond them may be
            left out, which takes less time. What is there is the same, bit for bit.

    Returns:
        (H', W', 3) uint8.

    Raises:
        ImageError: the picture has no pixels.
    """
    if pixels.size == 0:
        raise ImageError("the picture has no pixels")
    height, width = pixels.shape[:2]
    rows, columns = size_after_resize(height, width, spec)
    if (rows, columns) == (height, width):
        return pixels
    from lifeiqa.runtime.opencv import cv2  # here, so that manifests can be read where OpenCV is not installed

    shrinks, down, across = rows * columns < height * width, rows / height, columns / width
    if wanted is not None and max(down, across) < _LEAST_REDUCED:
        # By factors, not to a size: each new pixel is the mean of the same area as in the whole picture. One more row
        # and column than wanted, for the area of the last may be cut.
        part = pixels[: math.ceil((wanted[0] + 1) / down), : math.ceil((wanted[1] + 1) / across)]
        done = cv2.resize(part, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
    else:
        done = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return done.astype(np.uint8, copy=False)


def fitted(pixels: UInt8Array, spec: PreprocessSpec) -> UInt8Array:
    """Brings a picture to a size that crops can be cut from: resizes it, and reflects it where it is still too small.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        spec: the model's own.

    Returns:
        (H', W', 3) uint8 RGB, no side below the spec's `crop_size`.

    Raises:
        ImageError: the picture has no pixels.
    """
    return _reflected(resized(pixels, spec), spec.crop_size)


def _reflected(pixels: UInt8Array, side: int) -> UInt8Array:
    """(H, W, 3) with its borders reflected to at least `side` rows and columns."""
    missing = [max(0, side - n) for n in pixels.shape[:2]]
    if not any(missing):
        return pixels
    borders = [(n // 2, n - n // 2) for n in missing]
    return np.pad(pixels, [*borders, (0, 0)], mode="reflect")


def crops_of(pixels: UInt8Array, spec: PreprocessSpec, count: int | None = None) -> UInt8Array:
    """Cuts a picture into the crops that the model reads. One smaller than a crop is reflected at its borders.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        spec: the model's own.
        count: crops to cut, or None for the spec's number. Where no more fit, one stands for all.

    Returns:
        (B, crop_size, crop_size, 3) uint8 RGB.

    Raises:
        ImageError: the picture has no pixels.
        UsageError: `count` is out of range.
    """
    count = spec.crops if count is None else count
    if not 1 <= count <= MAX_CROPS:
        raise UsageError(f"The number of crops must be 1 to {MAX_CROPS}, not {count}.")
    side = spec.crop_size
    height, width = (max(side, n) for n in size_after_resize(pixels.shape[0], pixels.shape[1], spec))
    corners = list(dict.fromkeys(spread_positions(count, height, width, side, side)))
    pixels = resized(pixels, spec, (max(y for y, _ in corners) + side, max(x for _, x in corners) + side))
    # Cut before it is reflected: a picture of one row and ten million columns would need gigabytes.
    return np.stack([_reflected(pixels[y : y + side, x : x + side], side) for y, x in corners])
