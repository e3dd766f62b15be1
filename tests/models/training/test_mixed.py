"""What a mixed run learns from: each rated picture once an epoch, ladders beside them, sets that share no scale."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from miniatures import make_ladder_csv

from lifeiqa.models.datasets import Labelled, QualitySet, open_set
from lifeiqa.models.datasets.listed import INFO
from lifeiqa.models.training.loading import StepSampler
from lifeiqa.models.training.mixed import MixedCrops
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec

SPEC = PreprocessSpec(crop_size=64)
RECIPE = Recipe(levels=4, batch=16, rated=0.5, on_the_fly=1.0, rank_weight=1.0, pair_weight=0.3)


def rated_pictures(folder: Path, count: int, first: int) -> list[Labelled]:
    """Plain pictures with a little texture; the number of each is how red it is, and its score."""
    items = []
    for number in range(first, first + count):
        pixels = np.zeros((80, 90, 3), np.uint8)
        pixels[:, ::2, 1] = 30
        pixels[..., 0] = number
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels[:, :, ::-1])
        items.append(Labelled(path, float(number), path.name))
    return items


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> list[Labelled]:
    return rated_pictures(tmp_path_factory.mktemp("rated"), 24, 10)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> QualitySet:
    return QualitySet(INFO, tuple(rated_pictures(tmp_path_factory.mktemp("other"), 8, 70)))


@pytest.fixture(scope="module")
def ladders(tmp_path_factory: pytest.TempPathFactory) -> QualitySet:
    return open_set("csv", make_ladder_csv(tmp_path_factory.mktemp("ladders")))


def test_an_epoch_shows_every_rated_picture_once_with_its_own_score(
    rated: list[Labelled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifeiqa.models.training.mixed.mild_change", lambda crop, rng: crop)
    data = MixedCrops(rated, [], SPEC, RECIPE, seed=0)
    orders = []
    for epoch in (0, 1):
        seen = []
        for draw in range(data.parts[0][0]):
            row = data[draw, epoch]
            assert not row.ladder
            assert row.weights.tolist() == [1.0] * 4 and row.sources.tolist() == [0] * 4
            assert row.crops[:, 0, 0, 0].tolist() == [round(100 * score) for score in row.scores.tolist()]
            seen += row.crops[:, 0, 0, 0].tolist()
        assert sorted(seen) == list(range(10, 34))
        orders.append(seen)
    assert orders[0] != orders[1]


def test_each_step_has_as_many_rows_of_either_kind_as_the_recipe_says(rated: list[Labelled]) -> None:
    for share, expected in ((0.5, {False: 2, True: 2}), (0.25, {False: 1, True: 3}), (0.75, {False: 3, True: 1})):
        data = MixedCrops(rated, [], SPEC, replace(RECIPE, rated=share, epochs=2), seed=0)
        steps = list(StepSampler(data))
        assert len(steps) == 2 * (6 // expected[False])
        for step in steps:
            assert Counter(bool(data[key].ladder) for key in step) == expected
        assert steps[: len(steps) // 2] != [[(draw, 0) for draw, _ in step] for step in steps[len(steps) // 2 :]]


def test_a_row_depends_on_seed_and_epoch_alone(rated: list[Labelled]) -> None:
    first, again = (MixedCrops(rated, [], SPEC, replace(RECIPE, anchors=0.3, grey=0.5), seed=4) for _ in range(2))
    different = 0
    for draw in range(len(first)):
        assert all(torch.equal(a, b) for a, b in zip(first[draw, 3], again[draw, 3], strict=True))
        different += not torch.equal(first[draw, 3].crops, first[draw, 2].crops)
    assert different == len(first)


def test_ladders_are_made_of_the_better_half_and_in_order(rated: list[Labelled]) -> None:
    data = MixedCrops(rated, [], SPEC, RECIPE, seed=0)
    assert sorted(item.score for item in data.references) == list(range(22, 34))
    for draw in range(*np.cumsum([rows for rows, _ in data.parts])):
        row = data[draw, 0]
        assert row.ladder and (row.scores.diff() <= 0).all()
        assert ((row.sources == 0) == (row.weights > 0)).all()
        assert not row.weights[1:].any()


def test_grey_crops_keep_their_score_and_anchors_have_the_lowest(rated: list[Labelled]) -> None:
    grey = MixedCrops(rated, [], SPEC, replace(RECIPE, grey=1.0), seed=0)[0, 0]
    assert (grey.crops == grey.crops[..., :1]).all()
    assert (grey.weights == 1).all() and (grey.scores >= 0.1).all()
    empty = MixedCrops(rated, [], SPEC, replace(RECIPE, anchors=1.0), seed=0)[0, 0]
    assert (empty.scores == 0).all() and (empty.weights == 1).all() and (empty.sources == 0).all()


def test_pictures_of_a_further_set_are_compared_with_each_other_alone(rated: list[Labelled], other: QualitySet) -> None:
    data = MixedCrops(rated, [other], SPEC, RECIPE, seed=0)
    found = Counter[tuple[bool, float, int]]()
    for draw in range(data.parts[0][0]):
        row = data[draw, 0]
        for score, weight, source in zip(row.scores.tolist(), row.weights.tolist(), row.sources.tolist(), strict=True):
            found[score > 0.5, weight, source] += 1
    assert found == {(False, 1.0, 0): 24, (True, 0.0, 1): 8}


def test_ladders_of_a_set_teach_their_order_alone_and_its_test_half_nothing(
    rated: list[Labelled], ladders: QualitySet
) -> None:
    data = MixedCrops(rated, [ladders], SPEC, replace(RECIPE, on_the_fly=0.0), seed=0)
    assert {item.split for group in data.ladders for item in group} == {"train"}
    for draw in range(data.parts[0][0], len(data)):
        row = data[draw, 0]
        assert row.ladder and not row.weights.any() and (row.sources == -1).all()
        assert len(set(row.scores.tolist())) == 4
    both = MixedCrops(rated, [ladders], SPEC, replace(RECIPE, on_the_fly=0.5), seed=0)
    made = [bool((both[both.parts[0][0], epoch].scores.diff() <= 0).all()) for epoch in range(60)]
    assert 15 < sum(made) < 55  # those of the set come in any order


def test_sets_that_cannot_be_mixed_are_refused(rated: list[Labelled], other: QualitySet, ladders: QualitySet) -> None:
    with pytest.raises(DatasetError, match="name the set that people rated first"):
        MixedCrops(list(ladders.items), [other], SPEC, RECIPE, seed=0)
    only_test = replace(other, items=tuple(replace(item, split="test") for item in other.items))
    with pytest.raises(DatasetError, match="every picture is for testing"):
        MixedCrops(rated, [only_test], SPEC, RECIPE, seed=0)
    with pytest.raises(UsageError, match="needs ladders"):
        MixedCrops(rated, [other], SPEC, replace(RECIPE, on_the_fly=0.0), seed=0)
    with pytest.raises(DatasetError, match="1 draws an epoch, fewer than one batch of 2"):
        StepSampler(MixedCrops(rated[:5], [], SPEC, RECIPE, seed=0))
