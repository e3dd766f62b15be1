"""The seven benchmark sets of the paper, BIQ2021, and people's own data, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lifeiqa.models.datasets import benchmarks, listed
from lifeiqa.models.datasets.base import Labelled, QualitySet, SetInfo
from lifeiqa.models.datasets.split import SPLITS, halves_sha256, prescribes_split, split_set, to_measure
from lifeiqa.runtime.errors import DatasetError, UsageError

__all__ = [
    "DATASETS",
    "Labelled",
    "QualitySet",
    "SPLITS",
    "SetInfo",
    "halves_sha256",
    "open_set",
    "prescribes_split",
    "recorded_title",
    "split_set",
    "to_measure",
]

DATASETS: dict[str, tuple[SetInfo, Callable[[Path], QualitySet]]] = {
    info.name: (info, read)
    for info, read in (*benchmarks.READERS, *benchmarks.NEWER_READERS, (listed.INFO, listed.read_listed))
}


def open_set(name: str, root: Path) -> QualitySet:
    """Reads a set from its official layout: a folder, or for "csv" a CSV file (or a folder with labels.csv).

    Raises:
        UsageError: no set has that name.
        DatasetError: the folder is missing, or what is in it is not the set; see the readers.
    """
    if name not in DATASETS:
        raise UsageError(f"There is no data set called {name}. Known: {', '.join(DATASETS)}.")
    info, read = DATASETS[name]
    if not root.exists():
        raise DatasetError(f"{info.title}: there is no {root}.{info.source}")
    return read(root)


def recorded_title(data: QualitySet) -> str:
    """What runs and checkpoints call a set; people's own are "CSV", whatever a file is called by then."""
    return DATASETS[data.info.name][0].title
