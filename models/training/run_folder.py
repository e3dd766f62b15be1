"""The folder of a training run: what is trained in it, whether it was begun, whether it is finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lifeiqa.models.datasets import Labelled, QualitySet, halves_sha256, recorded_title
from lifeiqa.models.evaluation.evaluation import Correlations
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.runtime.errors import CheckpointError, UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec


@dataclass(frozen=True)
class TrainRequest:
    """What is trained on what.

    Attributes:
        config: architecture.
        recipe: settings.
        split: number of the random split; ignored by sets that prescribe one.
        seed: of every random choice but the split.
        backbone_weights: a file of ImageNet weights, or a checkpoint whose backbone is used; None to take ImageNet's
            from timm's hub.
        start: a checkpoint of the same architecture to start from, instead of a backbone's weights.
    """

    config: LifeIQAConfig
    recipe: Recipe
    split: int = 0
    seed: int = 0
    backbone_weights: Path | None = None
    start: Path | None = None


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        checkpoint: the file.
        test: how its scores follow the labels of the test part.
        expert_load: share of test tokens that keep each expert; sums to K; () without experts.
    """

    checkpoint: Path
    test: Correlations
    expert_load: tuple[float, ...]


def settings_of(
    data: QualitySet,
    request: TrainRequest,
    spec: PreprocessSpec,
    train: list[Labelled],
    test: list[Labelled],
    held_out: int = 0,
) -> dict[str, Any]:
    """Everything that decides the result, in plain values; it goes into the checkpoint.

    Args:
        data, request, spec: of the run.
        train, test: the two parts of the set.
        held_out: how many pictures of the training part are not trained on, but measured.
    """
    weights: str | None = "timm" if request.recipe.pretrained else "none"
    if request.backbone_weights is not None:
        weights = _sha256(request.backbone_weights)
    return {
        "data": {
            "set": recorded_title(data),
            "split": request.split,
            "train_share": request.recipe.train_share,
            "train_pictures": len(train) - held_out,
            "held_out_pictures": held_out,
            "test_pictures": len(test),
            "sha256": halves_sha256(train, test),
        },
        "config": request.config.to_dict(),
        "recipe": asdict(request.recipe),
        "preprocess": spec.to_dict(),
        "seed": request.seed,
        "backbone_weights": weights if request.start is None else None,
        "start": None if request.start is None else _sha256(request.start),
    }


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from error


def was_begun(folder: Path, settings: dict[str, Any], resume: bool) -> bool:
    """Whether this very run was begun in the folder before. Raises `UsageError` where something else is in it."""
    path = folder / "run.json"
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something else than a training run; name another folder with --output.")
        return False
    if not resume:
        state = "a finished" if (folder / "report.json").exists() else "an unfinished"
        raise UsageError(f"{folder} holds {state} run. Add --resume to go on with it, or name another --output.")
    try:
        before = json.loads(path.read_text())
    except ValueError as error:
        raise UsageError(f"{path} cannot be read ({error}); remove the folder and train anew.") from error
    now = json.loads(json.dumps(settings))
    if before != now:
        differing = "; ".join(_differences(before, now))
        raise UsageError(f"{folder} holds a run with other settings, which cannot be resumed: {differing}.")
    return True


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield f"{name} was {before}, is {now}"


def read_result(folder: Path) -> RunResult | None:
    """The outcome of the run in the folder, None while it has none."""
    path = folder / "report.json"
    if not path.exists():
        return None
    report = json.loads(path.read_text())
    return RunResult(folder / "best.pt", Correlations.from_plain(report["test"]), tuple(report["expert_load"]))
