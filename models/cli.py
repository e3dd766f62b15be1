"""`lifeiqa-synth` makes a labelled set out of photographs; `lifeiqa-train` trains on it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lifeiqa.runtime.console import new_app, progress_bar, require, run_app, say
from lifeiqa.runtime.errors import UsageError

synth_app, train_app = new_app(), new_app()


class Reading(str, Enum):
    """Where the paper and its authors' implementation differ, which to follow."""

    paper = "paper"
    released = "released"


@synth_app.command()
def synth(
    photos: Annotated[Path, typer.Option(help="Folder that the listed paths are relative to.")],
    listed: Annotated[Path, typer.Option("--list", help="CSV with the columns path,split (train or test).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the set.")],
    scale: Annotated[
        list[int] | None,
        typer.Option(min=384, help="Shorter sides to reduce each photograph to: 480, 768, 1080.", show_default=False),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, max=6, help="References cut from a photograph at each scale.")] = 2,
    types: Annotated[int, typer.Option(min=1, max=25, help="Distortion types for each training reference.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="The only source of randomness.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Make a labelled training set: distort photographs, label with full-reference metrics.

    Labels are pseudo-MOS, not human opinion. An interrupted run goes on where it stopped.
    """
    require("train", "torch", "piq", "scipy")
    from lifeiqa.models.synthetic import SyntheticPlan, read_photograph_list, synthesize

    with progress_bar("references") as update:
        labels = synthesize(
            photos,
            read_photograph_list(listed),
            output,
            SyntheticPlan(tuple(scale or SyntheticPlan.scales), windows, types, seed),
            jobs=jobs,
            progress=lambda done, total: update(done, total, ""),
        )
    typer.echo(labels)


@train_app.command()
def train(
    labels: Annotated[Path, typer.Option(help="labels.csv of a set that lifeiqa-synth made.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write.")] = Path("best.pt"),
    backbone: Annotated[str, typer.Option(help="timm model name.")] = "tf_efficientnet_lite0",
    backbone_weights: Annotated[
        Path | None, typer.Option(help="File of ImageNet weights; without it they come from timm's hub.")
    ] = None,
    reading: Annotated[
        Reading, typer.Option(help="Of the architecture: the paper's, or the released one.")
    ] = Reading.paper,
    experts: Annotated[int, typer.Option(min=2, help="Number of experts.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the ladders.")] = 8,
    frozen_stages: Annotated[int, typer.Option(min=0, help="Leading backbone stages that are not trained.")] = 2,
    rank_weight: Annotated[float, typer.Option(min=0, help="Weight of the ranking loss; 0: the paper's loss.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    half: Annotated[bool, typer.Option("--half", help="Store matrices in half precision: half the file.")] = False,
) -> None:
    """Train Life-IQA on a synthetic set, measure it on the set's test split, write a checkpoint."""
    require("train", "torch", "timm", "scipy")
    from lifeiqa.models.checkpoint import Checkpoint, save_checkpoint
    from lifeiqa.models.config import LifeIQAConfig
    from lifeiqa.models.training import TrainPlan
    from lifeiqa.models.training import train as run_training

    if reading is Reading.released:
        config = LifeIQAConfig.released(backbone, experts)
    else:
        config = LifeIQAConfig(backbone=backbone, experts=experts)
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it with --output.")
    plan = TrainPlan(epochs=epochs, frozen_stages=frozen_stages, rank_weight=rank_weight, seed=seed)
    began, spoken = time.monotonic(), time.monotonic()
    with progress_bar("steps") as update:

        def progress(step: int, total: int, losses: dict[str, float]) -> None:
            nonlocal spoken
            text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            update(step, total, text)
            if step == total or time.monotonic() - spoken > 60:
                spoken = time.monotonic()
                say(f"step {step}/{total}  {spoken - began:.0f} s  {text}")

        def keep(checkpoint: Checkpoint) -> None:
            minutes = (time.monotonic() - began) / 60
            save_checkpoint(replace(checkpoint, training={**checkpoint.training, "minutes": minutes}), output, half)

        checkpoint, report = run_training(labels, config, plan, backbone_weights, progress, keep)
    keep(checkpoint)
    typer.echo(f"test split: SROCC {report.srocc:.4f}  PLCC {report.plcc:.4f}  {report.pictures} pictures")
    typer.echo(f"experts chosen: {'  '.join(f'{share:.2f}' for share in report.expert_share)}")
    typer.echo(output)


def synth_main() -> None:
    """Entry point of `lifeiqa-synth`."""
    run_app(synth_app)


def train_main() -> None:
    """Entry point of `lifeiqa-train`."""
    run_app(train_app)
