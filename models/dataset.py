"""Labelled pictures: reading the label file, and drawing ladders of one distortion from it for training."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lifeiqa.models.tables import read_table
from lifeiqa.runtime.errors import DatasetError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.preprocess import PreprocessSpec, resized

COLUMNS = ("path", "score", "reference", "split", "pristine", "distortion", "level")


@dataclass(frozen=True)
class Labelled:
    """One labelled picture.

    Attributes:
        path: absolute.
        score: 0-100, higher better.
        pristine: the picture it was made from; its own path if it is one.
        distortion: type, "pristine" for none.
        level: 0 for pristine.
    """

    path: Path
    score: float
    pristine: Path
    distortion: str
    level: int


def read_labels(labels: Path, split: str) -> list[Labelled]:
    """Reads the rows of one split of a synthetic set's `labels.csv`.

    Raises:
        DatasetError: the file or a column is missing, a score is no number in 0-100, a picture is missing, or the
            split is empty.
    """
    if not labels.exists():
        raise DatasetError(f"There is no {labels}. Make a set with lifeiqa-synth.")
    found = []
    for number, row in enumerate(read_table(labels, COLUMNS), start=2):
        if row["split"] != split:
            continue
        if not row["level"].isdecimal():
            raise DatasetError(f"{labels}, line {number}: the level {row['level']!r} is not a whole number from 0.")
        level = int(row["level"])
        try:
            score = float(row["score"])
        except ValueError:
            score = math.nan
        if not 0 <= score <= 100:
            raise DatasetError(f"{labels}, line {number}: the score {row['score']!r} is not a number in 0-100.")
        folder = labels.parent
        found.append(Labelled(folder / row["path"], score, folder / row["pristine"], row["distortion"], level))
    if not found:
        raise DatasetError(f"{labels} has no row whose split is {split}.")
    known = {item.path for item in found}
    orphans = [item for item in found if item.pristine not in known]
    if orphans:
        raise DatasetError(f"{labels} lists no row of split {split} for {orphans[0].pristine}, which others come from.")
    missing = [item.path for item in found if not item.path.is_file()]
    if missing:
        raise DatasetError(f"{labels} lists {len(missing)} pictures that are not there, the first: {missing[0]}.")
    return found


class LadderDataset(Dataset[tuple[Tensor, Tensor]]):
    """Each item is one ladder: the same random window of a few of its levels, so that their order can be learned."""

    def __init__(self, items: list[Labelled], spec: PreprocessSpec, levels: int, seed: int) -> None:
        pristine = {item.path: item for item in items if item.level == 0}
        by_ladder: dict[tuple[Path, str], list[Labelled]] = defaultdict(list)
        for item in items:
            if item.level > 0:
                by_ladder[item.pristine, item.distortion].append(item)
        self.ladders = [[pristine[reference], *group] for (reference, _), group in by_ladder.items()]
        self.spec, self.levels, self.seed = spec, levels, seed

    def __len__(self) -> int:
        return len(self.ladders)

    def __getitem__(self, key: tuple[int, int] | int) -> tuple[Tensor, Tensor]:
        """(index, epoch) -> crops (L, S, S, 3) uint8 RGB and scores (L,) on 0-1."""
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        rng = np.random.default_rng([self.seed, epoch, index])
        ladder = self.ladders[index]
        chosen = rng.permutation(len(ladder))[: self.levels]
        side, v, u, flip = self.spec.crop_size, rng.random(), rng.random(), rng.random() < 0.5
        crops = []
        for i in chosen:
            pixels = resized(read_image(ladder[i].path).pixels, self.spec)
            y, x = int(v * (pixels.shape[0] - side + 1)), int(u * (pixels.shape[1] - side + 1))
            crop = pixels[y : y + side, x : x + side]
            crops.append(crop[:, ::-1] if flip else crop)
        scores = np.array([ladder[i].score / 100.0 for i in chosen], np.float32)
        return torch.from_numpy(np.stack(crops)), torch.from_numpy(scores)


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffles anew in every epoch, always the same way for one seed, and tells the data set which epoch it is."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        return iter([(int(i), self.epoch) for i in order])
