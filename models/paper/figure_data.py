"""What the paper's figures show, as arrays: predictions, backbone features, attention and expert routing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.datasets import Labelled, QualitySet, to_measure
from lifeiqa.models.datasets.base import PRISTINE
from lifeiqa.models.evaluation.evaluation import Vector, predict
from lifeiqa.models.network.backbone import Backbone
from lifeiqa.models.network.decoder import Attention, DecoderLayer
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.models.network.moe import expert_load
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import DatasetError, ImageError, UsageError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
BATCH = 16
UNNAMED = "unknown"  # type of a picture where the set names it for others only


def silent(done: int, total: int) -> None:
    """The progress of which nothing is shown."""


def chosen(data: QualitySet, limit: int, split: int | None = None) -> list[Labelled]:
    """At most `limit` pictures of a set, spread over distortion types and levels; always the same.

    Of a set that prescribes a split, and of the random split with this number, the test pictures only.

    Raises:
        DatasetError: the split that the set prescribes leaves no picture to test on.
    """
    items = to_measure(data, split)
    if len(items) <= limit:
        return items
    items.sort(key=lambda item: (item.distortion, item.level))
    # One at random from each of `limit` equal runs: a fixed step can fall in with the order of the set, and then it
    # meets the same few contents again and again.
    rng = np.random.default_rng(0)
    edges = [len(items) * k // limit for k in range(limit + 1)]
    return [items[rng.integers(first, last)] for first, last in itertools.pairwise(edges)]


def distortion_types(items: Sequence[Labelled]) -> list[str]:
    """The type of each picture.

    Raises:
        DatasetError: the set names none of them.
    """
    if not any(item.distortion for item in items):
        raise DatasetError(
            "The data set does not say how its pictures are distorted; give one that does, such as kadid10k, or a CSV "
            "file with the column distortion."
        )
    return [item.distortion or UNNAMED for item in items]


def in_order(types: Sequence[str]) -> list[str]:
    """Each type once: pristine first, the others by name."""
    return sorted(set(types), key=lambda name: (name != PRISTINE, name))


def predictions(
    score: Callable[[UInt8Array], float], items: Sequence[Labelled], progress: Progress = silent
) -> tuple[Vector, Vector]:
    """Scores pictures with `score`, which takes (H, W, 3) uint8 RGB. Predictions and labels, (P,) each.

    Raises:
        DatasetError: there are fewer than two pictures, or one cannot be read or scored.
        UsageError: see `predict`.
    """
    if len(items) < 2:
        raise DatasetError("A correlation needs two pictures at the least; choose more with --pictures.")
    return predict(score, items, progress)


def center_crop(path: Path, spec: PreprocessSpec) -> UInt8Array:
    """The centre crop (S, S, 3) uint8 RGB of a picture file. Raises `ImageError`, which names the file."""
    try:
        return np.asarray(crops_of(read_image(path).pixels, spec, 1)[0])
    except ImageError as error:
        raise ImageError(f"{path}: {error}.") from error


def stage_features(
    checkpoint: Checkpoint, items: Sequence[Labelled], stages: Sequence[int], progress: Progress = silent
) -> dict[int, Floats]:
    """Features of backbone stages with the checkpoint's weights, averaged over each picture's centre crop.

    Returns:
        (P, C) for each stage.

    Raises:
        UsageError: the checkpoint's backbone ends before one of the stages.
        DatasetError: a picture cannot be read.
    """
    config = checkpoint.config
    for stage in stages:
        if not 1 <= stage <= config.query_stage:
            raise UsageError(
                f"This checkpoint's backbone has no stage {stage}; choose from 1 to {config.query_stage} with --stages."
            )
    scorer = TorchScorer.of(checkpoint)
    kept = tuple(sorted({*stages, config.query_stage}))  # cut where the checkpoint's is, so that all weights fit
    backbone = Backbone(config.backbone, stages=kept).eval()
    backbone.load_inner_state(scorer.model.backbone.inner_state())
    found: dict[int, list[Tensor]] = {stage: [] for stage in kept}
    with torch.inference_mode():
        for crops in _batches(items, checkpoint.preprocess, progress):
            for stage, features in zip(kept, backbone(scorer.normalize(crops)), strict=True):
                found[stage].append(features.mean(dim=(2, 3)))
    return {stage: torch.cat(found[stage]).numpy() for stage in stages}


def embed(features: Floats) -> Floats:
    """t-SNE with a fixed seed: (P, C) -> (P, 2). Raises `DatasetError` for fewer than five pictures."""
    from sklearn.manifold import TSNE

    if len(features) < 5:
        raise DatasetError(f"t-SNE needs five pictures at the least, not {len(features)}; choose more with --pictures.")
    perplexity = min(30.0, (len(features) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features), np.float32)


def attention_weights(model: LifeIQA, images: Tensor) -> Floats:
    """Weights of every cross-attention for normalised crops (B, 3, S, S): (layers, B, heads, N, P*P); rows sum to 1.

    Raises:
        UsageError: the network's queries read no memory.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        assert isinstance(module, Attention)
        found.append(module.weights_and_values(*inputs)[0])

    readers = [layer.attention for layer in model.layers if isinstance(layer, DecoderLayer) and layer.attention]
    if not readers:
        raise UsageError("This network has no cross-attention to show: its queries read no earlier stage.")
    hooks = [reader.register_forward_pre_hook(keep) for reader in readers]
    try:
        with torch.inference_mode():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found).cpu().numpy()


@dataclass(frozen=True)
class RoutingTable:
    """How often tokens keep each expert, by distortion type.

    Attributes:
        types: T of them, pristine first.
        pictures: of each type.
        shares: (T, E), mean share of a picture's tokens that keep the expert; rows sum to K.
    """

    types: list[str]
    pictures: list[int]
    shares: Floats


def routing_by_type(scorer: TorchScorer, items: Sequence[Labelled], progress: Progress = silent) -> RoutingTable:
    """Routes the tokens of each picture's centre crop.

    Raises:
        UsageError: the network has no experts.
        DatasetError: the set names no distortion types, or a picture cannot be read.
    """
    if scorer.model.moe is None:
        raise UsageError("This network has no experts whose routing could be shown.")
    types = distortion_types(items)
    loads: list[Tensor] = []
    for crops in _batches(items, scorer.spec, progress):
        _, weights = scorer.score_crops(crops.numpy())
        assert weights is not None
        loads += [expert_load(own) for own in weights.split(1)]
    load = torch.stack(loads).numpy()  # (P, E)
    names = in_order(types)
    rows = [np.flatnonzero([name == kind for kind in types]) for name in names]
    return RoutingTable(names, [len(row) for row in rows], np.stack([load[row].mean(axis=0) for row in rows]))


def _batches(items: Sequence[Labelled], spec: PreprocessSpec, progress: Progress) -> Iterator[Tensor]:
    """Yields centre crops (B, S, S, 3) uint8 RGB, in order. Raises `DatasetError` when a picture cannot be read."""
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        try:
            yield torch.from_numpy(np.stack([center_crop(item.path, spec) for item in part]))
        except ImageError as error:
            raise DatasetError(str(error)) from error
        progress(start + len(part), len(items))
