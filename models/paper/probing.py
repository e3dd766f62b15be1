"""Stage probing (Figure 2): how much of quality a linear layer reads from one stage of an ImageNet network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lifeiqa.models.checkpoints.scorer import normalize
from lifeiqa.models.datasets import Labelled
from lifeiqa.models.datasets.base import reading
from lifeiqa.models.evaluation.evaluation import Correlations, Vector, correlate
from lifeiqa.models.network.backbone import Backbone
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

STAGES = (1, 2, 3, 4)
Features = npt.NDArray[np.float32]


@torch.inference_mode()
def stage_features(
    backbone: Backbone,
    spec: PreprocessSpec,
    items: Sequence[Labelled],
    crops: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Features]:
    """Global average pooling of every stage, averaged over the crops of each picture.

    Args:
        backbone: in evaluation mode, with the stages wanted.
        spec: how crops are made; its normalisation should be the backbone's.
        items: P pictures.
        crops: of each picture, or None for the spec's number.
        progress: called with pictures done and pictures in all.

    Returns:
        for each stage (P, C).

    Raises:
        DatasetError: a picture cannot be read.
    """
    device = next(backbone.parameters()).device
    found: list[list[Features]] = [[] for _ in backbone.stages]
    for k, item in enumerate(items):
        with reading(item.path):
            pixels = crops_of(read_image(item.path).pixels, spec, crops)
        stages = backbone(normalize(torch.from_numpy(pixels).to(device), spec))
        for features, stage in zip(found, stages, strict=True):
            features.append(stage.mean(dim=(0, 2, 3)).float().cpu().numpy())
        progress(k + 1, len(items))
    return [np.stack(features) for features in found]


def probe(train: Features, train_scores: Vector, test: Features, test_scores: Vector) -> Correlations:
    """Fits a linear layer (ridge, its strength by leave-one-out) to features (P, C), measures it on others."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 15)))
    model.fit(train, train_scores)
    return correlate(model.predict(test), test_scores)
