"""Pictures of other kinds, those that show nothing, and changes that leave a picture as good as it was."""

import numpy as np
import pytest

from lifeiqa.models.synthesis.anchors import covered, flat, noise
from lifeiqa.models.synthesis.mild_changes import mild_change
from lifeiqa.models.synthesis.reference_kinds import dim, foggy, infrared, page


def gradient(picture: np.ndarray) -> np.ndarray:
    """Of each pixel's grey value to the right."""
    return np.abs(np.diff(picture.astype(float).mean(axis=2), axis=1))


@pytest.mark.parametrize("seed", range(8))
def test_infrared_is_one_channel_and_darker_far_from_its_light(seed: int, astronaut: np.ndarray) -> None:
    white = np.full((224, 224, 3), 255, np.uint8)
    lit = infrared(white, np.random.default_rng(seed))
    assert (lit == lit[:, :, :1]).all()
    assert lit.max() > lit[[0, 0, -1, -1], [0, -1, 0, -1]].min()
    made = infrared(astronaut, np.random.default_rng(seed))
    assert made.shape == astronaut.shape and made.dtype == np.uint8
    assert made.mean() < astronaut.mean()


@pytest.mark.parametrize("seed", range(8))
def test_dim_pictures_are_dark_and_foggy_ones_faint(seed: int, astronaut: np.ndarray) -> None:
    rng = np.random.default_rng(seed)
    assert 0.08 < dim(astronaut, rng).mean() / astronaut.mean() < 0.42
    assert gradient(foggy(astronaut, rng)).mean() < 0.85 * gradient(astronaut).mean()


def test_pages_have_strokes_with_sharp_edges_on_plain_ground() -> None:
    pages = [page(224, np.random.default_rng(seed)) for seed in range(40)]
    for picture in pages:
        assert picture.shape == (224, 224, 3) and picture.dtype == np.uint8
        steps = gradient(picture)
        assert np.median(steps) < 3
        assert steps.max() > 60
        assert (steps > 30).mean() > 0.01
    assert len({picture.tobytes() for picture in pages}) == 40
    dark = sum(np.median(picture) < 80 for picture in pages)
    assert 3 < dark < 25


@pytest.mark.parametrize("seed", range(20))
def test_anchors_show_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert np.ptp(flat(64, rng).reshape(-1, 3), axis=0).max() == 0
    dark = covered(224, rng)
    assert dark.mean() < 130
    assert gradient(dark).mean() < 8
    noisy = noise(224, rng).astype(float).mean(axis=2)
    halves = noisy[:, :112] - noisy[:, :112].mean(), noisy[:, 112:] - noisy[:, 112:].mean()
    assert noisy.std() > 3
    assert abs((halves[0] * halves[1]).mean()) < 0.1 * noisy.var()


def test_mild_changes_are_mild_and_often_none(astronaut: np.ndarray) -> None:
    changed = [mild_change(astronaut[:224, :224], np.random.default_rng(seed)) for seed in range(60)]
    off = [np.abs(picture.astype(int) - astronaut[:224, :224]).mean() for picture in changed]
    assert max(off) < 30
    assert 20 < sum(error == 0 for error in off) < 50
