"""Trains a network on a data set. A run lives in a folder, and goes on where it was stopped with the same result."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from lifeiqa.models.checkpoints.checkpoint import Checkpoint, fitted, load_checkpoint, save_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer, normalize
from lifeiqa.models.datasets import Labelled, QualitySet, split_set
from lifeiqa.models.datasets.base import reading
from lifeiqa.models.evaluation.evaluation import Correlations, correlate, predict
from lifeiqa.models.network.backbone import backbone_normalization, load_backbone_weights
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.models.network.moe import expert_load, load_entropy
from lifeiqa.models.training.batches import CropDataset, Draw, StepSampler, crop_loader, groups_of
from lifeiqa.models.training.head_pretraining import head_start
from lifeiqa.models.training.losses import Losses
from lifeiqa.models.training.objective import Pupil, objective
from lifeiqa.models.training.run_folder import Outcome, TrainRequest, finished, settings_of, was_begun
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of
from lifeiqa.runtime.sources.images import read_image

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Machine:
    """How the work is done; none of it is meant to change the result, beyond rounding.

    Attributes:
        precision: of the training arithmetic.
        workers: processes that read pictures.
        compile: let torch.compile fuse the backbone (1.8 times faster on two CPU cores; needs a C++ compiler).
        save_every: steps between saves of the state from which a run can be resumed; 0 for every 5 minutes.
    """

    precision: Literal["no", "bf16", "fp16"] = "no"
    workers: int = 1
    compile: bool = False
    save_every: int = 0


def train(
    data: QualitySet,
    request: TrainRequest,
    folder: Path,
    machine: Machine = Machine(),
    resume: bool = False,
    progress: Progress = lambda done, total, text: None,
) -> Outcome:
    """Trains on one half of the set, measures on the other.

    The folder then holds `best.pt`, the checkpoint; `report.json`; `run.json`, the settings; `log/` for TensorBoard;
    and, until the run is finished, `state.pt`, from which it can be resumed.

    Raises:
        DatasetError, CheckpointError, UsageError, MissingError: before the first step, not after hours.
        UsageError: the folder holds another run, or a finished or unfinished one and `resume` is not set; the loss
            is no longer a number, or a score.
    """
    if request.start is not None and not request.recipe.epochs:
        raise UsageError("A run from a checkpoint has no head start: with 0 epochs nothing would be learnt.")
    if request.start is None and request.recipe.start_share:
        raise UsageError("Only a run from a checkpoint has weights it started from: use --start-share with --start.")
    train_items, test_items = split_set(data, request.split, request.train_share)
    spec = preprocessing(request.config, data, request.crop_size)
    for half, items in (("training", train_items), ("test", test_items)):
        if len({item.score for item in items}) == 1:
            raise DatasetError(f"{data.info.title}: all {len(items)} pictures of the {half} half have the same score.")
    crops = CropDataset(groups_of(train_items, request.recipe), spec, request.recipe, request.seed)
    kinds = len(crops.kinds) if request.recipe.kind_weight else 0
    if kinds == 1:
        raise DatasetError("The set does not tell distortions and levels apart: train on it with --kind-weight 0.")
    settings = settings_of(data, request, spec, train_items, test_items)
    begun = was_begun(folder, settings, resume)
    if (done := finished(folder)) is not None:
        return done
    accelerator = Accelerator(mixed_precision=machine.precision)
    StepSampler(len(crops), request.recipe, request.seed, world=accelerator.num_processes)  # raises what it would later
    if not begun and accelerator.is_main_process:
        verify_pictures(train_items + test_items, spec, lambda k, n: progress(k, n, "checking pictures"))
    torch.manual_seed(request.seed)
    model, recipe = initial_network(request), request.recipe
    origin = {name: tensor.clone() for name, tensor in model.state_dict().items()} if recipe.start_share else {}
    freeze(model, recipe.frozen_stages)
    pupil = Pupil(model, kinds).to(accelerator.device).to(memory_format=torch.channels_last)
    if machine.compile:
        model.backbone.compile()
    if accelerator.is_main_process:
        atomic_write(folder / "run.json", json.dumps(settings, indent=1).encode())
    began, state = time.monotonic(), folder / "state.pt"
    fresh = request.start is None and not state.exists()
    if fresh and recipe.standardize:
        model.standardize(normalize(some_crops(crops).to(accelerator.device), spec))
    if fresh and recipe.head_epochs:
        head_start(pupil, crops, machine.workers, progress)
    run = _Run(accelerator, pupil, spec, request, machine, folder, settings, test_items, began, origin)
    if fresh and recipe.head_epochs:
        run.save()
    run.fit(crops, progress)
    return run.finish(progress)


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
    fresh = request.start is None and request.backbone_weights is None
    model = LifeIQA(request.config, pretrained_backbone=request.pretrained and fresh)
    if request.start is not None:
        model.load_state_dict(fitted(load_checkpoint(request.start).state, request.config))
    elif request.backbone_weights is not None:
        load_backbone_weights(model.backbone, request.backbone_weights)
    side = request.crop_size
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"{request.config.backbone} cannot read {side}x{side} crops: {error}") from error
    return model


def some_crops(data: CropDataset, count: int = 192) -> Tensor:
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


class _Run:
    """The state of one run: what is saved, restored and stepped."""

    def __init__(
        self,
        accelerator: Accelerator,
        pupil: Pupil,
        spec: PreprocessSpec,
        request: TrainRequest,
        machine: Machine,
        folder: Path,
        settings: dict[str, Any],
        test_items: list[Labelled],
        began: float,
        origin: dict[str, Tensor],
    ) -> None:
        self.accelerator, self.pupil, self.bare, self.spec = accelerator, pupil, pupil.network, spec
        self.request, self.recipe, self.machine = request, request.recipe, machine
        self.folder, self.settings, self.test_items = folder, settings, test_items
        self.began, self.minutes_before, self.step, self.best = began, 0.0, 0, -math.inf
        self.origin = origin
        self.scorer = TorchScorer(self.bare, spec, ScoreScale(0.0, 1.0))
        backbone = [p for p in self.bare.backbone.parameters() if p.requires_grad]
        self.rates = (self.recipe.lr, self.recipe.lr * self.recipe.backbone_lr)
        parts = [
            {"params": part, "lr": rate}
            for part, rate in zip((pupil.head_parameters(), backbone), self.rates, strict=True)
        ]
        if self.recipe.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(parts)
        else:
            optimizer = torch.optim.AdamW(parts, weight_decay=self.recipe.weight_decay)
        self.model, self.optimizer = accelerator.prepare(pupil, optimizer)
        self._restore()

    def fit(self, data: CropDataset, progress: Progress) -> None:
        """Runs every step that is left."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        sampler = StepSampler(len(data), self.recipe, self.request.seed, self.step, rank, world)
        if self.step >= sampler.total:
            return
        writer = SummaryWriter(str(self.folder / "log"), purge_step=self.step) if self._main else None
        saved = time.monotonic()
        pinned = self.accelerator.device.type == "cuda"
        for draws in crop_loader(data, sampler, self.machine.workers, pinned):
            torch.manual_seed(hash((self.request.seed, self.step, rank)) % 2**63)  # stochastic depth, dropout
            losses, figures = self._step(draws, self.step / sampler.steps_per_epoch)
            self.step += 1
            epoch, rest = divmod(self.step, sampler.steps_per_epoch)
            if writer is not None and (self.step % 10 == 0 or rest == 0):
                self._log(writer, losses, figures)
            progress(self.step, sampler.total, f"epoch {epoch} loss {losses.total.item():.4f}")
            if rest == 0 and self.recipe.select == "best":
                self._keep_best(writer, progress)
            due = (
                self.step % self.machine.save_every == 0 if self.machine.save_every else time.monotonic() - saved > 300
            )
            if due or rest == 0:
                self.save()
                saved = time.monotonic()
        if writer is not None:
            writer.close()

    def _step(self, draws: Draw, epoch: float) -> tuple[Losses, dict[str, float]]:
        """One step on G draws of L crops."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.recipe.rate(epoch)
        self.model.train()
        if self.recipe.frozen_norm:
            _hold_batch_norm(self.bare)
        draws = Draw(*(x.to(self.accelerator.device) for x in draws))
        images = self.scorer.normalize(draws.crops.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        answer = self.model(images)
        found = objective(answer, draws, self.request.config, self.recipe)
        figures = {"lr": self.rates[0] * self.recipe.rate(epoch)}
        for name, part in (("ranking", found.ranking), ("kind", found.kind)):
            if part is not None:
                figures[f"loss/{name}"] = float(part.detach())
        if not torch.isfinite(found.loss):
            raise UsageError(
                f"The loss is not a number any more at step {self.step}; lower the learning rate with --lr, or train "
                f"in full precision. {self.folder} holds the last state before it."
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(found.loss)
        figures["gradient_norm"] = float(
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip or math.inf)
        )
        self.optimizer.step()
        if (routing := answer.prediction.routing) is not None:
            load = expert_load(routing.weights)
            figures["router/load_entropy"] = load_entropy(load)
            figures |= {f"router/expert_{e}": float(share) for e, share in enumerate(load)}
        return Losses(*(value.detach() for value in found.paper)), figures

    def _log(self, writer: SummaryWriter, losses: Losses, figures: dict[str, float]) -> None:
        parts = {f"loss/{name}": float(value) for name, value in losses._asdict().items()}
        for name, value in (parts | figures).items():
            writer.add_scalar(name, value, self.step)

    def _keep_best(self, writer: SummaryWriter | None, progress: Progress) -> None:
        found, _ = self._measure(progress)
        if writer is not None:
            writer.add_scalar("test/srocc", found.srocc, self.step)
            writer.add_scalar("test/plcc", found.plcc, self.step)
        if found.plcc > self.best or self.best == -math.inf:
            self.best = found.plcc if math.isfinite(found.plcc) else -math.inf
            self._write_checkpoint(self.folder / "best.pt")

    def _measure(self, progress: Progress) -> tuple[Correlations, tuple[float, ...]]:
        self.bare.eval()
        loads = []

        def score(pixels: np.ndarray[Any, Any]) -> float:
            scores, weights = self.scorer.score_crops(crops_of(pixels, self.spec))
            if weights is not None:
                loads.append(expert_load(weights))
            return float(scores.mean())

        predicted, labels = predict(score, self.test_items, lambda k, n: progress(k, n, "measuring"))
        load = tuple(torch.stack(loads).mean(dim=0).tolist()) if loads else ()
        return correlate(predicted, labels), load

    def finish(self, progress: Progress) -> Outcome:
        """Writes the checkpoint and the report, and removes the state."""
        path = self.folder / "best.pt"
        if self.recipe.select == "last" or not self.recipe.epochs:
            if self.origin:
                self.bare.load_state_dict(between(self.bare.state_dict(), self.origin, self.recipe.start_share))
            self._write_checkpoint(path)
        self.accelerator.wait_for_everyone()
        self.bare.load_state_dict(load_checkpoint(path).state)  # as they are stored: what is measured is what ships
        test, load = self._measure(progress)
        report = {"test": test.to_plain(), "expert_load": list(load), "minutes": round(self._minutes, 1)}
        if self._main:
            self._write_checkpoint(path, report)
            atomic_write(self.folder / "report.json", json.dumps(report, indent=1).encode())
            (self.folder / "state.pt").unlink(missing_ok=True)
        return Outcome(path, test, load)

    def _write_checkpoint(self, path: Path, report: dict[str, Any] | None = None) -> None:
        if not self._main:
            return
        checkpoint = Checkpoint(
            config=self.request.config,
            preprocess=self.spec,
            scale=ScoreScale(0.0, 1.0),
            state={name: tensor.cpu().contiguous() for name, tensor in self.bare.state_dict().items()},
            training={**self.settings, "report": report},
        )
        save_checkpoint(checkpoint, path, self.request.half)

    @property
    def _main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def _minutes(self) -> float:
        return self.minutes_before + (time.monotonic() - self.began) / 60

    def save(self) -> None:
        """Writes the state to resume from."""
        if not self._main:
            return
        scaler = self.accelerator.scaler
        state = {
            "step": self.step,
            "best": self.best,
            "minutes": self._minutes,
            "pupil": self.pupil.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(self.folder / "state.pt", buffer.getvalue())

    def _restore(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = _read_state(path)
        self.pupil.load_state_dict(state["pupil"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self.minutes_before = state["step"], state["best"], state["minutes"]


def between(end: dict[str, Tensor], start: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """`share` of the weights `start`, the rest from `end`; integers, which count batches, are those of `end`."""
    return {
        name: torch.lerp(tensor, start[name].to(tensor), share) if tensor.is_floating_point() else tensor
        for name, tensor in end.items()
    }


def _read_state(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"{path} cannot be read ({error}); remove the folder and train anew.") from error


def freeze(model: LifeIQA, stages: int) -> None:
    """Stops training of the stem and of the leading stages. Raises `UsageError` where they are not numbered."""
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
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
