import numpy as np
import pytest

from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.report.histogram import Histogram


def histogram(scores: np.ndarray, scale: ScoreScale) -> Histogram:
    made = Histogram(scale)
    for score in scores:
        made.add(float(score))
    return made


def test_bars_count_scores_and_ends_of_a_known_scale_count_in_the_outer_bars() -> None:
    made = histogram(np.array([0.0, 0.0, 12.4, 12.5, 50.0, 100.0, 100.0, 100.0]), ScoreScale())
    counts = {(bar.low, bar.high): bar.count for bar in made.bars() if bar.count}
    assert {k: v for (k, _), v in counts.items()} == pytest.approx({0.0: 2, 10.0: 1, 12.5: 1, 50.0: 1, 97.5: 3})
    assert len(made.bars()) == 40


def test_no_bar_has_scores_of_two_grades() -> None:
    scale = ScoreScale()
    for bar in Histogram(scale).bars():
        assert scale.grade(bar.low + 1e-6) == scale.grade(bar.high - 1e-6)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_an_unknown_range_grows_with_the_scores(factor: float) -> None:
    scores = np.random.default_rng(0).normal(3, 1, 5000) * factor
    scores[3000:3010] *= 50
    made = histogram(scores, ScoreScale(own=True))
    bars = made.bars()
    assert sum(bar.count for bar in bars) == 5000 and bars[0].low <= scores.min() and bars[-1].high >= scores.max()
    assert made.quantile(0.5) == pytest.approx(np.median(scores), abs=0.5 * factor)
    for bar in bars[:5]:
        inside = ((scores >= bar.low) & (scores < bar.high)).sum()
        assert abs(int(inside) - bar.count) <= 2  # on a border


def test_few_and_equal_scores_of_an_unknown_range_are_drawn() -> None:
    made = histogram(np.full(3, 0.5), ScoreScale(own=True))
    assert sum(bar.count for bar in made.bars()) == 3 and made.quantile(0.5) == pytest.approx(0.5, abs=1e-2)
    assert Histogram(ScoreScale(own=True)).quantile(0.5) is None


def test_the_median_is_right_to_a_tenth_of_a_point() -> None:
    scores = np.random.default_rng(1).uniform(0, 100, 1001)
    assert histogram(scores, ScoreScale()).quantile(0.5) == pytest.approx(np.median(scores), abs=0.1)
