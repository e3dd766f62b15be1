"""Random crops for training: what one draw from a set is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lifeiqa.models.datasets.base import PRISTINE, Labelled, reading
from lifeiqa.models.synthesis.distortions import AMBIGUOUS, COLOR_TYPES, LEVELS, NOISE_TYPES, Picture, without_color
from lifeiqa.models.synthesis.on_the_fly import MAX_ZOOM, OnTheFlyLadders
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.runtime.errors import DatasetError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import PreprocessSpec, fitted


def groups_of(items: list[Labelled], recipe: Recipe) -> list[list[Labelled]]:
    """What one draw takes crops from: single pictures, or for `levels` above 1 ladders.

    A ladder is an undistorted picture and its copies of one distortion, or an undistorted picture alone.

    Raises:
        DatasetError: ladders are asked for and the set has none, or they have too few levels.
    """
    if recipe.levels == 1:
        return [[item] for item in items]
    pristine = {item.path: item for item in items if item.distortion == PRISTINE}
    ladders: dict[tuple[Path, str], list[Labelled]] = defaultdict(list)
    for item in items:
        if item.level and item.pristine in pristine:
            ladders[item.pristine, item.distortion].append(item)
    groups = [[pristine[path], *sorted(rungs, key=lambda rung: rung.level)] for (path, _), rungs in ladders.items()]
    if not groups or min(map(len, groups)) < recipe.levels:
        raise DatasetError(
            f"A recipe with levels={recipe.levels} needs, in the columns pristine, distortion and level, ladders of at "
            f"least {recipe.levels} pictures each, as lifeiqa-synth makes them; for other sets use one with levels=1."
        )
    return groups


class CropGroup(NamedTuple):
    """Crops of one group, or of several: then with a leading axis.

    Attributes:
        crops: (L, S, S, 3) uint8 RGB.
        scores: (L,) on 0-1.
        weights: (L,) of the scores; 0 where they tell no more than the order of the crops: those made grey or
            augmented.
        classes: (L,) int64, which distortion at which level, numbered as in `CropDataset.distortion_classes`; 0 in
            ladders made on the fly, where nobody asks.
        ladder: () bool, whether the crops are of one ladder, whose order is known.
        sources: (L,) int64, in which set each was rated, to compare it with others of that set; -1 for none.
    """

    crops: Tensor
    scores: Tensor
    weights: Tensor
    classes: Tensor
    ladder: Tensor
    sources: Tensor


class CropDataset(Dataset[CropGroup]):
    """One item is a draw from one group: the same random window of `levels` of its pictures.

    Attributes:
        distortion_classes: (distortion, level) of all pictures.
    """

    def __init__(self, groups: list[list[Labelled]], spec: PreprocessSpec, recipe: Recipe, seed: int) -> None:
        self.groups, self.spec, self.recipe, self.seed = groups, spec, recipe, seed
        items = [item for group in groups for item in group]
        self.distortion_classes = sorted({(item.distortion, item.level) for item in items})
        self.on_the_fly = OnTheFlyLadders(items) if recipe.on_the_fly else None

    def __len__(self) -> int:
        """Draws in one epoch."""
        return len(self.groups) * self.recipe.crops

    @property
    def parts(self) -> list[tuple[int, int]]:
        """One: all draws, and how many of them a step has."""
        return [(len(self), self.recipe.groups)]

    def __getitem__(self, key: tuple[int, int]) -> CropGroup:
        """The draw of (draw, epoch). Raises `DatasetError`."""
        draw, epoch = key
        rng = np.random.default_rng([self.seed, epoch, draw])
        group = self.groups[draw % len(self.groups)]
        if self.on_the_fly is not None and rng.random() < self.recipe.on_the_fly:
            return self._on_the_fly_group(self.on_the_fly, group[0], rng)
        chosen = [group[i] for i in rng.permutation(len(group))[: self.recipe.levels]]
        v, u = rng.random(), rng.random()
        orient = orientation(self.recipe, rng)
        grey = rng.random() < self.recipe.grey and not any(item.distortion in COLOR_TYPES for item in group)
        crops = [cut_window(item, self.spec, v, u) for item in chosen]
        if grey and group[-1].distortion in NOISE_TYPES:
            pristine = cut_window(group[0], self.spec, v, u)
            plain = without_color(pristine).astype(np.int16)
            crops = [np.clip(plain + crop - pristine, 0, 255).astype(np.uint8) for crop in crops]
        elif grey:
            crops = [without_color(crop) for crop in crops]
        weights = torch.tensor([0.0 if grey else self._weight(item) for item in chosen])
        return CropGroup(
            crops=torch.from_numpy(np.stack([orient(crop) for crop in crops])),
            scores=torch.tensor([item.score / 100.0 for item in chosen]),
            weights=weights,
            classes=torch.tensor([self.distortion_classes.index((item.distortion, item.level)) for item in chosen]),
            ladder=torch.tensor(True),
            sources=torch.where(weights > 0, 0, -1),
        )

    def _on_the_fly_group(self, ladders: OnTheFlyLadders, pristine: Labelled, rng: np.random.Generator) -> CropGroup:
        zoom = 1 + (MAX_ZOOM - 1) * rng.random() if rng.random() < 0.5 else 1.0
        window = cut_window(pristine, self.spec, rng.random(), rng.random(), zoom)
        levels = rng.permutation(len(LEVELS) + 1)[: self.recipe.levels].tolist()
        orient = orientation(self.recipe, rng)
        crops, scores = ladders.draw(np.ascontiguousarray(orient(window)), levels, rng)
        zeros = torch.zeros(len(levels), dtype=torch.int64)
        return CropGroup(
            crops=torch.from_numpy(np.stack(crops)),
            scores=torch.tensor(scores),
            weights=zeros.float(),
            classes=zeros,
            ladder=torch.tensor(True),
            sources=zeros - 1,
        )

    def _weight(self, item: Labelled) -> float:
        """Of its score and distortion class."""
        if item.distortion == PRISTINE:
            return self.recipe.pristine_weight
        return self.recipe.ambiguous_weight if (item.distortion, item.level) in AMBIGUOUS else 1.0


def orientation(recipe: Recipe, rng: np.random.Generator) -> Callable[[Picture], Picture]:
    """One of the mirrorings and turns that the recipe allows."""
    mirrored = recipe.flip and rng.random() < 0.5
    turns = int(rng.integers(4)) if recipe.rotate else 0
    return lambda crop: np.rot90(crop[:, ::-1] if mirrored else crop, turns)


def cut_window(item: Labelled, spec: PreprocessSpec, v: float, u: float, zoom: float = 1.0) -> Picture:
    """One crop, `v` of the way down and `u` of the way to the right, of a window up to `zoom` times its size.

    A picture smaller than a crop is reflected at its borders, as everywhere.

    Raises:
        DatasetError: the picture cannot be read.
    """
    with reading(item.path):
        size, pixels = spec.crop_size, fitted(read_image(item.path).pixels, spec)
    side = min(int(zoom * size), *pixels.shape[:2])
    y, x = int(v * (pixels.shape[0] - side + 1)), int(u * (pixels.shape[1] - side + 1))
    window = pixels[y : y + side, x : x + side]
    if side == size:
        return window
    return cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)
