"""Prepares a run of training: data, network, folder; then trains, measures, and writes the checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from lifeiqa.models.checkpoints.checkpoint import validated_state
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import normalize
from lifeiqa.models.datasets import Labelled, QualitySet, halves_sha256, recorded_title, split_set
from lifeiqa.models.datasets.base import reading
from lifeiqa.models.datasets.split import hold_out
from lifeiqa.models.network.backbone import backbone_normalization, load_backbone_weights
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.models.training.batches import CropDataset, groups_of
from lifeiqa.models.training.head_pretraining import pretrain_head
from lifeiqa.models.training.loading import CropSource, StepSampler
from lifeiqa.models.training.memory import keep_freed_memory
from lifeiqa.models.training.mixed import MixedCrops, training_items
from lifeiqa.models.training.objective import TrainingModule
from lifeiqa.models.training.run_folder import RunResult, TrainRequest, read_result, settings_of, was_begun
from lifeiqa.models.training.trainer import ComputeOptions, Progress, Trainer
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of


def train(
    data: QualitySet,
    request: TrainRequest,
    folder: Path,
    compute: ComputeOptions = ComputeOptions(),
    resume: bool = False,
    progress: Progress = lambda done, total, text: None,
    further: Sequence[QualitySet] = (),
) -> RunResult:
    """Trains on one half of the set, and in a mixed run on further sets; measures on the other half of the first.

    Where the recipe holds out a part of the training part (`held_out`), that part is measured instead.

    The folder then holds `best.pt`, the checkpoint; `report.json`; `run.json`, the settings; `log/` for TensorBoard;
    and, until the run is finished, `state.pt`, from which it can be resumed.

    Raises:
        DatasetError, CheckpointError, UsageError, MissingError: before the first step, not after hours.
        UsageError: the folder holds another run, or a finished or unfinished one and `resume` is not set; the loss
            is no longer a number, or a score.
    """
    if request.start is not None and not request.recipe.epochs:
        raise UsageError("With --start, epochs must be above 0: with 0 nothing would be learnt.")
    if request.start is None and request.recipe.start_share:
        raise UsageError("Only a run from a checkpoint has weights it started from: use start_share with --start.")
    if further and not request.recipe.rated:
        raise UsageError(
            "A run trains on one set, unless its recipe is mixed (rated above 0); for pictures of several, list them "
            "in one CSV file."
        )
    halves = split_set(data, request.split, request.recipe.train_share)
    train_items, test_items = halves
    if request.recipe.held_out:
        train_items, test_items = hold_out(train_items, request.recipe.held_out, request.split)
    spec = preprocessing(request.config, data, request.recipe.crop_size)
    for half, items in (("training", train_items), ("test", test_items)):
        if len({item.score for item in items}) == 1:
            raise DatasetError(f"{data.info.title}: all {len(items)} pictures of the {half} part have the same score.")
    measured = {item.path.resolve() for item in test_items}
    for other in further:
        if both := [item.path for item in training_items(other) if item.path.resolve() in measured]:
            raise DatasetError(
                f"{other.info.title}: {len(both)} pictures to train on are also those that the run is measured on, the "
                f"first: {both[0]}."
            )
    crops, classes = crop_source(train_items, further, spec, request)
    settings = settings_of(data, request, spec, *halves, held_out=len(halves[0]) - len(train_items))
    if further:
        settings["further"] = [
            {
                "set": recorded_title(other),
                "pictures": len(training_items(other)),
                "sha256": halves_sha256(other.items, ()),
            }
            for other in further
        ]
    begun = was_begun(folder, settings, resume)
    if (done := read_result(folder)) is not None:
        return done
    accelerator = Accelerator(mixed_precision=compute.precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    StepSampler(crops, world=accelerator.num_processes)  # raises what it would later
    if not begun and accelerator.is_main_process:
        others = [item for other in further for item in training_items(other)]
        verify_pictures(train_items + test_items + others, spec, lambda k, n: progress(k, n, "checking pictures"))
    torch.manual_seed(request.seed)
    model, recipe = initial_network(request), request.recipe
    origin = {name: tensor.clone() for name, tensor in model.state_dict().items()} if recipe.start_share else {}
    freeze(model, recipe.frozen_stages)
    module = TrainingModule(model, classes).to(accelerator.device).to(memory_format=torch.channels_last)
    if compute.compile:
        model.backbone.compile()
    if accelerator.is_main_process:
        atomic_write(folder / "run.json", json.dumps(settings, indent=1).encode())
    began, state = time.monotonic(), folder / "state.pt"
    untrained = request.start is None and not state.exists()
    if untrained and recipe.standardize:
        model.standardize(normalize(sample_crops(crops).to(accelerator.device), spec))
    if untrained and recipe.head_epochs:
        pretrain_head(module, crops, compute.workers, progress)
    trainer = Trainer(accelerator, module, spec, request, compute, folder, settings, test_items, began, origin)
    if untrained and recipe.head_epochs:
        trainer.save()
    trainer.fit(crops, progress)
    return trainer.finish(progress)


def crop_source(
    items: list[Labelled], further: Sequence[QualitySet], spec: PreprocessSpec, request: TrainRequest
) -> tuple[CropSource, int]:
    """What the run draws its crops from, and how many distortion classes it tells apart; 0 where nobody asks.

    Raises:
        DatasetError, UsageError: the sets do not have what the recipe needs.
    """
    recipe = request.recipe
    if recipe.rated:
        return MixedCrops(items, further, spec, recipe, request.seed), 0
    crops = CropDataset(groups_of(items, recipe), spec, recipe, request.seed)
    classes = len(crops.distortion_classes) if recipe.classification_weight else 0
    if classes == 1:
        raise DatasetError(
            "The set does not tell distortions and levels apart: train on it with classification_weight=0."
        )
    return crops, classes


def preprocessing(config: LifeIQAConfig, data: QualitySet, crop_size: int = PreprocessSpec.crop_size) -> PreprocessSpec:
    """The set's resize rule with the backbone's normalisation."""
    mean, std = backbone_normalization(config.backbone)
    if data.info.resize_to:
        return PreprocessSpec(crop_size, resize="exact", resize_to=data.info.resize_to, mean=mean, std=std)
    return PreprocessSpec(crop_size, mean=mean, std=std)


def initial_network(request: TrainRequest) -> LifeIQA:
    """The network before its first step.

    Raises:
        CheckpointError, MissingError: what it should start from cannot be used.
        UsageError: the backbone cannot read crops of the size asked for.
    """
    from_hub = request.recipe.pretrained and request.start is None and request.backbone_weights is None
    model = LifeIQA(request.config, pretrained_backbone=from_hub)
    if request.start is not None:
        model.load_state_dict(validated_state(load_checkpoint(request.start).state, request.config))
    elif request.backbone_weights is not None:
        load_backbone_weights(model.backbone, request.backbone_weights)
    side = request.recipe.crop_size
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"{request.config.backbone} cannot read {side}x{side} crops: {error}") from error
    return model


def sample_crops(data: CropSource, count: int = 192) -> Tensor:
    """About `count` crops of random draws, (B, S, S, 3) uint8 RGB."""
    draws = np.random.default_rng(data.seed).permutation(len(data))[: -(-count // data.recipe.levels)]
    return torch.cat([data[int(draw), 0].crops for draw in draws])


def verify_pictures(
    items: list[Labelled], spec: PreprocessSpec, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Decodes every picture once. Raises `DatasetError` for the first that cannot be used."""

    def check(item: Labelled) -> None:
        with reading(item.path):
            crops_of(read_image(item.path).pixels, spec, 1)

    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(check, items), start=1):
            progress(done, len(items))


def freeze(model: LifeIQA, stages: int) -> None:
    """Stops training of the stem and of the leading stages. Raises `UsageError` where they are not numbered."""
    if stages == 0:
        return
    net: Any = model.backbone.net.model
    blocks = getattr(net, "blocks", None) or getattr(net, "layers", None)
    if blocks is None:
        raise UsageError(f"{model.config.backbone} has no numbered stages to freeze; set frozen_stages to 0.")
    later = {id(p) for block in list(blocks)[stages:] for p in block.parameters()}
    for p in net.parameters():
        p.requires_grad = id(p) in later
