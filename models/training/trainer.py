"""One run of training: its steps, and how it is saved and restored."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.datasets import Labelled
from lifeiqa.models.evaluation.evaluation import Correlations, correlate, predict
from lifeiqa.models.network.moe import expert_load, load_entropy
from lifeiqa.models.training.batches import CropGroup
from lifeiqa.models.training.fake_quantization import FakeQuantization
from lifeiqa.models.training.loading import CropSource, StepSampler, crop_loader
from lifeiqa.models.training.losses import Losses
from lifeiqa.models.training.objective import TrainingModule, objective
from lifeiqa.models.training.run_folder import RunResult, TrainRequest
from lifeiqa.models.training.weight_average import WeightAverage
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec, crops_of

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ComputeOptions:
    """How the work is done; none of it is meant to change the result, beyond rounding.

    Attributes:
        precision: of the training arithmetic.
        workers: processes that read pictures.
        compile: let torch.compile fuse the backbone; needs a C++ compiler.
        save_every: steps between saves of the state from which a run can be resumed; 0 for every 5 minutes.
    """

    precision: Literal["no", "bf16", "fp16"] = "no"
    workers: int = 1
    compile: bool = False
    save_every: int = 0


class Trainer:
    """Steps, saves and restores one run."""

    def __init__(
        self,
        accelerator: Accelerator,
        module: TrainingModule,
        spec: PreprocessSpec,
        request: TrainRequest,
        compute: ComputeOptions,
        folder: Path,
        settings: dict[str, Any],
        test_items: list[Labelled],
        began: float,
        origin: dict[str, Tensor],
    ) -> None:
        self.accelerator, self.module, self.bare, self.spec = accelerator, module, module.network, spec
        self.request, self.recipe, self.compute = request, request.recipe, compute
        self.folder, self.settings, self.test_items = folder, settings, test_items
        self.began, self.minutes_before, self.step, self.best = began, 0.0, 0, -math.inf
        self.origin = origin
        self.scorer = TorchScorer(self.bare, spec, ScoreScale(0.0, 1.0))
        backbone = [p for p in self.bare.backbone.parameters() if p.requires_grad]
        self.rates = (self.recipe.lr, self.recipe.lr * self.recipe.backbone_lr)
        parts = [
            {"params": part, "lr": rate}
            for part, rate in zip((module.head_parameters(), backbone), self.rates, strict=True)
        ]
        if self.recipe.optimizer == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(parts)
        else:
            optimizer = torch.optim.AdamW(parts, weight_decay=self.recipe.weight_decay)
        self.average = WeightAverage(self.bare, self.recipe.ema)
        self.model, self.optimizer = accelerator.prepare(module, optimizer)
        self._restore()

    def fit(self, data: CropSource, progress: Progress) -> None:
        """Runs every step that is left."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        sampler = StepSampler(data, self.step, rank, world)
        if self.step >= sampler.total:
            return
        writer = SummaryWriter(str(self.folder / "log"), purge_step=self.step) if self._main else None
        saved = time.monotonic()
        pinned = self.accelerator.device.type == "cuda"
        for draws in crop_loader(data, sampler, self.compute.workers, pinned):
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
                self.step % self.compute.save_every == 0 if self.compute.save_every else time.monotonic() - saved > 300
            )
            if due or rest == 0:
                self.save()
                saved = time.monotonic()
        if writer is not None:
            writer.close()

    def _step(self, draws: CropGroup, epoch: float) -> tuple[Losses, dict[str, float]]:
        """One step on G draws of L crops."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self.recipe.rate(epoch)
        self.model.train()
        if self.recipe.frozen_norm:
            _freeze_batch_norm(self.bare)
        draws = CropGroup(*(x.to(self.accelerator.device) for x in draws))
        images = self.scorer.normalize(draws.crops.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        quantized = epoch >= self.recipe.epochs - self.recipe.quantized_epochs
        with FakeQuantization() if quantized else nullcontext():
            output = self.model(images)
        found = objective(output, draws, self.request.config, self.recipe)
        figures = {"lr": self.rates[0] * self.recipe.rate(epoch)}
        for name in ("ranking", "pairs", "classification"):
            part = getattr(found, name)
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
        self.average.update(self.bare)
        if (routing := output.prediction.routing) is not None:
            load = expert_load(routing.weights)
            figures["router/load_entropy"] = load_entropy(load)
            figures |= {f"router/expert_{e}": float(share) for e, share in enumerate(load)}
        return Losses(*(value.detach() for value in found.paper)), figures

    def _log(self, writer: SummaryWriter, losses: Losses, figures: dict[str, float]) -> None:
        parts = {f"loss/{name}": float(value) for name, value in losses._asdict().items()}
        for name, value in (parts | figures).items():
            writer.add_scalar(name, value, self.step)

    def _keep_best(self, writer: SummaryWriter | None, progress: Progress) -> None:
        with self.average.in_place_of(self.bare):
            self._keep_if_best(writer, progress)

    def _keep_if_best(self, writer: SummaryWriter | None, progress: Progress) -> None:
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

    def finish(self, progress: Progress) -> RunResult:
        """Writes the checkpoint and the report, and removes the state."""
        path = self.folder / "best.pt"
        if self.recipe.select == "last" or not self.recipe.epochs:
            self.average.copy_to(self.bare)
            if self.origin:
                self.bare.load_state_dict(
                    interpolate_weights(self.bare.state_dict(), self.origin, self.recipe.start_share)
                )
            self._write_checkpoint(path)
        self.accelerator.wait_for_everyone()
        self.bare.load_state_dict(load_checkpoint(path).state)  # as they are stored: what is measured is what ships
        test, load = self._measure(progress)
        report = {"test": test.to_plain(), "expert_load": list(load), "minutes": round(self._minutes, 1)}
        if self._main:
            self._write_checkpoint(path, report)
            atomic_write(self.folder / "report.json", json.dumps(report, indent=1).encode())
            (self.folder / "state.pt").unlink(missing_ok=True)
        return RunResult(path, test, load)

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
        save_checkpoint(checkpoint, path, self.recipe.half_weights)

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
            "module": self.module.state_dict(),
            "average": self.average.state,
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
        self.module.load_state_dict(state["module"])
        self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self.minutes_before = state["step"], state["best"], state["minutes"]


def interpolate_weights(end: dict[str, Tensor], start: dict[str, Tensor], share: float) -> dict[str, Tensor]:
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


def _freeze_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
