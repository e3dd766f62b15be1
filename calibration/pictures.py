"""The pictures that ranges are measured on and precision is judged by: any that the user names, none by default."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifeiqa.calibration.limits import MIN_CROPS, RECOMMENDED_CROPS
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import DatasetError, ImageError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

MAX_PICTURES = 256


@dataclass(frozen=True)
class PictureSet:
    """Pictures cut into crops as the runtime cuts them.

    Attributes:
        name: what the user called them.
        crops: of each picture, (K, S, S, 3) uint8 RGB.
        labels: quality of each picture (P,), higher better, or None where nobody knows it.
        sha256: of all pixels, in order.
        skipped: what could not be used, and why.
        warnings: what a user should know before trusting the ranges.
    """

    name: str
    crops: tuple[UInt8Array, ...]
    labels: npt.NDArray[np.float64] | None
    sha256: str
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def crop_count(self) -> int:
        """Crops of all pictures."""
        return sum(map(len, self.crops))

    def provenance(self) -> dict[str, Any]:
        """What an artifact says of the pictures behind it."""
        return {
            "pictures": self.name,
            "picture_count": len(self.crops),
            "crop_count": self.crop_count,
            "sha256": self.sha256,
        }


def read_pictures(
    listed: Sequence[tuple[Path, float | None]],
    spec: PreprocessSpec,
    name: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PictureSet:
    """Reads pictures with the model's own preprocessing.

    Of more than `MAX_PICTURES`, evenly spread ones are taken, and others in the place of those that are no use. What
    cannot be read is skipped and named. A picture that comes twice counts once.

    Args:
        listed: paths, with the quality of each where it is known.
        spec: the model's own.
        name: for messages and provenance.
        progress: called with pictures read and pictures in all.

    Raises:
        DatasetError: fewer than `MIN_CROPS` crops are left, or one picture alone.
    """
    step = -(-len(listed) // MAX_PICTURES) or 1
    spread = [listed[i] for first in range(step) for i in range(first, len(listed), step)]
    digest, seen = hashlib.sha256(), set()
    crops: list[UInt8Array] = []
    labels: list[float | None] = []
    skipped: list[str] = []
    repeated = 0
    for path, label in spread:
        progress(len(crops), min(len(listed), MAX_PICTURES))
        if len(crops) == MAX_PICTURES:
            break
        try:
            cut = crops_of(read_image(path).pixels, spec)
        except ImageError as error:
            skipped.append(f"{path}: {error}")
            continue
        key = hashlib.sha256(cut.tobytes()).digest()
        if key in seen:
            repeated += 1
            continue
        seen.add(key)
        digest.update(key)
        crops.append(cut)
        labels.append(label)
    count = sum(map(len, crops))
    if len(crops) == 1:
        times = f" {repeated + 1} times over" if repeated else ""
        raise DatasetError(f"{name} is one picture{times}; ranges of one picture mean nothing.")
    if count < MIN_CROPS:
        first = f" The first of {len(skipped)} that could not be used: {skipped[0]}." if skipped else ""
        twice = f" {repeated} came more than once." if repeated else ""
        raise DatasetError(
            f"{name} gives {count} crops of {len(crops)} pictures; at least {MIN_CROPS} are needed, and "
            f"{RECOMMENDED_CROPS} are better.{first}{twice}"
        )
    warnings = []
    if skipped:
        warnings.append(f"{len(skipped)} pictures were skipped, the first: {skipped[0]}")
    if repeated:
        warnings.append(f"{repeated} pictures came more than once and count once")
    if count < RECOMMENDED_CROPS:
        warnings.append(f"{count} crops are few: with {RECOMMENDED_CROPS} or more, ranges are steadier")
    known = [label for label in labels if label is not None]
    return PictureSet(
        name,
        tuple(crops),
        np.array(known, np.float64) if len(known) == len(crops) else None,
        digest.hexdigest(),
        tuple(skipped),
        tuple(warnings),
    )
