"""Measures one model on one data set, by any of the protocols that papers use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifeiqa.models.datasets import Labelled, QualitySet, halves_sha256, prescribes_split, split_set, to_measure
from lifeiqa.models.datasets.base import PRISTINE
from lifeiqa.models.evaluation.evaluation import Correlations, Vector, correlate, intervals, median_of, predict
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.manifest import ScoreScale

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Assessment:
    """What one model reached on one data set.

    Attributes:
        data: title of the set.
        pictures: which were scored: "all", "test" (the part that the set prescribes), "test of split K", or "N splits".
        overall: over these pictures; for several splits, the median of the splits' test parts.
        by_split: of each split, () for none.
        by_type: of each distortion type with at least `MIN_TYPE` pictures, {} where there is none; for several splits,
            the median over those of them that have as many.
        confidence: 95 % intervals of SROCC and PLCC by bootstrap over contents; {} for several splits.
    """

    data: str
    pictures: str
    overall: Correlations
    by_split: tuple[Correlations, ...]
    by_type: dict[str, Correlations]
    confidence: dict[str, tuple[float, float]]


MIN_TYPE = 5
MIN_CONTENTS = 3  # fewer say nothing about how much contents differ


@dataclass(frozen=True)
class OpenModel:
    """A model that scores pictures when called.

    Attributes:
        scorer: from (H, W, 3) uint8 RGB to a score on the model's scale, higher better.
        training: what the file says of how it was trained.
        scale: what these scores mean.
    """

    scorer: Callable[[UInt8Array], float]
    training: Mapping[str, Any]
    scale: ScoreScale

    def __call__(self, pixels: UInt8Array) -> float:
        """Scores a picture."""
        return self.scorer(pixels)

    def split_of(self, data: QualitySet) -> int | None:
        """Number of the split of this very set that the model was trained on; None for another set.

        None also where names or labels have changed since.
        """
        known = self._data
        try:
            number = int(known["split"])
            halves = split_set(data, number, float(known["train_share"]))
        except (KeyError, TypeError, ValueError, OverflowError, DatasetError, UsageError):
            return None
        return number if halves_sha256(*halves) == known.get("sha256") else None

    def was_trained_on_like(self, data: QualitySet) -> bool:
        """Whether it was trained on a set of this title, if not on these very pictures and labels."""
        return data.info.pictures > 0 and self._data.get("set") == data.info.title

    def was_further_set(self, data: QualitySet) -> bool:
        """Whether it was trained on such a set as a further one of a mixed run: all of it but a test part it has."""
        further = self.training.get("further") if isinstance(self.training, Mapping) else None
        known = [one.get("set") for one in further if isinstance(one, Mapping)] if isinstance(further, list) else []
        return data.info.pictures > 0 and data.info.title in known

    @property
    def _data(self) -> Mapping[str, Any]:
        known = self.training.get("data") if isinstance(self.training, Mapping) else None
        return known if isinstance(known, Mapping) else {}


@contextmanager
def open_model(path: Path, crops: int | None = None, device: str = "auto") -> Iterator[OpenModel]:
    """Opens a checkpoint or an exported model for as long as the context lasts.

    Args:
        path: a checkpoint, ours or the authors', or anything that `lifeiqa-run` runs.
        crops: of each picture, or None for the model's own number.
        device: "auto", "cpu" or "cuda"; only "auto" ever falls back.

    Raises:
        CheckpointError, ManifestError, MissingError, UsageError: the model cannot be used.
    """
    if path.suffix.lower() in CHECKPOINT_SUFFIXES:
        import torch

        from lifeiqa.models.checkpoints.reader import load_checkpoint
        from lifeiqa.models.checkpoints.scorer import TorchScorer
        from lifeiqa.runtime.errors import MissingError
        from lifeiqa.runtime.preprocess import crops_of

        if device == "cuda" and not torch.cuda.is_available():
            raise MissingError("PyTorch sees no CUDA device; use --device cpu.")
        checkpoint = load_checkpoint(path)
        cuda = device != "cpu" and torch.cuda.is_available()
        model = checkpoint.build().to("cuda" if cuda else "cpu").to(memory_format=torch.channels_last)
        scorer = TorchScorer(model, checkpoint.preprocess, checkpoint.scale)
        yield OpenModel(
            lambda pixels: float(scorer.score_crops(crops_of(pixels, checkpoint.preprocess, crops))[0].mean()),
            checkpoint.training,
            checkpoint.scale.artifact_scale(),
        )
    else:
        from lifeiqa.runtime.scorer import Scorer

        with Scorer(path, device, crops) as runtime:
            manifest = runtime.manifest
            yield OpenModel(lambda pixels: runtime.score(pixels).raw, manifest.training, manifest.scale)


def assess(
    score: Callable[[UInt8Array], float],
    data: QualitySet,
    splits: int = 0,
    whole: bool = False,
    split: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Assessment:
    """Scores the pictures of a set and compares with their labels.

    Args:
        score: from (H, W, 3) uint8 RGB to a score, higher better.
        data: the set.
        splits: number of random splits whose test parts are measured, each by itself; 0 for none.
        whole: measure all pictures, also where the set prescribes a test part.
        split: measure the test part of this random split alone.
        progress: called with pictures scored and pictures in all.

    Raises:
        DatasetError: a picture cannot be read, or the split that the set prescribes leaves none to test on.
        UsageError: splits of a set that prescribes one, or of the whole set; fewer than two pictures; a score
            that is no number.
    """
    if (splits or split is not None) and (whole or prescribes_split(data)):
        raise UsageError(
            f"--split and --splits do not go with --all, nor with a set that prescribes its split: {data.info.title}."
        )
    if splits and split is not None:
        raise UsageError("--split measures one split, --splits several; give one of them.")
    halves = [split_set(data, seed)[1] for seed in range(splits)]
    if splits:
        items = list(dict.fromkeys(item for half in halves for item in half))
    else:
        items = list(data.items) if whole else to_measure(data, split)
    if len(items) < 2:
        raise UsageError(f"{data.info.title} has one picture; a correlation needs two at the least.")
    predicted, labels = predict(score, items, progress)
    row = {item.path: k for k, item in enumerate(items)}

    def over(chosen: Sequence[Labelled]) -> Correlations:
        rows = [row[item.path] for item in chosen]
        return correlate(predicted[rows], labels[rows])

    by_split = tuple(over(half) for half in halves)
    by_type: dict[str, list[Correlations]] = defaultdict(list)
    for half in halves or [items]:
        types: dict[str, list[Labelled]] = defaultdict(list)
        for item in half:
            if item.distortion not in ("", PRISTINE):
                types[item.distortion].append(item)
        for name, chosen in types.items():
            if len(chosen) >= MIN_TYPE:
                by_type[name].append(over(chosen))
    contents = [item.reference for item in items]
    spread = not splits and len(set(contents)) >= MIN_CONTENTS
    if splits:
        measured = f"{splits} splits"
    elif split is not None:
        measured = f"test of split {split}"
    else:
        measured = "test" if len(items) < len(data.items) else "all"
    return Assessment(
        data=data.info.title,
        pictures=measured,
        overall=median_of(by_split) if splits else correlate(predicted, labels),
        by_split=by_split,
        by_type={name: median_of(found) for name, found in sorted(by_type.items())},
        confidence=_confidence(predicted, labels, contents) if spread else {},
    )


def _confidence(predicted: Vector, labels: Vector, contents: Sequence[str]) -> dict[str, tuple[float, float]]:
    if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
        return {}
    return intervals(predicted, labels, contents)
