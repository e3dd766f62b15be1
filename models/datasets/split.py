"""Splits a set into a training and a test part that share no content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from lifeiqa.models.datasets.base import Labelled, QualitySet
from lifeiqa.runtime.errors import DatasetError, UsageError

TEST_SHARE = 0.2  # section IV-A: 0.8 to train, 0.2 to test
SPLITS = 10


def prescribes_split(data: QualitySet) -> bool:
    """Whether the set itself says which picture is for training and which for testing."""
    return all(item.split for item in data.items)


def to_measure(data: QualitySet, split: int | None = None) -> list[Labelled]:
    """The pictures that a model is measured on: the test part of a random split, or that which the set prescribes.

    Without either, all pictures.

    Raises:
        DatasetError: the split leaves no picture to test on.
    """
    if split is not None:
        return split_set(data, split)[1]
    return _prescribed_test(data) if prescribes_split(data) else list(data.items)


def _prescribed_test(data: QualitySet) -> list[Labelled]:
    """The test pictures of a set that prescribes its split; it need not have any to train on.

    Raises:
        DatasetError: there are none, or a content is also among those to train on.
    """
    test = [item for item in data.items if item.split == "test"]
    if not test:
        raise DatasetError(f"{data.info.title}: every picture is for training; mark some with the split test.")
    train_names = {item.reference for item in data.items if item.split == "train"}
    if both := sorted(train_names & {item.reference for item in test}):
        raise DatasetError(f"{data.info.title}: {len(both)} contents are in both splits, the first: {both[0]}.")
    return test


def hold_out(items: Sequence[Labelled], share: float, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Takes a share of the contents of a training part away, to choose among models by.

    Returns:
        What is left to train on, and what was taken away; the same for the same seed.

    Raises:
        DatasetError: too few contents for two parts of which the second can be measured.
    """
    names = sorted({item.reference for item in items})
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    taken = {names[k] for k in order[: round(share * len(names))]}
    left = [item for item in items if item.reference not in taken]
    away = [item for item in items if item.reference in taken]
    if not left or len(away) < 2:
        raise DatasetError(
            f"held_out={share:g} of {len(names)} contents leaves {len(left)} pictures to train on and {len(away)} to "
            "measure; more are needed."
        )
    return left, away


def halves_sha256(train: Sequence[Labelled], test: Sequence[Labelled]) -> str:
    """Of names, labels and contents of both parts: the same for the same parts wherever their files lie."""
    digest = hashlib.sha256()
    for half in (train, test):
        for item in half:
            digest.update(f"{item.path.name},{item.score!r},{item.reference}\n".encode())
        digest.update(b"--\n")
    return digest.hexdigest()


def split_set(
    data: QualitySet, seed: int, train_share: float = 1.0, test_share: float = TEST_SHARE
) -> tuple[list[Labelled], list[Labelled]]:
    """Splits by content; a split that the set prescribes is kept instead.

    Args:
        data: the set.
        seed: number of the split; one seed always gives the same.
        train_share: of the training part's contents, how many are kept (Table III).
        test_share: of all contents, how many are for testing.

    Raises:
        DatasetError: the set has too few contents for two parts.
        UsageError: a share is not within 0 and 1.
    """
    if not (0 < train_share <= 1 and 0 < test_share < 1):
        raise UsageError(f"Shares must lie within 0 and 1, not {train_share:g} and {test_share:g}.")
    rng = np.random.default_rng(seed)
    if prescribes_split(data):
        test_names = {item.reference for item in _prescribed_test(data)}
        train_names = sorted({item.reference for item in data.items} - test_names)
        order = rng.permutation(len(train_names))
    else:
        names = sorted({item.reference for item in data.items})
        order = rng.permutation(len(names))
        count = max(1, round(test_share * len(names)))
        test_names, train_names = {names[i] for i in order[:count]}, [names[i] for i in order[count:]]
        order = np.arange(len(train_names))
    if not train_names or not test_names:
        raise DatasetError(
            f"{data.info.title}: its {len(train_names) + len(test_names)} reference contents leave no picture "
            f"{'to test on' if train_names else 'to train on'}; a split needs two at the least."
        )
    kept = {train_names[i] for i in order[: max(1, round(train_share * len(train_names)))]}
    train = [item for item in data.items if item.reference in kept]
    test = [item for item in data.items if item.reference in test_names]
    if len(test) < 2:
        raise DatasetError(f"{data.info.title}: the split has one test picture; a correlation needs two at the least.")
    return train, test
