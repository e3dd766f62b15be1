"""Measures one model on one data set, by any of the protocols that papers use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lifeiqa.models.datasets import Labelled, QualitySet, prescribed_test, prescribes_split, split_set
from lifeiqa.models.datasets.base import PRISTINE
from lifeiqa.models.evaluation import Correlations, Vector, correlate, intervals, median_of, predict
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.images import UInt8Array

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Assessment:
    """What one model reached on one data set.

    Attributes:
        data: title of the set.
        pictures: which were scored: "all", "test" (the half that the set prescribes), or "N splits".
        overall: over these pictures; for several splits, the median of the splits' test halves.
        by_split: of each split, () for none.
        by_type: of each distortion type with at least `MIN_TYPE` pictures, {} where the set names none.
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


@contextmanager
def open_model(path: Path, crops: int | None = None, device: str = "auto") -> Iterator[Callable[[UInt8Array], float]]:
    """Yields a function from (H, W, 3) uint8 RGB to a score on the model's scale, higher better.

    Args:
        path: a checkpoint, ours or the authors', or anything that `lifeiqa-run` runs.
        crops: of each picture, or None for the model's own number.
        device: "auto", "cpu" or "cuda"; only "auto" ever falls back.

    Raises:
        CheckpointError, ManifestError, MissingError, UsageError: the model cannot be used.
    """
    if path.suffix.lower() in CHECKPOINT_SUFFIXES:
        import torch

        from lifeiqa.models.checkpoint import load_checkpoint
        from lifeiqa.models.scorer import TorchScorer
        from lifeiqa.runtime.errors import MissingError
        from lifeiqa.runtime.preprocess import crops_of

        if device == "cuda" and not torch.cuda.is_available():
            raise MissingError("PyTorch sees no CUDA device; use --device cpu.")
        checkpoint = load_checkpoint(path)
        cuda = device != "cpu" and torch.cuda.is_available()
        model = checkpoint.build().to("cuda" if cuda else "cpu").to(memory_format=torch.channels_last)
        scorer = TorchScorer(model, checkpoint.preprocess, checkpoint.scale)
        yield lambda pixels: float(scorer.score_crops(crops_of(pixels, checkpoint.preprocess, crops))[0].mean())
    else:
        from lifeiqa.runtime.scorer import Scorer

        with Scorer(path, device, crops) as runtime:
            yield lambda pixels: runtime.score(pixels).score


def assess(
    score: Callable[[UInt8Array], float],
    data: QualitySet,
    splits: int = 0,
    whole: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Assessment:
    """Scores the pictures of a set and compares with their labels.

    Args:
        score: from (H, W, 3) uint8 RGB to a score, higher better.
        data: the set.
        splits: number of random splits whose test halves are measured, each by itself; 0 for none.
        whole: measure all pictures, also where the set prescribes a test half.
        progress: called with pictures scored and pictures in all.

    Raises:
        DatasetError: a picture cannot be scored, or the split that the set prescribes leaves none to test on.
        UsageError: several splits of a set that prescribes one, or of the whole set; fewer than two pictures.
    """
    if splits and (whole or prescribes_split(data)):
        raise UsageError(
            f"--splits does not go with --all, nor with a set that prescribes its split: {data.info.title}."
        )
    halves = [split_set(data, seed)[1] for seed in range(splits)]
    if splits:
        items: Sequence[Labelled] = tuple(dict.fromkeys(item for half in halves for item in half))
    elif prescribes_split(data) and not whole:
        items = prescribed_test(data)
    else:
        items = data.items
    if len(items) < 2:
        raise UsageError(f"{data.info.title} has one picture; a correlation needs two at the least.")
    predicted, labels = predict(score, items, progress)
    row = {item.path: k for k, item in enumerate(items)}

    def over(chosen: Sequence[Labelled]) -> Correlations:
        rows = [row[item.path] for item in chosen]
        return correlate(predicted[rows], labels[rows])

    by_split = tuple(over(half) for half in halves)
    types: dict[str, list[Labelled]] = defaultdict(list)
    for item in items:
        if item.distortion not in ("", PRISTINE):
            types[item.distortion].append(item)
    contents = [item.reference for item in items]
    spread = not splits and len(set(contents)) >= MIN_CONTENTS
    return Assessment(
        data=data.info.title,
        pictures=f"{splits} splits" if splits else "test" if len(items) < len(data.items) else "all",
        overall=median_of(by_split) if splits else correlate(predicted, labels),
        by_split=by_split,
        by_type={name: over(chosen) for name, chosen in sorted(types.items()) if len(chosen) >= MIN_TYPE},
        confidence=_confidence(predicted, labels, contents) if spread else {},
    )


def _confidence(predicted: Vector, labels: Vector, contents: Sequence[str]) -> dict[str, tuple[float, float]]:
    if np.ptp(predicted) == 0 or np.ptp(labels) == 0:
        return {}
    return intervals(predicted, labels, contents)
