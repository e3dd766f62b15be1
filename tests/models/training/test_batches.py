"""What a network is trained on: crops of one ladder show the same window, and the same draw is always the same."""

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lifeiqa.models.datasets.base import PRISTINE, Labelled
from lifeiqa.models.synthesis.distortions import AMBIGUOUS, DISTORTIONS
from lifeiqa.models.synthesis.on_the_fly import augment
from lifeiqa.models.training.batches import CropDataset, cut_window, groups_of
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.runtime.errors import DatasetError
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

SPEC = PreprocessSpec(crop_size=32)
RECIPE = Recipe(levels=3, batch=3, rank_weight=1.0)


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> list[Labelled]:
    """Red rises to the right and green to the bottom; each level is one step brighter in blue."""
    folder = tmp_path_factory.mktemp("ladder")
    y, x = np.mgrid[:48, :64].astype(np.uint8)
    items = []
    for level in range(6):
        path = folder / f"{level}.png"
        cv2.imwrite(str(path), np.stack([np.full_like(x, level), 2 * y, 2 * x], axis=2))
        items.append(Labelled(path, 100.0 - level, "a", "blur" if level else PRISTINE, level, folder / "0.png"))
    return items


def small_ladder(ladder: list[Labelled], folder: Path) -> list[Labelled]:
    """The ladder's upper left 20x64 pixels: in height, less than a crop."""
    moved = {item.path: folder / item.path.name for item in ladder}
    for old, new in moved.items():
        cv2.imwrite(str(new), cv2.imread(str(old))[:20])
    return [replace(item, path=moved[item.path], pristine=moved[item.pristine]) for item in ladder]


def draws(ladder: list[Labelled], recipe: Recipe, count: int = 200) -> list[np.ndarray]:
    data = CropDataset([ladder], SPEC, recipe, seed=0)
    return [data[0, epoch].crops.numpy() for epoch in range(count)]


def orientation(crop: np.ndarray) -> tuple[float, ...]:
    """How red and green change to the right and to the bottom: one of eight."""
    return tuple(float(np.diff(crop[..., c].astype(int), axis=axis).mean()) for c in (0, 1) for axis in (1, 0))


def test_levels_of_one_draw_show_the_same_window_and_their_own_scores(ladder: list[Labelled]) -> None:
    data = CropDataset([ladder], SPEC, replace(RECIPE, rotate=True), seed=0)
    for epoch in range(20):
        crops, scores, weights, classes, ladder, sources = (tensor.numpy() for tensor in data[0, epoch])
        assert ladder and (sources == 0).all()
        assert (weights == 1).all()
        assert crops.shape == (3, 32, 32, 3)
        assert (crops[..., :2] == crops[:1, ..., :2]).all()
        levels = crops[:, 0, 0, 2]
        assert len(set(levels.tolist())) == 3
        np.testing.assert_allclose(scores, (100.0 - levels) / 100.0, rtol=1e-6)
        expected = [("blur" if level else PRISTINE, level) for level in levels]
        assert [data.distortion_classes[k] for k in classes] == expected


def test_window_of_a_small_picture_is_the_crop_that_the_runtime_cuts_there(
    ladder: list[Labelled], tmp_path: Path
) -> None:
    small = small_ladder(ladder, tmp_path)[2]
    pixels = np.ascontiguousarray(cv2.imread(str(small.path))[..., ::-1])
    crops = crops_of(pixels, SPEC, 2)
    assert np.array_equal(cut_window(small, SPEC, 0.5, 0.5), crops[0])
    assert np.array_equal(cut_window(small, SPEC, 0.254877, 0.069840), crops[1])  # second of the R2 sequence
    assert not np.array_equal(crops[0], crops[1])
    assert np.array_equal(cut_window(small, SPEC, 0.5, 0.5, zoom=1.4), crops[0])  # no larger window fits


def test_levels_of_a_small_ladder_show_the_same_window(ladder: list[Labelled], tmp_path: Path) -> None:
    data = CropDataset([small_ladder(ladder, tmp_path)], SPEC, replace(RECIPE, rotate=True), seed=0)
    for epoch in range(20):
        crops = data[0, epoch].crops.numpy()
        assert crops.shape == (3, 32, 32, 3)
        assert (crops[..., :2] == crops[:1, ..., :2]).all()
        assert len(set(crops[:, 0, 0, 2].tolist())) == 3


@pytest.mark.parametrize(
    ("flip", "rotate", "expected"), [(False, False, 1), (True, False, 2), (False, True, 4), (True, True, 8)]
)
def test_crops_are_mirrored_and_turned_as_the_recipe_says(
    flip: bool, rotate: bool, expected: int, ladder: list[Labelled]
) -> None:
    found = [orientation(crops[0]) for crops in draws(ladder, replace(RECIPE, flip=flip, rotate=rotate))]
    shares = [found.count(one) / len(found) for one in set(found)]
    assert len(shares) == expected
    assert min(shares) > 0.5 / expected


def test_undistorted_pictures_have_the_weight_that_the_recipe_gives_them(ladder: list[Labelled]) -> None:
    data = CropDataset([ladder], SPEC, replace(RECIPE, levels=6, batch=6, pristine_weight=0.25), seed=0)
    draw = data[0, 0]
    assert dict(zip(draw.crops[:, 0, 0, 2].tolist(), draw.weights.tolist(), strict=True)) == {
        0: 0.25,
        **dict.fromkeys(range(1, 6), 1.0),
    }


