"""What a mixed run learns from: in each step pictures that people rated, and ladders for their order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from lifeiqa.models.datasets import Labelled, QualitySet
from lifeiqa.models.synthesis.anchors import anchor
from lifeiqa.models.synthesis.distortions import Picture, without_color
from lifeiqa.models.synthesis.mild_changes import mild_change
from lifeiqa.models.synthesis.on_the_fly import MAX_ZOOM
from lifeiqa.models.synthesis.reference_ladders import make_ladder
from lifeiqa.models.training.batches import CropGroup, cut_window, groups_of, orientation
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec


class MixedCrops(Dataset[CropGroup]):
    """One item is a row of `levels` crops: of as many rated pictures, or of one ladder.

    Rows of rated pictures come first in an epoch, which shows each picture once; as many rows of ladders follow as the
    recipe's shares ask for. The scores of the first set are the scale; pictures of further sets are compared with each
    other alone. Ladders are made of the better half of the first set's pictures, or come from sets that have some.
    """

    def __init__(
        self,
        rated: Sequence[Labelled],
        further: Sequence[QualitySet],
        spec: PreprocessSpec,
        recipe: Recipe,
        seed: int,
    ) -> None:
        """Raises `DatasetError` when a set has nothing to learn from, or the first has no ratings of single pictures.

        Args:
            rated: to train on, of the first set.
            further: other sets, rated or with ladders; a test part that one prescribes is left out.
            spec, recipe, seed: of the run.
        """
        if _has_ladders(rated):
            raise DatasetError(
                "The first set of a mixed run has ladders; name the set that people rated first: its scores are the "
                "scale."
            )
        self.spec, self.recipe, self.seed = spec, recipe, seed
        self.rated, self.ladders = [(item, 0) for item in rated], list[list[Labelled]]()
        median = float(np.median([item.score for item in rated]))
        self.references = [item for item in rated if item.score >= median]
        for number, data in enumerate(further, start=1):
            items = training_items(data)
            if not items:
                raise DatasetError(f"{data.info.title}: every picture is for testing, none is left to train on.")
            if _has_ladders(items):
                self.ladders += groups_of(items, recipe)
            else:
                self.rated += [(item, number) for item in items]
        if not self.ladders and not recipe.on_the_fly:
            raise UsageError("A mixed run needs ladders: give on_the_fly a share, or name a set that has some.")

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Rows of rated pictures and of ladders in an epoch, and how many of each a step has."""
        rated, groups = self.recipe.rated_groups, self.recipe.groups
        rows = self.recipe.crops * len(self.rated) // self.recipe.levels
        return [(rows, rated), (-(-rows * (groups - rated) // rated), groups - rated)]

    def __len__(self) -> int:
        """Rows in one epoch."""
        return sum(rows for rows, _ in self.parts)

    def __getitem__(self, key: tuple[int, int]) -> CropGroup:
        """The row of (draw, epoch). Raises `DatasetError`."""
        draw, epoch = key
        rng = np.random.default_rng([self.seed, epoch, draw])
        if draw < self.parts[0][0]:
            return self._rated_row(draw, epoch, rng)
        if self.ladders and rng.random() >= self.recipe.on_the_fly:
            return self._listed_ladder(rng)
        return self._made_ladder(rng)

    def _rated_row(self, draw: int, epoch: int, rng: np.random.Generator) -> CropGroup:
        levels, count = self.recipe.levels, len(self.rated)
        lap, first = divmod(draw * levels, count)
        order = np.random.default_rng([self.seed, epoch, lap, 1]).permutation(count)
        chosen = [self.rated[order[k % count]] for k in range(first, first + levels)]
        crops, scores, weights, sources = list[Picture](), list[float](), list[float](), list[int]()
        for item, source in chosen:
            if rng.random() < self.recipe.anchors:
                crops.append(anchor(self.spec.crop_size, rng))
                scores.append(0.0)
                weights.append(1.0)
                sources.append(0)
                continue
            crop = cut_window(item, self.spec, rng.random(), rng.random())
            crop = mild_change(np.ascontiguousarray(orientation(self.recipe, rng)(crop)), rng)
            crops.append(without_color(crop) if rng.random() < self.recipe.grey else crop)
            scores.append(item.score / 100.0)
            weights.append(1.0 if source == 0 else 0.0)
            sources.append(source)
        return _row(crops, scores, weights, sources, ladder=False)

    def _made_ladder(self, rng: np.random.Generator) -> CropGroup:
        item = self.references[rng.integers(len(self.references))]
        zoom = 1 + (MAX_ZOOM - 1) * rng.random() if rng.random() < 0.3 else 1.0
        window = cut_window(item, self.spec, rng.random(), rng.random(), zoom)
        window = np.ascontiguousarray(orientation(self.recipe, rng)(window))
        made = make_ladder(window, item.score / 100.0, self.recipe.levels, rng)
        sources = [0 if weight else -1 for weight in made.weights]
        return _row(made.crops, made.scores, made.weights, sources, ladder=True)

    def _listed_ladder(self, rng: np.random.Generator) -> CropGroup:
        group = self.ladders[rng.integers(len(self.ladders))]
        chosen = [group[k] for k in rng.permutation(len(group))[: self.recipe.levels]]
        v, u, orient = rng.random(), rng.random(), orientation(self.recipe, rng)
        crops = [orient(cut_window(item, self.spec, v, u)) for item in chosen]
        nothing = [0.0] * len(chosen)
        return _row(crops, [item.score / 100.0 for item in chosen], nothing, [-1] * len(chosen), ladder=True)


def _has_ladders(items: Sequence[Labelled]) -> bool:
    """Whether undistorted pictures and their distorted copies are told, as lifeiqa-synth makes them."""
    return any(item.level and item.pristine is not None for item in items)


def training_items(data: QualitySet) -> list[Labelled]:
    """All pictures that a further set of a mixed run may be trained on: those outside of a test part it prescribes."""
    return [item for item in data.items if item.split != "test"]


def _row(
    crops: list[Picture], scores: list[float], weights: list[float], sources: list[int], ladder: bool
) -> CropGroup:
    return CropGroup(
        crops=torch.from_numpy(np.stack(crops)),
        scores=torch.tensor(scores),
        weights=torch.tensor(weights),
        classes=torch.zeros(len(crops), dtype=torch.int64),
        ladder=torch.tensor(ladder),
        sources=torch.tensor(sources),
    )
