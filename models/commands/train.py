"""`lifeiqa-train`: trains Life-IQA on a data set."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from lifeiqa.models.commands.options import (
    CORRELATION_COLUMNS,
    DATA_HELP,
    BackboneWeights,
    OutputFormat,
    config_of,
    correlation_cells,
    open_data,
    render,
    speaks,
)
from lifeiqa.runtime.console import long_progress, new_app, require, run_app
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.preprocess import PreprocessSpec

app = new_app()


class RecipeChoice(str, Enum):
    """Named settings; single ones can be changed by options."""

    paper = "paper"
    released = "released"
    ladders = "ladders"


class Precision(str, Enum):
    """Arithmetic of the training steps."""

    no = "no"
    bf16 = "bf16"
    fp16 = "fp16"


@app.command()
def train(
    data: Annotated[list[str], typer.Option(help=DATA_HELP, metavar="NAME=PATH")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; best.pt will be in it.")],
    recipe: Annotated[
        RecipeChoice, typer.Option(help="Optimiser, rates, schedule, crops, epochs.")
    ] = RecipeChoice.paper,
    reading: Annotated[
        str, typer.Option(help="Of the architecture: paper, or released (the authors' implementation).")
    ] = "paper",
    variant: Annotated[
        str, typer.Option(help="Ablation, such as without-gcn or stage4-stage2; see lifeiqa-tables.")
    ] = "life-iqa",
    backbone: Annotated[str | None, typer.Option(help="timm model.", show_default="Swin-B")] = None,
    backbone_weights: BackboneWeights = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Checkpoint to start from, whose architecture is kept.", show_default="ImageNet weights"),
    ] = None,
    start_share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the result that are the weights of --start.", show_default="recipe's"
        ),
    ] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start the backbone from random weights.")] = False,
    experts: Annotated[int | None, typer.Option(min=2, show_default="4, released 8")] = None,
    balance: Annotated[
        str | None, typer.Option(help="Probabilities in the balance loss: full or masked.", show_default="reading's")
    ] = None,
    bypass: Annotated[
        str | None,
        typer.Option(help="Of the experts: scaled_input (eq. 16) or scaled_moe.", show_default="reading's"),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="Of the scores: l1 or smooth_l1.", show_default="reading's")] = None,
    split: Annotated[int, typer.Option(min=0, help="Number of the random 80/20 split by content.")] = 0,
    train_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the training half to use (Table III).")
    ] = 1.0,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="0: the backbone stays as it is.", show_default="recipe's")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops a step.", show_default="recipe's")] = None,
    crops: Annotated[
        int | None, typer.Option(min=1, help="Random crops of each picture in an epoch.", show_default="recipe's")
    ] = None,
    crop_size: Annotated[
        int, typer.Option(min=64, max=1024, help="Side of the crops; smaller is faster.")
    ] = PreprocessSpec.crop_size,
    lr: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.", show_default="recipe's")] = None,
    warmup_epochs: Annotated[
        float | None, typer.Option(min=0, help="In which the rate rises to it.", show_default="recipe's")
    ] = None,
    rank_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of the ranking loss of ladders.", show_default="recipe's")
    ] = None,
    pristine_rank: Annotated[
        float | None,
        typer.Option(min=0, help="Weight in it of each ladder's best two levels.", show_default="recipe's"),
    ] = None,
    kind_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of the loss that asks for distortion and level.", show_default="recipe's"),
    ] = None,
    pristine_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of undistorted pictures' scores and kinds.", show_default="recipe's"),
    ] = None,
    ambiguous_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of copies that may pass for undistorted.", show_default="recipe's"),
    ] = None,
    grey: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of ladders shown without colour.", show_default="recipe's")
    ] = None,
    fresh: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of ladders made on the spot of altered ones.", show_default="recipe's"),
    ] = None,
    turn: Annotated[bool | None, typer.Option("--turn", help="Turn crops by random multiples of 90 degrees.")] = None,
    head_epochs: Annotated[
        int | None,
        typer.Option(
            min=0, help="Passes of all but the backbone over stored features, before the run.", show_default="recipe's"
        ),
    ] = None,
    head_crops: Annotated[
        int | None, typer.Option(min=1, help="Crops whose features are stored for it.", show_default="recipe's")
    ] = None,
    frozen_stages: Annotated[
        int | None, typer.Option(min=0, help="Leading backbone blocks to leave as they are.", show_default="recipe's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice but the split.")] = 0,
    half: Annotated[bool, typer.Option("--half", help="Store matrices in half precision: half the file.")] = False,
    precision: Annotated[Precision, typer.Option(help="Mixed precision of the steps.")] = Precision.no,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Fuse the backbone with torch.compile; needs a C++ compiler.")
    ] = False,
    save_every: Annotated[
        int, typer.Option(min=0, help="Steps between saves of the state to resume from.", show_default="5 minutes")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
) -> None:
    """Train Life-IQA on a data set, and measure it on the half it has not seen.

    The folder gets best.pt (the checkpoint), report.json, run.json (all settings) and log/ (for TensorBoard). A run
    that was stopped, whenever and however, goes on with --resume to the same result. On several GPUs: torchrun
    --nproc_per_node 4 $(which lifeiqa-train) ...
    """
    require("train", "torch", "timm", "scipy", "accelerate", "tensorboard")
    from lifeiqa.models.checkpoints.checkpoint import load_checkpoint
    from lifeiqa.models.network.config import LifeIQAConfig
    from lifeiqa.models.training.recipes import recipe_for
    from lifeiqa.models.training.run_folder import TrainRequest
    from lifeiqa.models.training.training import Machine, train

    if len(data) > 1:
        raise UsageError("A run trains on one set; for pictures of several, list them in one CSV file.")
    if start is None:
        config = config_of(reading, variant, backbone, experts)
    elif (reading, variant, backbone, experts, backbone_weights, scratch) == ("paper", "life-iqa", *[None] * 3, False):
        config = load_checkpoint(start).config
    else:
        raise UsageError(
            "--start keeps the checkpoint's architecture and weights; leave out --reading, --variant, --backbone, "
            "--experts, --backbone-weights and --scratch."
        )
    parts = {"balance": balance, "bypass": bypass, "main_loss": loss}
    chosen = {name: value for name, value in parts.items() if value is not None}
    config = LifeIQAConfig.from_dict({**config.to_dict(), **chosen})
    quality_set = open_data(data[0])
    changes: dict[str, Any] = {
        "epochs": epochs,
        "batch": batch,
        "crops": crops,
        "lr": lr,
        "warmup_epochs": warmup_epochs,
        "rank_weight": rank_weight,
        "pristine_rank": pristine_rank,
        "kind_weight": kind_weight,
        "pristine_weight": pristine_weight,
        "ambiguous_weight": ambiguous_weight,
        "grey": grey,
        "fresh": fresh,
        "turn": turn,
        "head_epochs": head_epochs,
        "head_crops": head_crops,
        "frozen_stages": frozen_stages,
        "start_share": start_share,
    }
    settings = replace(
        recipe_for(recipe.value, quality_set.info),
        **{name: value for name, value in changes.items() if value is not None},
    )
    request = TrainRequest(
        config, settings, split, train_share, seed, backbone_weights, not scratch, half, start, crop_size
    )
    machine = Machine(precision.value, workers, compiled, save_every)
    with long_progress("training") as progress:
        outcome = train(quality_set, request, output, machine, resume, progress)
    if not speaks():
        return
    row = [f"{quality_set.info.title}, test half", *correlation_cells(outcome.test)]
    typer.echo(render(["", *CORRELATION_COLUMNS], [row], OutputFormat.table, None))
    if outcome.expert_load:
        typer.echo(f"experts kept by tokens: {'  '.join(f'{share:.2f}' for share in outcome.expert_load)}")
    typer.echo(outcome.checkpoint)


def main() -> None:
    """Entry point of `lifeiqa-train`."""
    run_app(app)
