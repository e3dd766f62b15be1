from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifeiqa.models.datasets import Labelled, QualitySet, SetInfo, prescribes_split, split_set
from lifeiqa.models.datasets.split import hold_out
from lifeiqa.runtime.errors import DatasetError, UsageError

INFO = SetInfo("set", "Set", "synthetic", 0, 0.0, 100.0, "nowhere")


def make_set(copies: list[int], splits: str = "") -> QualitySet:
    """A set with so many pictures of each content, which go in turn to train (r) and test (e); to neither if empty."""
    names = {"e": "test", "r": "train"}
    items = [
        Labelled(Path(f"{content}-{k}.png"), 50, f"c{content}", split=names[splits[content % len(splits)]])
        if splits
        else Labelled(Path(f"{content}-{k}.png"), 50, f"c{content}")
        for content, count in enumerate(copies)
        for k in range(count)
    ]
    return QualitySet(INFO, tuple(items))


def contents(items: list[Labelled]) -> set[str]:
    return {item.reference for item in items}


SIZES = st.lists(st.integers(2, 6), min_size=2, max_size=40)


@given(copies=SIZES, seed=st.integers(0, 2**32), share=st.floats(0.05, 0.5))
def test_halves_share_no_content_and_lose_no_picture(copies: list[int], seed: int, share: float) -> None:
    data = make_set(copies)
    train, test = split_set(data, seed, test_share=share)
    assert not contents(train) & contents(test)
    assert Counter(train) + Counter(test) == Counter(data.items)
    assert len(contents(test)) == max(1, round(share * len(copies)))
    assert split_set(data, seed, test_share=share) == (train, test)


@given(copies=SIZES, seed=st.integers(0, 1000), share=st.floats(0.01, 1))
def test_smaller_training_share_keeps_part_of_the_training_half_and_all_of_the_other(
    copies: list[int], seed: int, share: float
) -> None:
    data = make_set(copies)
    all_train, test = split_set(data, seed)
    train, same_test = split_set(data, seed, train_share=share)
    assert same_test == test
    assert len(contents(train)) == max(1, round(share * len(contents(all_train))))
    assert Counter(train) <= Counter(all_train)
    assert [item for item in all_train if item.reference in contents(train)] == train


def test_paper_takes_one_fifth_for_testing_and_seeds_differ() -> None:
    data = make_set([3] * 25)
    halves = [split_set(data, seed) for seed in range(10)]
    assert all(len(contents(test)) == 5 for _, test in halves)
    assert len({frozenset(contents(test)) for _, test in halves}) == 10


@given(seed=st.integers(0, 1000), share=st.sampled_from([0.25, 0.5, 1]))
def test_prescribed_split_is_kept_whatever_the_seed(seed: int, share: float) -> None:
    data = make_set([2] * 12, splits="rre")
    assert prescribes_split(data)
    train, test = split_set(data, seed, train_share=share)
    assert contents(test) == {"c2", "c5", "c8", "c11"}
    assert len(contents(train)) == 8 * share
    assert not contents(train) & contents(test)


def test_part_of_a_prescribed_training_half_depends_on_the_seed() -> None:
    data = make_set([2] * 30, splits="rre")
    assert len({frozenset(contents(split_set(data, seed, train_share=0.5)[0])) for seed in range(5)}) == 5


def test_prescribed_split_with_a_content_in_both_halves_is_refused() -> None:
    data = make_set([2, 2, 2], splits="re")
    mixed = Labelled(Path("x.png"), 50, "c0", split="test")
    with pytest.raises(DatasetError, match="Set: 1 contents are in both splits, the first: c0"):
        split_set(QualitySet(INFO, (*data.items, mixed)), 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (make_set([5]), "leave no picture to train on"),
        (make_set([2, 2], splits="r"), "every picture is for training"),
        (make_set([2, 2], splits="e"), "leave no picture to train on"),
        (make_set([1, 1, 1]), "one test picture; a correlation needs two"),
    ],
)
def test_set_too_small_for_two_halves_is_refused(data: QualitySet, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        split_set(data, 0)


@pytest.mark.parametrize("shares", [(0, 0.2), (1.1, 0.2), (1, 0), (1, 1), (-1, 0.2), (float("nan"), 0.2)])
def test_share_out_of_range_is_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="Shares must lie within 0 and 1"):
        split_set(make_set([2] * 10), 0, *shares)


@given(copies=SIZES, seed=st.integers(0, 2**32))
def test_held_out_part_shares_no_content_with_what_is_left(copies: list[int], seed: int) -> None:
    items = list(make_set(copies * 3).items)
    left, away = hold_out(items, 0.3, seed)
    assert not contents(left) & contents(away)
    assert Counter(left) + Counter(away) == Counter(items)
    assert len(contents(away)) == round(0.3 * len(contents(items)))
    assert hold_out(items, 0.3, seed) == (left, away)
    assert any(hold_out(items, 0.3, other)[1] != away for other in range(20))


def test_holding_out_more_than_there_is_is_an_error() -> None:
    for copies, share in (([1, 1, 1], 0.1), ([3, 3], 0.9)):
        with pytest.raises(DatasetError, match="leaves"):
            hold_out(list(make_set(copies).items), share, 0)