def test_ladders_are_sorted_by_level_whatever_the_order_of_the_list(ladder: list[Labelled]) -> None:
    (group,) = groups_of(ladder[::-1], RECIPE)
    assert [item.level for item in group] == [0, 1, 2, 3, 4, 5]


def test_a_draw_depends_on_seed_and_epoch_alone(ladder: list[Labelled]) -> None:
    recipe = replace(RECIPE, rotate=True, grey=0.5)
    first, again = draws(ladder, recipe, 10), draws(ladder, recipe, 10)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != first[0]).any() for a in first[1:])


def test_grey_crops_are_grey_and_not_rated_and_those_of_colour_distortions_never(ladder: list[Labelled]) -> None:
    recipe = replace(RECIPE, grey=1.0)
    assert not CropDataset([ladder], SPEC, recipe, seed=0)[0, 0].weights.any()
    assert all((crops[..., 0] == crops[..., 1]).all() for crops in draws(ladder, recipe, 5))
    coloured = [replace(item, distortion="color_shift") if item.level else item for item in ladder]
    assert all((crops[..., 0] != crops[..., 1]).any() for crops in draws(coloured, recipe, 5))


def on_the_fly_set(ladder: list[Labelled]) -> CropDataset:
    """Its one photograph has blurred copies, so that those are made anew, too; it is rated 70, they 50, 40, ... 10."""
    copies = [replace(item, score=60.0 - 10 * item.level, distortion="gaussian_blur") for item in ladder[1:]]
    blurred = [replace(ladder[0], score=70.0), *copies]
    return CropDataset([blurred], SPEC, replace(RECIPE, levels=6, batch=6, on_the_fly=1.0, rotate=True), seed=0)


def test_on_the_fly_ladders_are_copies_of_one_augmented_window_in_order_and_not_rated(ladder: list[Labelled]) -> None:
    data, looks = on_the_fly_set(ladder), set()
    for epoch in range(40):
        crops, scores, weights, classes, ladder, sources = data[0, epoch]
        assert ladder and (sources == -1).all()
        assert (data[0, epoch].crops == crops).all()
        assert crops.shape == (6, 32, 32, 3) and crops.dtype == torch.uint8
        assert not weights.any() and not classes.any()
        worst_last = crops[scores.argsort(descending=True)].numpy()
        assert sorted(scores.tolist()) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
        detail = [float(np.abs(np.diff(crop.astype(int), axis=0)).mean()) for crop in worst_last]
        assert detail[0] > 0 and all(a >= b - 0.05 for a, b in itertools.pairwise(detail)), detail
        looks.add(tuple(worst_last[0].mean(axis=(0, 1)).round(1)))
    assert len(looks) > 30


def test_on_the_fly_ladders_have_the_types_of_the_set_and_are_refused_where_it_has_none(ladder: list[Labelled]) -> None:
    made = on_the_fly_set(ladder).on_the_fly
    assert made is not None and {name for name, _ in made.scores} == {"gaussian_blur"}
    with pytest.raises(DatasetError, match="five levels of one of color_noise"):
        CropDataset([ladder], SPEC, replace(RECIPE, on_the_fly=0.5), seed=0)


def test_copies_that_may_pass_for_photographs_have_the_weight_that_the_recipe_gives_them(
    ladder: list[Labelled],
) -> None:
    darker = [replace(item, distortion="darken") if item.level else item for item in ladder]
    recipe = replace(RECIPE, levels=6, batch=6, ambiguous_weight=0.5)
    draw = CropDataset([darker], SPEC, recipe, seed=0)[0, 0]
    weights = dict(zip(draw.crops[:, 0, 0, 2].tolist(), draw.weights.tolist(), strict=True))
    assert weights == {0: 1.0, 1: 0.5, 2: 0.5, 3: 0.5, 4: 1.0, 5: 1.0}
    assert {name for name, _ in AMBIGUOUS} <= set(DISTORTIONS)


def test_an_augmented_window_has_other_tones_but_never_turned_round(ladder: list[Labelled]) -> None:
    window = cv2.imread(str(ladder[0].path))[:32, :32, ::-1].copy()
    changed = [augment(window, np.random.default_rng(seed)) for seed in range(60)]
    assert all(crop.shape == window.shape and crop.dtype == np.uint8 for crop in changed)
    grey = [bool((crop == crop[..., :1]).all()) for crop in changed]
    assert 5 < sum(grey) < 30
    assert sum(bool((crop == window).all()) for crop in changed) < 20
    assert all(crop[-8:].mean() > crop[:8].mean() for crop in changed)


def test_noise_keeps_its_colour_where_pictures_lose_theirs(ladder: list[Labelled]) -> None:
    """The levels differ in blue alone: as noise that stays blue, as blur it all but vanishes in the luma."""
    noisy = [replace(item, distortion="white_noise") if item.level else item for item in ladder]
    data = CropDataset([noisy], SPEC, replace(RECIPE, levels=6, batch=6, grey=1.0), seed=0)
    draw = data[0, 0]
    assert not draw.weights.any()
    crops, levels = draw.crops.numpy().astype(int), np.rint(100 - 100 * draw.scores.numpy())
    pristine = crops[levels == 0][0]
    assert (pristine == pristine[..., :1]).all()
    for level in range(1, 6):
        assert (crops[levels == level] - pristine == (0, 0, level)).all()
