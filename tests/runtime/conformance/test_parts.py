"""Parts of a proof: correlation, views, storage, the choice of crops."""

from pathlib import Path

import numpy as np
import pytest
from conformance_set import Candidate, chosen, compare_with
from scipy.stats import spearmanr

from lifeiqa.calibration.limits import LIMITS
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.runtime.conformance.checks import spearman
from lifeiqa.runtime.conformance.golden import VIEWS, views
from lifeiqa.runtime.conformance.storage import read_set, write_set


@pytest.mark.parametrize("seed", range(5))
def test_correlation_is_that_of_scipy_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 8, (2, 24)).astype(float)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_correlation_of_what_cannot_be_ranked_is_nan() -> None:
    rising = np.arange(4.0)
    assert np.isnan([spearman(rising, np.ones(4)), spearman(rising, np.array([1, 2, np.nan, 3]))]).all()


def test_views_are_mirrored_copies_crop_by_crop() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3), np.uint8)
    found = views(crops).reshape(3, VIEWS, 5, 5, 3)
    assert np.array_equal(found[1, 0], crops[1]) and np.array_equal(found[2, 1], crops[2][:, ::-1])
    assert np.array_equal(found[0, 2], crops[0][::-1]) and np.array_equal(found[0, 3], crops[0][::-1, ::-1])


def test_set_comes_back_as_it_was_written(tiny_set: Path, tmp_path: Path) -> None:
    first = read_set(tiny_set)
    write_set(first, tmp_path / "again")
    again = read_set(tmp_path / "again")
    assert np.array_equal(again.pixels, first.pixels)
    assert (again.crops, again.pairs, again.pictures) == (first.crops, first.pairs, first.pictures)
    assert (again.tolerances, again.sha256) == (first.tolerances, first.sha256)


def test_stored_scores_are_those_of_pytorch(tiny_set: Path, tiny_pt: Path) -> None:
    assert compare_with(read_set(tiny_set), load_checkpoint(tiny_pt)) < 1e-3


def test_tolerances_are_the_limits_of_the_export(tiny_set: Path) -> None:
    for golden in (read_set(), read_set(tiny_set)):
        assert {key: (t.worst, t.srocc) for key, t in golden.tolerances.items()} == {
            key: (limit.worst, limit.srocc) for key, limit in LIMITS.items()
        }
        assert {key for key, t in golden.tolerances.items() if t.per == "crop"} == {"fp32/fp32", "fp32/fp16"}


def test_crops_of_all_kinds_are_chosen_evenly() -> None:
    rng, kinds = np.random.default_rng(0), ("sharp", "blur", "noise", "page")
    pixels = np.zeros((1, 1, 3), np.uint8)
    pool = [Candidate(str(k), kinds[k % 4], "x", 0, pixels) for k in range(160)]
    scores = rng.uniform(0, 100, 160)
    places = chosen(pool, scores, 12)
    assert len(set(places)) == 12 and {pool[k].kind for k in places} == set(kinds)
    steps = np.diff(np.sort(scores[places]))
    assert steps.min() > 0.5 * steps.mean() and np.ptp(scores[places]) > 0.9 * np.ptp(scores)
