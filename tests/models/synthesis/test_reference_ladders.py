"""Ladders made of photographs: in order, of many kinds and types, always the same for one seed."""

import itertools

import numpy as np
import pytest

from lifeiqa.models.synthesis.camera_distortions import CAMERA_DISTORTIONS
from lifeiqa.models.synthesis.distortions import DISTORTIONS
from lifeiqa.models.synthesis.reference_ladders import (
    _APPLY,
    _KINDS,
    _TYPES,
    PAGE_SCORE,
    MadeLadder,
    _strength,
    make_ladder,
)


def made(picture: np.ndarray, seed: int, count: int = 4) -> MadeLadder:
    return make_ladder(np.ascontiguousarray(picture[40:168, 160:288]), 0.8, count, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def many(request: pytest.FixtureRequest) -> list[MadeLadder]:
    astronaut = request.getfixturevalue("astronaut")
    return [made(astronaut, seed) for seed in range(250)]


def test_scores_never_rise_and_undistorted_pictures_alone_have_a_weight(many: list[MadeLadder]) -> None:
    for found in many:
        assert len(found.crops) == len(found.scores) == len(found.weights) == 4
        assert all(crop.shape == (128, 128, 3) and crop.dtype == np.uint8 for crop in found.crops)
        assert all(better >= worse for better, worse in itertools.pairwise(found.scores))
        assert not any(found.weights[1:])
    assert {found.weights[0] for found in many} == {0.0, 0.5, 1.0}


def test_scores_with_a_weight_are_those_of_photograph_page_or_infrared(many: list[MadeLadder]) -> None:
    rated = {(found.weights[0], round(found.scores[0], 4)) for found in many if found.weights[0]}
    assert rated == {(1.0, 0.8), (0.5, PAGE_SCORE), (0.5, 0.72)}


def test_grey_copies_keep_the_score_of_the_photograph(many: list[MadeLadder]) -> None:
    tops = [found for found in many if found.weights[0] == 1]
    grey = [found for found in tops if (found.crops[0] == found.crops[0][:, :, :1]).all()]
    assert len(grey) > 10
    assert {found.scores[0] for found in grey} == {0.8}


def test_one_seed_gives_one_ladder(astronaut: np.ndarray) -> None:
    for seed in range(10):
        first, again = made(astronaut, seed), made(astronaut, seed)
        assert first.scores == again.scores
        assert all((a == b).all() for a, b in zip(first.crops, again.crops, strict=True))


def test_levels_that_look_the_same_are_in_no_order() -> None:
    """Nothing that a blur could take away: only noise, tones and blocks can be told apart."""
    blank = np.full((300, 300, 3), 128, np.uint8)
    found = [made(blank, seed) for seed in range(60)]
    for ladder in found:
        for (a, b), (x, y) in zip(itertools.pairwise(ladder.crops), itertools.pairwise(ladder.scores), strict=True):
            assert (x == y) == (np.abs(a.astype(int) - b).mean() < 0.25)
    assert any(len(set(ladder.scores)) == 1 for ladder in found)


def test_loss_of_colour_is_no_type_and_every_type_is_known() -> None:
    assert "hsv_saturation" not in _TYPES
    assert _TYPES.keys() <= {*DISTORTIONS, *CAMERA_DISTORTIONS, "down_up"}
    assert sum(share for share, _ in _KINDS.values()) == pytest.approx(1)
    assert all(types <= _TYPES.keys() for _, types in _KINDS.values())


@pytest.mark.parametrize("name", _TYPES)
def test_strengths_grow_with_the_level_from_well_below_the_first(name: str, astronaut: np.ndarray) -> None:
    apply, strengths = _APPLY[name]
    window = np.ascontiguousarray(astronaut[40:168, 160:288])
    values = [_strength(level, strengths) for level in (0.6, 1, 1.5, 2.4, 3, 4.2, 5)]
    assert values[1] == strengths[0] and values[-1] == strengths[-1]
    assert values in (sorted(values), sorted(values, reverse=True))
    errors = [np.abs(apply(window, v, np.random.default_rng(2)).astype(int) - window).mean() for v in values]
    assert all(weak <= strong * 1.05 for weak, strong in itertools.pairwise(errors)), errors
