import itertools

import numpy as np
import pytest

from lifeiqa.models.synthesis.distortions import DISTORTIONS, LEVELS, distort
from lifeiqa.models.synthesis.ladders import LADDERS, evaluate_ladders, held_out_pictures, ladder


def test_there_are_the_25_types_of_kadid() -> None:
    assert len(DISTORTIONS) == 25


@pytest.mark.parametrize("name", DISTORTIONS)
def test_same_seed_same_picture_and_stronger_level_further_from_the_reference(name: str, astronaut: np.ndarray) -> None:
    reference = astronaut[64:448, :]
    copies = [distort(reference, name, level, seed=5) for level in LEVELS]
    assert all(copy.shape == reference.shape and copy.dtype == np.uint8 for copy in copies)
    assert np.array_equal(copies[2], distort(reference, name, 3, seed=5))
    errors = [np.abs(copy.astype(int) - reference).mean() for copy in copies]
    assert errors[0] > 0
    assert all(weak <= strong * 1.02 for weak, strong in itertools.pairwise(errors)), errors


def test_reference_is_left_as_it_was(astronaut: np.ndarray) -> None:
    before = astronaut.copy()
    for name in DISTORTIONS:
        distort(astronaut, name, 5, seed=0)
    assert np.array_equal(astronaut, before)


def test_ladders_begin_with_the_pristine_picture_and_get_worse() -> None:
    for _, picture in held_out_pictures():
        for name in LADDERS:
            copies = ladder(picture, name)
            assert np.array_equal(copies[0], picture)
            errors = [np.abs(copy.astype(int) - picture).mean() for copy in copies]
            assert errors == sorted(errors)
            assert errors[1] > 0


def test_perfect_score_orders_every_ladder_and_its_reverse_none() -> None:
    pictures = {picture.shape: picture.astype(int) for _, picture in held_out_pictures() if picture.shape[0] < 512}

    def closeness(copy: np.ndarray) -> float:
        pristine = pictures.get(copy.shape)
        return 0.0 if pristine is None else -float(np.abs(copy - pristine).mean())

    assert evaluate_ladders(closeness).in_order == pytest.approx(len(pictures) / 5)
    assert evaluate_ladders(lambda copy: -closeness(copy)).in_order == 0
