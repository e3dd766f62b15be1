"""Trains a network on a synthetic set, and measures what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lifeiqa.models.backbone import backbone_normalization, load_backbone_weights
from lifeiqa.models.checkpoint import Checkpoint
from lifeiqa.models.config import LifeIQAConfig
from lifeiqa.models.dataset import EpochSampler, Labelled, LadderDataset, read_labels
from lifeiqa.models.losses import ranking_loss, total_loss
from lifeiqa.models.network import LifeIQA
from lifeiqa.models.scorer import TorchScorer
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of


@dataclass(frozen=True)
class TrainPlan:
    """Settings of a run. The defaults are those of the checkpoint that ships.

    Attributes:
        epochs: passes over the ladders.
        ladders, levels: a batch is this many ladders, of each this many levels at the same random window.
        lr: peak learning rate of the decoder; warm-up, then cosine to zero.
        backbone_lr: factor on it for the backbone.
        weight_decay: AdamW's.
        rank_weight: of the ranking loss; 0 leaves the paper's loss.
        frozen_stages: leading stages of the backbone that are not trained. Batch norm statistics never are.
        seed: of every random choice.
    """

    epochs: int = 8
    ladders: int = 8
    levels: int = 3
    lr: float = 4e-4
    backbone_lr: float = 0.5
    weight_decay: float = 0.01
    rank_weight: float = 1.0
    frozen_stages: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """What a run measured.

    Attributes:
        srocc, plcc: of mean crop scores with the labels of the test split.
        pictures: in the test split.
        expert_share: share of test tokens that each expert was chosen for; sums to K.
    """

    srocc: float
    plcc: float
    pictures: int
    expert_share: tuple[float, ...]


def evaluate(scorer: TorchScorer, items: list[Labelled]) -> Report:
    """Scores every picture and compares with its label."""
    predicted, kept = [], []
    scorer.model.eval()
    for item in items:
        scores, weights = scorer.score_crops(crops_of(read_image(item.path).pixels, scorer.spec))
        predicted.append(float(scores.mean()))
        kept.append((weights > 0).float().mean(dim=(0, 1)))
    labels = [item.score for item in items]
    share = torch.stack(kept).mean(dim=0)
    srocc, plcc = spearmanr(predicted, labels).statistic, pearsonr(predicted, labels).statistic
    return Report(float(srocc), float(plcc), len(items), tuple(share.tolist()))


def train(
    labels: Path,
    config: LifeIQAConfig,
    plan: TrainPlan,
    backbone_weights: Path | None,
    progress: Callable[[int, int, dict[str, float]], None] = lambda step, total, losses: None,
    keep: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> tuple[Checkpoint, Report]:
    """Trains on the train split and measures on the test split.

    Args:
        labels: `labels.csv` of a synthetic set.
        config: architecture.
        plan: settings.
        backbone_weights: a file of ImageNet weights, or None to take them from timm's hub.
        progress: called after every step with its losses.
        keep: given the trained checkpoint before it is measured, so that an interruption then loses nothing.

    Raises:
        DatasetError, CheckpointError, UsageError, MissingError: before the first step, not after hours.
    """
    torch.manual_seed(plan.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mean, std = backbone_normalization(config.backbone)
    spec = PreprocessSpec(mean=mean, std=std)
    train_items, test_items = read_labels(labels, "train"), read_labels(labels, "test")
    if len(test_items) < 2:
        raise UsageError(f"{labels} has one test picture; a correlation needs two at the least.")
    data = LadderDataset(train_items, spec, plan.levels, plan.seed)
    if len(data) < plan.ladders:
        raise UsageError(f"{labels} has {len(data)} ladders to train on, fewer than one batch of {plan.ladders}.")
    model = LifeIQA(config, pretrained_backbone=backbone_weights is None)
    if backbone_weights is not None:
        load_backbone_weights(model.backbone, backbone_weights)
    model.to(device).to(memory_format=torch.channels_last)
    _freeze(model, plan.frozen_stages)
    scale = ScoreScale(0.0, 1.0)
    scorer = TorchScorer(model, spec, scale)
    _fit(scorer, data, plan, progress)
    checkpoint = Checkpoint(
        config=config,
        preprocess=spec,
        scale=scale,
        state={name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()},
        training={"labels": "pseudo-MOS (MDSI, HaarPSI, VSI)", "plan": asdict(plan)},
    )
    keep(checkpoint)
    report = evaluate(scorer, test_items)
    measured = {**asdict(report), "expert_share": list(report.expert_share)}
    return replace(checkpoint, training={**checkpoint.training, "report": measured}), report


def _fit(
    scorer: TorchScorer, data: LadderDataset, plan: TrainPlan, progress: Callable[[int, int, dict[str, float]], None]
) -> None:
    model = scorer.model
    sampler = EpochSampler(len(data), plan.seed)
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        data,
        batch_size=plan.ladders,
        sampler=sampler,
        drop_last=True,
        num_workers=1,
        persistent_workers=True,
        worker_init_fn=_quiet_worker,
        multiprocessing_context="spawn",
    )
    backbone = [p for p in model.backbone.parameters() if p.requires_grad]
    rest = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    optimizer = torch.optim.AdamW(
        [{"params": rest, "lr": plan.lr}, {"params": backbone, "lr": plan.lr * plan.backbone_lr}],
        weight_decay=plan.weight_decay,
    )
    total = plan.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [plan.lr, plan.lr * plan.backbone_lr], total_steps=total, pct_start=0.08
    )
    step = 0
    for epoch in range(plan.epochs):
        sampler.epoch = epoch
        model.train()
        _hold_batch_norm(model)
        for crops, scores in loader:
            groups = torch.arange(len(scores), device=scorer.device).repeat_interleave(scores.shape[1])
            targets = scores.flatten().to(scorer.device)
            images = scorer.normalize(crops.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
            prediction = model(images)
            loss = total_loss(prediction, targets, model.config)
            rank = ranking_loss(prediction.score, targets, groups)
            optimizer.zero_grad(set_to_none=True)
            (loss + plan.rank_weight * rank).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            progress(step, total, {"loss": float(loss.detach()), "rank": float(rank.detach())})


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _freeze(model: LifeIQA, stages: int) -> None:
    """Stops training of the stem and of the leading stages."""
    if stages == 0:
        return
    net: Any = model.backbone.net.model
    blocks = getattr(net, "blocks", None) or getattr(net, "layers", None)
    if blocks is None:
        raise UsageError(f"{model.config.backbone} has no numbered stages to freeze; use --frozen-stages 0.")
    later = {id(p) for block in list(blocks)[stages:] for p in block.parameters()}
    for p in net.parameters():
        p.requires_grad = id(p) in later


def _hold_batch_norm(model: nn.Module) -> None:
    """Keeps ImageNet's statistics: a batch of a few contents is no sample of the world."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
