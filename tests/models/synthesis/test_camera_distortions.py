import itertools

import numpy as np
import pytest

from lifeiqa.models.synthesis.camera_distortions import CAMERA_DISTORTIONS, video_coding
from lifeiqa.models.synthesis.distortions import DISTORTIONS


@pytest.mark.parametrize("name", CAMERA_DISTORTIONS)
def test_stronger_is_further_from_the_reference_and_the_same_again(name: str, astronaut: np.ndarray) -> None:
    apply, strengths = CAMERA_DISTORTIONS[name]
    reference = astronaut[60:313, 90:361]  # no whole number of blocks
    copies = [apply(reference, strength, np.random.default_rng(3)) for strength in strengths]
    assert all(copy.shape == reference.shape and copy.dtype == np.uint8 for copy in copies)
    assert np.array_equal(copies[1], apply(reference, strengths[1], np.random.default_rng(3)))
    errors = [np.abs(copy.astype(int) - reference).mean() for copy in copies]
    assert errors[0] > 0.5
    assert all(weak < strong for weak, strong in itertools.pairwise(errors)), errors


def test_their_names_are_none_of_the_25_types() -> None:
    assert not CAMERA_DISTORTIONS.keys() & DISTORTIONS.keys()


def test_video_coding_takes_detail_away_and_leaves_a_flat_picture_flat(astronaut: np.ndarray) -> None:
    def detail(picture: np.ndarray) -> float:
        return float(np.abs(np.diff(picture.astype(int), axis=1)).mean())

    reference = astronaut[60:316, 90:346]
    assert detail(video_coding(reference, 150.0, np.random.default_rng(0))) < 0.6 * detail(reference)
    grey = np.full((64, 64, 3), 120, np.uint8)
    assert np.ptp(video_coding(grey, 60.0, np.random.default_rng(0)), axis=(0, 1)).max() == 0
