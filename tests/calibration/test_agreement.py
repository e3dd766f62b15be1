import numpy as np
import pytest

from lifeiqa.calibration import Agreement, Limit, compare, limit_for
from lifeiqa.runtime.errors import ManifestError


def test_differences_are_shares_of_the_score_range() -> None:
    a = compare(np.array([10.0, 20.0, 30.0]), np.array([10.0, 21.0, 28.0]), span=100)
    assert (a.worst, a.mean, a.count) == (pytest.approx(0.02), pytest.approx(0.01), 3)
    assert a.srocc == pytest.approx(1)
    assert a.plcc < 1


def test_swapped_ranks_lower_srocc() -> None:
    assert compare(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4]), 100).srocc == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("agreement", "count"),
    [
        (Agreement(1e-5, 1e-6, 1.0, 1.0, 100), 0),
        (Agreement(1e-3, 1e-6, 1.0, 1.0, 100), 1),
        (Agreement(1e-5, 1e-6, 0.99, 1.0, 20), 0),
        (Agreement(1e-3, 1e-6, 0.5, 1.0, 100), 2),
        (Agreement(float("nan"), 1e-6, float("nan"), 1.0, 100), 2),
    ],
)
def test_violations_name_each_limit_that_is_broken(agreement: Agreement, count: int) -> None:
    assert len(agreement.violations(Limit(worst=1e-4, srocc=0.999))) == count


def test_constant_scores_agree_with_nothing() -> None:
    assert compare(np.ones(5), np.arange(5.0), 100).violations(limit_for("fp32", "fp32"))


def test_vectors_of_different_length_are_a_bug() -> None:
    with pytest.raises(ValueError, match="two vectors"):
        compare(np.ones(3), np.ones(4), 1)


def test_artifact_of_unknown_precision_has_no_limit() -> None:
    with pytest.raises(ManifestError, match="no limit for int3"):
        limit_for("int3", "fp32")
