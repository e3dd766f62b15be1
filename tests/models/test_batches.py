"""What a network is trained on: crops of one ladder show the same window, and the same draw is always the same."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lifeiqa.models.batches import CropDataset, graded, groups_of
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
    recipe = replace(RECIPE, turn=True, grey=0.5, grade=0.15)
    first, again = draws(ladder, recipe, 10), draws(ladder, recipe, 10)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != first[0]).any() for a in first[1:])


def test_grey_crops_are_grey_and_not_rated_and_those_of_colour_distortions_never(ladder: list[Labelled]) -> None:
    recipe = replace(RECIPE, grey=1.0)
    assert not CropDataset([ladder], SPEC, recipe, seed=0)[0, 0].weights.any()
    assert all((crops[..., 0] == crops[..., 1]).all() for crops in draws(ladder, recipe, 5))
    coloured = [replace(item, distortion="color_shift") if item.level else item for item in ladder]
    assert all((crops[..., 0] != crops[..., 1]).any() for crops in draws(coloured, recipe, 5))


def test_crops_of_one_draw_are_graded_alike_and_rated_as_before(ladder: list[Labelled]) -> None:
    same = [replace(item, path=ladder[0].path) for item in ladder]  # so that what differs comes from the grade
    recipe = replace(RECIPE, flip=False, grade=0.2)
    plain = CropDataset([same], SPEC, replace(recipe, grade=0.0), seed=0)
    data = CropDataset([same], SPEC, recipe, seed=0)
    shifts = []
    for epoch in range(20):
        before, after = plain[0, epoch], data[0, epoch]
        assert (after.crops == after.crops[:1]).all()
        assert (after.scores == before.scores).all()
        assert (after.weights == before.weights).all()
        shifts.append((after.crops.float() - before.crops.float()).mean(dim=(0, 1, 2)).numpy())
    assert np.abs(shifts).max() < 25  # of 255: colours of another photograph, not of another world
    assert (np.std(shifts, axis=0)[:2] > 1).all()


def test_a_grade_changes_saturation_but_leaves_grey_grey_where_the_white_balance_does() -> None:
    class Fixed:
        def __init__(self, *draw: float) -> None:
            self.draw = draw

        def standard_normal(self, count: int) -> np.ndarray:
            assert count == len(self.draw)
            return np.array(self.draw)

    grey, red = (np.full((2, 2, 3), color, np.uint8) for color in ((90, 90, 90), (150, 90, 90)))

    def result(*draw: float) -> list[list[int]]:
        return [crop[0, 0].tolist() for crop in graded([grey, red], 0.5, Fixed(*draw))]  # type: ignore[arg-type]

    assert result(0, 0, 0, 0, 0) == [[90, 90, 90], [150, 90, 90]]
    faded, vivid = result(-1, 0, 0, 0, 0), result(1, 0, 0, 0, 0)
    assert faded[0] == vivid[0] == [90, 90, 90]
    assert vivid[1][0] - vivid[1][1] > 60 > faded[1][0] - faded[1][1] > 0
    darker = result(0, 1, 0, 0, 0)[0]
    assert darker == [round(255 * (90 / 255) ** np.exp(0.375))] * 3
    assert result(0, 0, 1, 0, 0)[0] == [round(90 * np.exp(0.125)), 90, 90]


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
