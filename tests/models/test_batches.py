"""What a network is trained on: crops of one ladder show the same window, and the same draw is always the same."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lifeiqa.models.batches import CropDataset, groups_of, other_tones, stretched_tones
from lifeiqa.models.datasets.base import PRISTINE, Labelled
from lifeiqa.models.recipes import Recipe
from lifeiqa.runtime.preprocess import PreprocessSpec

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


def draws(ladder: list[Labelled], recipe: Recipe, count: int = 200) -> list[np.ndarray]:
    data = CropDataset([ladder], SPEC, recipe, seed=0)
    return [data[0, epoch].crops.numpy() for epoch in range(count)]


def orientation(crop: np.ndarray) -> tuple[float, ...]:
    """How red and green change to the right and to the bottom: one of eight."""
    return tuple(float(np.diff(crop[..., c].astype(int), axis=axis).mean()) for c in (0, 1) for axis in (1, 0))


def test_levels_of_one_draw_show_the_same_window_and_their_own_scores(ladder: list[Labelled]) -> None:
    data = CropDataset([ladder], SPEC, replace(RECIPE, turn=True), seed=0)
    for epoch in range(20):
        crops, scores, weights, kinds = (tensor.numpy() for tensor in data[0, epoch])
        assert (weights == 1).all()
        assert crops.shape == (3, 32, 32, 3)
        assert (crops[..., :2] == crops[:1, ..., :2]).all()
        levels = crops[:, 0, 0, 2]
        assert len(set(levels.tolist())) == 3
        np.testing.assert_allclose(scores, (100.0 - levels) / 100.0, rtol=1e-6)
        assert [data.kinds[kind] for kind in kinds] == [("blur" if level else PRISTINE, level) for level in levels]


@pytest.mark.parametrize(
    ("flip", "turn", "expected"), [(False, False, 1), (True, False, 2), (False, True, 4), (True, True, 8)]
)
def test_crops_are_mirrored_and_turned_as_the_recipe_says(
    flip: bool, turn: bool, expected: int, ladder: list[Labelled]
) -> None:
    found = [orientation(crops[0]) for crops in draws(ladder, replace(RECIPE, flip=flip, turn=turn))]
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
    recipe = replace(RECIPE, turn=True, grey=0.3, stretch=0.3, tones=0.3)
    first, again = draws(ladder, recipe, 10), draws(ladder, recipe, 10)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != first[0]).any() for a in first[1:])


def test_grey_crops_are_grey_and_not_rated_and_those_of_colour_distortions_never(ladder: list[Labelled]) -> None:
    recipe = replace(RECIPE, grey=1.0)
    assert not CropDataset([ladder], SPEC, recipe, seed=0)[0, 0].weights.any()
    assert all((crops[..., 0] == crops[..., 1]).all() for crops in draws(ladder, recipe, 5))
    coloured = [replace(item, distortion="color_shift") if item.level else item for item in ladder]
    assert all((crops[..., 0] != crops[..., 1]).any() for crops in draws(coloured, recipe, 5))


def alike(ladder: list[Labelled]) -> list[Labelled]:
    """The same picture at every level, so that all that differs comes from what is done to the draw."""
    return [replace(item, path=ladder[0].path) for item in ladder]


def test_stretched_crops_keep_their_scores_and_those_of_tonal_distortions_are_never_stretched(
    ladder: list[Labelled],
) -> None:
    recipe = replace(RECIPE, flip=False, pristine_weight=0.25)
    plain, data = (CropDataset([alike(ladder)], SPEC, replace(recipe, stretch=share), seed=0) for share in (0.0, 1.0))
    for epoch in range(5):
        before, after = plain[0, epoch], data[0, epoch]
        assert (after.weights == 1).all() and (after.scores == before.scores).all()
        assert (after.crops == after.crops[:1]).all()
        assert after.crops.float().mean() < before.crops.float().mean()
    darkened = [replace(item, distortion="darken") if item.level else item for item in ladder]
    for a, b in zip(draws(darkened, replace(recipe, stretch=1.0), 5), draws(ladder, recipe, 5), strict=True):
        assert (a == b).all()


def test_crops_of_one_draw_get_the_same_other_tones_and_are_not_rated(ladder: list[Labelled]) -> None:
    data = CropDataset([alike(ladder)], SPEC, replace(RECIPE, tones=1.0), seed=0)
    slopes = set()
    for epoch in range(20):
        draw = data[0, epoch]
        assert not draw.weights.any()
        assert draw.crops.shape == (3, 32, 32, 3)
        assert (draw.crops == draw.crops[:1]).all()
        slopes.add(round(float(draw.crops[0].float().std()), 1))
    assert len(slopes) > 10


@pytest.mark.parametrize(("tones", "least", "most"), [(stretched_tones, 1.0, 1.3), (other_tones, 0.45, 1.5)])
def test_tone_curves_never_turn_the_order_round_and_stay_within_their_contrast(
    tones: Callable[..., np.ndarray], least: float, most: float
) -> None:
    pristine = np.repeat(np.linspace(60, 180, 64, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    rng = np.random.default_rng(0)
    for _ in range(50):
        curve = tones(pristine, rng)
        assert curve.shape == (256,) and curve.dtype == np.uint8
        assert (np.diff(curve.astype(int)) >= 0).all()
        assert curve[60] == 0 and curve[180] > 40
        assert least * 50 - 2 <= int(curve[150]) - int(curve[100]) <= most * 50 + 2


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
