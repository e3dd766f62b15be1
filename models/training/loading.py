"""Which draws each step has, in an order that depends on the seed and the step alone, and who reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lifeiqa.models.training.batches import CropGroup
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.runtime.errors import DatasetError
from lifeiqa.runtime.opencv import cv2
from lifeiqa.runtime.preprocess import PreprocessSpec


class CropSource(Protocol):
    """What a run draws its crops from: `CropDataset`, or that of a mixed run.

    Attributes:
        spec, recipe, seed: of the run.
        parts: of an epoch, for each kind of draw: how many there are, and how many of them a step has. Draws are
            numbered through all of them.
    """

    spec: PreprocessSpec
    recipe: Recipe
    seed: int

    @property
    def parts(self) -> list[tuple[int, int]]:
        """See above."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, key: tuple[int, int]) -> CropGroup: ...


def crop_loader(
    data: CropSource, batches: Iterable[list[tuple[int, int]]], workers: int, pinned: bool = False
) -> DataLoader[CropGroup]:
    """Yields a `CropGroup` with a leading axis for each list of (draw, epoch), read by so many processes."""
    return DataLoader(
        cast("Dataset[CropGroup]", data),
        batch_sampler=batches,
        num_workers=workers,
        worker_init_fn=_quiet_worker,
        multiprocessing_context="spawn" if workers else None,
        pin_memory=pinned,
    )


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (draw, epoch) for every step from `start` to the end of the run.

    Each epoch is shuffled anew, always the same way for one seed; what does not fill a batch is left out. Of several
    processes, each gets its share of every batch.
    """

    def __init__(self, data: CropSource, start: int = 0, rank: int = 0, world: int = 1) -> None:
        """Raises `DatasetError` when there is not one full batch in an epoch, or it cannot be shared evenly."""
        recipe = data.recipe
        self.parts, self.seed, self.start = data.parts, data.seed, start
        for draws, groups in self.parts:
            if draws < groups:
                raise DatasetError(f"There are {draws} draws an epoch, fewer than one batch of {groups}.")
            if groups % world:
                raise DatasetError(f"A batch of {groups} cannot be shared evenly by {world} processes.")
        self.steps_per_epoch = min(draws // groups for draws, groups in self.parts)
        self.total = recipe.epochs * self.steps_per_epoch
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return self.total - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.total):
            epoch, k = divmod(step, self.steps_per_epoch)
            if k == 0 or step == self.start:
                orders = self._orders(epoch)
            batch = [
                draw
                for order, (_, groups) in zip(orders, self.parts, strict=True)
                for draw in order[k * groups : (k + 1) * groups][self.rank :: self.world]
            ]
            yield [(int(draw), epoch) for draw in batch]

    def _orders(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        rng, first, orders = np.random.default_rng([self.seed, epoch]), 0, []
        for draws, _ in self.parts:
            orders.append(first + rng.permutation(draws))
            first += draws
        return orders
